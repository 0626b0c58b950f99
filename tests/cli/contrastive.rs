//! `wgloss run contrastive`.

use crate::support::*;
use safetensors::tensor::Dtype;
use serde_json::Value;
use wgloss::reference::{ContrastiveInputs, ContrastiveKeys, contrastive};
use wgloss::{Contrastive, ContrastiveReduction};

/// Options of every member of the family and the name of its golden values.
const FAMILY: [(&str, &str); 9] = [
    ("", "outside/count"),
    ("--weighting simdis --normalizer ksum", "outside/ksum"),
    ("--placement numerator", "num/count"),
    ("--placement both --normalizer count", "numden/count"),
    ("--weighting any", "any/count"),
    ("--weighting all", "all/count"),
    ("--weighting mulsupcon", "mulsupcon/count"),
    ("--weighting mulsupcon-sum", "mulsupcon_sum/count"),
    ("--weighting jaccard --threshold 0.5", "jaccard/count"),
];

fn simdissim() -> Value {
    Golden::read().0["simdissim"].clone()
}

/// The six samples, their sets in each form.
fn six() -> Vec<Tensors> {
    let golden = simdissim();
    let plain = Tensors::default().f32("embeddings", &[6, 2], &numbers(&golden["X"]));
    let y: Vec<u8> = numbers(&golden["Y"]).iter().map(|y| *y as u8).collect();
    let words: Vec<u32> = y
        .chunks(3)
        .map(|y| u32::from(y[0] + 2 * y[1] + 4 * y[2]))
        .collect();
    let words = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let indices: Vec<i64> = y
        .iter()
        .enumerate()
        .filter(|(_, y)| **y == 1)
        .map(|(i, _)| i as i64 % 3)
        .collect();
    vec![
        plain.clone().u8("labels", &[6, 3], &y),
        plain.clone().raw("labels", Dtype::BOOL, &[6, 3], y.clone()),
        plain.clone().raw("label_bits", Dtype::U32, &[6, 1], words),
        plain
            .u32("label_offsets", &[0, 2, 4, 5, 7, 10, 10])
            .i64("label_indices", &indices),
    ]
}

fn golden_contrastive(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("contrastive-{backend}"));
    let cases = &simdissim()["cases"];
    for (turn, (options, name)) in FAMILY.into_iter().enumerate() {
        let want = &cases[name];
        let [mean, sum, rows, dx, dtau] =
            ["mean", "sum", "per_anchor", "dX", "dtau"].map(|key| numbers(&want[key]));
        for (form, tensors) in six().iter().enumerate() {
            // Compiling kernels takes a software driver seconds: there the forms take turns.
            if backend == "gpu" && form != turn % 4 {
                continue;
            }
            let mut all = vec![
                "--backend",
                backend,
                "--temperature",
                "0.5",
                "--reduction",
                "mean",
            ];
            all.extend(options.split_whitespace());
            let what = format!("{backend} {name} {form}");
            let (json, written) = run(&folder, tensors, "contrastive", &all);
            let wanted: [(&str, &[usize], &[f64]); 4] = [
                ("grad_embeddings", &[6, 2], &dx),
                ("grad_temperature", &[1], &dtau),
                ("loss", &[], &mean),
                ("loss_rows", &[6], &rows),
            ];
            compare(&what, &written, &wanted, tolerance);
            let found = json["loss"].as_f64().unwrap();
            close("json: loss", &[found], &mean, tolerance);
            assert_eq!(json["backend"], backend);
            assert_eq!(
                [
                    &json["rows"],
                    &json["keys"],
                    &json["dims"],
                    &json["reduction"]
                ],
                [
                    &Value::from(6),
                    &Value::from(6),
                    &Value::from(2),
                    &Value::from("mean")
                ]
            );
            if backend == "cpu" && form == 0 || turn == 1 {
                for (reduction, loss) in [("sum", sum[0]), ("mean-all", sum[0] / 6.0)] {
                    all[5] = reduction;
                    let (json, _) = run(&folder, tensors, "contrastive", &all);
                    let found = json["loss"].as_f64().unwrap();
                    close("json: loss", &[found], &[loss], tolerance);
                }
                all[5] = "none";
                let (json, written) = run(&folder, tensors, "contrastive", &all);
                assert_eq!(json["loss"], Value::Null);
                close(&what, &written[2].2, &rows, tolerance);
                assert_eq!(written[2].1, [6]);
            }
        }
    }
    // The authors of MulSupCon divide by the labels of the batch, of which there are ten.
    let options = [
        "--backend",
        backend,
        "--weighting",
        "mulsupcon-sum",
        "--temperature",
        "0.5",
        "--reduction",
        "mean-labels",
    ];
    let (json, _) = run(&folder, &six()[0], "contrastive", &options);
    let sum = numbers(&cases["mulsupcon_sum/count"]["sum"])[0];
    close(
        "json: loss",
        &[json["loss"].as_f64().unwrap()],
        &[sum / 10.0],
        tolerance,
    );
    assert_eq!(json["reduction"], "mean-labels");
}

