//! ZLPR and its kin beyond the case table: golden values, equal results for equal targets, edge rows.

use crate::Test;
use libtest_mimic::Failed;
use wgloss::host::{Dense, Engine, Gpu, Rows, RowsResult, Values, Wanted};
use wgloss::{Reduction, Targets, Threshold, Zlpr};

pub const TESTS: &[Test] = &[
    ("zlpr/golden_values", golden),
    ("zlpr/equal_targets_give_equal_bits", target_forms),
    ("zlpr/edge_rows", edges),
    ("zlpr/confident_row_keeps_its_digits", confident),
];

const S: [f32; 5] = [2.0, -1.0, 0.5, 0.0, -3.0];
const Y: [u8; 5] = [1, 0, 0, 1, 0];

fn near(what: &str, found: f32, expected: f64) -> Result<(), Failed> {
    let good = (f64::from(found) - expected).abs() <= 2e-6 * expected.abs();
    if good {
        return Ok(());
    }
    Err(format!("{what} is {found}, expected {expected}").into())
}

fn one_row(gpu: &Gpu, loss: Zlpr, s: &[f32], y: &[u8]) -> Result<RowsResult, Failed> {
    let rows = Rows::new(1, s.len(), Values::F32(s), Targets::Dense(Dense::Flags(y)));
    Ok(Engine::on(gpu.clone()).rows(&loss, &rows, Wanted::Gradients)?)
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    near(
        "zlpr",
        one_row(gpu, Zlpr::hard(), &S, &Y)?.loss[0],
        1.879123925705,
    )?;
    near(
        "lsep",
        one_row(gpu, Zlpr::lsep(), &S, &Y)?.loss[0],
        1.207778440424,
    )?;
    let t = [0.9, 0.1, 0.3, 0.8, 0.05];
    let soft = Rows::new(
        1,
        5,
        Values::F32(&S),
        Targets::Dense(Dense::Values(Values::F32(&t))),
    );
    let soft = engine.rows(&Zlpr::soft(), &soft, Wanted::Loss)?;
    near("soft", soft.loss[0], 2.462393946028)?;
    let tlpr = Rows {
        threshold: Some(Threshold::Batch(&[0.4])),
        ..Rows::new(1, 5, Values::F32(&S), Targets::Dense(Dense::Flags(&Y)))
    };
    let tlpr = engine.rows(&Zlpr::hard(), &tlpr, Wanted::Gradients)?;
    near("tlpr", tlpr.loss[0], 1.860181895010)?;
    near("tlpr threshold", tlpr.grad_threshold[0], 0.048028733207)
}

/// Bytes, bits, offsets and floats of the same labels: the same sums in the same order.
fn target_forms(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let (rows, cols) = (9_usize, 77_usize);
    let s: Vec<f32> = (0..rows * cols)
        .map(|i| ((i * 7919) % 601) as f32 / 100.0 - 3.0)
        .collect();
    let y: Vec<u8> = (0..rows * cols)
        .map(|i| u8::from((i * 31) % 11 < 3))
        .collect();
    let float: Vec<f32> = y.iter().map(|y| f32::from(*y)).collect();
    let words = cols.div_ceil(32);
    let mut bits = vec![0_u32; rows * words];
    let mut offsets = vec![0_u32];
    let mut indices = Vec::new();
    for row in 0..rows {
        for col in (0..cols).filter(|col| y[row * cols + col] == 1) {
            bits[row * words + col / 32] |= 1 << (col % 32);
            indices.push(col as u32);
        }
        offsets.push(indices.len() as u32);
    }
    let forms = [
        Targets::Dense(Dense::Flags(&y)),
        Targets::Dense(Dense::Values(Values::F32(&float))),
        Targets::Bits(&bits[..]),
        Targets::Sparse {
            offsets: &offsets,
            indices: &indices,
        },
    ];
    let loss = Zlpr::hard().with_reduction(Reduction::None);
    let mut results = Vec::new();
    for labels in forms {
        let rows = Rows::new(rows, cols, Values::F32(&s), labels);
        results.push(engine.rows(&loss, &rows, Wanted::Gradients)?);
    }
    if results[0].loss.len() != rows || results.iter().any(|result| *result != results[0]) {
        return Err("target forms differ".into());
    }
    Ok(())
}

fn edges(gpu: &Gpu) -> Result<(), Failed> {
    let s = [1.0, -2.0, 0.5];
    near(
        "all negative",
        one_row(gpu, Zlpr::hard(), &s, &[0; 3])?.loss[0],
        1.705173162319,
    )?;
    near(
        "all positive",
        one_row(gpu, Zlpr::hard(), &s, &[1; 3])?.loss[0],
        2.236815542431,
    )?;
    for y in [[0; 3], [1; 3]] {
        let lsep = one_row(gpu, Zlpr::lsep(), &s, &y)?;
        if lsep.loss != [0.0] || lsep.grad_logits != [0.0; 3] {
            return Err("lsep of a one-sided row is not 0".into());
        }
    }
    let large = one_row(gpu, Zlpr::hard(), &[1e4, -1e4, 3.0], &[0, 1, 1])?;
    if large.loss != [20_000.0] || large.grad_logits != [1.0, -1.0, 0.0] {
        return Err(format!("large logits: {large:?}").into());
    }
    // Masking through the logit: as if the label were not there, whatever its target.
    let without = one_row(gpu, Zlpr::hard(), &[2.0, 0.5], &[1, 0])?;
    for y in [0, 1] {
        let logits = [2.0, f32::NEG_INFINITY, 0.5];
        let masked = one_row(gpu, Zlpr::hard(), &logits, &[1, y, 0])?;
        if masked.loss != without.loss || masked.grad_logits[1] != 0.0 {
            return Err(format!("-inf with target {y}: {masked:?}").into());
        }
    }
    let infinite = one_row(gpu, Zlpr::hard(), &[f32::INFINITY, 0.5], &[0, 1])?;
    if infinite.loss != [f32::INFINITY] || infinite.grad_logits[0] != 1.0 {
        return Err(format!("+inf on a negative: {infinite:?}").into());
    }
    // Two sides whose sum is beyond f32.
    for loss in [Zlpr::lsep(), Zlpr::two_way(4.0, 1.0)] {
        let huge = one_row(gpu, loss, &[-f32::MAX, f32::MAX], &[1, 0])?;
        if huge.loss != [f32::INFINITY] {
            return Err(format!("beyond the largest number: {huge:?}").into());
        }
    }
    Ok(())
}

fn confident(gpu: &Gpu) -> Result<(), Failed> {
    let row = one_row(gpu, Zlpr::hard(), &[20.0, -20.0, -20.0], &[1, 0, 0])?;
    near("confident row", row.loss[0], 6.183460856695e-9)
}
