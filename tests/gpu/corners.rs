//! The corners of numbers: every loss at zeros, the smallest and largest numbers and infinities, every setting at both ends
//! of its range, against the reference. Here losses of rows; a file for each other family.

mod balance;
mod contrastive;
mod hcal;
mod mcm;

use crate::Test;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use wgloss::host::{Dense, Engine, Gpu, Rows, Values, Wanted};
use wgloss::losses::wdl::{PairWeights, Phi};
use wgloss::reference::{Real, RowInputs, RowOutputs};
use wgloss::{
    AnyLoss, Asl, Bce, CATALOG, Dice, Error, Focal, Hill, Order, Reduction, Rowwise, Splc,
    TargetKind, Targets, Wdl, Zlpr,
};

pub const TESTS: &[Test] = &[
    ("corners/logits", logits),
    ("corners/settings", settings),
    ("corners/contrastive_numbers", contrastive::numbers),
    ("corners/contrastive_settings", contrastive::settings),
    ("corners/hcal", hcal::hcal),
    ("corners/mcm", mcm::mcm),
    ("corners/balance", balance::balance),
];

const MAX: f32 = f32::MAX;
/// Beyond this, what is made of a number may be infinite.
const HARDLY: f32 = 1e38;
/// The largest setting: the products with larger ones are no numbers of f32.
const END: f32 = 1e30;
/// Short of the largest number, which stands for infinity in the kernels.
const LARGE: f32 = 3.4e38;
const TINY: f32 = 1.2e-38;
/// What one logit of a row is, among ordinary ones.
const ODD: [f32; 12] = [
    0.0,
    -0.0,
    TINY,
    -TINY,
    1e-4,
    -1e-4,
    3e4,
    -3e4,
    LARGE,
    -LARGE,
    f32::INFINITY,
    f32::NEG_INFINITY,
];
/// What one component of a vector is, or all.
const COMPONENTS: [f32; 14] = [
    0.0,
    -0.0,
    TINY,
    -TINY,
    1e-38,
    1e-30,
    1e-12,
    1e-4,
    3e4,
    LARGE,
    -LARGE,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];
const COLS: usize = 5;

/// Rows with each odd logit at a positive and at a negative label; then rows of nothing else.
fn rows_of(kind: TargetKind, large: bool) -> (Vec<f32>, Vec<f32>) {
    let (mut logits, mut targets) = (Vec::new(), Vec::new());
    for odd in ODD {
        if odd.abs() == LARGE && !large {
            continue;
        }
        for at in [0, 1] {
            let mut row = [0.5, -1.25, 2.0, -0.75, 0.25];
            row[at] = odd;
            logits.extend(row);
            targets.extend([1.0, 0.0, 0.0, 1.0, 0.0]);
        }
        if odd.abs() == LARGE {
            // Of several, no sum is a number of f32.
            continue;
        }
        logits.extend([odd; COLS]);
        targets.extend([1.0, 0.0, 0.0, 1.0, 0.0]);
        logits.extend([odd, -odd, odd, -odd, odd]);
        targets.extend([1.0, 0.0, 0.0, 1.0, 0.0]);
    }
    if kind == TargetKind::Logits {
        // Not half of the tiny ones: devices may take subnormal numbers for 0.
        let others: Vec<f32> = logits.iter().map(|s| 1.5 * s.clamp(-1.0, 1.0)).collect();
        return (logits, others);
    }
    (logits, targets)
}

/// Whether a number found is the true one but for rounding, of which the reference in f32 has as much: what it makes of
/// large numbers, f32 cannot do better. NaN, infinity and sign are the same.
fn near(found: f32, naive: f32, truth: f64, scale: f64) -> bool {
    let expected = truth as f32;
    if naive.is_nan() && !truth.is_nan() || naive.is_infinite() && truth.abs() < f64::from(MAX) {
        return true;
    }
    if expected.is_nan() || found.is_nan() {
        return expected.is_nan() && found.is_nan();
    }
    // The largest number and infinity are a rounding apart.
    let (f, e) = (found.clamp(-MAX, MAX), expected.clamp(-MAX, MAX));
    // A sum on the way may be larger.
    if found.is_infinite() && e.abs() > HARDLY && f.signum() == e.signum() {
        return true;
    }
    let own = (f64::from(naive.clamp(-MAX, MAX)) - f64::from(e)).abs();
    let apart = (f64::from(f) - f64::from(e)).abs();
    apart <= 16.0 * own + 1e-4 * f64::from(e).abs().max(scale.min(1.0)) + 1e-6
}

