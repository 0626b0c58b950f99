//! The contrastive losses: what `prepare` refuses, how many dispatches a call takes, what it keeps for itself.

use crate::call::{Machine, USAGE, entries};
use wgloss::host::{Embeddings, Engine, LabelSets, Values, Wanted};
use wgloss::losses::contrastive::{Normalizer, Placement, Weighting};
use wgloss::{
    Contrastive, ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType, Denominator,
    Error, ErrorKind, Keys, LabelCountInputs, LabelCountOutputs, LabelCounts, Prepared,
    RelationInputs, RelationOutputs, Relations, Setting, Targets, Tensor, wgpu,
};

/// One buffer for each tensor of a call.
struct Memory<'m> {
    machine: &'m Machine,
    buffers: Vec<wgpu::Buffer>,
}

/// Sizes of a call.
#[derive(Clone, Copy)]
struct Size {
    n: usize,
    m: usize,
    dims: usize,
    labels: usize,
}

const SMALL: Size = Size {
    n: 5,
    m: 7,
    dims: 3,
    labels: 40,
};

impl<'m> Memory<'m> {
    fn new(machine: &'m Machine, size: Size) -> Self {
        let Size { n, m, dims, labels } = size;
        let bytes = [
            4 * n * dims,
            n * labels,
            4 * m * dims,
            4 * m * labels.div_ceil(32),
            4 * n,
            4 * n,
            4 * n,
            4 * n,
            4 * n * dims,
            4 * m * dims,
            4,
            20 * n,
            n,
            m,
            4 * labels,
        ];
        let buffer =
            |bytes: usize| machine.buffer((bytes as u64).next_multiple_of(4).max(4), USAGE);
        Memory {
            machine,
            buffers: bytes.map(buffer).into(),
        }
    }

    fn vector(&self, at: usize, dtype: DType, len: usize) -> Tensor<'_> {
        Tensor::vector(&self.buffers[at], dtype, len)
    }

    fn matrix(&self, at: usize, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
        Tensor::matrix(&self.buffers[at], dtype, rows, cols)
    }

    /// Inputs with everything optional, the keys' sets as bits.
    fn inputs(&self, size: Size) -> ContrastiveInputs<'_> {
        let Size { n, m, dims, labels } = size;
        ContrastiveInputs {
            keys: Some(Keys {
                embeddings: self.matrix(2, DType::F32, m, dims),
                labels: Targets::Bits(self.matrix(3, DType::U32, m, labels.div_ceil(32))),
            }),
            self_index: Some(self.vector(4, DType::U32, n)),
            grad_loss: Some(self.vector(5, DType::F32, 1)),
            ..self.alone(size)
        }
    }

    /// Embeddings and sets alone.
    fn alone(&self, size: Size) -> ContrastiveInputs<'_> {
        ContrastiveInputs::new(
            self.matrix(0, DType::F32, size.n, size.dims),
            size.labels,
            Targets::Dense(self.matrix(1, DType::U8, size.n, size.labels)),
        )
    }

    fn outputs(&self, size: Size, keys: bool) -> ContrastiveOutputs<'_> {
        ContrastiveOutputs {
            loss: Some(self.vector(6, DType::F32, 1)),
            loss_rows: Some(self.vector(7, DType::F32, size.n)),
            grad_embeddings: Some(self.matrix(8, DType::F32, size.n, size.dims).into()),
            grad_keys: keys.then(|| self.matrix(9, DType::F32, size.m, size.dims).into()),
            grad_temperature: Some(self.vector(10, DType::F32, 1).into()),
            grad_bias: None,
            count: None,
        }
    }

    fn prepare(
        &self,
        config: Contrastive,
        inputs: &ContrastiveInputs<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        config.prepare(&self.machine.cx, inputs, outputs)
    }
}

#[track_caller]
fn refused(result: Result<Prepared, Error>, kind: ErrorKind, message: &str) {
    let error = result.expect_err(message);
    assert_eq!(
        (error.kind(), error.to_string()),
        (kind, message.to_owned())
    );
}

