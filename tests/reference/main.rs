//! The CPU reference against golden values, finite differences, edge rows and the laws of each loss.
//! No GPU. Random problems come from a seeded generator; what fails names its seed.

mod bp_mll;
mod contrastive;
mod hierarchy;
mod inputs;
mod linear;
mod metrics;
mod per_label;
mod permutation;
mod softmax_ce;
mod wdl;
mod zlpr;

use serde_json::Value;
use wgloss::check::Rng;
use wgloss::losses::wdl::{self as difference, PairWeights, Phi, Prediction};
use wgloss::losses::zlpr::{Form, Half};
use wgloss::reference::{Real, RowInputs, RowOutputs, dense_from_bits, dense_from_sparse};
use wgloss::{
    AnyLoss, Asl, Bce, CATALOG, Dice, Error, Focal, Hill, Order, Reduction, Rowwise, Scope, Splc,
    TargetKind, Threshold, Wdl, Zlpr,
};

const INF: f64 = f64::INFINITY;
const BCE: Loss = Loss::bce(1.0, 0.0, false);
const HARD: Loss = Loss::zlpr(Form::Hard, 0.0);
const SOFT: Loss = Loss::zlpr(Form::Soft, 0.0);
const SMOOTHED: Loss = Loss::zlpr(Form::Soft, 0.25);
const LSEP: Loss = Loss::joint(1.0, 1.0);
const TWO_WAY: Loss = Loss::joint(4.0, 1.0);
const EXCESS: Loss = Loss::zlpr(Form::KlExcess, 0.0);
const FOCAL: Loss = Loss::focal(2.0, 0.25, 0.0, false);
const ASL: Loss = Loss::asl([1.0, 4.0, 0.05], 0.0, false);
const HILL: Loss = Loss::hill([1.5, 1.0, 2.0], 0.0, false);
const DICE: Loss = Loss::dice(1.0, false);
const SQUARED_DICE: Loss = Loss::dice(1.0, true);

/// What every general test goes through: each loss of the catalogue, and other settings of some.
fn losses() -> Vec<Loss> {
    let mut all: Vec<Loss> = Vec::new();
    for entry in CATALOG {
        let loss = Loss(entry.loss()).by(Reduction::Sum);
        if !all.contains(&loss) {
            all.push(loss);
        }
    }
    all.extend([
        SMOOTHED,
        Loss::joint(4.0, 0.5),
        Loss::kl(2.0),
        EXCESS,
        Loss::bce(2.5, 0.25, true),
        Loss::focal(0.5, 0.7, 0.25, true),
        Loss::asl([0.0, 0.5, 0.0], 0.25, true),
        Loss::hill([1.0, 0.3, 0.0], 0.25, true),
        Loss::dice(0.1, true),
        PAIRS,
    ]);
    all
}

/// The weighted difference of all pairs, in its default settings but for `epsilon`; `theta` is 0.
const PAIRS: Loss = Loss(AnyLoss::Wdl(Wdl {
    form: difference::Form::Pairs {
        weights: PairWeights::RankOne,
    },
    prediction: Prediction::Sigmoid,
    phi: Phi::Square,
    epsilon: 0.1,
    lambda_presence: 1.0,
    lambda_ratio: 1.0,
    lambda_difference: 1.0,
    ascent: false,
    reduction: Reduction::Sum,
}));

// ---- losses, problems and how they are compared

#[derive(Clone, Copy, Debug, PartialEq)]
struct Loss(AnyLoss);

/// What the targets of a loss are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Targets {
    Hard,
    Soft,
    Logits,
}

