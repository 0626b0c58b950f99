//! The CPU reference against golden values, finite differences, edge rows and the laws of each loss.
//! No GPU. Random problems come from a seeded generator; what fails names its seed.

use serde_json::Value;
use wgloss::losses::zlpr::Form;
use wgloss::reference::{
    self, Real, RowInputs, RowOutputs, Threshold, dense_from_bits, dense_from_csr,
};
use wgloss::{Bce, Error, Reduction, Zlpr};

const INF: f64 = f64::INFINITY;
const BCE: Loss = Loss::bce(1.0, 0.0, false);
const HARD: Loss = Loss::zlpr(Form::Hard, 0.0);
const SOFT: Loss = Loss::zlpr(Form::Soft, 0.0);
const LSEP: Loss = Loss::joint(1.0, 1.0);
const TWO_WAY: Loss = Loss::joint(4.0, 1.0);
const EXCESS: Loss = Loss::zlpr(Form::KlExcess, 0.0);

/// What every general test goes through.
const LOSSES: [Loss; 10] = [
    HARD,
    SOFT,
    Loss::zlpr(Form::Soft, 0.25),
    LSEP,
    Loss::joint(4.0, 0.5),
    Loss::kl(1.0),
    Loss::kl(2.0),
    EXCESS,
    BCE,
    Loss::bce(2.5, 0.25, true),
];

// ---- losses, problems and how they are compared