#[test]
fn golden_contrastive_on_the_reference() {
    golden_contrastive("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn golden_contrastive_on_a_gpu() {
    golden_contrastive("gpu", 1e-5);
}

/// Keys in other forms, a self index, an upstream gradient, every element type.
fn with_keys(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("contrastive-keys-{backend}"));
    let x: Vec<f64> = (0..12)
        .map(|i| f64::from(i * 7 % 11) / 4.0 - 1.25)
        .collect();
    let keys: Vec<f64> = (0..15).map(|i| f64::from(i * 5 % 13) / 4.0 - 1.5).collect();
    let y = [1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1];
    let key_y = [1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0];
    let own = [0_i64, -1, 2, -1];
    let upstream = [0.5, -1.0, 2.0, 1.0];
    let set = |y: &[u8]| -> Vec<bool> { y.iter().map(|y| *y == 1).collect() };
    let (sets, key_sets) = (set(&y), set(&key_y));
    let index: Vec<Option<usize>> = own.iter().map(|k| usize::try_from(*k).ok()).collect();
    let members = [
        ("simdis", Contrastive::sim_dis()),
        ("mulsupcon", Contrastive::mul_sup_con()),
        ("infonce", Contrastive::info_nce()),
    ];
    for (name, config) in members {
        for dtype in DTYPES {
            let tensors = Tensors::default()
                .real("embeddings", dtype, &[4, 3], &x)
                .real("keys", dtype, &[5, 3], &keys)
                .i64("self_index", &own)
                .f32("grad_loss", &[4], &upstream);
            // Pairs have no labels.
            let paired = name == "infonce";
            let tensors = match paired {
                true => tensors,
                false => tensors
                    .u8("labels", &[4, 4], &y)
                    .u32("key_label_offsets", &[0, 2, 3, 7, 7, 9])
                    .u32("key_label_indices", &[0, 2, 1, 0, 1, 2, 3, 1, 2]),
            };
            let config = config
                .with_temperature(0.25)
                .with_reduction(ContrastiveReduction::None);
            let wide = |values: &[f64]| rounded(dtype, values);
            let truth = contrastive(
                &config,
                &ContrastiveInputs {
                    rows: 4,
                    dims: 3,
                    classes: 4,
                    embeddings: &wide(&x),
                    labels: &sets,
                    keys: Some(ContrastiveKeys {
                        rows: 5,
                        embeddings: &wide(&keys),
                        labels: &key_sets,
                    }),
                    self_index: Some(&index),
                    grad_loss: Some(&upstream),
                    ..ContrastiveInputs::default()
                },
            )
            .unwrap();
            let options = [
                "--backend",
                backend,
                "--weighting",
                name,
                "--temperature",
                "0.25",
                "--reduction",
                "none",
            ];
            let (json, written) = run(&folder, &tensors, "contrastive", &options);
            let wanted: [(&str, &[usize], &[f64]); 5] = [
                ("grad_embeddings", &[4, 3], &truth.grad_embeddings),
                ("grad_keys", &[5, 3], &truth.grad_keys),
                ("grad_temperature", &[1], &truth.grad_temperature),
                ("loss", &[4], &truth.loss),
                ("loss_rows", &[4], &truth.loss_rows),
            ];
            compare(
                &format!("{backend} {name} {dtype}"),
                &written,
                &wanted,
                tolerance,
            );
            assert_eq!(
                [&json["keys"], &json["labels"]],
                [5, if paired { 0 } else { 4 }]
            );
        }
    }
}

