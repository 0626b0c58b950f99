//! `run hcal` and `run mcm`.

use crate::support::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn hcal_tensors(case: &Value, inputs: &Value, parents: &[Vec<u32>]) -> Tensors {
    let shape = |of: &Value| {
        let rows = of.as_array().unwrap();
        [rows.len(), rows[0].as_array().unwrap().len()]
    };
    let mut tensors =
        Tensors::default().f32("features", &shape(&inputs["X"]), &numbers(&inputs["X"]));
    let noisy = case["noise_name"] == "fixed";
    for (k, labels) in inputs["labels"].as_array().unwrap().iter().enumerate() {
        let (n, p) = (k + 1, &inputs["P"][k]);
        let labels: Vec<i64> = numbers(labels).into_iter().map(|y| y as i64).collect();
        tensors = tensors.i64(&format!("labels_{n}"), &labels).f32(
            &format!("prototypes_{n}"),
            &shape(p),
            &numbers(p),
        );
        if noisy {
            let noise = numbers(&case["noise"][k]);
            tensors = tensors.f32(&format!("noise_{n}"), &shape(p), &noise);
        }
        if let Some(parents) = parents.get(k) {
            tensors = tensors.u32(&format!("parents_{n}"), parents);
        }
    }
    tensors
}

/// What a run of hcal wrote; predictions as numbers.
fn run_hcal(folder: &Folder, tensors: &Tensors, options: &[&str]) -> (Value, Written) {
    let input = folder.write("in.safetensors", &tensors.bytes());
    let output = folder.path("out.safetensors");
    let mut args = vec!["run", "hcal", &input, "-o", &output];
    args.extend(options);
    let json = wgloss(&args).json();
    let bytes = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let one = |(name, tensor): (&str, TensorView<'_>)| {
        let words = tensor.data().chunks_exact(4).map(|b| b.try_into().unwrap());
        let values = match tensor.dtype() {
            Dtype::F32 => words.map(|b| f32::from_le_bytes(b).into()).collect(),
            Dtype::I32 => words.map(|b| i32::from_le_bytes(b).into()).collect(),
            other => panic!("{name} is {other}"),
        };
        assert_eq!(
            tensor.dtype() == Dtype::I32,
            name.starts_with("predictions_")
        );
        (name.to_owned(), tensor.shape().to_vec(), values)
    };
    let mut written: Written = file.iter().map(one).collect();
    written.sort_by(|a, b| a.0.cmp(&b.0));
    (json, written)
}

fn of<'a>(written: &'a Written, name: &str) -> &'a [f64] {
    let found = written.iter().find(|(other, ..)| other == name);
    &found.unwrap_or_else(|| panic!("no {name}")).2
}