impl Loss {
    const fn zlpr(form: Form, smoothing: f32) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Zlpr(Zlpr {
            form,
            smoothing,
            reduction,
        }))
    }

    const fn joint(t_pos: f32, t_neg: f32) -> Loss {
        let half = Half::Sample;
        Loss::zlpr(Form::Joint { t_pos, t_neg, half }, 0.0)
    }

    const fn kl(beta: f32) -> Loss {
        Loss::zlpr(Form::KlSymmetric { beta }, 0.0)
    }

    const fn bce(pos_weight: f32, smoothing: f32, row_mean: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Bce(Bce {
            pos_weight,
            smoothing,
            row_mean,
            reduction,
        }))
    }

    const fn focal(gamma: f32, alpha: f32, smoothing: f32, row_mean: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Focal(Focal {
            gamma,
            alpha: Some(alpha),
            detach_focus: false,
            smoothing,
            row_mean,
            reduction,
        }))
    }

    /// `gamma_pos`, `gamma_neg`, `margin`.
    const fn asl([gamma_pos, gamma_neg, margin]: [f32; 3], smoothing: f32, row_mean: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Asl(Asl {
            gamma_pos,
            gamma_neg,
            margin,
            detach_focus: false,
            smoothing,
            row_mean,
            reduction,
        }))
    }

    /// `lambda`, `margin`, `gamma`.
    const fn hill([lambda, margin, gamma]: [f32; 3], smoothing: f32, row_mean: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Hill(Hill {
            lambda,
            margin,
            gamma,
            smoothing,
            row_mean,
            reduction,
        }))
    }

    const fn dice(smooth: f32, squared: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss(AnyLoss::Dice(Dice {
            smooth,
            squared,
            reduction,
        }))
    }

    fn by(self, by: Reduction) -> Loss {
        Loss(self.0.with_reduction(by))
    }

    fn run<T: Real>(&self, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
        self.0.reference(inputs)
    }

    fn targets(&self) -> Targets {
        match self.0.takes().targets {
            TargetKind::Hard => Targets::Hard,
            TargetKind::Logits => Targets::Logits,
            _ => Targets::Soft,
        }
    }

    /// Whether the loss of a row does not depend on how many labels count: not where it is a mean over them, or over
    /// pairs of them, or where they share a softmax.
    fn is_sum(&self) -> bool {
        match self.0 {
            AnyLoss::Bce(config) => !config.row_mean,
            AnyLoss::Focal(config) => !config.row_mean,
            AnyLoss::Asl(config) => !config.row_mean,
            AnyLoss::Hill(config) => !config.row_mean,
            AnyLoss::Wdl(_) | AnyLoss::BpMll(_) | AnyLoss::SoftmaxCe(_) => false,
            _ => true,
        }
    }

    fn takes_weight(&self) -> bool {
        self.0.takes().weight
    }

    fn uses_threshold(&self) -> bool {
        self.0.takes().threshold
    }
}

/// What shares one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Share {
    #[default]
    Nothing,
    Everything,
    Row,
    Label,
}
const SHARES: [Share; 4] = [Share::Nothing, Share::Everything, Share::Row, Share::Label];

/// The inputs of one call, owned.
#[derive(Clone, Debug, Default)]
struct Problem {
    rows: usize,
    cols: usize,
    logits: Vec<f64>,
    targets: Vec<f64>,
    class_mask: Option<Vec<bool>>,
    mask: Option<Vec<bool>>,
    sample_weight: Option<Vec<f64>>,
    class_weight: Option<Vec<f64>>,
    weight: Option<Vec<f64>>,
    share: Share,
    threshold: Vec<f64>,
    grad_loss: Option<Vec<f64>>,
}

impl Problem {
    fn new(rows: usize, logits: &[f64], targets: &[f64]) -> Problem {
        let (cols, logits, targets) = (logits.len() / rows, logits.into(), targets.into());
        Problem {
            rows,
            cols,
            logits,
            targets,
            ..Problem::default()
        }
    }

    /// Logits and targets alone.
    fn random(rng: &mut Rng, rows: usize, cols: usize, loss: Loss) -> Problem {
        let logits = rng.many(rows * cols, -3.0, 3.0);
        let targets: Vec<f64> = match loss.targets() {
            Targets::Hard => (0..rows * cols).map(|_| f64::from(rng.flip())).collect(),
            Targets::Soft => rng.many(rows * cols, 0.05, 0.95),
            Targets::Logits => rng.many(rows * cols, -3.0, 3.0),
        };
        Problem::new(rows, &logits, &targets)
    }

    /// Every optional input that the loss takes (but the upstream gradient).
    fn full(rng: &mut Rng, rows: usize, cols: usize, loss: Loss, share: Share) -> Problem {
        let share = if loss.uses_threshold() {
            share
        } else {
            Share::Nothing
        };
        let thresholds = [0, 1, rows, cols][share as usize];
        Problem {
            class_mask: Some((0..cols).map(|_| rng.unit() < 0.8).collect()),
            mask: Some((0..rows * cols).map(|_| rng.unit() < 0.8).collect()),
            sample_weight: Some(rng.many(rows, 0.2, 2.0)),
            class_weight: Some(rng.many(cols, 0.2, 2.0)),
            weight: loss.takes_weight().then(|| rng.many(rows * cols, 0.2, 2.0)),
            share,
            threshold: rng.many(thresholds, -1.0, 1.0),
            ..Problem::random(rng, rows, cols, loss)
        }
    }

    /// Class weights added.
    fn weighted(mut self, class_weight: &[f64]) -> Problem {
        self.class_weight = Some(class_weight.into());
        self
    }

    /// Label `col` masked in every row.
    fn without(mut self, col: usize) -> Problem {
        self.class_mask = Some((0..self.cols).map(|c| c != col).collect());
        self
    }

