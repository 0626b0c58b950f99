//! What the constraint module, HCAL and balance refuse, and their plans.

use crate::call::{Machine, USAGE};
use wgloss::losses::hcal::Aggregation;
use wgloss::{
    Balance, BalanceInputs, BalanceOutputs, BalanceState, DType, ErrorKind, Gradient, Hcal,
    HcalInputs, HcalOutputs, HcalSums, Hierarchy, Levels, Mcm, McmInputs, McmOutputs, Noise,
    Reduction, Seed, Targets, Tensor, wgpu,
};

/// A buffer for everything, with a place for each tensor.
struct Memory {
    machine: Machine,
    buffer: wgpu::Buffer,
}

impl Memory {
    fn new(machine: Machine) -> Self {
        let buffer = machine.buffer(1 << 22, USAGE);
        Memory { machine, buffer }
    }

    /// The tensor in place `at`.
    fn at(&self, at: u64, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
        Tensor::matrix(&self.buffer, dtype, rows, cols).with_offset(at * 65_536 / dtype.size())
    }
}

#[test]
fn bad_calls_of_the_constraint_module_are_named() {
    let memory = Memory::new(Machine::plain());
    let cx = &memory.machine.cx;
    let hierarchy = Hierarchy::from_edges(5, &[[1, 0], [2, 0]]).unwrap();
    let config = Mcm::default();
    let words = hierarchy
        .on_device(memory.at(2, DType::U32, 1, hierarchy.words_len()))
        .unwrap();
    let inputs = McmInputs {
        targets: Some(Targets::Dense(memory.at(1, DType::U8, 3, 5))),
        grad_loss: Some(memory.at(3, DType::F32, 1, 1)),
        ..McmInputs::new(memory.at(0, DType::F16, 3, 5), words)
    };
    let outputs = McmOutputs {
        loss: Some(memory.at(4, DType::F32, 1, 1)),
        grad_logits: Some(memory.at(5, DType::F16, 3, 5).into()),
        probabilities: Some(memory.at(6, DType::F32, 3, 5)),
    };
    let prepared = config.prepare(cx, &inputs, &outputs).unwrap();
    let entries: Vec<&str> = prepared
        .plan()
        .steps
        .iter()
        .map(|s| s.kernel.entry)
        .collect();
    assert_eq!(entries, ["own", "climb", "sums", "gradient", "sums"]);
    memory
        .machine
        .submit(|encoder| prepared.encode(encoder))
        .unwrap();

    let refuse = |config: Mcm, inputs: McmInputs<'_>, outputs: McmOutputs<'_>, wanted: &str| {
        let error = config.prepare(cx, &inputs, &outputs).unwrap_err();
        assert!(
            error.to_string().starts_with(wanted),
            "{error}\nexpected {wanted}"
        );
    };
    let logits = |logits| McmInputs { logits, ..inputs };
    refuse(
        config,
        logits(memory.at(0, DType::U8, 3, 5)),
        outputs,
        "logits: expected f32 or f16 or bf16, found u8",
    );
    refuse(
        config,
        logits(memory.at(0, DType::F16, 3, 6)),
        outputs,
        "logits: expected [3, 5], found [3, 6]",
    );
    let targets = |targets| McmInputs { targets, ..inputs };
    refuse(
        config,
        targets(None),
        outputs,
        "targets: needed to compute the loss or its gradient",
    );
    let bits = memory.at(1, DType::U32, 3, 2);
    refuse(
        config,
        targets(Some(Targets::Bits(bits))),
        outputs,
        "target_bits: expected [3, 1], found [3, 2]",
    );
    let lists = |offsets| Targets::Sparse {
        offsets: memory.at(1, DType::U32, 1, offsets),
        indices: memory.at(11, DType::U32, 1, 2),
    };
    refuse(
        config,
        targets(Some(lists(3))),
        outputs,
        "target_offsets: expected [4], found [3]",
    );
    let short = McmInputs {
        class_mask: Some(memory.at(7, DType::U8, 1, 4)),
        ..inputs
    };
    refuse(
        config,
        short,
        outputs,
        "class_mask: expected [5], found [4]",
    );
    let words = McmInputs {
        mask: Some(memory.at(7, DType::U32, 3, 5)),
        ..inputs
    };
    refuse(config, words, outputs, "mask: expected u8, found u32");
    let other = McmInputs {
        sample_weight: Some(memory.at(7, DType::F32, 1, 2)),
        ..inputs
    };
    refuse(
        config,
        other,
        outputs,
        "sample_weight: expected [3], found [2]",
    );
    let half = McmInputs {
        class_weight: Some(memory.at(7, DType::F16, 1, 5)),
        ..inputs
    };
    refuse(
        config,
        half,
        outputs,
        "class_weight: expected f32, found f16",
    );
    let written = McmInputs {
        sample_weight: Some(memory.at(4, DType::F32, 1, 3)),
        ..inputs
    };
    refuse(
        config,
        written,
        outputs,
        "loss: expected memory apart from sample_weight, found an overlap",
    );
    // What a call does not have, no kernel is there for.
    let entries = |inputs: McmInputs<'_>| -> Vec<&'static str> {
        let prepared = config.prepare(cx, &inputs, &outputs).unwrap();
        let steps = prepared.plan().steps.iter();
        steps.map(|step| step.kernel.entry).collect()
    };
    let lists = targets(Some(lists(4)));
    assert_eq!(
        entries(lists),
        ["clear", "mark", "own", "climb", "sums", "gradient", "sums"]
    );
    let masked = McmInputs {
        class_mask: Some(memory.at(7, DType::U8, 1, 5)),
        ..inputs
    };
    assert_eq!(
        entries(masked),
        [
            "mark", "sums", "own", "climb", "sums", "factors", "gradient", "sums"
        ]
    );
    let weighted = McmInputs {
        class_weight: Some(memory.at(7, DType::F32, 1, 5)),
        ..inputs
    };
    assert_eq!(
        entries(weighted),
        ["table", "sums", "own", "climb", "sums", "gradient", "sums"]
    );
    for (words, expected) in [
        (memory.at(2, DType::U32, 1, 8), "hierarchy: expected ["),
        (
            memory.at(2, DType::F32, 1, 7),
            "hierarchy: expected u32, found f32",
        ),
    ] {
        let error = hierarchy.on_device(words).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let two = McmInputs {
        grad_loss: Some(memory.at(3, DType::F32, 1, 2)),
        ..inputs
    };
    refuse(config, two, outputs, "grad_loss: expected [1], found [2]");
    let over = McmOutputs {
        probabilities: Some(memory.at(0, DType::F32, 3, 5)),
        ..outputs
    };
    refuse(
        config,
        inputs,
        over,
        "probabilities: expected memory apart from logits, found an overlap",
    );
    let bf16 = McmOutputs {
        grad_logits: Some(memory.at(5, DType::Bf16, 3, 5).into()),
        ..outputs
    };
    refuse(
        config,
        inputs,
        bf16,
        "grad_logits: expected f32 or f16, found bf16",
    );
    let each = config.with_reduction(Reduction::None);
    refuse(each, inputs, outputs, "loss: expected [3], found [1]");
    refuse(
        config,
        inputs,
        McmOutputs::default(),
        "outputs: at least one is needed",
    );
    let bad = config.with_reduction(Reduction::MeanOver(0.0));
    refuse(bad, inputs, outputs, "reduction: expected a finite number");
}

/// For 4,130 classes and some ten ancestors each, as in Gene Ontology data: what the documentation says.
#[test]
fn memory_of_the_constraint_module() {
    let memory = Memory::new(Machine::plain());
    let edges: Vec<[u32; 2]> = (1..4130)
        .map(|i: u32| [i, i - 1 - (i - 1) % 413])
        .filter(|[c, p]| c != p)
        .collect();
    let hierarchy = Hierarchy::from_edges(4130, &edges).unwrap();
    // A word for each class below another, and few for the eleven that have some below them.
    assert!(hierarchy.words_len() < 4700, "{}", hierarchy.words_len());
    let rows = 3;
    let words = hierarchy
        .on_device(memory.at(20, DType::U32, 1, hierarchy.words_len()))
        .unwrap();
    let inputs = McmInputs {
        targets: Some(Targets::Dense(memory.at(10, DType::U8, rows, 4130))),
        ..McmInputs::new(memory.at(0, DType::F32, rows, 4130), words)
    };
    let outputs = McmOutputs {
        grad_logits: Some(memory.at(30, DType::F32, rows, 4130).into()),
        ..McmOutputs::default()
    };
    let call = Mcm::default().prepare(&memory.machine.cx, &inputs, &outputs);
    let scratch = call.unwrap().plan().scratch_bytes;
    // A term and two counts for each class, four words for each with some below it, partial sums.
    assert!(scratch <= 13 * 4130 * rows as u64, "{scratch}");
}

#[test]
fn bad_calls_of_hcal_are_named() {
    let memory = Memory::new(Machine::plain());
    let cx = &memory.machine.cx;
    let levels = Levels::new(&[4, 2], &[&[0, 0, 1, 1]]).unwrap();
    let config = Hcal {
        aggregation: Aggregation::Tree,
        ..Hcal::default()
    };
    let prototypes = [
        memory.at(1, DType::F32, 4, 6),
        memory.at(2, DType::F32, 2, 6),
    ];
    let noise = [
        memory.at(3, DType::F32, 4, 6),
        memory.at(4, DType::F32, 2, 6),
    ];
    let grads = [
        memory.at(5, DType::F32, 4, 6),
        memory.at(6, DType::F32, 2, 6),
    ]
    .map(Gradient::To);
    let inputs = HcalInputs {
        features: memory.at(0, DType::Bf16, 3, 6),
        prototypes: &prototypes,
        labels: Some(memory.at(7, DType::U32, 2, 3)),
        levels: levels.on_device(memory.at(8, DType::U32, 1, 8)).unwrap(),
        noise: Some(Noise::Given(&noise)),
        balance: None,
        grad_loss: Some(memory.at(9, DType::F32, 1, 1)),
        settings: &[],
    };
    let outputs = HcalOutputs {
        losses: Some(memory.at(10, DType::F32, 1, 2)),
        weights: Some(memory.at(11, DType::F32, 1, 2)),
        loss: Some(memory.at(12, DType::F32, 1, 1)),
        grad_features: Some(memory.at(13, DType::F32, 3, 6).into()),
        grad_prototypes: Some(&grads),
        grad_log_variances: None,
        predictions: Some(memory.at(14, DType::U32, 2, 3)),
        violations: Some(memory.at(15, DType::U32, 1, 3)),
    };
    let prepared = config.prepare(cx, &inputs, &outputs).unwrap();
    memory
        .machine
        .submit(|encoder| prepared.encode(encoder))
        .unwrap();
    // Without gradients there are none of their dispatches; predictions alone need no labels.
    let predictions = HcalOutputs {
        predictions: outputs.predictions,
        ..HcalOutputs::default()
    };
    let alone = HcalInputs {
        labels: None,
        ..inputs
    };
    let call = config.prepare(cx, &alone, &predictions).unwrap();
    let entries: Vec<&str> = call.plan().steps.iter().map(|s| s.kernel.entry).collect();
    let units = ["features", "prototypes", "prototypes"];
    assert_eq!(
        entries,
        [&units[..], &["scores", "argmax", "scores", "argmax"]].concat()
    );

    let refuse = |config: Hcal, inputs: HcalInputs<'_>, outputs: HcalOutputs<'_>, wanted: &str| {
        let error = config.prepare(cx, &inputs, &outputs).unwrap_err();
        assert!(
            error.to_string().starts_with(wanted),
            "{error}\nexpected {wanted}"
        );
    };
    let features = |features| HcalInputs { features, ..inputs };
    refuse(
        config,
        features(memory.at(0, DType::U32, 3, 6)),
        outputs,
        "features: expected f32 or f16 or bf16, found u32",
    );
    refuse(
        config,
        features(memory.at(0, DType::F32, 3, 0)),
        outputs,
        "features: expected at least one component, found [B, 0]",
    );
    refuse(
        config,
        features(memory.at(0, DType::F32, 3, 5)),
        outputs,
        "prototypes_1: expected [4, 5], found [4, 6]",
    );
    let one = HcalInputs {
        prototypes: &prototypes[..1],
        ..inputs
    };
    refuse(
        config,
        one,
        outputs,
        "prototypes: expected one tensor for each of 2 levels, found 1",
    );
    let swapped = [noise[0], noise[0]];
    let wrong = HcalInputs {
        noise: Some(Noise::Given(&swapped)),
        ..inputs
    };
    refuse(
        config,
        wrong,
        outputs,
        "noise_2: expected [2, 6], found [4, 6]",
    );
    let labels = |labels| HcalInputs { labels, ..inputs };
    refuse(
        config,
        labels(None),
        outputs,
        "labels: needed to compute losses",
    );
    refuse(
        config,
        labels(Some(memory.at(7, DType::U32, 1, 3))),
        outputs,
        "labels: expected [2, 3], found [1, 3]",
    );
    let error = levels
        .on_device(memory.at(8, DType::U32, 1, 3))
        .unwrap_err();
    assert_eq!(error.to_string(), "levels: expected [8], found [3]");
    let seeded = HcalInputs {
        noise: Some(Noise::Seeded(Seed::advancing(memory.at(
            3,
            DType::U32,
            1,
            1,
        )))),
        ..inputs
    };
    refuse(config, seeded, outputs, "seed: expected [2], found [1]");
    let stateful = HcalInputs {
        balance: Some(BalanceState::LogVariances(memory.at(3, DType::F32, 1, 2))),
        ..inputs
    };
    refuse(
        config,
        stateful,
        outputs,
        "log_variances: adaptive weights have no state",
    );
    let uncertain = Hcal {
        balance: Balance::Uncertainty,
        ..config
    };
    refuse(
        uncertain,
        inputs,
        outputs,
        "log_variances: needed by this balance",
    );
    let fixed = Hcal {
        balance: Balance::Fixed,
        ..config
    };
    refuse(
        fixed,
        inputs,
        outputs,
        "level_weights: needed by this balance",
    );
    let weights = |tensor| HcalInputs {
        balance: Some(BalanceState::Weights(tensor)),
        ..inputs
    };
    refuse(
        config,
        weights(memory.at(3, DType::F32, 1, 2)),
        outputs,
        "level_weights: adaptive weights have no state",
    );
    refuse(
        fixed,
        weights(memory.at(17, DType::F32, 1, 3)),
        outputs,
        "level_weights: expected [2], found [3]",
    );
    refuse(
        fixed,
        weights(memory.at(17, DType::F16, 1, 2)),
        outputs,
        "level_weights: expected f32, found f16",
    );
    let good = weights(memory.at(17, DType::F32, 1, 2));
    fixed.prepare(cx, &good, &outputs).unwrap();
    let more = HcalOutputs {
        grad_log_variances: Some(memory.at(16, DType::F32, 1, 2).into()),
        ..outputs
    };
    refuse(
        config,
        inputs,
        more,
        "grad_log_variances: uncertainty weighting alone has one",
    );
    let over = HcalOutputs {
        violations: Some(memory.at(7, DType::U32, 1, 3)),
        ..outputs
    };
    refuse(
        config,
        inputs,
        over,
        "violations: expected memory apart from labels, found an overlap",
    );
    refuse(
        config,
        inputs,
        HcalOutputs::default(),
        "outputs: at least one is needed",
    );
    let cold = Hcal {
        temperature: 0.0,
        ..config
    };
    refuse(
        cold,
        inputs,
        outputs,
        "temperature: expected a finite number",
    );
}

#[test]
fn bad_calls_of_the_balance_are_named() {
    let memory = Memory::new(Machine::plain());
    let cx = &memory.machine.cx;
    let inputs = BalanceInputs {
        losses: memory.at(0, DType::F32, 1, 3),
        state: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = BalanceOutputs {
        weights: Some(memory.at(1, DType::F32, 1, 3)),
        ..BalanceOutputs::default()
    };
    let adaptive = Balance::default();
    let call = adaptive.prepare(cx, &inputs, &outputs).unwrap();
    assert_eq!((call.plan().steps.len(), call.plan().scratch_bytes), (1, 0));
    let refuse =
        |config: Balance, inputs: BalanceInputs<'_>, outputs: BalanceOutputs<'_>, wanted: &str| {
            let error = config.prepare(cx, &inputs, &outputs).unwrap_err();
            assert!(
                error.to_string().starts_with(wanted),
                "{error}\nexpected {wanted}"
            );
        };
    let none = BalanceInputs {
        losses: memory.at(0, DType::F32, 1, 0),
        ..inputs
    };
    refuse(
        adaptive,
        none,
        outputs,
        "losses: expected at least one, found 0",
    );
    let dwa = Balance::Dwa { temperature: 2.0 };
    refuse(dwa, inputs, outputs, "history: needed by this balance");
    let short = BalanceInputs {
        state: Some(BalanceState::History(memory.at(2, DType::F32, 1, 3))),
        ..inputs
    };
    refuse(dwa, short, outputs, "history: expected [6], found [3]");
    refuse(
        Balance::Random,
        short,
        outputs,
        "seed: needed by this balance",
    );
    refuse(
        adaptive,
        inputs,
        BalanceOutputs::default(),
        "outputs: at least one is needed",
    );
    let over = BalanceOutputs {
        weights: Some(inputs.losses),
        ..outputs
    };
    refuse(
        adaptive,
        inputs,
        over,
        "weights: expected memory apart from losses, found an overlap",
    );
    let error = Balance::Adaptive {
        gamma: -1.0,
        attach: false,
    }
    .check()
    .unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::Value, "gamma"));
}

