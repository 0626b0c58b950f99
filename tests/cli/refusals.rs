//! Tensors and settings that are refused.

use crate::support::*;
use safetensors::tensor::Dtype;
use std::fs;

#[test]
fn bad_tensors_are_refused_by_name() {
    let folder = Folder::new("tensors");
    let nan = f64::NAN;
    let soft = good().f32("targets", &[2, 3], &[1.0, 0.25, 0.0, 0.0, 1.0, 1.0]);
    let sparse = |offsets: &[i64], indices: &[i64]| {
        let tensors = good().without("targets").i64("target_offsets", offsets);
        tensors.i64("target_indices", indices)
    };
    let kl = good().without("targets").f32("other", &[2, 3], &[0.0; 6]);
    let tlpr = |shape: &[usize], t: &[f64]| good().f32("threshold", shape, t);
    let bits = |cols: usize| {
        let tensors = good().without("targets");
        tensors.raw("target_bits", Dtype::U32, &[2, cols], vec![0; 8 * cols])
    };
    let order = |values: &[u32]| good().u32("permutation", values);
    let wdl = |theta: &[usize], t: &[f64]| good().f32("theta", theta, t);
    #[rustfmt::skip]
    let table: Vec<(Tensors, &str, &str)> = vec![
        (order(&[0, 2, 2]), "wdl", "permutation: expected each label below 3 once, found 2 twice in row 0"),
        (order(&[0, 3, 1]), "wdl", "permutation: expected each label below 3 once, found 3 in row 0"),
        (order(&[0, 1]), "wdl", "permutation: expected [3] or [2, 3], found [2]"),
        (good().i64("permutation", &[0, -1, 1]), "wdl", "permutation: expected values from 0 to 4294967295, found -1 at [1]"),
        (good().f32("permutation", &[3], &[0.0, 1.0, 2.0]), "wdl", "permutation: expected U32 or I32 or I64, found F32"),
        (good().f32("targets", &[2, 3], &[0.0, -0.5, 0.0, 0.0, 0.0, 0.0]), "wdl", "targets: expected values in [0, 1] (counts make the presence term unbounded: they need lambda_presence 0), found -0.5 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 3.0, 0.0, 0.0, 0.0, 0.0]), "wdl", "targets: expected values in [0, 1] (counts make the presence term unbounded: they need lambda_presence 0), found 3 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 0.0, 0.0, 0.0, nan, 0.0]), "wdl", "targets: expected values in [0, 1] (counts make the presence term unbounded: they need lambda_presence 0), found NaN at [1, 1]"),
        (wdl(&[2], &[0.0; 2]), "wdl", "theta: expected [3] or [r, 3], found [2]"),
        (wdl(&[2, 2], &[0.0; 4]), "wdl", "theta: expected [3] or [r, 3], found [2, 2]"),
        (wdl(&[3], &[0.0, nan, 0.0]), "wdl", "theta: expected finite values, found NaN at [0, 1]"),
        (order(&[0, 2, 1]).f32("theta", &[3], &[0.0; 3]), "wdl", "theta: expected [2], found [3]"),
        (good().f32("theta0", &[2], &[0.0; 2]), "wdl", "theta0: expected [1], found [2]"),
        (good().f32("theta0", &[1], &[nan]), "wdl", "theta0: expected a finite value, found NaN"),
        (good().without("logits"), "zlpr", "logits: expected a tensor of this name, found none (in the file: targets)"),
        (good().f32("logits", &[6], &[0.0; 6]), "zlpr", "logits: expected [B, L], found [6]"),
        (good().f32("logits", &[1, 2, 3], &[0.0; 6]), "zlpr", "logits: expected [B, L], found [1, 2, 3]"),
        (good().u8("logits", &[2, 3], &[0; 6]), "zlpr", "logits: expected F32 or F16 or BF16, found U8"),
        (good().f32("logits", &[1 << 40, 0], &[]), "zlpr", "logits: expected at most 65536 rows and "),
        (good().f32("logits", &[0, 1 << 40], &[]), "zlpr", "logits: expected at most 4294967295 rows and 4294967295 labels, found "),
        (good().without("targets"), "zlpr", "targets: expected one of targets, target_bits, target_offsets with target_indices, found none of them"),
        (good().u8("targets", &[3, 2], &[0; 6]), "zlpr", "targets: expected [2, 3], found [3, 2]"),
        (good().u8("targets", &[2, 3], &[0, 1, 0, 0, 7, 0]), "zlpr", "targets: expected 0 or 1, found 7 at [1, 1]"),
        (good().raw("targets", Dtype::F64, &[2, 3], vec![0; 48]), "zlpr", "targets: expected U8 or BOOL or U32 or I32 or I64 or F32 or F16 or BF16, found F64"),
        (soft.clone(), "zlpr", "targets: expected 0 or 1 with zlpr (zlpr-soft takes soft labels), found 0.25 at [0, 1]"),
        (soft, "lsep", "targets: expected 0 or 1 with lsep, found 0.25 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 1.5, 0.0, 0.0, 0.0, 0.0]), "zlpr-soft", "targets: expected values in [0, 1], found 1.5 at [0, 1]"),
        (good().f32("targets", &[2, 3], &[0.0, 0.0, 0.0, 0.0, nan, 0.0]), "bce", "targets: expected values in [0, 1], found NaN at [1, 1]"),
        (good().u32("target_offsets", &[0]), "zlpr", "target_offsets: a second form of targets beside targets"),
        (good().u32("target_indices", &[0]), "zlpr", "target_offsets: a second form of targets beside targets"),
        (good().without("targets").u32("target_indices", &[0]), "zlpr", "target_offsets: expected a tensor of this name, found none"),
        (good().without("targets").u32("target_offsets", &[0, 0, 0]), "zlpr", "target_indices: expected a tensor of this name, found none"),
        (bits(2), "zlpr", "target_bits: expected [2, 1], found [2, 2]"),
        (sparse(&[0, 1], &[0]), "zlpr", "target_offsets: expected [3], found [2]"),
        (sparse(&[1, 1, 1], &[0]), "zlpr", "target_offsets: expected 0 as the first value, found 1"),
        (sparse(&[0, 2, 1], &[0]), "zlpr", "target_offsets: expected values that do not fall (2 before), found 1 at [2]"),
        (sparse(&[0, 1, 3], &[0]), "zlpr", "target_offsets: expected 1 (all target_indices) as the last value, found 3 at [2]"),
        (sparse(&[0, -1, 1], &[0]), "zlpr", "target_offsets: expected values from 0 to 4294967295, found -1 at [1]"),
        (sparse(&[0, 1, 2], &[0, 3]), "zlpr", "target_indices: expected labels below 3, found 3"),
        (sparse(&[0, 1, 2], &[1 << 40, 0]), "zlpr", "target_indices: expected values from 0 to 4294967295, found 1099511627776 at [0]"),
        (good(), "zlpr-kl", "targets: zlpr-kl does not take it (it takes logits, class_mask, mask, sample_weight, class_weight, grad_loss, other)"),
        (good().without("targets"), "zlpr-kl", "other: expected a tensor of this name, found none"),
        (kl.clone(), "zlpr", "other: zlpr does not take it (it takes logits, "),
        (kl.clone().real("other", Dtype::F16, &[2, 3], &[0.0; 6]), "zlpr-kl", "other: expected f32, found f16"),
        (kl.clone().raw("other", Dtype::U32, &[2, 3], vec![0; 24]), "zlpr-kl", "other: expected F32 or F16 or BF16, found U32"),
        (kl.u8("other", &[2, 3], &[0; 6]), "zlpr-kl", "other: expected F32 or F16 or BF16, found U8"),
        (good(), "tlpr", "threshold: expected a tensor of this name, found none"),
        (tlpr(&[1], &[0.0]), "zlpr", "threshold: zlpr does not take it (it takes logits, "),
        (tlpr(&[4], &[0.0; 4]), "tlpr", "threshold: expected [1], [2] or [2, 1] (rows), [3] or [1, 3] (labels), found [4]"),
        (tlpr(&[2, 3], &[0.0; 6]), "tlpr", "threshold: expected [1], [2] or [2, 1] (rows), [3] or [1, 3] (labels), found [2, 3]"),
        (tlpr(&[2, 1], &[0.0, nan]), "tlpr", "threshold: expected finite values, found NaN at [1, 0]"),
        (good().f32("class_weight", &[2], &[1.0; 2]), "zlpr", "class_weight: expected [3], found [2]"),
        (good().f32("class_weight", &[3], &[1.0, -1.0, 1.0]), "zlpr", "class_weight: expected finite weights, not negative, found -1 at [0, 1]"),
        (good().f32("weight", &[3], &[1.0; 3]), "zlpr", "weight: expected [2, 3], found [3]"),
        (good().f32("weight", &[2, 3], &[1.0, 1.0, 1.0, 1.0, -1.0, 1.0]), "bce", "weight: expected finite weights, not negative, found -1 at [1, 1]"),
        (good().u8("weight", &[2, 3], &[1; 6]), "bce", "weight: expected F32 or F16 or BF16, found U8"),
        (good().f32("weight", &[2, 3], &[1.0; 6]), "dice", "weight: dice does not take it (it takes logits, "),
        (good().f32("sample_weight", &[2], &[1.0, nan]), "zlpr", "sample_weight: expected finite weights, found NaN at [0, 1]"),
        (good().f32("sample_weight", &[2, 1], &[1.0; 2]), "zlpr", "sample_weight: expected [2], found [2, 1]"),
        (good().f32("class_mask", &[3], &[1.0; 3]), "zlpr", "class_mask: expected U8 or BOOL, found F32"),
        (good().u8("mask", &[3], &[1; 3]), "zlpr", "mask: expected [2, 3], found [3]"),
        (good().f32("grad_loss", &[2], &[1.0; 2]), "zlpr", "grad_loss: expected [1], found [2]"),
    ];
    let untouched = folder.write("out.safetensors", b"as it was");
    for (tensors, loss, message) in table {
        let input = folder.write("in.safetensors", &tensors.bytes());
        let done = wgloss(&["run", loss, &input, "-o", &untouched, "--backend", "cpu"]);
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}\nexpected {message}");
        assert_eq!(fs::read(&untouched).unwrap(), b"as it was");
        assert_eq!(folder.names(), ["in.safetensors", "out.safetensors"]);
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let folder = Folder::new("settings");
    let input = folder.write("in.safetensors", &good().bytes());
    #[rustfmt::skip]
    let table: [(&str, &[&str], &str); 28] = [
        ("zlpr", &["--beta", "2"], "--beta: zlpr does not take it (it takes --smoothing, --mean-over)"),
        ("zlpr", &["--t-pos", "2"], "--t-pos: zlpr does not take it (it takes --smoothing, --mean-over)"),
        ("zlpr-soft", &["--pos-weight", "2"], "--pos-weight: zlpr-soft does not take it (it takes --smoothing, --mean-over)"),
        ("zlpr-kl", &["--smoothing", "0"], "--smoothing: zlpr-kl does not take it (it takes --kl, --beta, --mean-over)"),
        ("tlpr", &["--smoothing", "0.1"], "--smoothing: tlpr does not take it (it takes --mean-over)"),
        ("lsep", &["--t-neg", "1"], "--t-neg: lsep does not take it (it takes --mean-over)"),
        ("two-way", &["--row", "mean"], "--row: two-way does not take it (it takes --t-pos, --t-neg, --half, --mean-over)"),
        ("bce", &["--kl", "excess"], "--kl: bce does not take it (it takes --pos-weight, --smoothing, --row, --mean-over)"),
        ("zlpr-kl", &["--kl", "excess", "--beta", "1"], "--beta: needs --kl symmetric"),
        ("zlpr-kl", &["--beta", "-1"], "beta: expected a finite number"),
        ("two-way", &["--t-pos", "0"], "t_pos: expected a finite number"),
        ("two-way", &["--t-neg", "inf"], "t_neg: expected a finite number"),
        ("bce", &["--pos-weight", "nan"], "pos_weight: expected a finite number"),
        ("zlpr", &["--smoothing", "1.5"], "smoothing: expected a number from 0 to 1, found 1.5"),
        ("zlpr", &["--smoothing", "nan"], "smoothing: expected a number from 0 to 1, found NaN"),
        ("bce", &["--seed", "3"], "--seed: bce does not take it"),
        ("zlpr", &["--reduction", "mean-elements"], "reduction: the mean over elements is for losses whose rows are sums over labels"),
        ("bce", &["--row", "mean", "--reduction", "mean-elements"], "reduction: the mean over elements is for losses whose rows are sums over labels"),
        ("bce", &["--reduction", "mean-active"], "reduction: the mean over rows with a positive is for lsep and two-way"),
        ("wdl", &["--form", "adjacent"], "permutation: needed with --form adjacent, or --seed"),
        ("wdl", &["--form", "pairs", "--seed", "3"], "--seed: needs --form adjacent"),
        ("wdl", &["--seed-per-row"], "--seed-per-row: needs --seed"),
        ("wdl", &["--huber-delta", "1"], "--huber-delta: needs --phi huber"),
        ("wdl", &["--phi", "huber", "--huber-delta", "0"], "huber_delta: expected a finite number of at least 1e-6, found 0"),
        ("wdl", &["--epsilon", "-1"], "epsilon: expected a finite number of at least 0e0, found -1"),
        ("wdl", &["--lambda-ratio", "nan"], "lambda_ratio: expected a finite number of at least 0e0, found NaN"),
        ("zlpr", &["--variant", "tree-64-packed"], "--variant: expected a GPU backend, found --backend cpu"),
        ("zlpr", &["--cooperative"], "--cooperative: expected a GPU backend, found --backend cpu"),
    ];
    for (loss, options, message) in table {
        let args = [&["run", loss, &input, "--backend", "cpu"], options].concat();
        let done = wgloss(&args);
        let line = done.refusal(2);
        assert!(line.starts_with(message), "{line}\nexpected {message}");
    }
}
