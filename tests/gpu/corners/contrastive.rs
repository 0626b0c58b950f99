//! Contrastive losses.

use super::{COMPONENTS, finish, near_all, scale_of};
use libtest_mimic::Failed;
use wgloss::host::{Embeddings, Engine, Gpu, KeyEmbeddings, Values, Wanted};
use wgloss::losses::contrastive::{
    Contrastive, ContrastiveReduction, Denominator, Normalizer, Placement, Roles, Weighting,
};
use wgloss::reference::{
    ContrastiveInputs, ContrastiveKeys, ContrastiveOutputs, Real, contrastive,
};
use wgloss::{Error, Targets};

const ROWS: usize = 7;
const DIMS: usize = 3;
const CLASSES: usize = 4;
/// One alone has its label, one has none: both are in the denominators of others.
const LABELS: [u8; ROWS * CLASSES] = [
    1, 1, 0, 0, //
    1, 0, 0, 0, //
    0, 1, 1, 0, //
    1, 1, 0, 0, //
    0, 0, 0, 1, //
    0, 0, 0, 0, //
    1, 1, 1, 0,
];
const PLAIN: [f32; ROWS * DIMS] = [
    0.5, -1.25, 2.0, //
    -0.75, 0.25, 1.0, //
    1.5, 0.5, -0.5, //
    0.25, -1.0, 0.75, //
    -1.0, -0.5, 0.5, //
    2.0, 1.0, 0.25, //
    -0.25, 1.5, 1.25,
];
/// Which key is the anchor, or its pair.
const ITSELF: [i32; ROWS] = [0, 2, -1, 3, 6, 5, 1];
/// From here on a similarity is as good as infinite, and what meets it NaN.
const WILD: f64 = 1e30;

/// Embeddings, and what is odd about them.
struct Batch {
    name: String,
    values: Vec<f32>,
}

/// One component, one row with positives, one without, and all of them.
fn batches() -> Vec<Batch> {
    let mut all = Vec::new();
    for odd in COMPONENTS {
        for (what, places) in [
            ("component", 1..2),
            ("row", 0..DIMS),
            ("row without positives", 4 * DIMS..5 * DIMS),
            ("every row", 0..ROWS * DIMS),
        ] {
            let mut values = PLAIN.to_vec();
            for at in places {
                // Rows of different directions: what ties is a matter of rounding. No component is larger than the odd one.
                values[at] = match odd {
                    _ if odd.is_finite() => 0.5 * PLAIN[at] * odd,
                    _ => PLAIN[at].signum() * odd,
                };
            }
            let name = format!("{odd:e} in {what}");
            all.push(Batch { name, values });
        }
    }
    // All magnitudes at once, a row each.
    let mut values = PLAIN.to_vec();
    for (row, size) in [0.0, 1e-38, 1e-30, 1e-4, 3e4, 1e38, 1.0].iter().enumerate() {
        for value in &mut values[row * DIMS..][..DIMS] {
            *value *= size;
        }
    }
    let name = "rows of every size".to_owned();
    all.push(Batch { name, values });
    all
}

fn weightings() -> Vec<(&'static str, Weighting)> {
    let sim_dis = |placement, normalizer, roles| Weighting::SimDis {
        placement,
        normalizer,
        roles,
    };
    use Normalizer::{Count, KSum};
    use Placement::{Both, Numerator, Outside};
    vec![
        ("outside", sim_dis(Outside, Count, Roles::Anchor)),
        ("ksum", sim_dis(Outside, KSum, Roles::Anchor)),
        ("numerator", sim_dis(Numerator, Count, Roles::Anchor)),
        ("both", sim_dis(Both, Count, Roles::Anchor)),
        ("outside of keys", sim_dis(Outside, Count, Roles::Key)),
        ("ksum of keys", sim_dis(Outside, KSum, Roles::Key)),
        ("numerator of keys", sim_dis(Numerator, Count, Roles::Key)),
        ("both of keys", sim_dis(Both, Count, Roles::Key)),
        ("any", Weighting::Any),
        ("all", Weighting::All),
        ("mulsupcon", Weighting::MulSupCon { per_label: true }),
        ("mulsupcon-sum", Weighting::MulSupCon { per_label: false }),
        ("jaccard 0", Weighting::Jaccard { threshold: 0.0 }),
        ("jaccard 0.3", Weighting::Jaccard { threshold: 0.3 }),
        ("jaccard 1", Weighting::Jaccard { threshold: 1.0 }),
        ("paired", Weighting::Paired),
    ]
}

const DENOMINATORS: [Denominator; 3] = [
    Denominator::All,
    Denominator::Negatives,
    Denominator::OnePositive,
];