fn golden_hcal(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("hcal-{backend}"));
    let golden = Golden::read();
    let all = &golden.0["hcal"];
    let check = |inputs: &Value, case: &Value, parents: &[Vec<u32>]| {
        let tensors = hcal_tensors(case, inputs, parents);
        let tau = case["tau"].as_f64().unwrap().to_string();
        let tree = case["agg"] == "tree";
        let aggregation = if tree { "tree" } else { "sample-mean" };
        let options = [
            "--backend",
            backend,
            "--temperature",
            &tau,
            "--aggregation",
            aggregation,
        ];
        let (json, written) = run_hcal(&folder, &tensors, &options);
        close(
            "losses",
            of(&written, "losses"),
            &numbers(&case["losses"]),
            tolerance,
        );
        close(
            "weights",
            of(&written, "weights"),
            &numbers(&case["lam"]),
            tolerance,
        );
        close(
            ": loss",
            of(&written, "loss"),
            &numbers(&case["total"]),
            tolerance,
        );
        close(
            "dX",
            of(&written, "grad_features"),
            &numbers(&case["dX"]),
            tolerance,
        );
        for k in 0..inputs["P"].as_array().unwrap().len() {
            let found = of(&written, &format!("grad_prototypes_{}", k + 1));
            close("dP", found, &numbers(&case["dP"][k]), tolerance);
        }
        assert_eq!(json["backend"], backend);
        let found = json["loss"].as_f64().unwrap();
        close(": loss", &[found], &numbers(&case["total"]), tolerance);
    };
    for case in all["cases"].as_array().unwrap() {
        check(all, case, &[vec![0, 0, 1]]);
    }
    for case in all["three"].as_array().unwrap() {
        check(case, case, &[vec![0, 1, 2, 2], vec![0, 0, 1]]);
    }
    let mcloss = &all["mcloss"];
    let (s, y) = (numbers(&mcloss["s"]), numbers(&mcloss["y"]));
    let flags: Vec<u8> = y.iter().map(|y| *y as u8).collect();
    let tensors = Tensors::default()
        .f32("logits", &[1, 4], &s)
        .u8("targets", &[1, 4], &flags)
        .raw("edges", Dtype::I64, &[2, 2], edge_bytes(&[1, 0, 2, 0]));
    let (json, written) = run(&folder, &tensors, "mcm", &["--backend", backend]);
    let ds = numbers(&mcloss["ds"]);
    let sigma = |s: f64| 1.0 / (1.0 + (-s).exp());
    let probabilities = [sigma(s[0]), sigma(s[1]), sigma(s[2]), sigma(s[3])];
    let loss = numbers(&mcloss["loss"]);
    let wanted: [(&str, &[usize], &[f64]); 3] = [
        ("grad_logits", &[1, 4], &ds),
        ("loss", &[], &loss),
        ("probabilities", &[1, 4], &probabilities),
    ];
    compare("mcloss", &written, &wanted, tolerance);
    assert_eq!(json["pairs"], 6);
}