#[test]
fn a_bad_call_is_named() {
    use ErrorKind::{Buffer, DType as Type, Shape, Value};
    let machine = Machine::plain();
    let memory = Memory::new(&machine, SMALL);
    let config = Contrastive::sim_dis();
    let good = memory.inputs(SMALL);
    let outputs = memory.outputs(SMALL, true);
    assert!(memory.prepare(config, &good, &outputs).is_ok());

    for tau in [0.0, -0.5, f32::NAN, f32::INFINITY] {
        let message = format!("temperature: expected a finite number above 0, found {tau}");
        let config = config.with_temperature(tau);
        refused(memory.prepare(config, &good, &outputs), Value, &message);
    }
    let ksum = Contrastive::sim_dis_at(Placement::Numerator, Normalizer::KSum);
    let message = "normalizer: expected count, or the factor outside, found ksum";
    refused(memory.prepare(ksum, &good, &outputs), Value, message);
    let nowhere = Contrastive::sim_dis_at(Placement::Both, Normalizer::Count);
    let nowhere = nowhere.with_denominator(Denominator::Negatives);
    let message = "denominator: expected all or one-positive, where the factor is to stand in the denominator, found negatives";
    refused(memory.prepare(nowhere, &good, &outputs), Value, message);
    let far = Contrastive::new(Weighting::Jaccard { threshold: -0.1 }, 0.1);
    let message = "threshold: expected a number from 0 to 1, found -0.1";
    refused(memory.prepare(far, &good, &outputs), Value, message);

    let keys = good.keys.expect("keys");
    let with_keys = |keys: Keys<'_>| {
        let inputs = ContrastiveInputs {
            keys: Some(keys),
            ..good
        };
        memory.prepare(config, &inputs, &outputs)
    };
    let narrow = Keys {
        embeddings: memory.matrix(2, DType::F32, 7, 2),
        ..keys
    };
    refused(
        with_keys(narrow),
        Shape,
        "keys: expected [7, 3], found [7, 2]",
    );
    let bytes = Keys {
        embeddings: memory.matrix(2, DType::U8, 7, 3),
        ..keys
    };
    refused(
        with_keys(bytes),
        Type,
        "keys: expected f32 or f16 or bf16, found u8",
    );
    let one_word = Keys {
        labels: Targets::Bits(memory.matrix(3, DType::U32, 7, 1)),
        ..keys
    };
    let message = "key_label_bits: expected [7, 2], found [7, 1]";
    refused(with_keys(one_word), Shape, message);
    let few = Keys {
        labels: Targets::Bits(memory.matrix(3, DType::U32, 6, 2)),
        ..keys
    };
    refused(
        with_keys(few),
        Shape,
        "key_label_bits: expected [7, 2], found [6, 2]",
    );
    let sparse = Keys {
        labels: Targets::Sparse {
            offsets: memory.vector(3, DType::U32, 7),
            indices: memory.vector(3, DType::U32, 2),
        },
        ..keys
    };
    refused(
        with_keys(sparse),
        Shape,
        "key_label_offsets: expected [8], found [7]",
    );

    let inputs = ContrastiveInputs {
        labels: Targets::Dense(memory.matrix(1, DType::U8, 4, 40)),
        ..good
    };
    let message = "labels: expected [5, 40], found [4, 40]";
    refused(memory.prepare(config, &inputs, &outputs), Shape, message);
    let inputs = ContrastiveInputs {
        self_index: Some(memory.vector(4, DType::U32, 4)),
        ..good
    };
    let message = "self_index: expected [5], found [4]";
    refused(memory.prepare(config, &inputs, &outputs), Shape, message);
    let inputs = ContrastiveInputs {
        self_index: Some(memory.vector(4, DType::F32, 5)),
        ..good
    };
    let message = "self_index: expected u32, found f32";
    refused(memory.prepare(config, &inputs, &outputs), Type, message);
    let inputs = ContrastiveInputs { keys: None, ..good };
    let message = "self_index: needs keys";
    refused(memory.prepare(config, &inputs, &outputs), Value, message);
    let inputs = ContrastiveInputs {
        self_index: None,
        ..good
    };
    let message = "self_index: this loss needs each anchor's pair";
    refused(
        memory.prepare(Contrastive::info_nce(), &inputs, &outputs),
        Value,
        message,
    );
    let inputs = ContrastiveInputs {
        label_weight: Some(memory.vector(14, DType::F32, 40)),
        ..good
    };
    let message = "label_weight: needs MulSupCon";
    refused(memory.prepare(config, &inputs, &outputs), Value, message);
    let inputs = ContrastiveInputs {
        label_weight: Some(memory.vector(14, DType::F32, 39)),
        ..good
    };
    let message = "label_weight: expected [40], found [39]";
    let mul = Contrastive::mul_sup_con();
    refused(memory.prepare(mul, &inputs, &outputs), Shape, message);
    let inputs = ContrastiveInputs {
        row_mask: Some(memory.vector(12, DType::U8, 4)),
        ..good
    };
    let message = "row_mask: expected [5], found [4]";
    refused(memory.prepare(config, &inputs, &outputs), Shape, message);
    let inputs = ContrastiveInputs {
        key_mask: Some(memory.vector(13, DType::F32, 1)),
        ..good
    };
    let message = "key_mask: expected u8, found f32";
    refused(memory.prepare(config, &inputs, &outputs), Type, message);
    let inputs = ContrastiveInputs {
        key_mask: Some(memory.vector(12, DType::U8, 5)),
        ..memory.alone(SMALL)
    };
    let message = "key_mask: needs keys; row_mask leaves out keys that are anchors too";
    refused(memory.prepare(config, &inputs, &outputs), Value, message);
    let inputs = ContrastiveInputs {
        grad_loss: Some(memory.vector(5, DType::F32, 5)),
        ..good
    };
    let message = "grad_loss: expected [1], found [5]";
    refused(memory.prepare(config, &inputs, &outputs), Shape, message);

    let alone = memory.alone(SMALL);
    let message = "grad_keys: needs keys";
    refused(memory.prepare(config, &alone, &outputs), Value, message);
    let none = ContrastiveOutputs::default();
    let message = "outputs: at least one is needed";
    refused(memory.prepare(config, &good, &none), Value, message);
    let wrong = ContrastiveOutputs {
        loss: Some(memory.vector(6, DType::F32, 5)),
        ..outputs
    };
    let message = "loss: expected [1], found [5]";
    refused(memory.prepare(config, &good, &wrong), Shape, message);
    let over = ContrastiveOutputs {
        grad_embeddings: Some(memory.matrix(0, DType::F32, 5, 3).into()),
        ..outputs
    };
    let message = "grad_embeddings: expected memory apart from embeddings, found an overlap";
    refused(memory.prepare(config, &good, &over), Buffer, message);
    let twice = ContrastiveOutputs {
        loss_rows: Some(memory.vector(6, DType::F32, 5)),
        ..outputs
    };
    let message = "loss_rows: expected memory apart from loss, found an overlap";
    refused(memory.prepare(config, &good, &twice), Buffer, message);
}