#[test]
fn keys_on_the_reference() {
    with_keys("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn keys_on_a_gpu() {
    with_keys("gpu", 2e-5);
}

/// A sample that a mask leaves out is not looked at: what is written is that of the batch without it.
fn masked(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("contrastive-masked-{backend}"));
    let (nan, far) = (f64::NAN, 1 << 40);
    let small = Tensors::default()
        .f32("embeddings", &[3, 2], &[3.0, 4.0, 4.0, 3.0, 0.0, 5.0])
        .f32("keys", &[2, 2], &[1.0, -1.0, 2.0, 1.0]);
    let sets = small.clone().u8("labels", &[3, 2], &[1, 1, 1, 0, 0, 1]);
    let sets = sets.u8("key_labels", &[2, 2], &[1, 0, 1, 1]);
    let paired = small.i64("self_index", &[1, 0, 1]);
    let x = [3.0, 4.0, nan, 1.0, 4.0, 3.0, 0.0, 5.0];
    let large = Tensors::default()
        .f32("embeddings", &[4, 2], &x)
        .f32("keys", &[3, 2], &[1.0, -1.0, 2.0, 1.0, f64::INFINITY, 0.0])
        .u8("row_mask", &[4], &[1, 0, 1, 1])
        .u8("key_mask", &[3], &[1, 1, 0]);
    let bytes = large
        .clone()
        .u8("labels", &[4, 2], &[1, 1, 7, 255, 1, 0, 0, 1]);
    let bytes = bytes.u8("key_labels", &[3, 2], &[1, 0, 1, 1, 9, 1]);
    let lists = large
        .clone()
        .u32("label_offsets", &[0, 2, 4, 5, 6])
        .i64("label_indices", &[0, 1, -1, far, 0, 1])
        .u32("key_label_offsets", &[0, 1, 3, 4])
        .i64("key_label_indices", &[0, 0, 1, -100]);
    let named = large.i64("self_index", &[1, far, 0, 1]);
    for (options, small, large) in [
        ("--reduction mean-all", &sets, &bytes),
        ("--weighting mulsupcon", &sets, &lists),
        ("--weighting infonce", &paired, &named),
    ] {
        let mut all = vec!["--backend", backend];
        all.extend(options.split_whitespace());
        let (_, truth) = run(&folder, small, "contrastive", &all);
        let (_, written) = run(&folder, large, "contrastive", &all);
        let wanted: Vec<(&str, Vec<usize>, Vec<f64>)> = truth
            .into_iter()
            .map(|(name, _, mut values)| match &name[..] {
                "grad_embeddings" => {
                    values.splice(2..2, [0.0; 2]);
                    ("grad_embeddings", vec![4, 2], values)
                }
                "grad_keys" => ("grad_keys", vec![3, 2], [&values[..], &[0.0; 2]].concat()),
                "loss_rows" => {
                    values.insert(1, 0.0);
                    ("loss_rows", vec![4], values)
                }
                "loss" => ("loss", vec![], values),
                _ => ("grad_temperature", vec![1], values),
            })
            .collect();
        let wanted: Vec<(&str, &[usize], &[f64])> = wanted
            .iter()
            .map(|(name, shape, values)| (*name, &shape[..], &values[..]))
            .collect();
        compare(
            &format!("{backend} {options}"),
            &written,
            &wanted,
            tolerance,
        );
    }
}