    fn inputs(&self) -> RowInputs<'_, f64> {
        RowInputs {
            rows: self.rows,
            cols: self.cols,
            logits: &self.logits,
            targets: &self.targets,
            class_mask: self.class_mask.as_deref(),
            mask: self.mask.as_deref(),
            sample_weight: self.sample_weight.as_deref(),
            class_weight: self.class_weight.as_deref(),
            weight: self.weight.as_deref(),
            threshold: match self.share {
                Share::Nothing => None,
                Share::Everything => Some(Threshold::Batch(&self.threshold[..])),
                Share::Row => Some(Threshold::Row(&self.threshold[..])),
                Share::Label => Some(Threshold::Label(&self.threshold[..])),
            },
            grad_loss: self.grad_loss.as_deref(),
            ..RowInputs::default()
        }
    }

    fn run(&self, loss: Loss) -> RowOutputs<f64> {
        loss.run(&self.inputs()).unwrap()
    }

    /// The logits and targets alone, in single precision.
    fn run_f32(&self, loss: Loss) -> RowOutputs<f64> {
        let narrow = |of: &[f64]| of.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let widen = |of: Vec<f32>| of.into_iter().map(f64::from).collect::<Vec<_>>();
        let (rows, cols) = (self.rows, self.cols);
        let (logits, targets) = (&narrow(&self.logits)[..], &narrow(&self.targets)[..]);
        let inputs = RowInputs {
            rows,
            cols,
            logits,
            targets,
            ..RowInputs::default()
        };
        let out = loss.run(&inputs).unwrap();
        RowOutputs {
            loss: widen(out.loss),
            grad_logits: widen(out.grad_logits),
            grad_targets: widen(out.grad_targets),
            grad_threshold: widen(out.grad_threshold),
            ..RowOutputs::default()
        }
    }

    /// `sum(grad_loss * loss)`: what the gradients are the gradient of.
    fn objective(&self, loss: Loss) -> f64 {
        let losses = self.run(loss).loss;
        let upstream = self.grad_loss.clone().unwrap_or(vec![1.0]);
        losses
            .iter()
            .zip(upstream.iter().cycle())
            .map(|(l, g)| g * l)
            .sum()
    }

    /// Central differences of the objective over one of the vectors.
    fn slopes(&self, loss: Loss, of: fn(&mut Problem) -> &mut Vec<f64>) -> Vec<f64> {
        let h = 1e-5;
        let at = |i: usize, step: f64| {
            let mut moved = self.clone();
            of(&mut moved)[i] += step;
            moved.objective(loss)
        };
        let count = of(&mut self.clone()).len();
        (0..count)
            .map(|i| (at(i, h) - at(i, -h)) / (2.0 * h))
            .collect()
    }
}

/// `|got - want| <= tol (1 + |want|)`, false for a NaN on either side; infinities must be equal.
#[track_caller]
fn close(what: &str, got: &[f64], want: &[f64], tol: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let diff = (g - w).abs();
        if g != w && !(w.is_finite() && diff <= tol * (1.0 + w.abs())) {
            panic!("{what}[{i}]: got {g}, want {w}, off by {diff:e}");
        }
    }
}

/// As [`close`], relative to the value alone.
#[track_caller]
fn relatively_close(what: &str, got: &[f64], want: &[f64], tol: f64) {
    let ratio: Vec<f64> = got.iter().zip(want).map(|(g, w)| g / w).collect();
    close(what, &ratio, &vec![1.0; want.len()], tol);
}

/// Loss and the gradients to logits and targets are close.
#[track_caller]
fn same(what: &str, got: &RowOutputs<f64>, want: &RowOutputs<f64>, tol: f64) {
    close(&format!("{what}, loss"), &got.loss, &want.loss, tol);
    close(
        &format!("{what}, logits"),
        &got.grad_logits,
        &want.grad_logits,
        tol,
    );
    close(
        &format!("{what}, targets"),
        &got.grad_targets,
        &want.grad_targets,
        tol,
    );
}

#[test]
fn comparator_fails_on_nan() {
    for (got, want) in [
        (f64::NAN, 0.0),
        (0.0, f64::NAN),
        (INF, 0.0),
        (0.0, INF),
        (INF, -INF),
    ] {
        let compared = std::panic::catch_unwind(|| close("expected", &[got], &[want], 1e300));
        assert!(compared.is_err(), "{got} passed for {want}");
    }
}

// ---- golden and hand-worked values

fn golden() -> Value {
    serde_json::from_str(include_str!("../fixtures/golden.json")).unwrap()
}

#[track_caller]
fn numbers(of: &Value) -> Vec<f64> {
    match of.as_array() {
        Some(values) => values.iter().map(|v| v.as_f64().unwrap()).collect(),
        None => vec![of.as_f64().unwrap()],
    }
}