/// The same of plain slices; what a mask leaves out is not looked at.
#[test]
fn slices_of_masks_and_weights_are_checked() {
    let engine = Engine::reference();
    let x = [3.0, 4.0, f32::NAN, 1.0, 4.0, 3.0];
    let lists = LabelSets::Sparse {
        offsets: &[0, 2, 3, 4],
        indices: &[0, 1, 99, 0],
    };
    let plain = Embeddings::new(3, 2, 2, Values::F32(&x), lists);
    let good = Embeddings {
        row_mask: Some(&[1, 0, 1]),
        label_weight: Some(&[1.0, 0.5]),
        ..plain
    };
    let mul = Contrastive::mul_sup_con();
    let run = |rows: &Embeddings<'_>| engine.contrastive(&mul, rows, Wanted::Gradients);
    let found = run(&good).expect("a good call");
    assert!(found.loss_rows[1] == 0.0 && found.loss[0].is_finite());
    assert_eq!(found.grad_embeddings[2..4], [0.0; 2]);
    let weights = |label_weight| {
        run(&Embeddings {
            label_weight,
            ..good
        })
    };
    let mask = |row_mask| run(&Embeddings { row_mask, ..good });
    for (result, message) in [
        (
            mask(None),
            "label_indices: expected labels below 2, found 99 at [2]",
        ),
        (
            mask(Some(&[1, 1, 0])),
            "label_indices: expected labels below 2, found 99 at [2]",
        ),
        (mask(Some(&[1, 0])), "row_mask: expected [3], found [2]"),
        (
            weights(Some(&[1.0])),
            "label_weight: expected [2], found [1]",
        ),
        (
            weights(Some(&[1.0, -0.5])),
            "label_weight: expected finite weights, not negative, found -0.5 at [0, 1]",
        ),
        (
            engine.contrastive(&Contrastive::sim_dis(), &good, Wanted::Loss),
            "label_weight: needs MulSupCon",
        ),
        (
            run(&Embeddings {
                key_mask: Some(&[1, 0, 1]),
                ..good
            }),
            "key_mask: needs keys; row_mask leaves out keys that are anchors too",
        ),
    ] {
        assert_eq!(result.expect_err(message).to_string(), message);
    }
    let error = engine.relations(&good).expect_err("a mask");
    assert_eq!(error.to_string(), "row_mask: relations take no masks");
}