/// The largest of some numbers that are finite.
fn scale_of(values: &[f64]) -> f64 {
    let finite = values.iter().filter(|v| v.is_finite());
    finite.fold(0.0, |most, v| most.max(v.abs()))
}

/// Compares numbers, row after row of `width`, and names the first that differs. `slack` says how far those of
/// each row may be off, which are differences of larger ones.
fn near_all(
    name: &str,
    width: usize,
    (found, naive, truth): (&[f32], &[f32], &[f64]),
    slack: &[f64],
    failures: &mut Vec<String>,
) {
    if found.len() != truth.len() {
        failures.push(format!("{name}: {} numbers", found.len()));
        return;
    }
    let differs = |i: &usize| {
        let row = truth.chunks(width).nth(i / width).unwrap_or_default();
        let near = near(found[*i], naive[*i], truth[*i], scale_of(row));
        let apart = (f64::from(found[*i]) - truth[*i]).abs();
        !near && (apart.is_nan() || apart > slack[i / width])
    };
    if let Some(i) = (0..truth.len()).find(differs) {
        failures.push(format!(
            "{name}: {} at {i}, expected {}",
            found[i], truth[i]
        ));
    }
}

/// What the reference makes of the rows.
fn reference<T: Real + Default>(
    loss: &AnyLoss,
    (rows, logits, targets, order): (usize, &[f32], &[f32], &[u32]),
) -> Result<RowOutputs<T>, Error> {
    let wide =
        |values: &[f32]| -> Vec<T> { values.iter().map(|v| T::from_f64(f64::from(*v))).collect() };
    loss.reference(&RowInputs {
        rows,
        cols: COLS,
        logits: &wide(logits),
        targets: &wide(targets),
        permutation: loss.takes().permutation.then_some(Order::Batch(order)),
        // As the host has it.
        theta: None,
        ..RowInputs::default()
    })
}

/// Compares loss and gradients on a device with the reference's, and names what differs.
fn compare(
    gpu: &Gpu,
    (name, loss): (&str, AnyLoss),
    large: bool,
    failures: &mut Vec<String>,
) -> Result<(), Failed> {
    let loss = loss.with_reduction(Reduction::None);
    let (logits, targets) = rows_of(loss.target_kind(), large);
    let count = logits.len() / COLS;
    let order: Vec<u32> = vec![3, 0, 4, 1, 2];
    let mut rows = Rows::new(
        count,
        COLS,
        Values::F32(&logits),
        Targets::Dense(Dense::Values(Values::F32(&targets))),
    );
    if loss.takes().permutation {
        rows.permutation = Some(Order::Batch(&order));
    }
    let found = Engine::on(gpu.clone()).rows(&loss, &rows, Wanted::Gradients)?;
    let truth = reference::<f64>(&loss, (count, &logits, &targets, &order))?;
    let naive = reference::<f32>(&loss, (count, &logits, &targets, &order))?;
    let truth_loss = truth.loss.clone();
    for (what, found, naive, truth) in [
        ("loss", &found.loss, &naive.loss, &truth.loss),
        (
            "grad_logits",
            &found.grad_logits,
            &naive.grad_logits,
            &truth.grad_logits,
        ),
        (
            "grad_targets",
            &found.grad_targets,
            &naive.grad_targets,
            &truth.grad_targets,
        ),
    ] {
        if found.len() != truth.len() {
            failures.push(format!("{name}: {what} has {} numbers", found.len()));
            continue;
        }
        let width = (truth.len() / count).max(1);
        for (i, ((f, n), t)) in found.iter().zip(naive).zip(truth).enumerate() {
            let scale = scale_of(&truth[i / width * width..][..width]);
            // Where the loss is hardly a number, nothing can be said of what the targets do to it.
            let hardly = truth_loss[i / width].abs() > f64::from(HARDLY);
            let skipped = hardly && what == "grad_targets";
            if !skipped && !near(*f, *n, *t, scale) {
                let at = i / width * COLS;
                failures.push(format!(
                    "{name}: {what} of {:?} with {:?} is {f} at {}, expected {t}",
                    &logits[at..at + COLS],
                    &targets[at..at + COLS],
                    i % width,
                ));
            }
        }
    }
    Ok(())
}

