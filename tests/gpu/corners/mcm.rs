//! The constraint module.

use super::{HARDLY, LARGE, ODD, finish, near_all};
use libtest_mimic::Failed;
use wgloss::host::{Dense, Engine, Gpu, McmRows, Values, Wanted};
use wgloss::reference::{McmInputs, McmOutputs, Real, mcm as by_definition};
use wgloss::{Error, Hierarchy, Mcm, Reduction, Targets};

const COLS: usize = 6;
/// A graph of two roots, one class below both, one alone.
const EDGES: [[u32; 2]; 4] = [[2, 0], [3, 0], [3, 1], [4, 2]];
const TARGETS: [u8; COLS] = [1, 0, 1, 0, 0, 1];

/// What weighs, and how.
struct Case {
    name: String,
    config: Mcm,
    class_weight: Option<[f32; COLS]>,
    class_mask: Option<[u8; COLS]>,
    /// Of every row.
    sample_weight: Option<f32>,
}

/// Each odd logit at a leaf, between, at a root and alone; then rows of nothing else.
fn logits() -> Vec<f32> {
    let mut all = Vec::new();
    for odd in ODD.into_iter().chain([f32::NAN]) {
        for at in [4, 3, 2, 0, 5] {
            let mut row = [0.5, -1.25, 2.0, -0.75, 0.25, -0.5];
            row[at] = odd;
            all.extend(row);
        }
        if odd.abs() != LARGE {
            // Of several, no sum is a number of f32.
            all.extend([odd; COLS]);
            all.extend([odd, -odd, odd, -odd, odd, -odd]);
        }
    }
    all
}

fn cases() -> Vec<Case> {
    let plain = |name: String| Case {
        name,
        config: Mcm::default().with_reduction(Reduction::None),
        class_weight: None,
        class_mask: None,
        sample_weight: None,
    };
    let mut all = vec![plain("none".to_owned())];
    for row_sum in [false, true] {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.0)] {
            let mut config = Mcm::default().with_reduction(reduction);
            config.row_mean = !row_sum;
            all.push(Case {
                config,
                ..plain(format!("{reduction:?} row sum {row_sum}"))
            });
        }
    }
    for weight in [0.0, 1e-38, 1e-20, 1.0, 1e20, HARDLY] {
        for (what, weights) in [
            ("one class", [1.0, 1.0, weight, 1.0, 2.0, 1.0]),
            ("classes", [weight; COLS]),
        ] {
            all.push(Case {
                class_weight: Some(weights),
                ..plain(format!("weight {weight:e} of {what}"))
            });
        }
        all.push(Case {
            sample_weight: Some(weight),
            ..plain(format!("weight {weight:e} of rows"))
        });
    }
    for mask in [[0; COLS], [0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 0, 1]] {
        all.push(Case {
            class_mask: Some(mask),
            ..plain(format!("mask {mask:?}"))
        });
    }
    all
}

fn reference<T: Real + Default>(
    case: &Case,
    hierarchy: &Hierarchy,
    (logits, targets): (&[f32], &[u8]),
) -> Result<McmOutputs<T>, Error> {
    let wide =
        |values: &[f32]| -> Vec<T> { values.iter().map(|v| T::from_f64(f64::from(*v))).collect() };
    let rows = logits.len() / COLS;
    let targets: Vec<T> = targets.iter().map(|y| T::from_f64(f64::from(*y))).collect();
    by_definition(
        &case.config,
        hierarchy,
        &McmInputs {
            rows,
            logits: &wide(logits),
            targets: &targets,
            class_mask: case
                .class_mask
                .map(|mask| mask.map(|flag| flag != 0))
                .as_ref()
                .map(|mask| &mask[..]),
            sample_weight: case.sample_weight.map(|w| wide(&vec![w; rows])).as_deref(),
            class_weight: case.class_weight.map(|w| wide(&w)).as_deref(),
            ..McmInputs::default()
        },
    )
}

pub fn mcm(gpu: &Gpu) -> Result<(), Failed> {
    let hierarchy = Hierarchy::from_edges(COLS, &EDGES)?;
    let all = logits();
    let mut failures = Vec::new();
    for case in cases() {
        // A reduction takes in rows one by one: most are not finite.
        let batches: Vec<&[f32]> = match case.config.reduction {
            Reduction::None => vec![&all],
            _ => all.chunks(COLS).collect(),
        };
        for logits in batches {
            let count = logits.len() / COLS;
            let targets = TARGETS.repeat(count);
            let sample_weight = case.sample_weight.map(|weight| vec![weight; count]);
            let rows = McmRows {
                class_mask: case.class_mask.as_ref().map(|mask| &mask[..]),
                class_weight: case.class_weight.as_ref().map(|weights| &weights[..]),
                sample_weight: sample_weight.as_deref(),
                ..McmRows::new(
                    count,
                    Values::F32(logits),
                    Targets::Dense(Dense::Flags(&targets)),
                )
            };
            let found =
                Engine::on(gpu.clone()).mcm(&case.config, &hierarchy, &rows, Wanted::Gradients)?;
            let truth = reference::<f64>(&case, &hierarchy, (logits, &targets))?;
            let naive = reference::<f32>(&case, &hierarchy, (logits, &targets))?;
            // As the documentation has it: weights are whole multiples of a share of their sum.
            let weights = case.class_weight.unwrap_or([0.0; COLS]).map(f64::from);
            let share = weights.iter().sum::<f64>() * 2.0_f64.powi(-61);
            for (what, width, found, naive, truth, slack) in [
                ("loss", 1, &found.loss, &naive.loss, &truth.loss, 0.0),
                (
                    "grad_logits",
                    COLS,
                    &found.grad_logits,
                    &naive.grad_logits,
                    &truth.grad_logits,
                    share,
                ),
                (
                    "probabilities",
                    COLS,
                    &found.probabilities,
                    &naive.probabilities,
                    &truth.probabilities,
                    0.0,
                ),
            ] {
                let first = &logits[..COLS];
                let name = format!("{}: {what} of [{first:?} and on]", case.name);
                let slack = vec![slack; count];
                near_all(&name, width, (found, naive, truth), &slack, &mut failures);
            }
        }
    }
    finish(failures)
}
