//! `run linear`: a last layer with a loss on top of it.

use crate::support::*;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::fs;
use wgloss::reference::{LinearInputs, bf16_by_chance, top};
use wgloss::{AnyLoss, Asl, Bce, Linear, Reduction, SoftmaxCe, Update, Zlpr};

const ROWS: usize = 3;
const COLS: usize = 37;
const DIMS: usize = 5;

/// Numbers that are the same in all element types, none of them alike.
fn numbers(count: usize, step: usize) -> Vec<f64> {
    let number = |i: usize| ((i * step) % 41) as f64 / 16.0 - 1.25;
    (0..count).map(number).collect()
}

/// The tensors of a layer without targets, and its targets.
fn layer(dtype: Dtype) -> (Tensors, Vec<f64>) {
    let tensors = Tensors::default()
        .real(
            "hidden",
            Dtype::F32,
            &[ROWS, DIMS],
            &numbers(ROWS * DIMS, 7),
        )
        .real("weights", dtype, &[COLS, DIMS], &numbers(COLS * DIMS, 11))
        .f32("bias", &[COLS], &numbers(COLS, 5));
    let y = (0..ROWS * COLS).map(|i| f64::from(u8::from(i % 11 == 0)));
    (tensors, y.collect())
}

fn with_targets(tensors: &Tensors, dtype: Dtype, y: &[f64]) -> [Tensors; 2] {
    let [_, _, (_, bits), (_, sparse)] = in_all_forms(tensors, dtype, [ROWS, COLS], y);
    [bits, sparse]
}

fn layers(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("linear-{backend}"));
    #[rustfmt::skip]
    let table: [(&str, AnyLoss); 6] = [
        ("zlpr", Zlpr::hard().into()),
        ("zlpr --smoothing 0.1 --reduction none", AnyLoss::from(Zlpr::soft().with_smoothing(0.1)).with_reduction(Reduction::None)),
        ("two-way --t-pos 2 --t-neg 1", Zlpr::two_way(2.0, 1.0).into()),
        ("bce --pos-weight 2 --reduction mean-elements", AnyLoss::from(Bce { pos_weight: 2.0, ..Bce::default() }).with_reduction(Reduction::MeanElements)),
        ("asl --margin 0.1 --mean-over 4", AnyLoss::from(Asl { margin: 0.1, ..Asl::default() }).with_reduction(Reduction::MeanOver(4.0))),
        ("softmax-ce --reduction sum", AnyLoss::from(SoftmaxCe::default()).with_reduction(Reduction::Sum)),
    ];
    let (hidden, weights) = (numbers(ROWS * DIMS, 7), numbers(COLS * DIMS, 11));
    let (bias, upstream) = (numbers(COLS, 5), [0.5]);
    let mask: Vec<bool> = (0..COLS).map(|col| col % 6 != 2).collect();
    for (i, (options, loss)) in table.into_iter().enumerate() {
        let dtype = DTYPES[i % 3];
        let (tensors, y) = layer(dtype);
        let flags: Vec<u8> = mask.iter().map(|counts| u8::from(*counts)).collect();
        let tensors = tensors
            .u8("class_mask", &[COLS], &flags)
            .f32("grad_loss", &[1], &upstream);
        let reference = Linear::new(loss)
            .reference(&LinearInputs {
                rows: ROWS,
                cols: COLS,
                dims: DIMS,
                hidden: &hidden,
                weights: &weights,
                bias: Some(&bias),
                targets: &y,
                class_mask: Some(&mask),
                grad_loss: Some(&upstream),
                ..LinearInputs::default()
            })
            .unwrap();
        let shape: &[usize] = if reference.loss.len() == 1 {
            &[]
        } else {
            &[ROWS]
        };
        for file in with_targets(&tensors, dtype, &y) {
            let mut all = vec!["--backend", backend, "--loss"];
            all.extend(options.split_whitespace());
            for tile in [None, Some("0")] {
                let mut all = all.clone();
                all.extend(tile.iter().flat_map(|bytes| ["--tile-bytes", *bytes]));
                let (json, written) = run(&folder, &file, "linear", &all);
                let wanted: [(&str, &[usize], &[f64]); 4] = [
                    ("grad_bias", &[COLS], &reference.grad_bias),
                    ("grad_hidden", &[ROWS, DIMS], &reference.grad_hidden),
                    ("grad_weights", &[COLS, DIMS], &reference.grad_weights),
                    ("loss", shape, &reference.loss),
                ];
                compare(options, &written, &wanted, tolerance);
                assert_eq!(
                    (json["rows"].as_u64(), json["cols"].as_u64()),
                    (Some(3), Some(37))
                );
            }
        }
    }
}