fn edge_bytes(nodes: &[i64]) -> Vec<u8> {
    nodes.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn golden_hierarchies_on_the_reference() {
    golden_hcal("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn golden_hierarchies_on_a_gpu() {
    golden_hcal("gpu", 1e-5);
}

/// Four samples, three classes under two.
fn good_hcal() -> Tensors {
    Tensors::default()
        .f32(
            "features",
            &[4, 2],
            &[1.0, 0.0, 0.0, 1.0, -1.0, 0.1, -1.0, -0.2],
        )
        .i64("labels_1", &[0, 1, 2, -1])
        .i64("labels_2", &[0, 0, -1, 1])
        .f32("prototypes_1", &[3, 2], &[1.0, 0.0, 0.0, 1.0, -1.0, 0.0])
        .f32("prototypes_2", &[2, 2], &[0.1, -0.99, -0.1, 0.99])
        .u32("parents_1", &[0, 0, 1])
}

#[test]
fn predictions_and_violations_of_hcal() {
    let folder = Folder::new("hcal-predictions");
    let (json, written) = run_hcal(&folder, &good_hcal(), &["--backend", "cpu"]);
    assert_eq!(of(&written, "predictions_1"), [0.0, 1.0, 2.0, 2.0]);
    assert_eq!(of(&written, "predictions_2"), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(of(&written, "hvr"), [0.5]);
    assert_eq!(json["hvr"], 0.5);
    let names: Vec<&str> = written.iter().map(|(name, ..)| &name[..]).collect();
    assert_eq!(
        names,
        [
            "grad_features",
            "grad_prototypes_1",
            "grad_prototypes_2",
            "hvr",
            "loss",
            "losses",
            "predictions_1",
            "predictions_2",
            "weights"
        ]
    );
    // Equal seeds perturb alike, others do not.
    let seeded = |seed| {
        let options = ["--backend", "cpu", "--epsilon", "0.05", "--seed", seed];
        run_hcal(&folder, &good_hcal(), &options).0["loss"].clone()
    };
    assert_eq!(seeded("7"), seeded("7"));
    assert_ne!(seeded("7"), seeded("8"));
    assert_ne!(seeded("7"), json["loss"]);
}

#[test]
fn fixed_weights_of_levels() {
    let folder = Folder::new("hcal-fixed");
    let of_cpu = |tensors: &Tensors| run_hcal(&folder, tensors, &["--backend", "cpu"]).1;
    let adaptive = of_cpu(&good_hcal());
    let fixed = of_cpu(&good_hcal().f32("level_weights", &[2], &[0.25, 3.0]));
    assert_eq!(of(&fixed, "weights"), [0.25, 3.0]);
    let losses = of(&fixed, "losses");
    assert_eq!(losses, of(&adaptive, "losses"));
    let sum = 0.25 * losses[0] + 3.0 * losses[1];
    close(": loss", of(&fixed, "loss"), &[sum], 1e-6);
    // Those that were found give the same gradients.
    let weights = of(&adaptive, "weights");
    let same = of_cpu(&good_hcal().f32("level_weights", &[2], weights));
    for name in ["grad_features", "grad_prototypes_1", "grad_prototypes_2"] {
        close(name, of(&same, name), of(&adaptive, name), 1e-6);
    }
}

/// A sample that no level has a label for counts for nothing, whatever its features hold.
#[test]
fn features_without_labels_hold_what_they_like() {
    let folder = Folder::new("hcal-nothing");
    let run = |second: f64| {
        let features = [1.0, 0.0, 0.0, second, -1.0, 0.1, -1.0, -0.2];
        let tensors = good_hcal()
            .f32("features", &[4, 2], &features)
            .i64("labels_1", &[0, -1, 2, -1])
            .i64("labels_2", &[0, -1, -1, 1]);
        run_hcal(&folder, &tensors, &["--backend", "cpu"]).1
    };
    let (nan, one) = (run(f64::NAN), run(1.0));
    assert_eq!(of(&nan, "grad_features")[2..4], [0.0; 2]);
    for name in [
        "loss",
        "grad_features",
        "grad_prototypes_1",
        "grad_prototypes_2",
    ] {
        assert_eq!(of(&nan, name), of(&one, name), "{name}");
    }
}

#[test]
fn empty_batches_of_hierarchies() {
    let folder = Folder::new("hcal-empty");
    let empty = good_hcal()
        .f32("features", &[0, 2], &[])
        .i64("labels_1", &[])
        .i64("labels_2", &[]);
    let (json, written) = run_hcal(&folder, &empty, &["--backend", "cpu"]);
    assert_eq!(
        (&json["loss"], &json["hvr"]),
        (&Value::from(0.0), &Value::from(0.0))
    );
    assert_eq!(of(&written, "grad_prototypes_1"), [0.0; 6]);
    let none = good_mcm()
        .f32("logits", &[0, 3], &[])
        .u8("targets", &[0, 3], &[]);
    let (json, _) = run(&folder, &none, "mcm", &["--backend", "cpu"]);
    assert_eq!(json["loss"], 0.0);
}

fn good_mcm() -> Tensors {
    Tensors::default()
        .f32("logits", &[2, 3], &[1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
        .u8("targets", &[2, 3], &[1, 0, 1, 0, 1, 1])
        .raw("edges", Dtype::I64, &[2, 2], edge_bytes(&[1, 0, 2, 1]))
}

#[test]
fn rows_and_reductions_of_mcm() {
    let folder = Folder::new("mcm-reductions");
    let loss = |options: &[&str]| {
        let mut all = vec!["--backend", "cpu"];
        all.extend(options);
        let (_, written) = run(&folder, &good_mcm(), "mcm", &all);
        of(&written, "loss").to_vec()
    };
    let each = loss(&["--reduction", "none"]);
    let sum = each[0] + each[1];
    close(": loss", &loss(&["--reduction", "sum"]), &[sum], 1e-6);
    close(": loss", &loss(&[]), &[sum / 2.0], 1e-6);
    let summed = loss(&["--row", "sum", "--reduction", "none"]);
    close(": loss", &summed, &[3.0 * each[0], 3.0 * each[1]], 1e-6);
}

/// Every form of the targets gives the same, and what a mask leaves out is not looked at.
#[test]
fn targets_masks_and_weights_of_mcm() {
    let folder = Folder::new("mcm-targets");
    let of_cpu = |tensors: &Tensors| run(&folder, tensors, "mcm", &["--backend", "cpu"]).1;
    let without = good_mcm().without("targets");
    let plain = of_cpu(&good_mcm());
    let forms = [
        without
            .clone()
            .f32("targets", &[2, 3], &[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]),
        without.clone().raw(
            "target_bits",
            Dtype::U32,
            &[2, 1],
            vec![5, 0, 0, 0, 6, 0, 0, 0],
        ),
        without
            .clone()
            .u32("target_offsets", &[0, 2, 4])
            .u32("target_indices", &[2, 0, 1, 2]),
    ];
    for tensors in &forms {
        assert_eq!(of_cpu(tensors), plain);
    }
    let sides = |tensors: Tensors| {
        tensors
            .u8("class_mask", &[3], &[0, 1, 1])
            .u8("mask", &[2, 3], &[1, 1, 1, 1, 1, 0])
            .f32("sample_weight", &[2], &[0.5, 2.0])
            .f32("class_weight", &[3], &[9.0, 1.0, 3.0])
    };
    let masked = of_cpu(&sides(good_mcm()));
    // Row 0: class 1 is 0 with the largest of -2 and 0.5, class 2 is 1. Row 1: class 1 is 1, and wins.
    let softplus = |s: f64| s.exp().ln_1p();
    let first = (softplus(0.5) + 3.0 * softplus(-0.5)) / 2.0;
    let wanted = (0.5 * first + 2.0 * softplus(-3.0)) / 2.0;
    close(": loss", of(&masked, "loss"), &[wanted], 1e-6);
    assert_eq!(of(&masked, "grad_logits")[0], 0.0);
    assert_eq!(of(&masked, "probabilities"), of(&plain, "probabilities"));
    let anything = sides(without.f32("targets", &[2, 3], &[f64::NAN, 0.0, 1.0, -100.0, 1.0, 1.0]));
    assert_eq!(of_cpu(&anything), masked);
    let nothing = good_mcm()
        .f32("logits", &[2, 3], &[1.0, -2.0, 0.5, f64::NAN, 3.0, -1.0])
        .u8("targets", &[2, 3], &[1, 0, 1, 255, 9, 1])
        .f32("sample_weight", &[2], &[1.0, 0.0]);
    let nothing = of_cpu(&nothing);
    assert_eq!(of(&nothing, "grad_logits")[3..], [0.0; 3]);
    assert!(of(&nothing, "loss")[0] > 0.0);
}

#[test]
fn bad_hierarchies_are_refused_by_name() {
    let folder = Folder::new("hierarchies");
    let edges = |nodes: &[i64]| {
        good_mcm().raw(
            "edges",
            Dtype::I64,
            &[nodes.len() / 2, 2],
            edge_bytes(nodes),
        )
    };
    let hcal = good_hcal;
    #[rustfmt::skip]
    let table: Vec<(Tensors, &str, &[&str], &str)> = vec![
        (edges(&[1, 0, 0, 1]), "mcm", &[], "edges: expected no cycle, found from child to parent 0 -> 1 -> 0"),
        (edges(&[1, 1]), "mcm", &[], "edges: expected no node that is its own parent, found node 1 in edge 0"),
        (edges(&[1, 0, 1, 0]), "mcm", &[], "edges: expected each pair of child and parent once, found child 1 with parent 0 twice"),
        (edges(&[1, 3]), "mcm", &[], "edges: expected nodes below 3, found child 1, parent 3 in edge 0"),
        (edges(&[-1, 0]), "mcm", &[], "edges: expected values from 0 to 4294967295, found -1 at [0, 0]"),
        (good_mcm().i64("edges", &[1, 0]), "mcm", &[], "edges: expected [E, 2] (child, parent), found [2]"),
        (good_mcm().without("edges"), "mcm", &[], "edges: expected a tensor of this name, found none"),
        (good_mcm().f32("logits", &[2, 0], &[]), "mcm", &[], "hierarchy: expected at least one node"),
        (good_mcm().u8("targets", &[3, 2], &[0; 6]), "mcm", &[], "targets: expected [2, 3], found [3, 2]"),
        (good_mcm().u8("targets", &[2, 3], &[0, 1, 2, 0, 0, 0]), "mcm", &[], "targets: expected 0 or 1, found 2 at [0, 2]"),
        (good_mcm().f32("targets", &[2, 3], &[0.0, 1.0, 0.5, 0.0, 0.0, 0.0]), "mcm", &[], "targets: expected 0 or 1 (this loss takes hard labels), found 0.5 at [0, 2]"),
        (good_mcm().u32("targets_3", &[2]).i64("targets", &[0, 1]), "mcm", &[], "targets: expected [2, 3], found [2]"),
        (good_mcm().u32("target_offsets", &[0, 1, 2]), "mcm", &[], "target_offsets: a second form of targets beside targets"),
        (good_mcm().without("targets").u32("target_offsets", &[0, 1, 2]).u32("target_indices", &[1, 3]), "mcm", &[], "target_indices: expected labels below 3, found 3 at [1]"),
        (good_mcm().without("targets"), "mcm", &[], "targets: expected one of targets, target_bits, target_offsets with target_indices, found none of them"),
        (good_mcm().u8("class_mask", &[2], &[1, 1]), "mcm", &[], "class_mask: expected [3], found [2]"),
        (good_mcm().f32("mask", &[2, 3], &[1.0; 6]), "mcm", &[], "mask: expected U8 or BOOL, found F32"),
        (good_mcm().f32("sample_weight", &[2], &[1.0, f64::NAN]), "mcm", &[], "sample_weight: expected finite weights, found NaN at [0, 1]"),
        (good_mcm().f32("class_weight", &[3], &[1.0, -1.0, 0.0]), "mcm", &[], "class_weight: expected finite weights, not negative, found -1 at [0, 1]"),
        (good_mcm().f32("grad_loss", &[2], &[1.0; 2]), "mcm", &[], "grad_loss: expected [1], found [2]"),
        (good_mcm(), "mcm", &["--gamma", "1"], "--gamma: mcm does not take it (it takes --row, --mean-over)"),
        (hcal().u32("parents_1", &[0, 0, 2]), "hcal", &[], "parents_1: expected classes of level 2, below 2, found 2 as parent of class 2"),
        (hcal().i64("parents_1", &[0, 0, -1]), "hcal", &[], "parents_1: expected values from 0 to 4294967295, found -1 at [2]"),
        (hcal().u32("parents_1", &[0, 0]), "hcal", &[], "parents_1: expected [3], found [2]"),
        (hcal().without("parents_1"), "hcal", &[], "parents_1: expected a tensor of this name, found none"),
        (hcal().i64("labels_1", &[0, 3, 2, -1]), "hcal", &[], "labels_1: expected classes below 3, or -1, found 3 of sample 1"),
        (hcal().i64("labels_1", &[0, -2, 2, -1]), "hcal", &[], "labels_1: expected classes, or -1, found -2 at [1]"),
        (hcal().i64("labels_2", &[0, 1, 1, 0]), "hcal", &["--aggregation", "tree"], "labels_2: expected 0, the parent of class 1 that the sample has at level 1, found 1 of sample 1"),
        (hcal().i64("labels_2", &[0, 0]), "hcal", &[], "labels_2: expected [4], found [2]"),
        (hcal().f32("labels_1", &[4], &[0.0; 4]), "hcal", &[], "labels_1: expected U32 or I32 or I64, found F32"),
        (hcal().without("prototypes_2"), "hcal", &[], "prototypes_2: expected a tensor of this name, found none"),
        (hcal().f32("prototypes_2", &[2, 3], &[0.0; 6]), "hcal", &[], "prototypes_2: expected [C, 2], C at least 1, found [2, 3]"),
        (hcal().f32("prototypes_2", &[0, 2], &[]), "hcal", &[], "prototypes_2: expected [C, 2], C at least 1, found [0, 2]"),
        (hcal().f32("features", &[8], &[0.0; 8]), "hcal", &[], "features: expected [B, D], D at least 1, found [8]"),
        (hcal().f32("noise_3", &[1, 2], &[0.0; 2]), "hcal", &[], "noise_3: no such level: labels and prototypes are there for 1 to 2, numbered from 1 without a gap"),
        (hcal().i64("labels_0", &[0; 4]), "hcal", &[], "labels_0: no such level: "),
        (hcal().f32("prototypes_4", &[2, 2], &[0.0; 4]), "hcal", &[], "prototypes_4: no such level: "),
        (hcal().u32("parents_2", &[0, 0]), "hcal", &[], "parents_2: level 2 is the last one, and has no parents"),
        (hcal().u32("parents_01", &[0, 0, 1]), "hcal", &[], "parents_01: no such level: "),
        (hcal().i64("labels_99999999999999999999999", &[0; 4]), "hcal", &[], "labels_99999999999999999999999: no such level: "),
        (hcal().f32("level_weights", &[3], &[1.0; 3]), "hcal", &[], "level_weights: expected [2], found [3]"),
        (hcal().f32("level_weights", &[2], &[1.0, -0.5]), "hcal", &[], "level_weights: expected finite weights, not negative, found -0.5 at [0, 1]"),
        (hcal().f32("level_weights", &[2], &[f64::INFINITY, 1.0]), "hcal", &[], "level_weights: expected finite weights, not negative, found inf at [0, 0]"),
        (hcal().f32("level_weights", &[2], &[1.0; 2]), "hcal", &["--gamma", "0.5"], "--gamma: level_weights are fixed"),
        (hcal().f32("level_weights", &[2], &[1.0; 2]), "hcal", &["--attach"], "--attach: level_weights are fixed"),
        (hcal().f32("noise_1", &[3, 2], &[0.0, 0.0, f64::NAN, 0.0, 0.0, 0.0]), "hcal", &[], "noise_1: expected finite values, found NaN at [1, 0]"),
        (hcal().f32("noise_1", &[3, 2], &[0.0; 6]), "hcal", &["--seed", "1"], "noise_1: --seed makes the noise already"),
        (hcal(), "hcal", &["--epsilon", "0.1"], "--epsilon: needs --seed"),
        (hcal(), "hcal", &["--seed", "1", "--epsilon", "-1"], "epsilon: expected a number from 0 to 1000000000000000, found -1"),
        (hcal(), "hcal", &["--temperature", "0"], "temperature: expected a finite number of at least 1e-6, found 0"),
        (hcal(), "hcal", &["--temperature", "inf"], "temperature: expected a finite number of at least 1e-6, found inf"),
        (hcal(), "hcal", &["--gamma", "0"], "gamma: expected a finite number of at least 1e-6, found 0"),
        (hcal(), "hcal", &["--reduction", "none"], "--reduction: expected mean, found none"),
        (hcal(), "hcal", &["--row", "sum"], "--row: hcal does not take it (it takes --temperature, "),
    ];
    for (tensors, loss, options, wanted) in table {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let output = folder.path("out.safetensors");
        let mut args = vec!["run", loss, &input, "-o", &output, "--backend", "cpu"];
        args.extend(options);
        let done = wgloss(&args);
        let line = done.refusal(2);
        assert!(line.starts_with(wanted), "{line}\nexpected {wanted}");
        assert!(!Path::new(&output).exists());
    }
}

#[test]
fn hierarchies_are_measured() {
    let bench = |loss: &str, options: &[&str]| {
        let mut args = vec!["bench", loss, "--shape", "4x9", "--backend", "cpu"];
        args.extend(["--time", "0.01", "--json"]);
        args.extend(options);
        wgloss(&args)
    };
    for (loss, options) in [("mcm", &[][..]), ("hcal", &["--dim", "3"])] {
        let json = bench(loss, options).json();
        assert_eq!((&json["loss"], &json["rows"]), (&loss.into(), &4.into()));
        assert!(json["reference_us"].as_f64().unwrap() > 0.0);
    }
    for (loss, option, value, wanted) in [
        (
            "mcm",
            "--dim",
            "3",
            "--dim: mcm does not take it (it takes --row, --mean-over)",
        ),
        (
            "hcal",
            "--targets",
            "bits",
            "--targets: hcal does not take it (it takes --temperature, --gamma, --aggregation, --attach, --epsilon, --seed, --dim)",
        ),
        (
            "hcal",
            "--outputs",
            "in-place",
            "--outputs: expected both or loss, found in-place",
        ),
        ("hcal", "--seed", "1", "--seed: a measurement has its own"),
    ] {
        assert_eq!(bench(loss, &[option, value]).refusal(2), wanted);
    }
}
