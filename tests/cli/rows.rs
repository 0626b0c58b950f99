//! Losses of rows with everything they take, and what the result looks like.

use crate::support::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use wgloss::reference::{self, RowInputs, RowOutputs};
use wgloss::{Bce, CATALOG, Dice, Hill, Reduction, Threshold, Zlpr};

enum Config {
    Zlpr(Zlpr),
    Bce(Bce),
}

impl Config {
    fn truth(&self, inputs: &RowInputs<'_, f64>) -> RowOutputs<f64> {
        match self {
            Config::Zlpr(loss) => reference::zlpr(&loss.with_reduction(Reduction::None), inputs),
            Config::Bce(loss) => reference::bce(&loss.with_reduction(Reduction::None), inputs),
        }
        .unwrap()
    }
}

/// Every loss, with masks, weights and upstream gradients in all element types, is that of the library.
fn family(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("family-{backend}"));
    let golden = Golden::read();
    let (s, u) = (golden.rows("s"), golden.rows("u"));
    let (y, t) = (golden.rows("y"), golden.rows("t"));
    let class_weight = [0.5, 1.0, 2.0, 1.5, 0.25];
    let (sample_weight, grad_loss) = ([0.75, 2.0], [-1.5, 0.5]);
    let class_mask = [1, 1, 0, 1, 1];
    let mask = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1];
    let weight = [1.0, 0.5, 2.0, 0.0, 1.5, 3.0, -1.0, 0.25, 1.0, 0.75];
    let bools = |flags: &[u8]| -> Vec<bool> { flags.iter().map(|flag| *flag == 1).collect() };

    let half = |row_mean| Bce {
        pos_weight: 2.5,
        smoothing: 0.1,
        row_mean,
        ..Bce::default()
    };
    let bce = ["--pos-weight", "2.5", "--smoothing", "0.1"];
    let table: [(&str, &[&str], Config); 11] = [
        ("zlpr", &[], Config::Zlpr(Zlpr::hard())),
        (
            "zlpr",
            &["--smoothing", "0.1"],
            Config::Zlpr(Zlpr::soft().with_smoothing(0.1)),
        ),
        ("zlpr-soft", &[], Config::Zlpr(Zlpr::soft())),
        (
            "zlpr-soft",
            &["--smoothing", "0.25"],
            Config::Zlpr(Zlpr::soft().with_smoothing(0.25)),
        ),
        ("zlpr-kl", &[], Config::Zlpr(Zlpr::kl_symmetric(1.0))),
        (
            "zlpr-kl",
            &["--beta", "2"],
            Config::Zlpr(Zlpr::kl_symmetric(2.0)),
        ),
        (
            "zlpr-kl",
            &["--kl", "excess"],
            Config::Zlpr(Zlpr::kl_excess()),
        ),
        ("lsep", &[], Config::Zlpr(Zlpr::lsep())),
        ("two-way", &[], Config::Zlpr(Zlpr::two_way(4.0, 1.0))),
        (
            "two-way",
            &["--t-pos", "2", "--t-neg", "0.5"],
            Config::Zlpr(Zlpr::two_way(2.0, 0.5)),
        ),
        ("bce", &bce, Config::Bce(half(false))),
    ];
    let mean = [&bce[..], &["--row", "mean"]].concat();
    let table = table
        .into_iter()
        .chain([("bce", &mean[..], Config::Bce(half(true)))]);
    for (loss, options, config) in table {
        for dtype in DTYPES {
            let (name, grad, targets) = match loss {
                "zlpr-kl" => ("other", Some("grad_other"), &u),
                "zlpr-soft" | "bce" => ("targets", Some("grad_targets"), &t),
                _ => ("targets", None, &y),
            };
            let shape = [2, 5];
            let tensors = Tensors::default()
                .real("logits", dtype, &shape, &s)
                .real(name, dtype, &shape, targets)
                .raw("class_mask", Dtype::BOOL, &[5], class_mask.to_vec())
                .u8("mask", &shape, &mask)
                .real("sample_weight", Dtype::BF16, &[2], &sample_weight)
                .real("class_weight", Dtype::F16, &[5], &class_weight)
                .f32("grad_loss", &[2], &grad_loss)
                .i64("something_else", &[-1]);
            // What is masked may weigh anything.
            let weighted = loss != "zlpr-kl";
            let tensors = match weighted {
                true => tensors.real("weight", dtype, &shape, &weight),
                false => tensors,
            };
            let what = format!("{backend} {loss} {options:?} {dtype}");
            let options = [options, &["--backend", backend, "--reduction", "none"]].concat();
            let (_, written) = run(&folder, &tensors, loss, &options);
            let truth = config.truth(&RowInputs {
                rows: 2,
                cols: 5,
                logits: &rounded(dtype, &s),
                targets: &rounded(dtype, targets),
                class_mask: Some(&bools(&class_mask)),
                mask: Some(&bools(&mask)),
                sample_weight: Some(&sample_weight),
                class_weight: Some(&class_weight),
                weight: weighted.then_some(&weight),
                grad_loss: Some(&grad_loss),
                ..RowInputs::default()
            });
            let mut wanted: Vec<(&str, &[usize], &[f64])> =
                vec![("grad_logits", &[2, 5], &truth.grad_logits)];
            wanted.extend(grad.map(|grad| (grad, &[2, 5][..], &truth.grad_targets[..])));
            wanted.push(("loss", &[2], &truth.loss));
            wanted.sort_by(|a, b| a.0.cmp(b.0));
            compare(&what, &written, &wanted, tolerance);
        }
    }
}