/// What the reference makes of a batch; with keys these are the rows of the batch too, and the anchors ordinary.
fn reference<T: Real + Default>(
    config: &Contrastive,
    values: &[f32],
    keys: bool,
) -> Result<ContrastiveOutputs<T>, Error> {
    let wide =
        |values: &[f32]| -> Vec<T> { values.iter().map(|v| T::from_f64(f64::from(*v))).collect() };
    let (odd, plain) = (wide(values), wide(&PLAIN));
    let labels = LABELS.map(|flag| flag != 0);
    let itself = ITSELF.map(|key| usize::try_from(key).ok());
    contrastive(
        config,
        &ContrastiveInputs {
            rows: ROWS,
            dims: DIMS,
            classes: CLASSES,
            embeddings: if keys { &plain } else { &odd },
            labels: &labels,
            keys: keys.then_some(ContrastiveKeys {
                rows: ROWS,
                embeddings: &odd,
                labels: &labels,
            }),
            self_index: keys.then_some(&itself),
            ..ContrastiveInputs::default()
        },
    )
}

/// The pairs of a batch.
struct Pairs {
    /// What the gradients to anchors and keys are divided by.
    norms: [Vec<f64>; 2],
    /// The largest component that a gradient is made of.
    component: f64,
    /// Of each anchor the similarities that count.
    similarities: Vec<Vec<f64>>,
}

impl Pairs {
    fn new(config: &Contrastive, values: &[f32], keys: bool) -> Self {
        let rows = |values: &[f32]| -> Vec<(f64, Vec<f64>)> {
            let of_row = |x: &[f32]| {
                let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                let norm = match config.normalize {
                    true => x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12),
                    false => 1.0,
                };
                (norm, x.iter().map(|x| x / norm).collect())
            };
            values.chunks(DIMS).map(of_row).collect()
        };
        let (of_anchors, of_keys) = (rows(if keys { &PLAIN } else { values }), rows(values));
        let similarity = |i: usize, a: usize| {
            let products = of_anchors[i].1.iter().zip(&of_keys[a].1);
            products.map(|(x, y)| x * y).sum::<f64>() / f64::from(config.temperature)
        };
        let counts = |i: usize, a: usize| {
            let itself = if keys { ITSELF[i] } else { i as i32 };
            itself != a as i32 || config.weighting == Weighting::Paired
        };
        let of_anchor = |i: usize| {
            let members = (0..ROWS).filter(|a| counts(i, *a));
            members.map(|a| similarity(i, a)).collect()
        };
        let norms = |rows: &[(f64, Vec<f64>)]| rows.iter().map(|row| row.0).collect();
        let components = of_anchors.iter().chain(&of_keys);
        let components: Vec<f64> = components.flat_map(|row| row.1.clone()).collect();
        Pairs {
            norms: [norms(&of_anchors), norms(&of_keys)],
            component: scale_of(&components),
            similarities: (0..ROWS).map(of_anchor).collect(),
        }
    }

    /// As the documentation has it: a similarity beyond [`WILD`] makes what meets it NaN.
    fn met(
        &self,
        config: &Contrastive,
        keys: bool,
        truth: &mut ContrastiveOutputs<f64>,
    ) -> Result<(), Error> {
        // At a temperature at which no loss of an active anchor is 0.
        let active = reference::<f64>(&config.with_temperature(1.0), &PLAIN, keys)?.loss_rows;
        for (i, of_anchor) in self.similarities.iter().enumerate() {
            if active[i] != 0.0 && of_anchor.iter().any(|s| s.abs() > WILD) {
                truth.loss_rows[i] = f64::NAN;
            }
        }
        if truth.loss_rows.iter().any(|loss| loss.is_nan()) {
            truth.grad_embeddings.fill(f64::NAN);
            truth.grad_keys.fill(f64::NAN);
            truth.grad_temperature.fill(f64::NAN);
            match config.reduction {
                ContrastiveReduction::None => truth.loss.clone_from(&truth.loss_rows),
                _ => truth.loss.fill(f64::NAN),
            }
        }
        Ok(())
    }

    /// The largest similarity.
    fn largest(&self) -> f64 {
        scale_of(&self.similarities.concat())
    }
}