#[test]
fn layers_on_the_reference() {
    layers("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn layers_on_a_gpu() {
    layers("gpu", 2e-5);
}

fn steps(backend: &str, tolerance: f64) {
    let folder = Folder::new(&format!("linear-steps-{backend}"));
    let (hidden, weights) = (numbers(ROWS * DIMS, 7), numbers(COLS * DIMS, 11));
    let (bias, state) = (numbers(COLS, 5), vec![0.25; COLS]);
    let (tensors, y) = layer(Dtype::F32);
    let [bits, _] = with_targets(&tensors, Dtype::F32, &y);
    let inputs = LinearInputs {
        rows: ROWS,
        cols: COLS,
        dims: DIMS,
        hidden: &hidden,
        weights: &weights,
        bias: Some(&bias),
        targets: &y,
        ..LinearInputs::default()
    };
    let zlpr = Linear::new(Zlpr::hard());
    for with_state in [false, true] {
        let update = if with_state {
            Update::adagrad(0.5)
        } else {
            Update::sgd(0.5)
        };
        let kind = if with_state { "adagrad" } else { "sgd" };
        let inputs = LinearInputs {
            state: with_state.then_some(&state[..]),
            ..inputs
        };
        let out = zlpr.with_update(update, 0).reference(&inputs).unwrap();
        let file = match with_state {
            true => bits.clone().f32("state", &[COLS], &state),
            false => bits.clone(),
        };
        let options = [
            "--backend",
            backend,
            "--loss=zlpr",
            "--update",
            kind,
            "--rate",
            "0.5",
        ];
        let (_, written) = run(&folder, &file, "linear", &options);
        let mut wanted: Vec<(&str, &[usize], &[f64])> = vec![
            ("grad_bias", &[COLS], &out.grad_bias),
            ("grad_hidden", &[ROWS, DIMS], &out.grad_hidden),
            ("loss", &[], &out.loss),
        ];
        if with_state {
            wanted.push(("state", &[COLS], &out.state));
        }
        wanted.push(("weights", &[COLS, DIMS], &out.weights));
        compare(kind, &written, &wanted, tolerance);
    }
    // Weights of 16 bits are rounded by the seed's numbers.
    let (tensors, _) = layer(Dtype::BF16);
    let [bits, _] = with_targets(&tensors, Dtype::BF16, &y);
    let out = zlpr
        .with_update(Update::sgd(0.01), 0)
        .reference(&inputs)
        .unwrap();
    let mut seen = Vec::new();
    for seed in ["7", "7", "8"] {
        let options = [
            "--backend",
            backend,
            "--loss",
            "zlpr",
            "--update",
            "sgd",
            "--rate",
            "0.01",
            "--seed",
            seed,
        ];
        let (_, written) = run(&folder, &bits, "linear", &options);
        let found = &written
            .iter()
            .find(|(name, ..)| name == "weights")
            .unwrap()
            .2;
        let number = seed.parse().unwrap();
        let rounded = |i: usize| {
            let (label, d) = ((i / DIMS) as u32, (i % DIMS) as u32);
            bf16_by_chance(out.weights[i] as f32, number, label, d).to_f64()
        };
        let differ = (0..COLS * DIMS)
            .filter(|i| rounded(*i) != found[*i])
            .count();
        // A device's gradient may be the other side of what chance decides.
        assert!(differ <= if backend == "cpu" { 0 } else { 4 }, "{differ}");
        seen.push(found.clone());
    }
    assert!(seen[0] == seen[1] && seen[1] != seen[2]);
}

#[test]
fn steps_on_the_reference() {
    steps("cpu", 1e-6);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn steps_on_a_gpu() {
    steps("gpu", 2e-5);
}

fn predictions(backend: &str) {
    let folder = Folder::new(&format!("linear-top-{backend}"));
    let (tensors, y) = layer(Dtype::F16);
    let [bits, _] = with_targets(&tensors, Dtype::F16, &y);
    let (hidden, weights) = (numbers(ROWS * DIMS, 7), numbers(COLS * DIMS, 11));
    let bias = numbers(COLS, 5);
    let inputs = LinearInputs {
        rows: ROWS,
        cols: COLS,
        dims: DIMS,
        hidden: &hidden,
        weights: &weights,
        bias: Some(&bias),
        ..LinearInputs::default()
    };
    // Sums of 16ths times 16ths are exact.
    let (labels, scores) = top(&inputs, 9).unwrap();
    for (file, learns) in [(&tensors, false), (&bits, true)] {
        let input = folder.write("in.safetensors", &file.bytes());
        let output = folder.path("out.safetensors");
        let args = [
            "run",
            "linear",
            "--loss",
            "bce",
            "--top-k",
            "9",
            &input,
            "-o",
            &output,
            "--backend",
            backend,
        ];
        let json = wgloss(&args).json();
        assert_eq!(json["loss"].is_null(), !learns, "{json}");
        let bytes = fs::read(&output).unwrap();
        let written = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(written.names().contains(&"loss"), learns);
        let tensor = written.tensor("top_labels").unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (Dtype::U32, &[ROWS, 9][..])
        );
        let found = tensor.data().chunks_exact(4);
        let found: Vec<u32> = found
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(found, labels);
        let found = written.tensor("top_scores").unwrap();
        let found = found.data().chunks_exact(4);
        let found: Vec<f64> = found
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
            .collect();
        assert_eq!(found, scores);
    }
}

#[test]
fn predictions_on_the_reference() {
    predictions("cpu");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn predictions_on_a_gpu() {
    predictions("gpu");
}

#[test]
fn what_does_not_belong_is_refused() {
    let folder = Folder::new("linear-refusals");
    let (tensors, y) = layer(Dtype::F32);
    let [bits, sparse] = with_targets(&tensors, Dtype::F32, &y);
    let flags: Vec<u8> = y.iter().map(|y| *y as u8).collect();
    #[rustfmt::skip]
    let table: [(Tensors, &str, &str); 16] = [
        (bits.clone(), "", "--loss: missing, wgloss run linear needs --loss <NAME>"),
        (bits.clone(), "--loss wdl", "--loss: expected"),
        (bits.clone(), "--loss bce --t-pos 2", "--t-pos: linear does not take it"),
        (bits.clone(), "--loss two-way --half class", "loss: a last layer takes losses of rows of hard labels"),
        (bits.clone(), "--loss zlpr --rate 1", "--rate: needs --update"),
        (bits.clone(), "--loss zlpr --update sgd", "--update: needs --rate"),
        (bits.clone(), "--loss zlpr --update sgd --rate -1", "rate: expected"),
        (bits.clone(), "--loss zlpr --top-k 38", "top_k: expected at most 37 labels"),
        (bits.clone().f32("state", &[COLS], &[0.0; COLS]), "--loss zlpr", "state: belongs to Adagrad alone"),
        (bits.clone().u8("targets", &[ROWS, COLS], &flags), "--loss zlpr", "targets: linear does not take it"),
        (bits.clone().f32("logits", &[ROWS, COLS], &y), "--loss zlpr", "logits: linear does not take it"),
        (tensors.clone(), "--loss zlpr", "targets: "),
        (tensors.clone().without("weights"), "--loss zlpr", "weights: "),
        (bits.clone().f32("weights", &[COLS, DIMS + 1], &numbers(COLS * (DIMS + 1), 3)), "--loss zlpr", "weights: expected [L, 5]"),
        (bits.clone().f32("bias", &[COLS + 1], &[0.0; COLS + 1]), "--loss zlpr", "bias: "),
        (sparse.i64("target_indices", &[99; 11]), "--loss zlpr", "target_indices: "),
    ];
    for (file, options, line) in table {
        let input = folder.write("in.safetensors", &file.bytes());
        let mut args = vec!["run", "linear", &input, "--backend", "cpu"];
        args.extend(options.split_whitespace());
        let done = wgloss(&args);
        assert!(
            done.refusal(2).starts_with(line),
            "{options}: {}",
            done.stderr
        );
    }
}