#[test]
fn bad_relations_are_named() {
    use ErrorKind::{Buffer, Shape, Value};
    let machine = Machine::plain();
    let memory = Memory::new(&machine, SMALL);
    let good = RelationInputs {
        rows: 5,
        classes: 40,
        labels: Targets::Dense(memory.matrix(1, DType::U8, 5, 40)),
        keys: None,
        self_index: None,
    };
    let counts = memory.matrix(11, DType::U32, 5, 5);
    let prepare = |inputs: &RelationInputs<'_>, relations: &Tensor<'_>| {
        let relations = *relations;
        Relations.prepare(&machine.cx, inputs, &RelationOutputs { relations })
    };
    let call = prepare(&good, &counts).expect("a good call");
    assert_eq!(entries(&call), "pack relations");
    let four = memory.matrix(11, DType::U32, 5, 4);
    refused(
        prepare(&good, &four),
        Shape,
        "relations: expected [5, 5], found [5, 4]",
    );
    let rows = RelationInputs { rows: 4, ..good };
    refused(
        prepare(&rows, &counts),
        Shape,
        "labels: expected [4, 40], found [5, 40]",
    );
    let index = RelationInputs {
        self_index: Some(memory.vector(4, DType::U32, 5)),
        ..good
    };
    refused(prepare(&index, &counts), Value, "self_index: needs keys");
    let over = memory.matrix(1, DType::U32, 5, 5);
    let message = "relations: expected memory apart from labels, found an overlap";
    refused(prepare(&good, &over), Buffer, message);
}