fn finish(failures: Vec<String>) -> Result<(), Failed> {
    // One of each loss, setting and output.
    let kind = |failure: &String| failure.split(" of [").next().unwrap_or_default().to_owned();
    let first: BTreeMap<String, &String> = failures.iter().rev().map(|f| (kind(f), f)).collect();
    match failures.len() {
        0 => Ok(()),
        count => {
            let all: Vec<&str> = first.values().map(|failure| &failure[..]).collect();
            Err(format!("{count} differ:\n{}", all.join("\n")).into())
        }
    }
}

fn logits(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for entry in CATALOG {
        compare(gpu, (entry.name, entry.loss()), true, &mut failures)?;
    }
    for (name, loss) in [
        ("zlpr-kl-excess", Zlpr::kl_excess().into()),
        ("zlpr-soft-smooth", Zlpr::soft().with_smoothing(0.1).into()),
        ("dice-squared", Dice::default().with_squares().into()),
        ("wdl-adjacent", Wdl::adjacent().into()),
    ] {
        compare(gpu, (name, loss), true, &mut failures)?;
    }
    finish(failures)
}

/// Each with one setting at one end of its range.
fn ends() -> Vec<(String, AnyLoss)> {
    let mut all: Vec<(String, AnyLoss)> = Vec::new();
    let mut add = |name: String, loss: AnyLoss| all.push((name, loss));
    let largest = Hill::default().with_lambda(MAX);
    add(format!("hill lambda {MAX}"), largest.into());
    for v in [0.0, 1.0] {
        add(
            format!("zlpr-soft smoothing {v}"),
            Zlpr::soft().with_smoothing(v).into(),
        );
        add(
            format!("bce smoothing {v}"),
            Bce::default().with_smoothing(v).into(),
        );
        add(
            format!("focal alpha {v}"),
            Focal::default().with_alpha(v).into(),
        );
        add(
            format!("focal smoothing {v}"),
            Focal::default().with_smoothing(v).into(),
        );
        add(
            format!("asl margin {v}"),
            Asl::default().with_margin(v).into(),
        );
        add(
            format!("splc threshold {v}"),
            Splc::default().with_threshold(v).into(),
        );
    }
    for v in [1e-6, 1e-3, 1e3] {
        add(format!("two-way t_pos {v}"), Zlpr::two_way(v, 1.0).into());
        add(format!("two-way t_neg {v}"), Zlpr::two_way(4.0, v).into());
    }
    for v in [1e-6, 1e-3, 1e3, END] {
        add(format!("zlpr-kl beta {v}"), Zlpr::kl_symmetric(v).into());
        add(
            format!("dice smooth {v}"),
            Dice::default().with_smooth(v).into(),
        );
    }
    for v in [0.0, 1e-3, 1e3, END] {
        add(
            format!("bce pos_weight {v}"),
            Bce::default().with_pos_weight(v).into(),
        );
        add(
            format!("focal gamma {v}"),
            Focal::default().with_gamma(v).into(),
        );
        let detached = Focal::default().with_gamma(v).with_detached_focus();
        add(format!("focal gamma {v}, detached"), detached.into());
        add(
            format!("asl gamma_pos {v}"),
            Asl::default().with_gamma_pos(v).into(),
        );
        add(
            format!("asl gamma_neg {v}"),
            Asl::default().with_gamma_neg(v).into(),
        );
        add(
            format!("hill margin {v}"),
            Hill::default().with_margin(v).into(),
        );
        add(
            format!("hill gamma {v}"),
            Hill::default().with_gamma(v).into(),
        );
        add(
            format!("hill lambda {v}"),
            Hill::default().with_lambda(v.max(1.0)).into(),
        );
        add(
            format!("splc margin {v}"),
            Splc::default().with_margin(v).into(),
        );
        add(
            format!("splc gamma {v}"),
            Splc::default().with_gamma(v).into(),
        );
        let wdl = Wdl::default();
        add(format!("wdl epsilon {v}"), wdl.with_epsilon(v).into());
        add(
            format!("wdl lambda_presence {v}"),
            wdl.with_lambda_presence(v).into(),
        );
        add(
            format!("wdl lambda_ratio {v}"),
            wdl.with_lambda_ratio(v).into(),
        );
        add(
            format!("wdl lambda_difference {v}"),
            wdl.with_lambda_difference(v).into(),
        );
        let huber = Wdl::pairs(PairWeights::RankOne);
        let delta = v.max(1e-6);
        add(
            format!("wdl huber {delta}"),
            huber.with_phi(Phi::Huber { delta }).into(),
        );
    }
    all
}

fn settings(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for (name, loss) in ends() {
        compare(gpu, (&name, loss), false, &mut failures)?;
    }
    finish(failures)
}