#[test]
fn hand_worked_values() {
    let ln2 = 2f64.ln();
    // y = 1 with weight 3: 3 ln 2; y = 0: ln 2; the mean of the two that count: 2 ln 2
    let problem = Problem::new(1, &[0.0, 0.0, 9.0], &[1.0, 0.0, 0.0]).without(2);
    let out = problem.run(Loss::bce(3.0, 0.0, true));
    close("bce", &out.loss, &[2.0 * ln2], 1e-15);
    close("bce ds", &out.grad_logits, &[-0.75, 0.25, 0.0], 1e-15);
    close("bce dy", &out.grad_targets, &[ln2, ln2, 0.0], 1e-15);
    // a positive of weight 1 and a negative of weight 3, both at 0: log 2 + log 4
    let out = Problem::new(1, &[0.0, 0.0], &[1.0, 0.0])
        .weighted(&[1.0, 3.0])
        .run(HARD);
    close("weighted", &out.loss, &[3.0 * ln2], 1e-15);
    close("weighted ds", &out.grad_logits, &[-0.5, 0.75], 1e-15);
    // 1/2 is not positive, all above is
    let ds = Problem::new(1, &[0.0, 0.0], &[0.5, 0.51])
        .run(HARD)
        .grad_logits;
    close("above one half", &ds, &[0.5, -0.5], 1e-15);
}

#[test]
fn tiny_losses_keep_relative_precision() {
    // a weight that makes a large exponential small: log(1 + 1e-9 e^2)
    let weighted = Problem::new(1, &[2.0], &[0.0]).weighted(&[1e-9]);
    let table = [
        (weighted, HARD, (1e-9 * 2f64.exp()).ln_1p()),
        (
            Problem::new(1, &[40.0, -40.0], &[1.0, 0.0]),
            LSEP,
            (-80f64).exp(),
        ),
        (Problem::new(1, &[80.0], &[1.0]), BCE, (-80f64).exp()),
        (
            Problem::new(1, &[40.0], &[41.0]),
            Loss::kl(1.0),
            (-40f64).exp() - (-41f64).exp(),
        ),
    ];
    for (problem, loss, want) in table {
        relatively_close(
            &format!("{loss:?}"),
            &problem.run(loss).loss,
            &[want],
            1e-14,
        );
    }
}

// ---- finite differences

/// Every loss x threshold x reduction x choice of masks and weights, with a random upstream gradient.
#[test]
fn gradients_are_finite_differences() {
    let reductions = [
        Reduction::None,
        Reduction::Sum,
        Reduction::Mean,
        Reduction::MeanOver(7.0),
    ];
    let losses = losses();
    let cases = losses.len() * 4 * 4 * 16;
    println!("seeds 0..{cases}");
    for seed in 0..cases {
        let rng = &mut Rng(seed as u64);
        let (reduction, share) = (reductions[seed / 16 % 4], SHARES[seed / 64 % 4]);
        let loss = losses[seed / 256].by(reduction);
        let mut problem = Problem::full(rng, 3, 4, loss, share);
        let without = |bit: usize| seed >> bit & 1 == 0;
        problem.class_mask.take_if(|_| without(0));
        problem.mask.take_if(|_| without(1));
        problem.sample_weight.take_if(|_| without(2));
        problem.class_weight.take_if(|_| without(3));
        problem.weight.take_if(|_| without(4));
        let upstream = if reduction == Reduction::None && rng.flip() {
            3
        } else {
            1
        };
        problem.grad_loss = Some(rng.many(upstream, -2.0, 2.0));

        let what = |of: &str| format!("seed {seed}, {loss:?}, {share:?}, d/d {of}");
        let out = problem.run(loss);
        let ds = problem.slopes(loss, |p| &mut p.logits);
        close(&what("logits"), &out.grad_logits, &ds, 1e-7);
        if loss.targets() == Targets::Hard {
            assert!(out.grad_targets.is_empty(), "{}", what("targets"));
        } else {
            let dy = problem.slopes(loss, |p| &mut p.targets);
            close(&what("targets"), &out.grad_targets, &dy, 1e-7);
        }
        let ds0 = problem.slopes(loss, |p| &mut p.threshold);
        close(&what("threshold"), &out.grad_threshold, &ds0, 1e-7);
        assert!(
            loss.uses_threshold() || ds0.iter().all(|&g| g == 0.0),
            "ignored"
        );
    }
}

// ---- what the inputs mean