/// The two halves of a call whose batch lies over several devices: what is refused, and what they consist of.
#[test]
fn bad_calls_of_hcal_over_devices_are_named() {
    let memory = Memory::new(Machine::plain());
    let cx = &memory.machine.cx;
    let levels = Levels::new(&[4, 2], &[&[0, 0, 1, 1]]).unwrap();
    let config = Hcal::default();
    let prototypes = [
        memory.at(1, DType::F32, 4, 6),
        memory.at(2, DType::F32, 2, 6),
    ];
    let inputs = HcalInputs {
        features: memory.at(0, DType::F32, 3, 6),
        prototypes: &prototypes,
        labels: Some(memory.at(7, DType::U32, 2, 3)),
        levels: levels.on_device(memory.at(8, DType::U32, 1, 8)).unwrap(),
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    assert_eq!(Hcal::sums_len(&levels, 6), 1 + 2 * 7);
    assert_eq!(
        Hcal::sums_len(&Levels::new(&[4], &[]).unwrap(), usize::MAX),
        1
    );
    assert_eq!(Hcal::sums_len(&levels, usize::MAX), usize::MAX);
    let sums = memory.at(20, DType::F32, 1, 15);
    let entries = |call: wgloss::Prepared| -> Vec<&str> {
        let steps = call.plan().steps.iter();
        steps.map(|step| step.kernel.entry).collect()
    };
    let call = config.prepare_partial(cx, &inputs, sums.into()).unwrap();
    assert_eq!(
        entries(call),
        ["features", "members", "count", "clear", "add_up"]
    );
    let call = config.prepare_partial(cx, &inputs, Gradient::AddTo(sums));
    assert_eq!(
        entries(call.unwrap()),
        [
            "features", "members", "count", "clear", "add_up", "add", "add"
        ]
    );

    let partial = |config: Hcal, inputs: HcalInputs<'_>, sums: Gradient<'_>, wanted: &str| {
        let error = config.prepare_partial(cx, &inputs, sums).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    };
    let tree = config.with_aggregation(Aggregation::Tree);
    let of_trees =
        "aggregation: the mean of child classes' means is not over devices: means over samples are";
    partial(tree, inputs, sums.into(), of_trees);
    let alone = HcalInputs {
        labels: None,
        ..inputs
    };
    partial(
        config,
        alone,
        sums.into(),
        "labels: needed to compute losses",
    );
    partial(
        config,
        inputs,
        memory.at(20, DType::F32, 1, 14).into(),
        "sums: expected [15], found [14]",
    );
    partial(
        config,
        inputs,
        memory.at(20, DType::F16, 1, 15).into(),
        "sums: expected f32, found f16",
    );
    partial(
        config,
        inputs,
        memory.at(7, DType::F32, 1, 15).into(),
        "sums: expected memory apart from labels, found an overlap",
    );
    partial(
        config,
        inputs,
        Gradient::InPlace,
        "sums: needs a tensor: in place is for the logits of row losses alone",
    );

    let grads = [
        memory.at(5, DType::F32, 4, 6),
        memory.at(6, DType::F32, 2, 6),
    ]
    .map(Gradient::To);
    let without = HcalSums { sums, losses: None };
    let whole = HcalSums {
        losses: Some(memory.at(21, DType::F32, 1, 2)),
        ..without
    };
    let losses = HcalOutputs {
        losses: Some(memory.at(10, DType::F32, 1, 2)),
        ..HcalOutputs::default()
    };
    let all = HcalOutputs {
        weights: Some(memory.at(11, DType::F32, 1, 2)),
        loss: Some(memory.at(12, DType::F32, 1, 1)),
        grad_features: Some(memory.at(13, DType::F32, 3, 6).into()),
        grad_prototypes: Some(&grads),
        ..losses
    };
    let merged = |config: Hcal, inputs: HcalInputs<'_>, sums, outputs: HcalOutputs<'_>| {
        let call = config.prepare_merged(cx, &inputs, &sums, &outputs);
        call.map_or_else(|error| error.to_string(), |_| String::new())
    };
    // The losses alone have no weights to wait for.
    let call = config.prepare_merged(cx, &inputs, &without, &losses);
    assert_eq!(
        entries(call.unwrap()),
        [
            "features",
            "prototypes",
            "prototypes",
            "divide",
            "shares",
            "scores",
            "softmax",
            "scores",
            "softmax",
            "level_losses"
        ]
    );
    assert_eq!(merged(config, inputs, whole, all), "");
    assert_eq!(merged(tree, inputs, whole, all), of_trees);
    let of_loss = "all_losses: needed for the loss, which is made of the losses of all devices";
    let of_weights = "all_losses: needed for weights and gradients, which follow from the losses of all devices unless \
                      weights are fixed";
    assert_eq!(merged(config, inputs, without, all), of_loss);
    let no_loss = HcalOutputs { loss: None, ..all };
    assert_eq!(merged(config, inputs, without, no_loss), of_weights);
    let weights = HcalOutputs {
        weights: all.weights,
        ..losses
    };
    assert_eq!(merged(config, inputs, without, weights), of_weights);
    let uncertain = HcalInputs {
        balance: Some(BalanceState::LogVariances(memory.at(17, DType::F32, 1, 2))),
        ..inputs
    };
    let to_variances = HcalOutputs {
        grad_log_variances: Some(memory.at(16, DType::F32, 1, 2).into()),
        ..losses
    };
    let by_uncertainty = config.with_balance(Balance::Uncertainty);
    assert_eq!(
        merged(by_uncertainty, uncertain, without, to_variances),
        of_weights
    );
    assert_eq!(merged(by_uncertainty, uncertain, whole, to_variances), "");
    // Fixed weights are known before.
    let fixed = config.with_balance(Balance::Fixed);
    let given = HcalInputs {
        balance: Some(BalanceState::Weights(memory.at(17, DType::F32, 1, 2))),
        ..inputs
    };
    assert_eq!(merged(fixed, given, without, no_loss), "");
    assert_eq!(merged(fixed, given, without, all), of_loss);
    assert_eq!(merged(fixed, given, whole, all), "");
    let short = HcalSums {
        sums: memory.at(20, DType::F32, 1, 16),
        ..whole
    };
    assert_eq!(
        merged(config, inputs, short, all),
        "sums: expected [15], found [16]"
    );
    let other = HcalSums {
        losses: Some(memory.at(21, DType::F32, 1, 3)),
        ..whole
    };
    assert_eq!(
        merged(config, inputs, other, all),
        "all_losses: expected [2], found [3]"
    );
    for (over, name) in [(20, "sums"), (21, "all_losses")] {
        let onto = HcalOutputs {
            losses: Some(memory.at(over, DType::F32, 1, 2)),
            ..losses
        };
        assert_eq!(
            merged(config, inputs, whole, onto),
            format!("losses: expected memory apart from {name}, found an overlap")
        );
    }
    assert_eq!(
        merged(config, inputs, whole, HcalOutputs::default()),
        "outputs: at least one is needed"
    );
}

/// What is kept of all classes of a batch over several devices has to fit a binding; sums of more words go in windows.
#[test]
fn hcal_over_devices_on_narrow_bindings() {
    let memory = Memory::new(Machine::narrow(64 << 10));
    let cx = &memory.machine.cx;
    let of = |classes: usize, features: bool| {
        let levels = Levels::new(&[2, classes], &[&[0, 1]]).unwrap();
        let prototypes = [
            memory.at(10, DType::F32, 2, 128),
            memory.at(11, DType::F32, classes, 128),
        ];
        let inputs = HcalInputs {
            features: memory.at(0, DType::F32, 3, 128),
            prototypes: &prototypes,
            labels: Some(memory.at(1, DType::U32, 2, 3)),
            levels: levels
                .on_device(memory.at(2, DType::U32, 1, levels.words_len()))
                .unwrap(),
            noise: None,
            balance: None,
            grad_loss: None,
            settings: &[],
        };
        let sums = memory.at(40, DType::F32, 1, Hcal::sums_len(&levels, 128));
        let partial = Hcal::default().prepare_partial(cx, &inputs, Gradient::AddTo(sums));
        let steps = partial.unwrap().plan().steps.clone().into_iter();
        let windows = steps.filter(|step| step.kernel.entry == "clear").count();
        let met = HcalSums {
            sums,
            losses: Some(memory.at(30, DType::F32, 1, 2)),
        };
        let outputs = HcalOutputs {
            losses: Some(memory.at(31, DType::F32, 1, 2)),
            grad_features: features.then(|| memory.at(32, DType::F32, 3, 128).into()),
            ..HcalOutputs::default()
        };
        let call = Hcal::default().prepare_merged(cx, &inputs, &met, &outputs);
        let said = call.map_or_else(|error| error.to_string(), |_| String::new());
        (windows, said)
    };
    // 516 bytes of sums for each class, 512 of means.
    assert_eq!(of(127, false), (2, String::new()));
    let (windows, said) = of(400, false);
    assert_eq!(windows, 4);
    assert_eq!(
        said,
        "levels: expected classes whose means have at most 65536 bytes (one storage binding of this device), found 204800 bytes"
    );
    let (_, said) = of(127, true);
    assert!(
        said.starts_with("levels: expected classes whose gradients"),
        "{said}"
    );
}

/// Bindings of 64 KiB: windows of classes and of samples, within the limits of the device; and what does not fit is
/// refused.
#[test]
fn hcal_on_narrow_bindings() {
    let memory = Memory::new(Machine::narrow(64 << 10));
    let classes = 2000;
    let levels = Levels::new(&[classes], &[]).unwrap();
    let prototypes = [memory.at(10, DType::F32, classes, 60)];
    let grads = [memory.at(20, DType::F32, classes, 60)].map(Gradient::To);
    let inputs = HcalInputs {
        features: memory.at(0, DType::F32, 100, 60),
        prototypes: &prototypes,
        labels: Some(memory.at(1, DType::U32, 1, 100)),
        levels: levels.on_device(memory.at(2, DType::U32, 1, 2)).unwrap(),
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        grad_prototypes: Some(&grads),
        ..HcalOutputs::default()
    };
    let call = Hcal::default()
        .prepare(&memory.machine.cx, &inputs, &outputs)
        .unwrap();
    // 64 KiB hold the scores of 8 samples.
    assert_eq!(call.plan().windows, 13);
    memory
        .machine
        .submit(|encoder| call.encode(encoder))
        .unwrap();
    let many = Levels::new(&[20_000], &[]).unwrap();
    let prototypes = [memory.at(10, DType::F32, 20_000, 1)];
    let wide = HcalInputs {
        features: memory.at(0, DType::F32, 100, 1),
        prototypes: &prototypes,
        levels: many.on_device(memory.at(2, DType::U32, 1, 2)).unwrap(),
        ..inputs
    };
    let losses = HcalOutputs {
        losses: Some(memory.at(3, DType::F32, 1, 1)),
        ..HcalOutputs::default()
    };
    let error = Hcal::default()
        .prepare(&memory.machine.cx, &wide, &losses)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.subject(), "level 1");
}

/// Comparing 9,000 labels with each other is more than one dispatch may do.
#[test]
fn long_work_of_hcal_is_split() {
    let memory = Memory::new(Machine::plain());
    let levels = Levels::new(&[3], &[]).unwrap();
    let samples = 9000;
    let inputs = HcalInputs {
        features: memory.at(0, DType::F32, samples, 1),
        prototypes: &[memory.at(1, DType::F32, 3, 1)],
        labels: Some(memory.at(2, DType::U32, 1, samples)),
        levels: levels.on_device(memory.at(3, DType::U32, 1, 2)).unwrap(),
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        losses: Some(memory.at(4, DType::F32, 1, 1)),
        ..HcalOutputs::default()
    };
    let call = Hcal::default().prepare(&memory.machine.cx, &inputs, &outputs);
    let call = call.unwrap();
    let steps = call.plan().steps.iter();
    let members = steps.filter(|step| step.kernel.entry == "members");
    let groups: Vec<u32> = members.map(|step| step.groups[0]).collect();
    let lanes = memory.machine.cx.variant().workgroup;
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().sum::<u32>() * lanes >= samples as u32);
}