#[test]
fn every_loss_on_the_reference() {
    family("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn every_loss_on_a_gpu() {
    family("gpu", 1e-5);
}

#[test]
fn lambda_of_hill_and_smooth_of_dice() {
    let folder = Folder::new("lambda");
    let s = [1.0, -2.0, 0.5, 0.0, 3.0, -1.0];
    let y = [1.0, 0.25, 0.0, 0.0, 0.75, 1.0];
    let tensors = Tensors::default()
        .f32("logits", &[2, 3], &s)
        .f32("targets", &[2, 3], &y);
    let inputs = RowInputs {
        rows: 2,
        cols: 3,
        logits: &s,
        targets: &y,
        ..RowInputs::default()
    };
    let hill = reference::hill(&Hill::default().with_lambda(2.5), &inputs);
    let dice = reference::dice(&Dice::default().with_smooth(0.25), &inputs);
    for (loss, option, value, truth) in [
        ("hill", "--lambda", "2.5", hill.unwrap()),
        ("dice", "--smooth", "0.25", dice.unwrap()),
    ] {
        let options = [option, value, "--backend", "cpu"];
        let (_, written) = run(&folder, &tensors, loss, &options);
        let wanted: [(&str, &[usize], &[f64]); 3] = [
            ("grad_logits", &[2, 3], &truth.grad_logits),
            ("grad_targets", &[2, 3], &truth.grad_targets),
            ("loss", &[], &truth.loss),
        ];
        compare(loss, &written, &wanted, 1e-6);
    }
}

#[test]
fn a_threshold_is_shared_as_its_shape_says() {
    let folder = Folder::new("threshold");
    let table: [([usize; 2], &[usize], &str); 11] = [
        ([2, 3], &[], "batch"),
        ([2, 3], &[1], "batch"),
        ([2, 3], &[1, 1], "batch"),
        ([2, 3], &[2], "row"),
        ([2, 3], &[2, 1], "row"),
        ([2, 3], &[3], "label"),
        ([2, 3], &[1, 3], "label"),
        ([3, 3], &[3], "row"),
        ([3, 3], &[3, 1], "row"),
        ([3, 3], &[1, 3], "label"),
        ([1, 3], &[3], "label"),
    ];
    for ([rows, cols], shape, shared) in table {
        let all = rows * cols;
        let s: Vec<f64> = (0..all).map(|i| i as f64 * 0.5 - 1.0).collect();
        let y: Vec<f64> = (0..all).map(|i| f64::from(i % 3 == 1)).collect();
        let t: Vec<f64> = (0..shape.iter().product())
            .map(|i: usize| i as f64 * 0.25 - 0.5)
            .collect();
        let tensors = Tensors::default()
            .f32("logits", &[rows, cols], &s)
            .f32("targets", &[rows, cols], &y)
            .f32("threshold", shape, &t);
        let (_, written) = run(&folder, &tensors, "tlpr", &["--backend", "cpu"]);
        let truth = reference::zlpr(
            &Zlpr::hard(),
            &RowInputs {
                rows,
                cols,
                logits: &s,
                targets: &y,
                threshold: Some(match shared {
                    "batch" => Threshold::Batch(&t[..]),
                    "row" => Threshold::Row(&t[..]),
                    _ => Threshold::Label(&t[..]),
                }),
                ..RowInputs::default()
            },
        )
        .unwrap();
        let wanted: [(&str, &[usize], &[f64]); 3] = [
            ("grad_logits", &[rows, cols], &truth.grad_logits),
            ("grad_threshold", shape, &truth.grad_threshold),
            ("loss", &[], &truth.loss),
        ];
        compare(&format!("{shape:?} {shared}"), &written, &wanted, 1e-6);
    }
}

#[test]
fn the_result_is_one_object_with_these_fields() {
    let folder = Folder::new("json");
    let input = folder.write("in.safetensors", &good().bytes());
    let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
    assert_eq!(done.stderr, "");
    let json = done.json();
    let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(|k| &k[..]).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "adapter",
            "backend",
            "cols",
            "driver",
            "dtype",
            "loss",
            "reduction",
            "rows",
            "targets",
            "variant"
        ]
    );
    assert_eq!(json["variant"], "reference");
    assert_eq!(json["backend"], "cpu");
    assert_eq!(json["rows"], 2);
    assert_eq!(json["cols"], 3);
    assert_eq!(json["dtype"], "f32");
    assert_eq!(json["reduction"], "mean");
    assert_eq!(folder.names(), ["in.safetensors"]);
}