#[test]
fn reductions_are_sums_of_the_rows() {
    for loss in losses() {
        let problem = Problem::full(&mut Rng(31), 5, 6, loss, Share::Nothing);
        let each = problem.run(loss.by(Reduction::None));
        let bare = Problem {
            sample_weight: None,
            ..problem.clone()
        };
        let bare = bare.run(loss.by(Reduction::None)).loss;
        let weights = problem.sample_weight.as_ref().unwrap();
        let weighted: Vec<f64> = bare.iter().zip(weights).map(|(l, w)| l * w).collect();
        close("sample weight", &each.loss, &weighted, 1e-15);
        let scales = [
            (Reduction::Sum, 1.0),
            (Reduction::Mean, 0.2),
            (Reduction::MeanOver(8.0), 0.125),
        ];
        for (reduction, scale) in scales {
            let scaled = |of: &[f64]| of.iter().map(|g| scale * g).collect();
            let want = RowOutputs {
                loss: vec![scale * each.loss.iter().sum::<f64>()],
                grad_logits: scaled(&each.grad_logits),
                grad_targets: scaled(&each.grad_targets),
                grad_threshold: vec![],
                ..RowOutputs::default()
            };
            let out = problem.run(loss.by(reduction));
            same(&format!("{loss:?} {reduction:?}"), &out, &want, 1e-14);
        }
    }
}

/// A masked label is as good as absent, whatever stands there; both masks do it.
#[test]
fn masked_labels_are_absent() {
    // of two rows with four labels, those that are not label 2
    let keep = |of: &[f64]| match of.is_empty() {
        true => vec![],
        false => [0, 1, 3, 4, 5, 7].map(|i| of[i]).to_vec(),
    };
    for loss in losses() {
        for poison in [f64::NAN, INF, -INF, 1e300] {
            let mut problem = Problem::random(&mut Rng(5), 2, 4, loss);
            let absent = Problem::new(2, &keep(&problem.logits), &keep(&problem.targets)).run(loss);
            for i in [2, 6] {
                (problem.logits[i], problem.targets[i]) = (poison, poison);
            }
            problem = problem.weighted(&[1.0, 1.0, poison, 1.0]);
            let mut elements = problem.clone();
            elements.mask = Some([true, true, false, true].repeat(2));
            for problem in [elements, problem.without(2)] {
                let out = problem.run(loss);
                let what = format!("{loss:?}, {poison}");
                assert_eq!(out.loss, absent.loss, "{what}");
                for (got, want) in [
                    (out.grad_logits, &absent.grad_logits),
                    (out.grad_targets, &absent.grad_targets),
                ] {
                    assert_eq!(keep(&got), *want, "{what}");
                    assert!(
                        got.is_empty() || (got[2], got[6]) == (0.0, 0.0),
                        "{what}: {got:?}"
                    );
                }
            }
        }
    }
}

/// A logit of -inf is a mask to the ZLPR family, whatever target and smoothing; a threshold does not change that.
#[test]
fn a_logit_of_minus_infinity_is_a_mask() {
    let family = [HARD, SOFT, SMOOTHED, LSEP, TWO_WAY, Loss::kl(1.0), EXCESS];
    for loss in family {
        assert!(loss.0.takes().masked_logits, "{loss:?}");
        for target in [0.0, 1.0] {
            let mut problem = Problem::random(&mut Rng(43), 2, 4, loss);
            let want = problem.clone().without(1).run(loss);
            for at in [1, 5] {
                (problem.logits[at], problem.targets[at]) = (-INF, target);
            }
            assert_eq!(problem.run(loss), want, "{loss:?}, target {target}");
        }
    }
}

/// A row of weight 0 counts for nothing, whatever it holds.
#[test]
fn rows_of_weight_zero_count_for_nothing() {
    for loss in losses() {
        for poison in [f64::NAN, INF, -INF, 1e300] {
            let mut problem = Problem::random(&mut Rng(47), 3, 4, loss);
            problem.sample_weight = Some(vec![1.5, 0.0, -0.5]);
            let good = problem.run(loss.by(Reduction::None));
            for i in 4..8 {
                (problem.logits[i], problem.targets[i]) = (poison, poison);
            }
            let found = problem.run(loss.by(Reduction::None));
            let what = format!("{loss:?}, {poison}");
            assert_eq!(found.loss[1], 0.0, "{what}");
            assert_eq!(found.grad_logits[4..8], [0.0; 4], "{what}");
            assert!(found.loss.iter().all(|l| l.is_finite()), "{what}");
            assert_eq!(found.loss[0], good.loss[0], "{what}");
            assert_eq!(found.grad_logits[..4], good.grad_logits[..4], "{what}");
            assert_eq!(found.grad_logits[8..], good.grad_logits[8..], "{what}");
            assert!(
                problem.run(loss.by(Reduction::Mean)).loss[0].is_finite(),
                "{what}"
            );
        }
    }
}