/// Of three samples the first has a positive and a negative.
#[test]
fn denominators_by_name() {
    let folder = Folder::new("contrastive-denominators");
    let tensors = Tensors::default()
        .f32("embeddings", &[3, 2], &[1.0, 0.0, 0.6, 0.8, 0.0, 1.0])
        .u8("labels", &[3, 1], &[1, 1, 0]);
    // Similarities 1.2 and 0 of the first, 1.2 and 1.6 of the second.
    let both = |s: f64, a: f64| (s.exp() + a.exp()).ln() - s;
    for (name, first, second) in [
        ("all", both(1.2, 0.0), both(1.2, 1.6)),
        ("negatives", -1.2, 1.6 - 1.2),
        ("one-positive", both(1.2, 0.0), both(1.2, 1.6)),
    ] {
        let options = [
            "--backend",
            "cpu",
            "--temperature",
            "0.5",
            "--denominator",
            name,
        ];
        let (json, written) = run(&folder, &tensors, "contrastive", &options);
        let loss = json["loss"].as_f64().unwrap();
        close(name, &[loss], &[(first + second) / 2.0], 1e-6);
        let (.., rows) = written
            .iter()
            .find(|(name, ..)| name == "loss_rows")
            .unwrap();
        close(name, rows, &[first, second, 0.0], 1e-6);
    }
}

/// What stands in the lists of rows that are left out is no label: there are as many as the largest of the others needs.
#[test]
fn labels_of_masked_rows_are_not_counted() {
    let folder = Folder::new("contrastive-masked-labels");
    for (indices, labels) in [([0, 4, 9], 5), ([-1, 2, 1 << 40], 3)] {
        let tensors = Tensors::default()
            .f32("embeddings", &[3, 1], &[1.0, 2.0, 3.0])
            .u32("label_offsets", &[0, 1, 2, 3])
            .i64("label_indices", &indices);
        for (mask, labels) in [([0, 1, 0], labels), ([0, 0, 0], 0)] {
            let tensors = tensors.clone().u8("row_mask", &[3], &mask);
            let (json, _) = run(&folder, &tensors, "contrastive", &["--backend", "cpu"]);
            assert_eq!(json["labels"], labels, "{indices:?} {mask:?}");
        }
    }
}

