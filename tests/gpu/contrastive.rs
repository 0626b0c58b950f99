//! The contrastive losses beyond the case table.

use crate::Test;
use libtest_mimic::Failed;
use wgloss::host::{Embeddings, Engine, Gpu, Labels, Values, Wanted};
use wgloss::losses::contrastive::{Normalizer, Placement, Weighting};
use wgloss::{Contrastive, ContrastiveReduction};

pub const TESTS: &[Test] = &[("contrastive/golden_values", golden)];

const X: [f32; 12] = [3.0, 4.0, 4.0, 3.0, 0.0, 5.0, -3.0, 4.0, 5.0, 0.0, 1.0, -1.0];
const Y: [u8; 18] = [1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0];

/// The members with the loss and the temperature's gradient of the specification.
fn family() -> [(Contrastive, f64, f64); 9] {
    use {Normalizer::*, Placement::*};
    let mul = Contrastive::new(Weighting::MulSupCon { per_label: false }, 0.1);
    [
        (
            Contrastive::sim_dis(),
            0.8716984161242245,
            -0.4182077946556602,
        ),
        (
            Contrastive::sim_dis_at(Outside, KSum),
            1.8101369797822664,
            -0.9968670307022383,
        ),
        (
            Contrastive::sim_dis_at(Numerator, Count),
            2.687950974256961,
            -1.1730575068927147,
        ),
        (
            Contrastive::sim_dis_at(Both, Count),
            2.3443164394920957,
            -1.412818200202644,
        ),
        (
            Contrastive::sup_con_any(),
            1.8982322178775046,
            -1.1730575068927147,
        ),
        (
            Contrastive::sup_con_all(),
            0.9427428335348247,
            0.9186319968003327,
        ),
        (
            Contrastive::mul_sup_con(),
            2.004454440099727,
            -1.3855019513371594,
        ),
        (mul, 4.166689931153051, -3.0774393740095207),
        (
            Contrastive::jaccard(),
            1.1978147950990925,
            -0.6727137353630572,
        ),
    ]
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let rows = Embeddings::new(6, 2, 3, Values::F32(&X), Labels::Flags(&Y));
    for (config, loss, slope) in family() {
        let config = config.with_temperature(0.5);
        let found = Engine::on(gpu.clone()).contrastive(&config, &rows, Wanted::Gradients)?;
        let truth = Engine::reference().contrastive(&config, &rows, Wanted::Gradients)?;
        let near = |f: f32, e: f64| (f64::from(f) - e).abs() < 2e-6;
        let mut right = near(found.loss[0], loss) && near(found.grad_temperature[0], slope);
        for (f, t) in [
            (&found.loss_rows, &truth.loss_rows),
            (&found.grad_embeddings, &truth.grad_embeddings),
        ] {
            right &= f.len() == t.len() && f.iter().zip(t).all(|(f, t)| near(*f, f64::from(*t)));
        }
        if !right {
            return Err(
                format!("{config:?}: {found:?}, expected {loss}, {slope}, {truth:?}").into(),
            );
        }
    }
    let none = Contrastive::sim_dis().with_reduction(ContrastiveReduction::None);
    let found = Engine::on(gpu.clone()).contrastive(&none, &rows, Wanted::Gradients)?;
    if found.loss != found.loss_rows || found.loss.len() != 6 {
        return Err("without a reduction the loss is that of the rows".into());
    }
    let relations = Engine::on(gpu.clone()).relations(&rows)?;
    if relations != Engine::reference().relations(&rows)? {
        return Err(format!("relations {relations:?}").into());
    }
    Ok(())
}