#[derive(Clone, Copy, Debug)]
enum Loss {
    Zlpr(Zlpr),
    Bce(Bce),
}

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
        Loss::Zlpr(Zlpr {
            form,
            smoothing,
            reduction,
        })
    }

    const fn joint(t_pos: f32, t_neg: f32) -> Loss {
        Loss::zlpr(Form::Joint { t_pos, t_neg }, 0.0)
    }

    const fn kl(beta: f32) -> Loss {
        Loss::zlpr(Form::KlSymmetric { beta }, 0.0)
    }

    const fn bce(pos_weight: f32, smoothing: f32, row_mean: bool) -> Loss {
        let reduction = Reduction::Sum;
        Loss::Bce(Bce {
            pos_weight,
            smoothing,
            row_mean,
            reduction,
        })
    }

    fn by(mut self, by: Reduction) -> Loss {
        match &mut self {
            Loss::Zlpr(config) => config.reduction = by,
            Loss::Bce(config) => config.reduction = by,
        }
        self
    }

    fn run<T: Real>(&self, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
        match self {
            Loss::Zlpr(config) => reference::zlpr(config, inputs),
            Loss::Bce(config) => reference::bce(config, inputs),
        }
    }

    fn targets(&self) -> Targets {
        match self {
            Loss::Bce(_) => Targets::Soft,
            Loss::Zlpr(zlpr) => match zlpr.form {
                Form::Hard | Form::Joint { .. } => Targets::Hard,
                Form::Soft => Targets::Soft,
                Form::KlSymmetric { .. } | Form::KlExcess => Targets::Logits,
            },
        }
    }

    fn uses_threshold(&self) -> bool {
        matches!(self, Loss::Zlpr(_)) && self.targets() != Targets::Logits
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

    /// Every optional input there is (but the upstream gradient).
    fn full(rng: &mut Rng, rows: usize, cols: usize, loss: Loss, share: Share) -> Problem {
        let thresholds = [0, 1, rows, cols][share as usize];
        Problem {
            class_mask: Some((0..cols).map(|_| rng.unit() < 0.8).collect()),
            mask: Some((0..rows * cols).map(|_| rng.unit() < 0.8).collect()),
            sample_weight: Some(rng.many(rows, 0.2, 2.0)),
            class_weight: Some(rng.many(cols, 0.2, 2.0)),
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

    fn run(&self, loss: Loss) -> RowOutputs<f64> {
        let inputs = RowInputs {
            rows: self.rows,
            cols: self.cols,
            logits: &self.logits,
            targets: &self.targets,
            class_mask: self.class_mask.as_deref(),
            mask: self.mask.as_deref(),
            sample_weight: self.sample_weight.as_deref(),
            class_weight: self.class_weight.as_deref(),
            threshold: match self.share {
                Share::Nothing => Threshold::None,
                Share::Everything => Threshold::Scalar(self.threshold[0]),
                Share::Row => Threshold::PerRow(&self.threshold),
                Share::Label => Threshold::PerLabel(&self.threshold),
            },
            grad_loss: self.grad_loss.as_deref(),
        };
        loss.run(&inputs).unwrap()
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

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn many(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count)
            .map(|_| low + (high - low) * self.unit())
            .collect()
    }

    fn flip(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_cached_key(|_| self.next());
        order
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
    serde_json::from_str(include_str!("fixtures/golden.json")).unwrap()
}

#[track_caller]
fn numbers(of: &Value) -> Vec<f64> {
    match of.as_array() {
        Some(values) => values.iter().map(|v| v.as_f64().unwrap()).collect(),
        None => vec![of.as_f64().unwrap()],
    }
}

#[test]
fn golden_zlpr() {
    // key, loss, targets, key of the gradient to the targets (of the excess: by differences, below)
    let table = [
        ("hard", HARD, "y", None),
        ("tlpr", HARD, "y", None),
        ("soft", SOFT, "t", Some("soft_dt")),
        ("lsep", LSEP, "y", None),
        ("kl_beta1", Loss::kl(1.0), "u", Some("kl_beta1_du")),
        ("kl_beta2", Loss::kl(2.0), "u", Some("kl_beta2_du")),
        ("excess", EXCESS, "u", None),
    ];
    let golden = golden();
    let rows = golden["zlpr"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        for (key, loss, targets, key_dt) in table {
            let mut problem = Problem::new(1, &numbers(&row["s"]), &numbers(&row[targets]));
            if key == "tlpr" {
                problem.share = Share::Everything;
                problem.threshold = numbers(&row["s0"]);
            }
            let out = problem.run(loss);
            close(key, &out.loss, &numbers(&row[key]), 1e-12);
            close(
                key,
                &out.grad_logits,
                &numbers(&row[format!("{key}_ds")]),
                1e-12,
            );
            if let Some(key) = key_dt {
                close(key, &out.grad_targets, &numbers(&row[key]), 1e-12);
            }
            if key == "tlpr" {
                close(key, &out.grad_threshold, &numbers(&row["tlpr_ds0"]), 1e-12);
            }
        }
    }
}

/// No positives, all positives, huge logits, a confident row.
#[test]
fn golden_zlpr_edges() {
    let golden = golden();
    let edges = golden["zlpr"]["edge"].as_array().unwrap();
    assert_eq!(edges.len(), 4);
    for edge in edges {
        let name = edge["name"].as_str().unwrap();
        let problem = Problem::new(1, &numbers(&edge["s"]), &numbers(&edge["y"]));
        for loss in [HARD, SOFT] {
            let out = problem.run(loss);
            close(name, &out.loss, &numbers(&edge["hard"]), 1e-12);
            close(name, &out.grad_logits, &numbers(&edge["ds"]), 1e-12);
            if name == "tiny" {
                relatively_close("tiny", &out.loss, &numbers(&edge["hard"]), 1e-12);
                relatively_close("tiny", &out.grad_logits, &numbers(&edge["ds"]), 1e-12);
                let out = problem.run_f32(loss);
                relatively_close("tiny f32", &out.loss, &numbers(&edge["hard"]), 1e-6);
                relatively_close("tiny f32", &out.grad_logits, &numbers(&edge["ds"]), 1e-6);
            }
        }
    }
}

#[test]
fn golden_bce() {
    let golden = &golden()["baselines"];
    let (s, y) = (numbers(&golden["s"]), numbers(&golden["y"]));
    let terms = numbers(&golden["bce"]["per_label"]);
    let out = Problem::new(1, &s, &y).run(BCE);
    close("sum", &out.loss, &[terms.iter().sum()], 1e-12);
    close("sum", &out.loss, &[2.156_001_214_875], 1e-12);
    close(
        "ds",
        &out.grad_logits,
        &numbers(&golden["bce"]["ds_of_sum"]),
        1e-12,
    );
    let rows = Problem::new(5, &s, &y).run(BCE.by(Reduction::None));
    close("per label", &rows.loss, &terms, 1e-12);
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
    let cases = LOSSES.len() * 4 * 4 * 16;
    println!("seeds 0..{cases}");
    for seed in 0..cases {
        let rng = &mut Rng(seed as u64);
        let (reduction, share) = (reductions[seed / 16 % 4], SHARES[seed / 64 % 4]);
        let loss = LOSSES[seed / 256].by(reduction);
        let mut problem = Problem::full(rng, 3, 4, loss, share);
        let without = |bit: usize| seed >> bit & 1 == 0;
        problem.class_mask.take_if(|_| without(0));
        problem.mask.take_if(|_| without(1));
        problem.sample_weight.take_if(|_| without(2));
        problem.class_weight.take_if(|_| without(3));
        let upstream = if reduction == Reduction::None && rng.flip() {
            3
        } else {
            1
        };
        problem.grad_loss = Some(rng.many(upstream, -2.0, 2.0));

        let what = |of: &str| format!("seed {seed}, {loss:?}, {share:?}, d/d {of}");
        let out = problem.run(loss);
        let ds = problem.slopes(loss, |p| &mut p.logits);
        close(&what("logits"), &out.grad_logits, &ds, 1e-8);
        if loss.targets() == Targets::Hard {
            assert!(out.grad_targets.is_empty(), "{}", what("targets"));
        } else {
            let dy = problem.slopes(loss, |p| &mut p.targets);
            close(&what("targets"), &out.grad_targets, &dy, 1e-8);
        }
        let ds0 = problem.slopes(loss, |p| &mut p.threshold);
        close(&what("threshold"), &out.grad_threshold, &ds0, 1e-8);
        assert!(
            loss.uses_threshold() || ds0.iter().all(|&g| g == 0.0),
            "ignored"
        );
    }
}

// ---- what the inputs mean

#[test]
fn reductions_are_sums_of_the_rows() {
    for loss in LOSSES {
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
    for loss in LOSSES {
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

/// A label of weight 2 is that label twice, one of weight 0 is none at all. (A mean over the labels
/// divides by their number, which weights leave alone.)
#[test]
fn class_weights_count_labels() {
    for loss in &LOSSES[..9] {
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

/// TLPR is the loss of `s - s0`, and its gradient to `s0` is minus that to all that shares it.
#[test]
fn thresholds_shift_the_logits() {
    for loss in LOSSES.into_iter().filter(Loss::uses_threshold) {
        for share in [Share::Everything, Share::Row, Share::Label] {
            let problem = Problem::full(&mut Rng(23), 3, 4, loss, share);
            let mut shifted = problem.clone();
            (shifted.share, shifted.threshold) = (Share::Nothing, vec![]);
            let out = problem.run(loss);
            let mut shared = vec![0.0; problem.threshold.len()];
            for i in 0..12 {
                let at = [0, 0, i / 4, i % 4][share as usize];
                shifted.logits[i] -= problem.threshold[at];
                shared[at] -= out.grad_logits[i];
            }
            let what = format!("{loss:?} {share:?}");
            same(&what, &out, &shifted.run(loss), 0.0);
            close(&what, &out.grad_threshold, &shared, 1e-14);
        }
    }
}

/// Smoothing is the loss at the smoothed targets.
#[test]
fn smoothing_moves_the_targets() {
    let bce = |eps| Loss::bce(2.5, eps, true);
    for (smooth, plain) in [(LOSSES[2], SOFT), (bce(0.25), bce(0.0))] {
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
    for loss in LOSSES {
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
    for loss in LOSSES {
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
    for loss in [HARD, SOFT, LSEP, TWO_WAY, BCE] {
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

/// Infinite on the wrong side: the loss is infinite, the gradient its limit.
#[test]
fn infinite_and_wrong_shares_the_gradient() {
    let (s, y) = ([-INF, -INF, 1.0, 0.5, -1.0], [1.0, 1.0, 1.0, 0.0, 0.0]);
    let weights = [1.0, 3.0, 1.0, 1.0, 2.0];
    // the finite side: w e^s over its sum, which has the 1 in hard and soft; in joint q = 1
    let (n3, n4) = (0.5f64.exp(), 2.0 * (-1f64).exp());
    let (with, without) = (1.0 + n3 + n4, n3 + n4);
    let mirrored_two_way = Loss::joint(1.0, 4.0);
    for (loss, mirrored, total) in [
        (HARD, HARD, with),
        (SOFT, SOFT, with),
        (LSEP, LSEP, without),
        (TWO_WAY, mirrored_two_way, without),
    ] {
        let want = [-0.25, -0.75, 0.0, n3 / total, n4 / total];
        let out = Problem::new(1, &s, &y).weighted(&weights).run(loss);
        close(&format!("{loss:?}"), &out.loss, &[INF], 0.0);
        close(&format!("{loss:?}"), &out.grad_logits, &want, 1e-15);
        let mirror = Problem::new(1, &s.map(|s| -s), &y.map(|y| 1.0 - y));
        let out = mirror.weighted(&weights).run(mirrored);
        close(&format!("{loss:?}, mirrored"), &out.loss, &[INF], 0.0);
        close(
            &format!("{loss:?}, mirrored"),
            &out.grad_logits,
            &want.map(|g| -g),
            1e-15,
        );
    }
    // a target between: the label is on both sides, infinite on one
    let out = Problem::new(1, &[-INF, 0.0], &[0.5, 0.0]).run(SOFT);
    close("soft", &out.loss, &[INF], 0.0);
    close("soft", &out.grad_logits, &[-1.0, 0.5], 1e-15);
    let out = Problem::new(1, &[-INF, INF], &[1.0, 0.25]).run(BCE);
    close("bce", &out.loss, &[INF], 0.0);
    close("bce", &out.grad_logits, &[-1.0, 0.75], 0.0);
    // the KL forms do not support it: the row, and no other, is NaN
    for loss in [Loss::kl(1.0), EXCESS] {
        for infinite in [INF, -INF] {
            let problem = Problem::new(2, &[infinite, 0.1, 0.2, 0.3], &[0.5, 0.4, 0.3, 0.2]);
            let swapped = Problem::new(2, &problem.targets, &problem.logits);
            for out in [problem.run(loss), swapped.run(loss)] {
                for gradient in [out.grad_logits, out.grad_targets] {
                    assert!(gradient[..2].iter().all(|g| g.is_nan()), "{loss:?}");
                    assert!(gradient[2..].iter().all(|g| g.is_finite()), "{loss:?}");
                }
            }
        }
    }
    // a weight of 0 takes an infinite label out
    for loss in [HARD, SOFT, LSEP, TWO_WAY, BCE] {
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

/// Any finite logit gives a finite loss and gradient, in single precision nearly the same.
#[test]
fn both_precisions_agree() {
    let large = [65504.0, -65504.0, 1e4, -1e4, 90.0, -90.0, 0.0, -0.0, 1e-40];
    for loss in LOSSES {
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
                1e-3,
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
    for loss in LOSSES.map(|loss| loss.by(Reduction::None)) {
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
            threshold: pick(&problem.threshold, &cols),
            ..problem.clone()
        };
        let (out, stayed) = (moved.run(loss), problem.run(loss));
        let want = RowOutputs {
            loss: pick(&stayed.loss, &rows),
            grad_logits: pick(&stayed.grad_logits, &all),
            grad_targets: pick(&stayed.grad_targets, &all),
            grad_threshold: pick(&stayed.grad_threshold, &cols),
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

#[test]
fn hard_and_soft_are_convex() {
    for seed in 0..200 {
        for loss in [HARD, SOFT] {
            let rng = &mut Rng(seed);
            let targets = Problem::random(rng, 1, 6, loss).targets;
            let (from, to, x) = (rng.many(6, -9.0, 9.0), rng.many(6, -9.0, 9.0), rng.unit());
            let at = |x: f64| {
                let s: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a + x * (b - a)).collect();
                Problem::new(1, &s, &targets).run(loss).loss[0]
            };
            let (curve, chord) = (at(x), (1.0 - x) * at(0.0) + x * at(1.0));
            assert!(
                curve <= chord + 1e-12,
                "seed {seed} {loss:?}: {curve} above {chord}"
            );
        }
    }
}

/// The forms with hard targets against unshifted sums, the bounds of the hard gradient and the sums
/// over its sides, and soft at targets of 0 and 1 against hard.
#[test]
fn hard_forms_are_brute_force_sums() {
    for seed in 0..200 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 7, HARD);
        let out = problem.run(HARD);
        let (mut p, mut n, mut p4, mut pairs) = (0.0, 0.0, 0.0, 0.0);
        let (mut p_gradient, mut n_gradient) = (0.0, 0.0);
        for i in 0..7 {
            let (s, ds) = (problem.logits[i], out.grad_logits[i]);
            assert!(ds.abs() < 1.0, "{what}: {ds}");
            if problem.targets[i] == 0.0 {
                (n, n_gradient) = (n + s.exp(), n_gradient + ds);
                continue;
            }
            (p, p4, p_gradient) = (p + (-s).exp(), p4 + (-s / 4.0).exp(), p_gradient + ds);
            for (other, y) in problem.logits.iter().zip(&problem.targets) {
                pairs += (1.0 - y) * (other - s).exp();
            }
        }
        let (pz, nz) = (p.ln_1p(), n.ln_1p());
        close(&what, &out.loss, &[pz + nz], 1e-14);
        let sums = [(-pz).exp() - 1.0, 1.0 - (-nz).exp()];
        close(&what, &[p_gradient, n_gradient], &sums, 1e-14);
        let soft = problem.run(SOFT);
        close("soft", &soft.loss, &out.loss, 1e-15);
        close("soft", &soft.grad_logits, &out.grad_logits, 1e-15);
        close("lsep", &problem.run(LSEP).loss, &[pairs.ln_1p()], 1e-14);
        close(
            "two-way",
            &problem.run(TWO_WAY).loss,
            &[(p4.powi(4) * n).ln_1p()],
            1e-14,
        );
    }
}

#[test]
fn excess_is_soft_less_its_minimum() {
    for seed in 0..100 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 6, EXCESS);
        let (s, u) = (&problem.logits[..], &problem.targets[..]);
        let out = problem.run(EXCESS);
        assert!(out.loss[0] >= 0.0, "{what}: {}", out.loss[0]);
        let t: Vec<f64> = u.iter().map(|u| 1.0 / (1.0 + (-2.0 * u).exp())).collect();
        let (soft, least) = (
            Problem::new(1, s, &t).run(SOFT),
            Problem::new(1, u, &t).run(SOFT),
        );
        close(
            "the minimum is where t = sigma(2s)",
            &least.grad_logits,
            &[0.0; 6],
            1e-14,
        );
        close(&what, &out.loss, &[soft.loss[0] - least.loss[0]], 1e-13);
        close(&what, &out.grad_logits, &soft.grad_logits, 1e-13);
        let zero = Problem::new(1, s, s).run(EXCESS);
        close(&what, &zero.loss, &[0.0], 1e-14);
        close(&what, &zero.grad_logits, &[0.0; 6], 1e-14);
        close(&what, &zero.grad_targets, &[0.0; 6], 1e-14);
    }
}

#[test]
fn symmetric_kl_is_both_divergences() {
    for seed in 0..100 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 6, EXCESS);
        let (s, u) = (&problem.logits[..], &problem.targets[..]);
        for beta in [0.5, 1.0, 2.0] {
            let loss = Loss::kl(beta);
            let (out, swapped) = (problem.run(loss), Problem::new(1, u, s).run(loss));
            close(&what, &swapped.loss, &out.loss, 1e-14);
            close(&what, &swapped.grad_logits, &out.grad_targets, 1e-14);
            close(&what, &swapped.grad_targets, &out.grad_logits, 1e-14);
            let sigma = |x: f64| 1.0 / (1.0 + (-f64::from(beta) * x).exp());
            let divergence = |a: f64, b: f64| {
                let (p, r) = (sigma(a), sigma(b));
                p * (p / r).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - r)).ln()
            };
            let both = |(&s, &u): (&f64, &f64)| divergence(s, u) + divergence(u, s);
            close(&what, &out.loss, &[s.iter().zip(u).map(both).sum()], 1e-13);
            close(&what, &Problem::new(1, s, s).run(loss).loss, &[0.0], 0.0);
        }
    }
}

// ---- target forms and refusals

#[test]
fn target_forms_round_trip() {
    for seed in 0..100 {
        let rng = &mut Rng(seed);
        let (rows, cols) = ((rng.next() % 5) as usize, (rng.next() % 70) as usize);
        let dense: Vec<bool> = (0..rows * cols).map(|_| rng.unit() < 0.2).collect();
        let words = cols.div_ceil(32);
        let mut bits = vec![0u32; rows * words];
        let (mut offsets, mut indices) = (vec![0u32], Vec::new());
        for row in 0..rows {
            for bit in 0..words * 32 {
                let set = if bit < cols {
                    dense[row * cols + bit]
                } else {
                    rng.flip()
                };
                bits[row * words + bit / 32] |= u32::from(set) << (bit % 32);
            }
            for col in (0..cols).rev().filter(|&col| dense[row * cols + col]) {
                indices.extend(vec![col as u32; 1 + usize::from(rng.flip())]);
            }
            offsets.push(indices.len() as u32);
        }
        assert_eq!(
            dense_from_bits(rows, cols, &bits).as_ref(),
            Ok(&dense),
            "seed {seed}"
        );
        let from_csr = dense_from_csr(rows, cols, &offsets, &indices);
        assert_eq!(from_csr.as_ref(), Ok(&dense), "seed {seed}");
    }
}

#[test]
fn wrong_target_forms_are_refused() {
    let csr = dense_from_csr;
    let table = [
        (
            dense_from_bits(2, 33, &[0; 3]),
            "bits: expected 4 values, found 3 values",
        ),
        (dense_from_bits(usize::MAX, 2, &[]), "shape: expected "),
        (dense_from_bits(usize::MAX, 0, &[]), "shape: expected "),
        (csr(1 << 16, 1 << 16, &[], &[]), "shape: expected "),
        (
            csr(2, 4, &[0, 1], &[3]),
            "offsets: expected 3 values, found 2 values",
        ),
        (
            csr(1, 4, &[1, 1], &[3]),
            "offsets: expected 0 as the first value, found 1",
        ),
        (
            csr(2, 4, &[0, 2, 1], &[3]),
            "offsets: expected values that do not fall, found 1 after 2",
        ),
        (
            csr(1, 4, &[0, 2], &[3]),
            "offsets: expected 1, the length of indices, as the last value",
        ),
        (
            csr(1, 4, &[0, 2], &[3, 4]),
            "indices: expected labels below 4, found 4",
        ),
    ];
    for (result, want) in table {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(want), "{message}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    type Spoil = fn(&mut RowInputs<'static, f64>);
    static LONG: [f64; 7] = [0.5; 7];
    static FLAGS: [bool; 7] = [true; 7];
    let wrong: [(&str, Spoil); 11] = [
        ("logits", |i| i.logits = &LONG[..5]),
        ("targets", |i| i.targets = &LONG),
        ("class_mask", |i| i.class_mask = Some(&FLAGS[..2])),
        ("mask", |i| i.mask = Some(&FLAGS)),
        ("sample_weight", |i| i.sample_weight = Some(&LONG[..3])),
        ("class_weight", |i| i.class_weight = Some(&LONG[..2])),
        ("threshold", |i| i.threshold = Threshold::PerRow(&LONG[..3])),
        ("threshold", |i| {
            i.threshold = Threshold::PerLabel(&LONG[..2]);
        }),
        ("grad_loss", |i| i.grad_loss = Some(&LONG[..2])),
        ("grad_loss", |i| i.grad_loss = Some(&[])),
        ("shape", |i| i.rows = usize::MAX),
    ];
    for loss in LOSSES {
        let (logits, targets) = (&LONG[..6], &LONG[..6]);
        let right = RowInputs {
            rows: 2,
            cols: 3,
            logits,
            targets,
            ..RowInputs::default()
        };
        assert!(loss.run(&right).is_ok());
        for (tensor, spoil) in wrong {
            let mut inputs = right;
            spoil(&mut inputs);
            let message = loss.run(&inputs).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{tensor}: expected ")),
                "{message}"
            );
        }
        let each = RowInputs {
            grad_loss: Some(&LONG[..2]),
            ..right
        };
        assert!(loss.by(Reduction::None).run(&each).is_ok());
    }
}