/// Compares a batch, as its own keys or as those of others.
fn compare(
    gpu: &Gpu,
    (name, config): (&str, &Contrastive),
    batch: &Batch,
    keys: bool,
    failures: &mut Vec<String>,
) -> Result<(), Failed> {
    let sets = Targets::Dense(&LABELS[..]);
    let given = Values::F32(&batch.values);
    let own = if keys { Values::F32(&PLAIN) } else { given };
    let mut rows = Embeddings::new(ROWS, DIMS, CLASSES, own, sets);
    if keys {
        rows.self_index = Some(&ITSELF);
        rows.keys = Some(KeyEmbeddings {
            rows: ROWS,
            embeddings: given,
            labels: sets,
        });
    }
    let found = Engine::on(gpu.clone()).contrastive(config, &rows, Wanted::Gradients)?;
    let mut truth = reference::<f64>(config, &batch.values, keys)?;
    let pairs = Pairs::new(config, &batch.values, keys);
    pairs.met(config, keys, &mut truth)?;
    let naive = reference::<f32>(config, &batch.values, keys)?;
    // Losses and gradients are differences of numbers that are rounded.
    let (rounding, tau) = (
        16.0 * f64::from(f32::EPSILON),
        f64::from(config.temperature),
    );
    let similarity = rounding * pairs.largest();
    let of_rows = |norms: &[f64]| -> Vec<f64> {
        let of_row = |norm: &f64| rounding * pairs.component / (tau * norm);
        norms.iter().map(of_row).collect()
    };
    let slacks = [
        vec![similarity; ROWS],
        of_rows(&pairs.norms[0]),
        of_rows(&pairs.norms[1]),
        vec![similarity / tau],
    ];
    for (what, width, found, naive, truth, slack) in [
        ("loss", 1, &found.loss, &naive.loss, &truth.loss, 0),
        (
            "loss_rows",
            1,
            &found.loss_rows,
            &naive.loss_rows,
            &truth.loss_rows,
            0,
        ),
        (
            "grad_embeddings",
            DIMS,
            &found.grad_embeddings,
            &naive.grad_embeddings,
            &truth.grad_embeddings,
            1,
        ),
        (
            "grad_keys",
            DIMS,
            &found.grad_keys,
            &naive.grad_keys,
            &truth.grad_keys,
            2,
        ),
        (
            "grad_temperature",
            1,
            &found.grad_temperature,
            &naive.grad_temperature,
            &truth.grad_temperature,
            3,
        ),
    ] {
        let (denominator, batch) = (config.denominator, &batch.name);
        let name = format!("{name} {denominator:?} {what} of [{batch}] keys {keys}");
        near_all(
            &name,
            width,
            (found, naive, truth),
            &slacks[slack],
            failures,
        );
    }
    Ok(())
}

pub fn numbers(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    let batches = batches();
    for normalize in [true, false] {
        for batch in &batches {
            let config = Contrastive {
                normalize,
                ..Contrastive::sim_dis()
            };
            let name = format!("normalize {normalize}");
            compare(gpu, (&name, &config), batch, false, &mut failures)?;
            compare(gpu, (&name, &config), batch, true, &mut failures)?;
        }
    }
    finish(failures)
}

/// Every weighting with every denominator.
fn of_weightings() -> Vec<(String, Contrastive)> {
    let mut all = Vec::new();
    for (name, weighting) in weightings() {
        for denominator in DENOMINATORS {
            for normalize in [true, false] {
                let config = Contrastive {
                    normalize,
                    denominator,
                    ..Contrastive::new(weighting, 0.07)
                };
                if config.check().is_ok() {
                    all.push((format!("{name} normalize {normalize}"), config));
                }
            }
        }
    }
    all
}

fn of_settings() -> Vec<(String, Contrastive)> {
    let mut all = Vec::new();
    for denominator in DENOMINATORS {
        for weighting in [
            Contrastive::sim_dis().weighting,
            Weighting::MulSupCon { per_label: true },
        ] {
            let plain = Contrastive::new(weighting, 0.07).with_denominator(denominator);
            for temperature in [
                f32::MIN_POSITIVE,
                1e-37,
                1e-30,
                1e-25,
                1e-8,
                1e-4,
                1e4,
                1e30,
                3.4e38,
            ] {
                for normalize in [true, false] {
                    let config = Contrastive {
                        normalize,
                        ..plain.with_temperature(temperature)
                    };
                    all.push((
                        format!("temperature {temperature:e} normalize {normalize}"),
                        config,
                    ));
                }
            }
            use ContrastiveReduction::{MeanActive, MeanAll, MeanLabels, None, Sum};
            for reduction in [MeanActive, MeanAll, MeanLabels, Sum, None] {
                all.push((format!("{reduction:?}"), plain.with_reduction(reduction)));
            }
        }
    }
    all
}

pub fn settings(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    let mut batches = batches();
    batches.retain(|batch| SOME.contains(&&batch.name[..]));
    for (name, config) in of_weightings().into_iter().chain(of_settings()) {
        for batch in &batches {
            for keys in [false, true] {
                if keys || config.weighting != Weighting::Paired {
                    compare(gpu, (&name, &config), batch, keys, &mut failures)?;
                }
            }
        }
    }
    finish(failures)
}

/// Those that are compared in every setting.
const SOME: [&str; 5] = [
    "0e0 in every row",
    "1e-4 in every row",
    "inf in row without positives",
    "NaN in component",
    "rows of every size",
];