#[test]
fn what_is_not_wanted_is_not_computed() {
    let machine = Machine::plain();
    let memory = Memory::new(&machine, SMALL);
    let all = memory.outputs(SMALL, true);
    let nothing = ContrastiveOutputs::default();
    let mul = Contrastive::mul_sup_con();
    let by_row = ContrastiveOutputs {
        loss_rows: all.loss_rows,
        ..nothing
    };
    let loss = ContrastiveOutputs {
        loss: all.loss,
        ..nothing
    };
    let slope = ContrastiveOutputs {
        grad_temperature: all.grad_temperature,
        ..nothing
    };
    let detached = ContrastiveOutputs {
        grad_embeddings: all.grad_embeddings,
        ..nothing
    };
    let keys = ContrastiveOutputs {
        grad_keys: all.grad_keys,
        ..nothing
    };
    for (config, outputs, expected) in [
        (
            Contrastive::sim_dis(),
            by_row,
            "pack pack products pairs merge",
        ),
        (
            Contrastive::sim_dis(),
            loss,
            "pack pack products pairs merge total",
        ),
        (
            Contrastive::sup_con_any(),
            slope,
            "pack pack products pairs merge total",
        ),
        (
            Contrastive::jaccard(),
            detached,
            "pack pack products pairs merge total slopes spread project",
        ),
        (
            Contrastive::jaccard(),
            keys,
            "pack pack products pairs merge total slopes spread project",
        ),
        (
            mul,
            loss,
            "pack pack count_labels leave_out products pairs merge total",
        ),
        (
            Contrastive::info_nce(),
            all,
            "pack pack products pairs merge total slopes spread spread project project",
        ),
    ] {
        let call = memory
            .prepare(config, &memory.inputs(SMALL), &outputs)
            .expect("a good call");
        assert_eq!(entries(&call), expected, "{config:?}");
        assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
    }
    let weighted = ContrastiveInputs {
        label_weight: Some(memory.vector(14, DType::F32, 40)),
        ..memory.inputs(SMALL)
    };
    let call = memory.prepare(mul, &weighted, &loss).expect("a good call");
    let expected =
        "pack pack count_labels leave_out weigh_labels weigh_sets products pairs merge total";
    assert_eq!(entries(&call), expected);
    assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
    // Where each positive has a denominator of its own, the pairs are gone over once more.
    for (denominator, expected) in [
        (
            Denominator::Negatives,
            "pack pack products pairs merge total",
        ),
        (
            Denominator::OnePositive,
            "pack pack products pairs pairs merge total",
        ),
    ] {
        let config = Contrastive::sim_dis().with_denominator(denominator);
        let call = memory
            .prepare(config, &memory.inputs(SMALL), &loss)
            .expect("a good call");
        assert_eq!(entries(&call), expected, "{config:?}");
        assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
    }
    let alone = memory.outputs(SMALL, false);
    let call = memory
        .prepare(mul, &memory.alone(SMALL), &alone)
        .expect("a good call");
    let expected = "pack count_labels products pairs merge total slopes spread project";
    assert_eq!(entries(&call), expected);
}

/// Each mask is a dispatch of its own, and its kernels are others; without one they are those that there were.
#[test]
fn masks_are_parts_of_kernels() {
    let machine = Machine::plain();
    let memory = Memory::new(&machine, SMALL);
    let plain = memory.inputs(SMALL);
    let row_mask = Some(memory.vector(12, DType::U8, 5));
    let key_mask = Some(memory.vector(13, DType::U8, 7));
    let outputs = memory.outputs(SMALL, true);
    for (inputs, leaves) in [
        (plain, 0),
        (ContrastiveInputs { row_mask, ..plain }, 1),
        (ContrastiveInputs { key_mask, ..plain }, 1),
        (
            ContrastiveInputs {
                row_mask,
                key_mask,
                ..plain
            },
            2,
        ),
    ] {
        for config in [Contrastive::mul_sup_con(), Contrastive::info_nce()] {
            let call = memory
                .prepare(config, &inputs, &outputs)
                .expect("a good call");
            let found = entries(&call).matches("leave ").count();
            assert_eq!(found, leaves);
            let kernels = call.plan().steps.iter();
            let masked = kernels.filter(|step| step.kernel.to_string().contains("masked"));
            // Sums and their end (two entries), slopes, both gradients.
            assert_eq!(masked.count(), if leaves > 0 { 6 } else { 0 });
            assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
        }
    }
}

