//! The per-label losses and dice beyond the case table.

use crate::Test;
use half::f16;
use libtest_mimic::Failed;
use wgloss::host::{Dense, Engine, Gpu, Rows, Values, Wanted};
use wgloss::{AnyLoss, Asl, Bce, DType, Dice, Focal, Hill, Reduction, Targets};

pub const TESTS: &[Test] = &[
    ("per_label/golden_values", golden),
    ("per_label/infinite_logits", infinite),
    ("per_label/no_nan_at_80", extremes),
];

/// The losses and their golden values, where the specification has one.
fn losses() -> [(AnyLoss, Option<f64>); 6] {
    let squared = Dice {
        squared: true,
        ..Dice::default()
    };
    [
        (Bce::default().into(), Some(2.156001214875)),
        (Focal::default().into(), Some(0.343906795763)),
        (Asl::default().into(), Some(0.453524581692)),
        (Hill::default().into(), None),
        (Dice::default().into(), Some(0.292883413291)),
        (squared.into(), Some(0.161824844709)),
    ]
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let s = [2.0, -1.0, 0.5, 0.0, -3.0];
    let rows = Rows::new(
        1,
        5,
        Values::F32(&s),
        Targets::Dense(Dense::Flags(&[1, 0, 0, 1, 0])),
    );
    for (loss, expected) in losses() {
        let found = Engine::on(gpu.clone())
            .rows(&loss, &rows, Wanted::Loss)?
            .loss[0];
        let naive = Engine::reference().rows(&loss, &rows, Wanted::Loss)?.loss[0];
        let expected = expected.unwrap_or(f64::from(naive));
        for value in [found, naive] {
            let near = (f64::from(value) - expected).abs() < 1e-6;
            if !near {
                return Err(format!("{loss:?}: {value}, expected {expected}").into());
            }
        }
    }
    Ok(())
}

/// Logits of 80 and beyond, and the largest of f16, on either side: every loss and gradient stays a number.
fn extremes(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let s = [80.0, -80.0, 1e4, -1e4, 65504.0, -65504.0, 0.0];
    let half: Vec<f16> = s.iter().map(|s| f16::from_f32(*s)).collect();
    for (loss, _) in losses() {
        for y in [[0; 7], [1; 7]] {
            for values in [Values::F32(&s), Values::F16(&half)] {
                let rows = Rows::new(1, 7, values, Targets::Dense(Dense::Flags(&y)));
                let found = engine.rows(&loss, &rows, Wanted::Gradients)?;
                let all = found.loss.iter().chain(&found.grad_logits);
                if found.grad_logits.len() != 7 || !all.clone().all(|v| v.is_finite()) {
                    let dtype: DType = values.dtype();
                    return Err(format!("{loss:?} {dtype} {y:?}: {found:?}").into());
                }
            }
        }
    }
    Ok(())
}

/// An infinite logit on the right side costs nothing, on the wrong one everything, and only in its row.
fn infinite(gpu: &Gpu) -> Result<(), Failed> {
    let s = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 1.0, 0.0, 0.0];
    let rows = Rows::new(
        3,
        2,
        Values::F32(&s),
        Targets::Dense(Dense::Flags(&[0, 1, 1, 0, 0, 1])),
    );
    let loss = Bce::default().with_reduction(Reduction::None);
    let found = Engine::on(gpu.clone()).rows(&loss, &rows, Wanted::Gradients)?;
    let fine = (found.loss[0] - 0.313_261_7).abs() < 1e-6
        && found.loss[1] == f32::INFINITY
        && (found.loss[2] - 1.386_294_4).abs() < 1e-6
        && found.grad_logits[0] == 0.0
        && found.grad_logits[2] == -1.0;
    if !fine {
        return Err(format!("{found:?}").into());
    }
    // A margin beside which every logit vanishes: no NaN where the positive side has no weight.
    let huge = Hill::default().with_margin(f32::MAX);
    let s = [-f32::MAX, 0.5];
    let flags = Targets::Dense(Dense::Flags(&[0, 0]));
    let rows = Rows::new(1, 2, Values::F32(&s), flags);
    let found = Engine::on(gpu.clone()).rows(&huge, &rows, Wanted::Gradients)?;
    if found.grad_logits[0] != 0.0 || !found.grad_logits[1].is_finite() {
        return Err(format!("a huge margin: {found:?}").into());
    }
    Ok(())
}