#[test]
fn losses_that_json_has_no_number_for_have_names() {
    let folder = Folder::new("names");
    for (logit, weight, name) in [
        (f64::NAN, 1.0, "NaN"),
        (f64::INFINITY, 1.0, "Infinity"),
        (f64::INFINITY, -1.0, "-Infinity"),
    ] {
        let tensors = good()
            .f32("logits", &[2, 3], &[1.0, logit, 0.5, 0.0, 3.0, -1.0])
            .f32("sample_weight", &[2], &[weight, 1.0]);
        let (json, _) = run(&folder, &tensors, "zlpr", &["--backend", "cpu"]);
        assert_eq!(json["loss"], name);
    }
}

/// A setting for each label, the same for all, is the setting.
#[test]
fn a_setting_may_be_given_for_each_label() {
    let folder = Folder::new("by-label");
    for (loss, tensor, option, value) in [
        ("bce", "pos_weight", "--pos-weight", 2.5),
        ("focal", "alpha", "--alpha", 0.75),
    ] {
        let loss_of = |tensors: &Tensors, args: &[&str]| {
            let args = [&["--backend", "cpu"], args].concat();
            run(&folder, tensors, loss, &args).0["loss"].clone()
        };
        let each = good().f32(tensor, &[3], &[value; 3]);
        let all = loss_of(&good(), &[option, &value.to_string()]);
        assert_eq!(loss_of(&each, &[]), all, "{loss}");
        let other = good().f32(tensor, &[3], &[value, 0.0, value]);
        assert_ne!(loss_of(&other, &[]), all, "{loss}");
        let input = folder.write(
            "in.safetensors",
            &good().f32(tensor, &[3], &[-1.0; 3]).bytes(),
        );
        let done = wgloss(&["run", loss, &input, "--backend", "cpu"]);
        let line = done.refusal(2);
        assert!(line.starts_with(&format!("{tensor}: expected ")), "{line}");
        let short = folder.write(
            "in.safetensors",
            &good().f32(tensor, &[2], &[0.5; 2]).bytes(),
        );
        let done = wgloss(&["run", loss, &short, "--backend", "cpu"]);
        let line = done.refusal(2);
        assert!(
            line.starts_with(&format!("{tensor}: expected [3]")),
            "{line}"
        );
    }
    for (loss, tensor, option, value) in [
        ("bce", "pos_weight", "--pos-weight", "1"),
        ("focal", "alpha", "--alpha", "0.25"),
        ("focal", "alpha", "--alpha", "none"),
    ] {
        let both = good().f32(tensor, &[3], &[0.5; 3]);
        let input = folder.write("in.safetensors", &both.bytes());
        let done = wgloss(&["run", loss, &input, option, value]);
        assert_eq!(done.refusal(2), format!("{tensor}: {option} is given too"));
    }
}