#[test]
fn nothing_is_dispatched_for_nothing() {
    let machine = Machine::plain();
    for (n, m, dims, labels, expected) in [
        (0, 3, 2, 4, "pack total project"),
        (3, 0, 2, 4, "pack pairs merge total project"),
        (0, 0, 2, 4, "total"),
        (
            3,
            2,
            0,
            4,
            "pack pack products pairs merge total slopes spread spread",
        ),
        (
            3,
            2,
            2,
            0,
            "pack pack products pairs merge total slopes spread spread project project",
        ),
    ] {
        let size = Size { n, m, dims, labels };
        let memory = Memory::new(&machine, size);
        let outputs = memory.outputs(size, true);
        let call = memory
            .prepare(Contrastive::sim_dis(), &memory.inputs(size), &outputs)
            .expect("a good call");
        assert_eq!(entries(&call), expected, "{n} {m} {dims} {labels}");
        assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
    }
}

/// The figure of the specification: 32,768 anchors of 128 dimensions in under 200 MB, whatever the weighting.
#[test]
fn large_batches_take_little_scratch() {
    let machine = Machine::plain();
    let size = Size {
        n: 32_768,
        m: 0,
        dims: 128,
        labels: 90,
    };
    let memory = Memory::new(&machine, size);
    let outputs = memory.outputs(size, false);
    let inputs = memory.alone(size);
    for config in [
        Contrastive::sim_dis(),
        Contrastive::mul_sup_con(),
        Contrastive::jaccard().with_reduction(ContrastiveReduction::MeanAll),
    ] {
        let call = memory
            .prepare(config, &inputs, &outputs)
            .expect("a good call");
        let scratch = call.plan().scratch_bytes;
        println!("{} bytes, {} steps", scratch, call.plan().steps.len());
        assert!(scratch < 110_000_000, "{scratch}");
        // A copy of the rows, the gradient to them, a tile; no 32,768 x 32,768.
        assert!(scratch > 2 * 16_777_216 + (32 << 20));
        assert_eq!(call.plan().windows, 1);
        // Twelve tiles a side, those on one side of the diagonal, once for the loss and once for its gradient.
        let products = entries(&call).matches("products").count();
        assert_eq!(products, 12 * 13);
        let widest = call.plan().steps.iter().flat_map(|step| step.groups).max();
        assert!(widest <= Some(65_535));
        assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));
    }
    // The tile is a setting.
    let small = Contrastive {
        tile_bytes: 1 << 20,
        ..Contrastive::sim_dis()
    };
    let call = memory
        .prepare(small, &inputs, &outputs)
        .expect("a good call");
    assert!(call.plan().scratch_bytes < 40_000_000);
    // The loss alone needs none.
    let loss = ContrastiveOutputs {
        loss: outputs.loss,
        ..ContrastiveOutputs::default()
    };
    let call = memory.prepare(small, &inputs, &loss).expect("a good call");
    assert!(call.plan().scratch_bytes < 22_000_000);
}

#[test]
fn batches_beyond_a_binding_are_cut_into_windows() {
    let machine = Machine::narrow(1 << 18);
    let size = Size {
        n: 2000,
        m: 1500,
        dims: 100,
        labels: 300,
    };
    let memory = Memory::new(&machine, size);
    let outputs = memory.outputs(size, true);
    let config = Contrastive {
        tile_bytes: 1 << 16,
        ..Contrastive::mul_sup_con()
    };
    let call = memory
        .prepare(config, &memory.inputs(size), &outputs)
        .expect("a good call");
    // 448 bytes a row in f32, 585 rows a binding, 512 in whole windows.
    assert_eq!(call.plan().windows, 4 * 3);
    let pairs = entries(&call)
        .split(' ')
        .filter(|entry| *entry == "pairs")
        .count();
    // Two tiles at a time, of 64 anchors and 128 keys: each window of anchors in 8 pieces, of keys in 4.
    assert_eq!(pairs, 8 * 4 * 12);
    assert_eq!(machine.submit(|encoder| call.encode(encoder)), Ok(()));

    let wide = Size {
        dims: 4096,
        ..SMALL
    };
    let memory = Memory::new(&machine, wide);
    let call = memory
        .prepare(
            Contrastive::sim_dis(),
            &memory.inputs(wide),
            &memory.outputs(wide, true),
        )
        .expect("few rows fit whatever their width");
    assert_eq!(call.plan().windows, 1);
    let many = Size {
        n: 100,
        dims: 4096,
        ..SMALL
    };
    let memory = Memory::new(&machine, many);
    let result = memory.prepare(
        Contrastive::sim_dis(),
        &memory.inputs(many),
        &memory.outputs(many, true),
    );
    let message = "embeddings: expected rows of at most 2048 bytes in f32 and as label bits, found 16384 bytes";
    refused(result, ErrorKind::Unsupported, message);
}

