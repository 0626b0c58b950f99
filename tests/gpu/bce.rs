//! Binary cross-entropy beyond the case table.

use crate::Test;
use libtest_mimic::Failed;
use wgloss::host::{Engine, Gpu, Labels, Rows, Values, Wanted};
use wgloss::{Bce, Reduction};

pub const TESTS: &[Test] = &[
    ("bce/golden_value", golden),
    ("bce/infinite_logits", infinite),
];

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let s = [2.0, -1.0, 0.5, 0.0, -3.0];
    let rows = Rows::new(1, 5, Values::F32(&s), Labels::Flags(&[1, 0, 0, 1, 0]));
    let found = Engine::on(gpu.clone()).rows(&Bce::default(), &rows, Wanted::Gradients)?;
    let expected = [-0.11920292, 0.26894143, 0.62245935, -0.5, 0.04742587];
    let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-6;
    let grads = found.grad_logits.iter().zip(expected);
    if !near(found.loss[0], 2.156001214875) || !grads.clone().all(|(f, e)| near(*f, e)) {
        return Err(format!("{found:?}").into());
    }
    Ok(())
}

/// An infinite logit on the right side costs nothing, on the wrong one everything, and only in its row.
fn infinite(gpu: &Gpu) -> Result<(), Failed> {
    let s = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 1.0, 0.0, 0.0];
    let rows = Rows::new(3, 2, Values::F32(&s), Labels::Flags(&[0, 1, 1, 0, 0, 1]));
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
    Ok(())
}