#[test]
fn masked_samples_on_the_reference() {
    masked("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn masked_samples_on_a_gpu() {
    masked("gpu", 2e-5);
}

#[test]
fn empty_batches_of_embeddings_cost_nothing() {
    let folder = Folder::new("contrastive-empty");
    for (rows, dims) in [(0, 4), (3, 0)] {
        let tensors = Tensors::default().f32("embeddings", &[rows, dims], &[]).u8(
            "labels",
            &[rows, 2],
            &vec![0; 2 * rows],
        );
        let (json, written) = run(&folder, &tensors, "contrastive", &["--backend", "cpu"]);
        assert_eq!(json["loss"], 0.0);
        assert_eq!(written[0].1, [rows, dims]);
    }
}

#[test]
fn bad_contrastive_input_is_refused_by_name() {
    let folder = Folder::new("contrastive-bad");
    let good = six()[0].clone();
    let keys = good
        .clone()
        .f32("keys", &[3, 2], &[1.0; 6])
        .u8("key_labels", &[3, 3], &[1; 9]);
    let one = |value: i64| keys.clone().i64("self_index", &[0, -1, 2, 1, 0, value]);
    let cases: Vec<(Tensors, &str, &str)> = vec![
        (
            good.clone(),
            "--temperature 0",
            "temperature: expected a finite number above 0, found 0",
        ),
        (
            good.clone(),
            "--temperature -1",
            "temperature: expected a finite number above 0, found -1",
        ),
        (
            good.clone(),
            "--temperature nan",
            "temperature: expected a finite number above 0, found NaN",
        ),
        (
            good.clone(),
            "--temperature inf",
            "temperature: expected a finite number above 0, found inf",
        ),
        (
            good.clone(),
            "--placement both --normalizer ksum",
            "normalizer: expected count, or the factor outside, found ksum",
        ),
        (
            good.clone(),
            "--weighting any --placement both",
            "--placement: needs --weighting simdis",
        ),
        (
            good.clone(),
            "--placement both --denominator negatives",
            "denominator: expected all or one-positive, where the factor is to stand in the denominator, found negatives",
        ),
        (
            good.clone(),
            "--threshold 0.5",
            "--threshold: needs --weighting jaccard",
        ),
        (
            good.clone(),
            "--weighting jaccard --threshold 2",
            "threshold: expected a number from 0 to 1, found 2",
        ),
        (
            good.clone(),
            "--gamma 2",
            "--gamma: contrastive does not take it (it takes --weighting, --placement, --normalizer, --roles, --denominator, --threshold, --temperature, --no-normalize)",
        ),
        (
            good.clone().without("labels"),
            "--weighting infonce",
            "self_index: this loss needs each anchor's pair",
        ),
        (
            good.clone(),
            "--weighting infonce",
            "labels: --weighting infonce takes no labels",
        ),
        (
            good.clone().u8("key_labels", &[6, 3], &[1; 18]),
            "",
            "key_labels: needs keys",
        ),
        (
            good.clone().u32("label_indices", &[0]),
            "",
            "label_offsets: a second form of label sets beside labels",
        ),
        (
            good.clone().u8("mask", &[6, 3], &[1; 18]),
            "",
            "mask: contrastive does not take it (it takes embeddings, keys, row_mask, key_mask, temperature, grad_loss, labels, label_bits, label_offsets, label_indices, key_labels, key_label_bits, key_label_offsets, key_label_indices, self_index)",
        ),
        (
            good.clone().without("labels"),
            "",
            "labels: expected one of labels, label_bits, label_offsets with label_indices, found none of them",
        ),
        (
            good.clone().u32("label_bits", &[1]),
            "",
            "label_bits: a second form of label sets beside labels",
        ),
        (
            good.clone().u8("labels", &[5, 3], &[1; 15]),
            "",
            "labels: expected [6, L], found [5, 3]",
        ),
        (
            good.clone().u8("labels", &[6, 1], &[0, 1, 0, 1, 2, 0]),
            "",
            "labels: expected 0 or 1, found 2 at [4, 0]",
        ),
        (
            good.clone().f32("embeddings", &[12], &[0.0; 12]),
            "",
            "embeddings: expected [N, D], found [12]",
        ),
        (
            good.clone().f32("grad_loss", &[6], &[0.0; 6]),
            "",
            "grad_loss: expected [1], found [6]",
        ),
        (
            good.clone().i64("self_index", &[0; 6]),
            "",
            "self_index: needs keys",
        ),
        (
            keys.clone().f32("keys", &[2, 3], &[1.0; 6]),
            "",
            "keys: expected [M, 2], found [2, 3]",
        ),
        (
            keys.clone().without("key_labels"),
            "",
            "key_labels: expected one of key_labels, key_label_bits, key_label_offsets with key_label_indices, found none of them",
        ),
        (
            keys.clone().u8("key_labels", &[3, 2], &[1; 6]),
            "",
            "key_labels: expected 3 labels, as many as labels has, found 2",
        ),
        (
            keys.clone().without("key_labels").raw(
                "key_label_bits",
                Dtype::U32,
                &[3, 2],
                vec![0; 24],
            ),
            "",
            "key_label_bits: expected 1 words a row for 3 labels, found 2",
        ),
        (
            keys.clone()
                .without("key_labels")
                .u32("key_label_offsets", &[0, 1, 2, 3])
                .u32("key_label_indices", &[0, 3, 1]),
            "",
            "key_label_indices: expected labels below 3, found 3 at [1]",
        ),
        (
            keys.clone()
                .without("key_labels")
                .u32("key_label_offsets", &[0, 2, 1, 3])
                .u32("key_label_indices", &[0, 2, 1]),
            "",
            "key_label_offsets: expected values that do not fall (2 before), found 1 at [2]",
        ),
        (
            good.clone()
                .without("labels")
                .u32("label_offsets", &[0, 1, 1, 1, 1, 1, 1])
                .i64("label_indices", &[1 << 31]),
            "",
            "label_indices: expected labels below 16777216, found 2147483648 at [0]",
        ),
        (
            one(3),
            "",
            "self_index: expected -1 or a key below 3, found 3 at [5]",
        ),
        (
            one(-2),
            "",
            "self_index: expected -1 or a key below 3, found -2 at [5]",
        ),
        (
            keys.clone().i64("self_index", &[0]),
            "",
            "self_index: expected [6], found [1]",
        ),
        (
            good.clone().u8("row_mask", &[5], &[1; 5]),
            "",
            "row_mask: expected [6], found [5]",
        ),
        (
            good.clone().f32("row_mask", &[6], &[1.0; 6]),
            "",
            "row_mask: expected U8 or BOOL, found F32",
        ),
        (
            good.clone().u8("key_mask", &[6], &[1; 6]),
            "",
            "key_mask: needs keys; row_mask leaves out keys that are anchors too",
        ),
        (
            keys.clone().u8("key_mask", &[6], &[1; 6]),
            "",
            "key_mask: expected [3], found [6]",
        ),
        (
            good.clone().u8("row_mask", &[6], &[1, 1, 0, 1, 1, 1]).u8(
                "labels",
                &[6, 1],
                &[0, 1, 9, 1, 2, 0],
            ),
            "",
            "labels: expected 0 or 1, found 2 at [4, 0]",
        ),
    ];
    for (tensors, options, message) in cases {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let output = folder.path("out.safetensors");
        let mut args = vec![
            "run",
            "contrastive",
            &input,
            "-o",
            &output,
            "--backend",
            "cpu",
        ];
        args.extend(options.split_whitespace());
        assert_eq!(wgloss(&args).refusal(2), message);
        assert_eq!(folder.names(), ["in.safetensors"], "{message}");
    }
    // The options are those of contrastive alone.
    let rows = folder.write("in.safetensors", &crate::support::good().bytes());
    let done = wgloss(&["run", "zlpr", &rows, "--temperature", "1"]);
    let message = "--temperature: zlpr does not take it (it takes --smoothing, --mean-over)";
    assert_eq!(done.refusal(2), message);
    let done = wgloss(&["run", "zlpr", &rows, "--reduction", "mean-all"]);
    let message =
        "--reduction: expected mean, sum, none, mean-elements or mean-active, found mean-all";
    assert_eq!(done.refusal(2), message);
}

#[test]
fn bench_measures_the_reference_of_contrastive() {
    let args = [
        "bench",
        "contrastive",
        "--shape",
        "20x8",
        "--labels",
        "40",
        "--backend",
        "cpu",
        "--json",
        "--time",
        "0.01",
    ];
    let json = wgloss(&args).json();
    assert_eq!([&json["rows"], &json["cols"]], [20, 8]);
    assert!(json["reference_us"].as_f64().unwrap() > 0.0);
    assert!(json["settings"].as_str().unwrap().ends_with("40 labels"));
    let done = wgloss(&["bench", "zlpr", "--shape", "2x2", "--labels", "3"]);
    assert_eq!(
        done.refusal(2),
        "--labels: zlpr does not take it (it takes --smoothing, --mean-over, --targets)"
    );
}

/// A temperature in the file is what the option would be.
#[test]
fn a_temperature_may_lie_in_the_file() {
    let folder = Folder::new("temperature");
    let tensors = &six()[0];
    let options = ["--backend", "cpu", "--temperature", "0.25"];
    let (_, wanted) = run(&folder, tensors, "contrastive", &options);
    let with = |shape: &[usize], values: &[f64]| tensors.clone().f32("temperature", shape, values);
    let options = ["--backend", "cpu"];
    let (_, found) = run(&folder, &with(&[1], &[0.25]), "contrastive", &options);
    assert_eq!(found, wanted);
    for (tensors, more, message) in [
        (
            with(&[1], &[0.0]),
            "",
            "temperature: expected a finite number above 0, found 0",
        ),
        (
            with(&[1], &[f64::NAN]),
            "",
            "temperature: expected a finite number above 0, found NaN",
        ),
        (
            with(&[2], &[0.5, 0.5]),
            "",
            "temperature: expected [1], found [2]",
        ),
        (
            with(&[1], &[0.5]),
            "--temperature=0.5",
            "temperature: --temperature is given too",
        ),
        (
            tensors.clone().u32("temperature", &[1]),
            "",
            "temperature: expected F32 or F16 or BF16, found U32",
        ),
    ] {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let mut args = vec!["run", "contrastive", &input, "--backend", "cpu"];
        args.extend(more.split_whitespace());
        assert_eq!(wgloss(&args).refusal(2), message);
    }
}