/// A label of weight 2 is that label twice, one of weight 0 is none at all. (A mean over the labels
/// divides by their number, which weights leave alone.)
#[test]
fn class_weights_count_labels() {
    for loss in losses().iter().filter(|loss| loss.is_sum()) {
        let what = format!("{loss:?}");
        let one = Problem::random(&mut Rng(17), 1, 5, *loss);
        let mut twice = one.clone();
        twice.cols = 6;
        twice.logits.push(one.logits[4]);
        twice.targets.push(one.targets[4]);
        let mut want = twice.run(*loss);
        for gradient in [&mut want.grad_logits, &mut want.grad_targets] {
            if let Some(last) = gradient.pop() {
                gradient[4] += last;
            }
        }
        let weighted = |w| one.clone().weighted(&[1.0, 1.0, 1.0, 1.0, w]).run(*loss);
        same(&what, &weighted(2.0), &want, 1e-14);
        same(
            &what,
            &weighted(0.0),
            &one.clone().without(4).run(*loss),
            1e-15,
        );
    }
}

/// Weights by element stand where those by class do: one that is the same in every row is a class's, and both multiply.
#[test]
fn weights_of_elements_are_those_of_classes_row_by_row() {
    println!("seed 43");
    for loss in losses() {
        let what = format!("{loss:?}");
        let rng = &mut Rng(43);
        let mut problem = Problem::full(rng, 3, 5, loss, Share::Row);
        let each = rng.many(5, 0.0, 2.0);
        if !loss.takes_weight() {
            problem.weight = Some(each.repeat(3));
            let refused = loss.run(&problem.inputs()).unwrap_err().to_string();
            assert_eq!(refused, "weight: this loss takes none", "{what}");
            continue;
        }
        (problem.weight, problem.class_weight) = (None, Some(each.clone()));
        let of_classes = problem.run(loss);
        problem.weight = Some(each.iter().map(|w| w * 4.0).collect::<Vec<_>>().repeat(3));
        problem.class_weight = Some(vec![0.25; 5]);
        same(&what, &problem.run(loss), &of_classes, 1e-15);
        (problem.mask, problem.class_mask) = (None, None);
        let before = problem.run(loss);
        problem.weight.as_mut().unwrap()[7] += 1.0;
        assert_ne!(problem.run(loss), before, "{what}");
    }
}

/// A mean over what counts is the sum over its number, which is found here by hand.
#[test]
fn means_over_what_counts_divide_by_its_number() {
    println!("seed 47");
    for loss in losses() {
        let rng = &mut Rng(47);
        let mut problem = Problem::full(rng, 5, 4, loss, Share::Nothing);
        problem.sample_weight.as_mut().unwrap()[1] = 0.0;
        problem.logits[8..12].fill(f64::NEG_INFINITY);
        problem.targets[16..].fill(0.0);
        let (mask, class_mask) = (
            problem.mask.clone().unwrap(),
            problem.class_mask.clone().unwrap(),
        );
        let counts = |i: usize| mask[i] && class_mask[i % 4] && i / 4 != 1;
        for (mean, count) in [
            (
                Reduction::MeanElements,
                (0..20).filter(|i| counts(*i)).count(),
            ),
            (
                Reduction::MeanActive,
                [0, 3]
                    .iter()
                    .filter(|row| {
                        (0..4).any(|c| counts(4 * *row + c) && problem.targets[4 * *row + c] > 0.5)
                    })
                    .count(),
            ),
        ] {
            let what = format!("{loss:?} {mean:?}");
            if loss.0.takes().counted != Some(mean) {
                assert!(loss.by(mean).0.check().is_err(), "{what}");
                continue;
            }
            assert!(count > 0 && count < 20, "{what}: {count}");
            let over = loss.by(Reduction::MeanOver(count as f32));
            same(
                &what,
                &problem.run(loss.by(mean)),
                &problem.run(over),
                1e-15,
            );
        }
    }
}

/// Smoothing is the loss at the smoothed targets.
#[test]
fn smoothing_moves_the_targets() {
    let bce = |eps| Loss::bce(2.5, eps, true);
    let focal = |eps| Loss::focal(2.0, 0.25, eps, false);
    let asl = |eps| Loss::asl([1.0, 4.0, 0.05], eps, false);
    let hill = |eps| Loss::hill([1.5, 1.0, 2.0], eps, false);
    for (smooth, plain) in [
        (SMOOTHED, SOFT),
        (bce(0.25), bce(0.0)),
        (focal(0.25), focal(0.0)),
        (asl(0.25), asl(0.0)),
        (hill(0.25), hill(0.0)),
    ] {
        let problem = Problem::random(&mut Rng(29), 2, 5, HARD);
        let moved: Vec<f64> = problem.targets.iter().map(|y| 0.75 * y + 0.125).collect();
        let mut want = Problem::new(2, &problem.logits, &moved).run(plain);
        want.grad_targets.iter_mut().for_each(|g| *g *= 0.75);
        same(&format!("{smooth:?}"), &problem.run(smooth), &want, 1e-15);
    }
}