/// With gradient accumulation the divisor is the rows of the whole step.
#[test]
fn the_mean_may_be_over_the_rows_of_a_whole_step() {
    let folder = Folder::new("mean-over");
    let loss = |args: &[&str]| {
        let args = [&["--backend", "cpu"], args].concat();
        run(&folder, &good(), "bce", &args).0["loss"]
            .as_f64()
            .unwrap()
    };
    let (sum, over) = (loss(&["--reduction", "sum"]), loss(&["--mean-over", "8"]));
    assert!((sum / 8.0 - over).abs() < 1e-6, "{sum} {over}");
    let input = folder.write("in.safetensors", &good().bytes());
    for (args, message) in [
        (
            &["--mean-over", "0"][..],
            "reduction: expected a finite number of at least ",
        ),
        (
            &["--mean-over", "8", "--reduction", "sum"],
            "--mean-over: does not go together with --reduction",
        ),
    ] {
        let done = wgloss(&[&["run", "bce", &input], args].concat());
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}");
    }
}

/// Counts are for WDL without its presence term.
#[test]
fn counts_are_targets_where_nothing_is_unbounded() {
    let folder = Folder::new("counts");
    let counts = good().f32("targets", &[2, 3], &[3.0, 0.0, 17.0, 1.0, 0.0, 0.0]);
    let (json, _) = run(
        &folder,
        &counts,
        "wdl",
        &["--backend", "cpu", "--lambda-presence", "0"],
    );
    assert!(json["loss"].as_f64().unwrap().is_finite());
}

/// What a mask or a weight of 0 leaves out may be anything: it is how people mark missing labels.
#[test]
fn what_is_left_out_is_not_looked_at() {
    let folder = Folder::new("left-out");
    let nan = f64::NAN;
    let clean = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0];
    let float = |targets: &[f64]| good().f32("targets", &[2, 3], targets);
    let mask = |tensors: Tensors| tensors.u8("mask", &[2, 3], &[1, 0, 1, 1, 1, 1]);
    let class_mask = |tensors: Tensors| tensors.u8("class_mask", &[3], &[1, 0, 1]);
    let weight = |tensors: Tensors| tensors.f32("sample_weight", &[2], &[0.0, 1.0]);
    for loss in [
        "zlpr",
        "zlpr-soft",
        "bce",
        "focal",
        "asl",
        "hill",
        "splc",
        "dice",
        "softmax-ce",
        "wdl",
    ] {
        let args: &[&str] = &["--backend", "cpu"];
        for marker in [nan, -1.0, -100.0, f64::INFINITY] {
            let mut marked = clean;
            marked[1] = marker;
            let loss_of = |tensors: &Tensors| run(&folder, tensors, loss, args).0["loss"].clone();
            assert_eq!(
                loss_of(&mask(float(&marked))),
                loss_of(&mask(float(&clean))),
                "{loss}"
            );
            let row = [marker, marker, marker, 0.0, 1.0, 1.0];
            let logits = [marker, nan, 0.5, 0.0, 3.0, -1.0];
            let absent = weight(float(&row)).f32("logits", &[2, 3], &logits);
            assert_eq!(loss_of(&absent), loss_of(&weight(float(&clean))), "{loss}");
            marked[4] = marker;
            let masked = loss_of(&class_mask(float(&marked)));
            assert_eq!(masked, loss_of(&class_mask(float(&clean))), "{loss}");
        }
        let flags = |second: u8| good().u8("targets", &[2, 3], &[1, second, 0, 0, 1, 1]);
        let (marked, _) = run(&folder, &mask(flags(255)), loss, args);
        let (clean, _) = run(&folder, &mask(flags(0)), loss, args);
        assert_eq!(marked["loss"], clean["loss"], "{loss}");
    }
}