/// No dispatch grows with the batch, the dimensions or the labels; the memory of a large batch stays small.
#[test]
fn work_is_bounded_and_memory_is_small() {
    let limits = wgpu::Limits {
        max_buffer_size: 1 << 30,
        max_storage_buffer_binding_size: 1 << 29,
        ..Default::default()
    };
    let machine = Machine::new(wgpu::Features::empty(), limits);
    let prepare = |size: Size| {
        let memory = Memory::new(&machine, size);
        let call = memory.prepare(
            Contrastive::sim_dis(),
            &memory.alone(size),
            &memory.outputs(size, false),
        );
        let call = call.expect("a good call");
        (entries(&call), call.plan().scratch_bytes)
    };
    let count = |entries: &str, name: &str| entries.split(' ').filter(|e| *e == name).count();
    // One tile of pairs, whose label words are more than a dispatch may have.
    let labels = Size {
        n: 512,
        m: 0,
        dims: 16,
        labels: 400_000,
    };
    let (labelled, _) = prepare(labels);
    assert_eq!(count(&labelled, "products"), 1);
    assert!(count(&labelled, "pairs") > 1 && count(&labelled, "slopes") > 1);
    let (few, _) = prepare(Size {
        labels: 80,
        ..labels
    });
    assert_eq!(count(&few, "pairs") + count(&few, "slopes"), 2);
    // The same of products.
    let (deep, _) = prepare(Size {
        n: 2048,
        m: 0,
        dims: 4096,
        labels: 80,
    });
    assert!(count(&deep, "products") > 1 && count(&deep, "spread") > 1);
    assert_eq!(count(&deep, "pairs"), 1);
    // Rows, the gradient to them, and a tile.
    let (_, scratch) = prepare(Size {
        n: 65_536,
        m: 0,
        dims: 768,
        labels: 1000,
    });
    assert!(scratch < 512 << 20, "{scratch}");
}