// ---- edge rows

#[test]
fn nothing_to_sum_is_zero() {
    for loss in losses() {
        let none = loss.by(Reduction::None);
        for by in [Reduction::Sum, Reduction::Mean, Reduction::MeanOver(0.0)] {
            let no_rows = Problem {
                cols: 3,
                ..Problem::default()
            };
            assert_eq!(no_rows.run(loss.by(by)).loss, [0.0], "{loss:?} {by:?}");
            assert!(no_rows.run(none).loss.is_empty(), "{loss:?}");
        }
        let no_labels = Problem {
            rows: 2,
            ..Problem::default()
        };
        let mut masked = Problem::random(&mut Rng(3), 2, 1, loss).without(0);
        masked.logits[0] = f64::NAN;
        for problem in [no_labels, masked] {
            let out = problem.run(none);
            assert_eq!(out.loss, [0.0, 0.0], "{loss:?}");
            assert!(
                out.loss.iter().all(|l| l.is_sign_positive()),
                "-0: {loss:?}"
            );
            assert!(out.grad_logits.iter().all(|&g| g == 0.0), "{loss:?}");
        }
    }
}

#[test]
fn nan_stays_in_its_row() {
    type Spoil = fn(&mut Problem);
    let sources: [(&str, Spoil); 4] = [
        ("logit", |p| p.logits[5] = f64::NAN),
        ("target", |p| p.targets[5] = f64::NAN),
        ("class weight", |p| {
            p.class_weight.as_mut().unwrap()[1] = f64::NAN;
        }),
        ("threshold", |p| p.threshold[1] = f64::NAN),
    ];
    // row 1 alone looks at label 1, and not at label 3
    let mask: Vec<bool> = (0..12).map(|i| ![1, 7, 9].contains(&i)).collect();
    for loss in losses() {
        let mut clean = Problem::full(&mut Rng(13), 3, 4, loss, Share::Row);
        (clean.class_mask, clean.mask) = (None, Some(mask.clone()));
        let want = clean.run(loss.by(Reduction::None));
        for (source, spoil) in sources {
            if source == "threshold" && !loss.uses_threshold() {
                continue;
            }
            let what = format!("{loss:?}, {source}");
            let mut problem = clean.clone();
            spoil(&mut problem);
            let out = problem.run(loss.by(Reduction::None));
            assert!(out.loss[1].is_nan(), "{what}");
            assert_eq!(
                (out.loss[0], out.loss[2]),
                (want.loss[0], want.loss[2]),
                "{what}"
            );
            let pairs = [
                (&out.grad_logits, &want.grad_logits),
                (&out.grad_targets, &want.grad_targets),
            ];
            for (got, want) in pairs {
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let fine = if i / 4 == 1 && mask[i] {
                        got.is_nan()
                    } else {
                        got == want
                    };
                    assert!(fine, "{what}, element {i}: {got}");
                }
            }
            if loss.uses_threshold() {
                let (got, want) = (&out.grad_threshold, &want.grad_threshold);
                assert!(got[1].is_nan(), "{what}");
                assert_eq!((got[0], got[2]), (want[0], want[2]), "{what}");
            }
            let mean = problem.run(loss.by(Reduction::Mean));
            assert!(
                mean.loss[0].is_nan() && mean.grad_logits[0].is_finite(),
                "{what}"
            );
        }
    }
}

/// Infinite on the right side: as if masked.
#[test]
fn infinite_and_right_counts_as_masked() {
    for loss in [HARD, SOFT, LSEP, TWO_WAY, BCE, FOCAL, ASL, HILL] {
        for (at, infinite) in [(0, -INF), (3, INF)] {
            let mut problem = Problem::new(1, &[0.3, -0.2, 0.7, 1.0], &[0.0, 1.0, 0.0, 1.0]);
            problem.logits[at] = infinite;
            let (out, want) = (problem.run(loss), problem.without(at).run(loss));
            close(&format!("{loss:?}"), &out.loss, &want.loss, 1e-15);
            close(
                &format!("{loss:?}"),
                &out.grad_logits,
                &want.grad_logits,
                1e-15,
            );
        }
    }
    // the only negative is out; there is none at all, or no positive, and another logit is infinite
    for loss in [LSEP, TWO_WAY] {
        for (first, y) in [(-INF, [0.0, 1.0, 1.0]), (-INF, [1.0; 3]), (INF, [0.0; 3])] {
            let out = Problem::new(1, &[first, -0.2, 0.7], &y).run(loss);
            close("one side alone", &out.loss, &[0.0], 0.0);
            close("one side alone", &out.grad_logits, &[0.0; 3], 0.0);
        }
    }
}