/// So may what else stands in a row of weight 0: the list of its positives, its permutation and its threshold.
#[test]
fn what_a_row_of_weight_0_has_is_not_looked_at() {
    let folder = Folder::new("weightless");
    let args: &[&str] = &["--backend", "cpu"];
    let logits = good()
        .without("targets")
        .f32("sample_weight", &[2], &[0.0, 1.0]);
    let lists = logits.clone().i64("target_offsets", &[0, 2, 4]);
    let edges = [1_u32, 0].map(u32::to_le_bytes).concat();
    let of = |loss: &str, indices: &[i64]| {
        let tensors = lists.clone().i64("target_indices", indices);
        let tensors = match loss {
            "tlpr" => tensors.f32("threshold", &[1], &[0.0]),
            "mcm" => tensors.raw("edges", Dtype::U32, &[1, 2], edges.clone()),
            _ => tensors,
        };
        run(&folder, &tensors, loss, args).1
    };
    for loss in CATALOG.iter().filter(|loss| loss.name != "zlpr-kl") {
        let clean = of(loss.name, &[0, 1, 1, 2]);
        for marker in [-1, -100, 3, i64::from(u32::MAX), i64::MAX] {
            assert_eq!(of(loss.name, &[marker, 1, 1, 2]), clean, "{}", loss.name);
        }
    }
    assert_eq!(of("mcm", &[-1, 9, 1, 2]), of("mcm", &[0, 1, 1, 2]));
    // One that counts is looked at.
    let wrong = lists.i64("target_indices", &[-1, 9, 1, 3]);
    let input = folder.write("in.safetensors", &wrong.bytes());
    let done = wgloss(&["run", "zlpr", &input, "--backend", "cpu"]);
    let wanted = "target_indices: expected labels below 3, found 3 at [3]";
    assert_eq!(done.refusal(2), wanted);

    let dense = logits.u8("targets", &[2, 3], &[1, 0, 0, 0, 1, 1]);
    let thresholds = |first: f64| {
        let tensors = dense.clone().f32("threshold", &[2, 1], &[first, 0.5]);
        run(&folder, &tensors, "tlpr", args).1
    };
    assert_eq!(thresholds(f64::NAN), thresholds(0.0));
    let permutations = |first: &[i64]| {
        let rows: Vec<u8> = [first, &[2, 0, 1]]
            .concat()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let tensors = dense.clone().raw("permutation", Dtype::I64, &[2, 3], rows);
        run(&folder, &tensors, "wdl", args).1
    };
    assert_eq!(permutations(&[-1, 7, 7]), permutations(&[0, 1, 2]));
}