/// What is said of keys on several devices: accumulators, counts, and which losses have them.
#[test]
fn a_bad_part_of_keys_is_named() -> Result<(), Error> {
    use ErrorKind::{Buffer, DType as Type, Shape, Value};
    let machine = Machine::plain();
    let memory = Memory::new(&machine, SMALL);
    let cx = &machine.cx;
    let config = Contrastive::sim_dis();
    let mul = Contrastive::mul_sup_con();
    let good = ContrastiveInputs {
        self_index: None,
        ..memory.inputs(SMALL)
    };
    let words = config.accumulator()?.words;
    // The gradient to keys has room for two devices' accumulators.
    let part = memory.matrix(9, DType::F32, 2, words);
    let small = Size {
        n: 2,
        m: 2,
        ..SMALL
    };
    let of_two = ContrastiveInputs {
        self_index: None,
        ..memory.inputs(small)
    };
    config.prepare_partial(cx, &of_two, part)?;
    let message = "accumulators: expected [5, 8], found [2, 8]";
    refused(config.prepare_partial(cx, &good, part), Shape, message);
    let words_of_u32 = memory.matrix(9, DType::U32, 2, words);
    let message = "accumulators: expected f32, found u32";
    refused(
        config.prepare_partial(cx, &of_two, words_of_u32),
        Type,
        message,
    );
    let over = memory.matrix(0, DType::F32, 1, words);
    let one = Size {
        n: 1,
        m: 1,
        ..SMALL
    };
    let of_one = ContrastiveInputs {
        self_index: None,
        ..memory.inputs(one)
    };
    let message = "accumulators: expected memory apart from embeddings, found an overlap";
    refused(config.prepare_partial(cx, &of_one, over), Buffer, message);

    let outputs = ContrastiveOutputs {
        loss: Some(memory.vector(6, DType::F32, 1)),
        ..ContrastiveOutputs::default()
    };
    let merged = |config: Contrastive, inputs: &ContrastiveInputs<'_>, met: Tensor<'_>| {
        config.prepare_merged(cx, inputs, met, &outputs)
    };
    let met = memory.matrix(8, DType::F32, 1, words);
    merged(config, &of_one, met)?;
    let none = memory.matrix(8, DType::F32, 0, words);
    let message = "accumulators: expected a row for each device, found 0";
    refused(merged(config, &of_one, none), Shape, message);
    refused(config.prepare_folded(cx, none, part), Shape, message);
    let message = "accumulators: expected [1, 16], found [1, 8]";
    refused(merged(config, &of_two, met), Shape, message);
    refused(config.prepare_folded(cx, met, part), Shape, message);

    let one_positive = config.with_denominator(Denominator::OnePositive);
    let message = "denominator: one-positive needs all negatives of an anchor before any of its positives: gather all keys";
    for call in [
        one_positive.prepare_partial(cx, &of_two, part),
        merged(one_positive, &of_one, met),
        one_positive.prepare_folded(cx, met, part),
    ] {
        refused(call, Value, message);
    }
    let message =
        "label_counts: MulSupCon needs to know how many keys of all devices have each label";
    refused(mul.prepare_partial(cx, &of_two, part), Value, message);
    refused(merged(mul, &of_one, met), Value, message);

    let label_counts = Some(memory.vector(14, DType::U32, 40));
    let counted = ContrastiveInputs {
        label_counts,
        ..of_one
    };
    merged(mul, &counted, met)?;
    memory.prepare(mul, &counted, &outputs)?;
    let message = "label_counts: needs MulSupCon";
    refused(memory.prepare(config, &counted, &outputs), Value, message);
    let by_index = ContrastiveInputs {
        label_counts,
        ..memory.inputs(SMALL)
    };
    let message = "self_index: beside label_counts, self_offset says which key an anchor is";
    refused(memory.prepare(mul, &by_index, &outputs), Value, message);
    let short = ContrastiveInputs {
        label_counts: Some(memory.vector(14, DType::U32, 39)),
        ..of_one
    };
    let message = "label_counts: expected [40], found [39]";
    refused(memory.prepare(mul, &short, &outputs), Shape, message);

    let counts = ContrastiveOutputs {
        count: Some(memory.vector(10, DType::F32, 1)),
        ..outputs
    };
    memory.prepare(config, &good, &counts)?;
    let sum = config.with_reduction(ContrastiveReduction::Sum);
    let message = "count: needs a mean, which says of what";
    refused(memory.prepare(sum, &good, &counts), Value, message);
    let settings = [Setting {
        name: "count",
        value: memory.vector(10, DType::F32, 1),
    }];
    let set = ContrastiveInputs {
        settings: &settings,
        ..of_two
    };
    let told = config.prepare_partial(cx, &set, part);
    assert!(told.is_err_and(|told| told.to_string().contains("count")));

    let inputs = LabelCountInputs {
        rows: SMALL.n,
        classes: SMALL.labels,
        labels: good.labels,
        row_mask: Some(memory.vector(12, DType::U8, 4)),
    };
    let to = |len| LabelCountOutputs {
        counts: memory.vector(14, DType::U32, len),
    };
    let message = "row_mask: expected [5], found [4]";
    refused(LabelCounts.prepare(cx, &inputs, &to(40)), Shape, message);
    let inputs = LabelCountInputs {
        row_mask: None,
        ..inputs
    };
    LabelCounts.prepare(cx, &inputs, &to(40))?;
    let message = "counts: expected [40], found [39]";
    refused(LabelCounts.prepare(cx, &inputs, &to(39)), Shape, message);
    Ok(())
}