/// A weight of 0 takes an infinite label out, even on the wrong side.
#[test]
fn infinite_and_weightless_is_absent() {
    for loss in [HARD, SOFT, LSEP, TWO_WAY, BCE, FOCAL, ASL, HILL] {
        let problem = Problem::new(1, &[-INF, 0.3, 0.2], &[1.0, 0.0, 1.0]);
        let out = problem.clone().weighted(&[0.0, 1.0, 1.0]).run(loss);
        let want = problem.without(0).run(loss);
        close(&format!("{loss:?}, weight 0"), &out.loss, &want.loss, 1e-15);
        close(
            &format!("{loss:?}, weight 0"),
            &out.grad_logits,
            &want.grad_logits,
            1e-15,
        );
    }
}

/// Any finite logit gives a finite loss and gradient, in single precision nearly the same. (BP-MLL grows with the
/// exponential itself.)
#[test]
fn both_precisions_agree() {
    let large = [65504.0, -65504.0, 1e4, -1e4, 90.0, -90.0, 0.0, -0.0, 1e-40];
    for loss in losses() {
        if matches!(loss.0, AnyLoss::BpMll(_)) {
            continue;
        }
        // Its gradient to the targets is a difference of costs of 1e5.
        let tolerance = match loss.0 {
            AnyLoss::SoftmaxCe(_) => 1e-2,
            _ => 1e-3,
        };
        for shift in 0..large.len() {
            let mut other = large;
            other.rotate_left(shift);
            let targets = match loss.targets() {
                Targets::Hard => other.map(|v| f64::from(v > 0.0)),
                Targets::Soft => [0.3; 9],
                Targets::Logits => other,
            };
            let problem = Problem::new(1, &large, &targets);
            let want = problem.run(loss);
            let all = [&want.loss[..], &want.grad_logits, &want.grad_targets].concat();
            assert!(
                all.iter().all(|v| v.is_finite()),
                "{loss:?}, shift {shift}: {all:?}"
            );
            same(
                &format!("{loss:?}, shift {shift}"),
                &problem.run_f32(loss),
                &want,
                tolerance,
            );
        }
        let mut problem = Problem::random(&mut Rng(37), 4, 50, loss);
        for v in problem.logits.iter_mut().chain(&mut problem.targets) {
            *v = f64::from(*v as f32);
        }
        same(
            &format!("{loss:?}"),
            &problem.run_f32(loss),
            &problem.run(loss),
            5e-6,
        );
    }
}

// ---- laws

#[test]
fn order_of_labels_and_rows_is_irrelevant() {
    for loss in losses().iter().map(|loss| loss.by(Reduction::None)) {
        let rng = &mut Rng(41);
        let problem = Problem::full(rng, 4, 7, loss, Share::Label);
        let (rows, cols) = (rng.permutation(4), rng.permutation(7));
        let all: Vec<usize> = (0..28).map(|i| rows[i / 7] * 7 + cols[i % 7]).collect();
        fn pick<T: Copy>(of: &[T], by: &[usize]) -> Vec<T> {
            let some = if of.is_empty() { &[] } else { by };
            some.iter().map(|&i| of[i]).collect()
        }
        let moved = Problem {
            logits: pick(&problem.logits, &all),
            targets: pick(&problem.targets, &all),
            class_mask: problem.class_mask.as_ref().map(|of| pick(of, &cols)),
            mask: problem.mask.as_ref().map(|of| pick(of, &all)),
            sample_weight: problem.sample_weight.as_ref().map(|of| pick(of, &rows)),
            class_weight: problem.class_weight.as_ref().map(|of| pick(of, &cols)),
            weight: problem.weight.as_ref().map(|of| pick(of, &all)),
            threshold: pick(&problem.threshold, &cols),
            ..problem.clone()
        };
        let (out, stayed) = (moved.run(loss), problem.run(loss));
        let want = RowOutputs {
            loss: pick(&stayed.loss, &rows),
            grad_logits: pick(&stayed.grad_logits, &all),
            grad_targets: pick(&stayed.grad_targets, &all),
            grad_threshold: pick(&stayed.grad_threshold, &cols),
            ..RowOutputs::default()
        };
        same(&format!("{loss:?}"), &out, &want, 1e-14);
        close(
            "threshold",
            &out.grad_threshold,
            &want.grad_threshold,
            1e-14,
        );
    }
}