#[test]
fn empty_batches_and_rows_cost_nothing() {
    let folder = Folder::new("empty");
    for shape in [[0, 3], [2, 0], [0, 0]] {
        let logits = Tensors::default().f32("logits", &shape, &[]);
        for (_, tensors) in in_all_forms(&logits, Dtype::F32, shape, &[]) {
            let (json, written) = run(&folder, &tensors, "zlpr", &["--backend", "cpu"]);
            assert_eq!(json["loss"], 0.0, "{shape:?}");
            let wanted: [(&str, &[usize], &[f64]); 2] =
                [("grad_logits", &shape, &[]), ("loss", &[], &[0.0])];
            compare("empty", &written, &wanted, 0.0);
            let options = ["--backend", "cpu", "--reduction", "none"];
            let (json, written) = run(&folder, &tensors, "zlpr", &options);
            assert_eq!(json["loss"], Value::Null, "{shape:?}");
            assert_eq!(written[1].1, [shape[0]]);
        }
    }
}

/// Integers are labels, whatever is not 0 true: in a loss of hard labels, of soft ones, of proportions, and in `mcm`, where of
/// what a mask leaves out only a plain 1 is.
#[test]
fn integers_are_labels() {
    let folder = Folder::new("integers");
    let y = [1, 0, 0, 0, 1, 1];
    let words = [1, 0, 0, 0, 0x7fc0_0000, 0x8000_0000_u32];
    let bytes = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    let wide = [1_i64, 0, 0, 0, -1, 1 << 32];
    let wide = wide.iter().flat_map(|value| value.to_le_bytes()).collect();
    let types = [
        (Dtype::U32, bytes(&words)),
        (Dtype::I32, bytes(&words)),
        (Dtype::I64, wide),
    ];
    let flags = good()
        .u8("targets", &[2, 3], &y)
        .u32("permutation", &[2, 0, 1]);
    let rows = |loss: &str| match loss {
        "mcm" => {
            flags
                .clone()
                .without("permutation")
                .raw("edges", Dtype::U32, &[1, 2], bytes(&[1, 0]))
        }
        "wdl" => flags.clone(),
        _ => flags.clone().without("permutation"),
    };
    let options = ["--backend", "cpu"];
    for loss in ["zlpr", "zlpr-soft", "wdl", "mcm"] {
        let (_, wanted) = run(&folder, &rows(loss), loss, &options);
        for (dtype, bytes) in &types {
            let tensors = rows(loss).raw("targets", *dtype, &[2, 3], bytes.clone());
            let (_, written) = run(&folder, &tensors, loss, &options);
            assert_eq!(written, wanted, "{loss} {dtype}");
        }
    }
    let masked = rows("mcm").u8("mask", &[2, 3], &[1, 0, 1, 1, 0, 1]);
    let other = [1, 0, 0, 0, 0, 1];
    let (_, wanted) = run(
        &folder,
        &masked.clone().u8("targets", &[2, 3], &other),
        "mcm",
        &options,
    );
    for (dtype, bytes) in &types {
        let tensors = masked
            .clone()
            .raw("targets", *dtype, &[2, 3], bytes.clone());
        let (_, written) = run(&folder, &tensors, "mcm", &options);
        assert_eq!(written, wanted, "masked {dtype}");
    }
}

/// The mean over elements divides by those that neither a mask nor a weight of 0 leaves out.
#[test]
fn means_over_elements_count_them() {
    let folder = Folder::new("mean-elements");
    let logits: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.5 - 3.0).collect();
    let targets: Vec<f64> = (0..12).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    let all = Tensors::default()
        .f32("logits", &[3, 4], &logits)
        .f32("targets", &[3, 4], &targets);
    let masked = all
        .clone()
        .u8("class_mask", &[4], &[1, 1, 0, 1])
        .u8("mask", &[3, 4], &[1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
        .f32("sample_weight", &[3], &[2.0, 0.0, 0.5]);
    // Of the nine outside class 2, one in row 0 and one in row 2 are masked, and row 1 weighs nothing.
    for (tensors, count) in [(all, "12"), (masked, "4")] {
        for loss in ["bce", "focal", "asl", "hill", "splc"] {
            let options = ["--backend", "cpu", "--reduction", "mean-elements"];
            let (line, found) = run(&folder, &tensors, loss, &options);
            assert_eq!(line["reduction"], "mean-elements");
            let options = ["--backend", "cpu", "--mean-over", count];
            let (_, wanted) = run(&folder, &tensors, loss, &options);
            assert_eq!(found, wanted, "{loss} {count}");
        }
    }
}

/// The two-way loss over classes is that of the turned batch over samples; the published loss is the sum of both means over
/// what has a positive.
#[test]
fn halves_of_the_two_way_loss() {
    let folder = Folder::new("halves");
    let at = |row: usize, col: usize| ((row * 7 + col * 3) % 11) as f64 * 0.5 - 2.5;
    let y =
        |row: usize, col: usize| f64::from(u8::from((row + 2 * col).is_multiple_of(4) && col != 1));
    let table = |value: &dyn Fn(usize, usize) -> f64, turned: bool| -> Vec<f64> {
        match turned {
            false => (0..15).map(|i| value(i / 3, i % 3)).collect(),
            true => (0..15).map(|i| value(i % 5, i / 5)).collect(),
        }
    };
    let tensors = |turned: bool| {
        let shape = if turned { [3, 5] } else { [5, 3] };
        Tensors::default()
            .f32("logits", &shape, &table(&at, turned))
            .f32("targets", &shape, &table(&y, turned))
    };
    let of = |turned: bool, options: &[&str]| {
        let options = [&["--backend", "cpu"], options].concat();
        run(&folder, &tensors(turned), "two-way", &options).1
    };
    let get = |written: &Written, name: &str| -> Vec<f64> {
        written
            .iter()
            .find(|(found, ..)| found == name)
            .unwrap()
            .2
            .clone()
    };
    for reduction in ["mean", "sum", "none", "mean-active"] {
        let turned = of(true, &["--reduction", reduction]);
        let classes = of(false, &["--half", "class", "--reduction", reduction]);
        close(
            reduction,
            &get(&classes, "loss"),
            &get(&turned, "loss"),
            1e-6,
        );
        let grad = get(&turned, "grad_logits");
        let grad: Vec<f64> = (0..15).map(|i| grad[i % 3 * 5 + i / 3]).collect();
        close(reduction, &get(&classes, "grad_logits"), &grad, 1e-6);
        if reduction != "none" {
            let samples = of(false, &["--half", "sample", "--reduction", reduction]);
            let both = of(false, &["--half", "both", "--reduction", reduction]);
            for name in ["loss", "grad_logits"] {
                let (one, two) = (get(&samples, name), get(&classes, name));
                let sum: Vec<f64> = one.iter().zip(two).map(|(a, b)| a + b).collect();
                close(reduction, &get(&both, name), &sum, 1e-6);
            }
        }
    }
    // Class 1 has no positive, so that the mean over active classes divides by two.
    let (sum, mean) = (
        of(false, &["--half", "class", "--reduction", "sum"]),
        of(false, &["--half", "class", "--reduction", "mean-active"]),
    );
    close(
        "active",
        &get(&mean, "loss"),
        &[get(&sum, "loss")[0] / 2.0],
        1e-6,
    );
    for (options, message) in [
        (
            ["--half", "both", "--reduction", "none"],
            "reduction: both halves have a mean or a sum each",
        ),
        (
            ["--half", "both", "--mean-over", "3"],
            "reduction: both halves have a mean or a sum each",
        ),
        (
            ["--half", "neither", "--reduction", "sum"],
            "--half: expected sample, class or both, found neither",
        ),
    ] {
        let input = folder.write("in.safetensors", &tensors(false).bytes());
        let args = [
            &["run", "two-way", &input, "--backend", "cpu"],
            &options[..],
        ]
        .concat();
        assert_eq!(wgloss(&args).refusal(2), message);
    }
}
