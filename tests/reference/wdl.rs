//! The weighted difference loss.

use super::*;
use difference::Form as Pairing;
use wgloss::reference::{permutation, wdl};

const ADJACENT: Pairing = Pairing::Adjacent;
const RANK_ONE: Pairing = pairs(PairWeights::RankOne);
const ADDITIVE: Pairing = pairs(PairWeights::Additive);
const RANK_THREE: Pairing = pairs(PairWeights::Rank(3));
const FORMS: [Pairing; 4] = [ADJACENT, RANK_ONE, ADDITIVE, RANK_THREE];
const PREDICTIONS: [Prediction; 2] = [Prediction::Sigmoid, Prediction::Softmax];
/// The Huber ones are partly linear at differences below 1, and nowhere.
const PHIS: [Phi; 4] = [Phi::Square, Phi::Abs, huber(0.125), huber(2.0)];

const fn pairs(weights: PairWeights) -> Pairing {
    Pairing::Pairs { weights }
}

const fn huber(delta: f32) -> Phi {
    Phi::Huber { delta }
}

/// One call, owned.
#[derive(Clone, Debug)]
struct Case {
    config: Wdl,
    problem: Problem,
    /// Given to the adjacent form alone.
    order: Option<Owned>,
    theta: Option<Vec<f64>>,
    theta0: Option<f64>,
}

/// An order that a case owns.
type Owned = Order<Vec<u32>, u64>;

impl Case {
    /// Nothing optional; the identity as permutation.
    fn new(config: Wdl, problem: Problem) -> Case {
        let order = Some(Order::Batch((0..problem.cols as u32).collect()));
        let (theta, theta0) = (None, None);
        Case {
            config: Wdl {
                reduction: Reduction::Sum,
                ..config
            },
            problem,
            order,
            theta,
            theta0,
        }
    }

    /// Targets up to 2, permutations and theta random.
    fn random(rng: &mut Rng, config: Wdl, rows: usize, cols: usize) -> Case {
        let logits = rng.many(rows * cols, -3.0, 3.0);
        let targets = rng.many(rows * cols, 0.05, 2.0);
        let mut case = Case::new(config, Problem::new(rows, &logits, &targets));
        case.order = Some(random_order(rng, rows, cols));
        case.theta = Some(random_theta(rng, config, cols));
        case
    }

    fn inputs(&self) -> RowInputs<'_, f64> {
        RowInputs {
            permutation: match &self.order {
                _ if self.config.form != ADJACENT => None,
                None => None,
                Some(Order::Seeded { seed, scope }) => Some(Order::Seeded {
                    seed: *seed,
                    scope: *scope,
                }),
                Some(Order::PerRow(orders)) => Some(Order::PerRow(&orders[..])),
                Some(Order::Batch(order)) => Some(Order::Batch(&order[..])),
                Some(other) => panic!("{other:?}"),
            },
            theta: self.theta.as_deref(),
            theta0: self.theta0,
            ..self.problem.inputs()
        }
    }

    fn run(&self) -> RowOutputs<f64> {
        wdl(&self.config, &self.inputs()).unwrap()
    }

    /// Central differences of `sum(grad_loss * loss)` over what `of` finds.
    fn slopes(&self, of: fn(&mut Case) -> &mut [f64]) -> Vec<f64> {
        let h = 1e-5;
        let upstream = self.problem.grad_loss.clone().unwrap_or(vec![1.0]);
        let at = |i: usize, step: f64| -> f64 {
            let mut moved = self.clone();
            of(&mut moved)[i] += step;
            let losses = moved.run().loss;
            let each = losses.iter().zip(upstream.iter().cycle());
            each.map(|(l, g)| g * l).sum()
        };
        let count = of(&mut self.clone()).len();
        (0..count)
            .map(|i| (at(i, h) - at(i, -h)) / (2.0 * h))
            .collect()
    }
}

fn random_order(rng: &mut Rng, rows: usize, cols: usize) -> Owned {
    let mut one = || rng.permutation(cols).into_iter().map(|label| label as u32);
    let batch: Vec<u32> = one().collect();
    let each: Vec<u32> = (0..rows).flat_map(|_| one().collect::<Vec<_>>()).collect();
    match rng.next() % 4 {
        0 => Order::Batch(batch),
        1 => Order::PerRow(each),
        _ => Order::Seeded {
            seed: rng.next(),
            scope: [Scope::Batch, Scope::Row][usize::from(rng.flip())],
        },
    }
}

fn random_theta(rng: &mut Rng, config: Wdl, cols: usize) -> Vec<f64> {
    let (sets, len) = config.theta_shape(cols);
    rng.many(sets * len, -2.0, 2.0)
}

/// Every form, prediction and phi, coefficients that differ; no `epsilon`.
fn configs() -> Vec<Wdl> {
    let mut all = Vec::new();
    for form in FORMS {
        for prediction in PREDICTIONS {
            for phi in PHIS {
                all.push(Wdl {
                    form,
                    prediction,
                    phi,
                    epsilon: 0.0,
                    lambda_presence: 0.5,
                    lambda_ratio: 0.75,
                    lambda_difference: 2.0,
                    ascent: false,
                    reduction: Reduction::Sum,
                });
            }
        }
    }
    all
}

/// The difference term alone.
fn only_differences(config: Wdl) -> Wdl {
    Wdl {
        lambda_presence: 0.0,
        lambda_ratio: 0.0,
        lambda_difference: 1.0,
        ..config
    }
}

/// Values and all gradients are close.
#[track_caller]
fn alike(what: &str, got: &RowOutputs<f64>, want: &RowOutputs<f64>, tol: f64) {
    same(what, got, want, tol);
    close(
        &format!("{what}, theta"),
        &got.grad_theta,
        &want.grad_theta,
        tol,
    );
    close(
        &format!("{what}, theta0"),
        &got.grad_theta0,
        &want.grad_theta0,
        tol,
    );
}

// ---- golden values

#[test]
fn golden_wdl() {
    let golden = &golden()["wdl"];
    let order: Vec<u32> = numbers(&golden["pi"]).iter().map(|&at| at as u32).collect();
    let problem = Problem::new(1, &numbers(&golden["s"]), &numbers(&golden["y"]));
    let short = [
        ("adj/nsig", 0.633_391_456_721),
        ("adj/softmax", 0.778_165_380_526),
        ("pair/nsig", 0.714_965_180_011),
        ("pair/softmax", 0.827_684_871_227),
    ];
    for (key, loss) in short {
        let mut config = Wdl::default();
        let mut theta = "theta_pair";
        if key.starts_with("adj") {
            (config, theta) = (Wdl::adjacent(), "theta_adj");
        }
        if key.ends_with("softmax") {
            config.prediction = Prediction::Softmax;
        }
        let case = Case {
            order: Some(Order::Batch(order.clone())),
            theta: Some(numbers(&golden[theta])),
            ..Case::new(config, problem.clone())
        };
        let (out, golden) = (case.run(), &golden["full"][key]);
        close(key, &out.loss, &[loss], 1e-12);
        let got = [
            ("loss", &out.loss),
            ("ds", &out.grad_logits),
            ("dy", &out.grad_targets),
            ("dtheta", &out.grad_theta),
        ];
        for (part, got) in got {
            close(
                &format!("{key} {part}"),
                got,
                &numbers(&golden[part]),
                1e-12,
            );
        }
    }
}

/// The difference terms alone: the value of `D` and, through the two last steps, `dD/de` and `dD/da`. There the sums
/// are not divided by the number of differences, and the weights are `softplus(theta)`, not divided by their mean.
#[test]
fn golden_pieces() {
    let golden = &golden()["wdl"];
    let order: Vec<u32> = numbers(&golden["pi"]).iter().map(|&at| at as u32).collect();
    let (s, p) = (numbers(&golden["s"]), numbers(&golden["p_nsig"]));
    let problem = Problem::new(1, &s, &numbers(&golden["y"]));
    // key, form, phi, key of theta, differences, power of the weights in D
    let table = [
        ("adj_sq", ADJACENT, Phi::Square, Some("theta_adj"), 4.0, 1),
        ("adj_sq_w1", ADJACENT, Phi::Square, None, 4.0, 1),
        ("adj_abs_w1", ADJACENT, Phi::Abs, None, 4.0, 1),
        (
            "pair_sq",
            RANK_ONE,
            Phi::Square,
            Some("theta_pair"),
            10.0,
            2,
        ),
        ("pair_abs", RANK_ONE, Phi::Abs, Some("theta_pair"), 10.0, 2),
        (
            "pair_add",
            ADDITIVE,
            Phi::Square,
            Some("theta_pair"),
            10.0,
            1,
        ),
    ];
    for (key, form, phi, theta, differences, power) in table {
        let config = Wdl {
            form,
            phi,
            ..only_differences(Wdl::default())
        };
        let case = Case {
            order: Some(Order::Batch(order.clone())),
            theta: theta.map(|key| numbers(&golden[key])),
            ..Case::new(config, problem.clone())
        };
        let out = case.run();
        let theta = case.theta.unwrap_or_default();
        let soft = theta.iter().map(|t| t.exp().ln_1p());
        let n = theta.len() as f64;
        let mean = if theta.is_empty() {
            1.0
        } else {
            soft.clone().sum::<f64>() / n
        };
        let scaled = |of: &Value, power: i32| -> Vec<f64> {
            let factor = 1.0 / differences / mean.powi(power);
            numbers(of).iter().map(|v| factor * v).collect()
        };
        close(key, &out.loss, &scaled(&golden[key], power), 1e-12);
        if let Some(de) = golden.get(format!("{key}_de")) {
            let g = scaled(de, power);
            let centre: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
            let ds = |i: usize| p[i] * (g[i] - centre) / (1.0 + s[i].exp());
            let ds: Vec<f64> = (0..5).map(ds).collect();
            close(key, &out.grad_logits, &ds, 1e-12);
        }
        let da = ["da", "db", "dw"].map(|kind| golden.get(format!("{key}_{kind}")));
        if let Some(da) = da.into_iter().flatten().next() {
            let c = scaled(da, power - 1);
            let centre = c.iter().zip(soft).map(|(c, a)| c * a / mean).sum::<f64>() / n;
            let slope = |(c, t): (&f64, &f64)| (c - centre) / mean / (1.0 + (-t).exp());
            let dtheta: Vec<f64> = c.iter().zip(&theta).map(slope).collect();
            close(key, &out.grad_theta, &dtheta, 1e-12);
        }
    }
}

// ---- against plain formulas and finite differences

/// The loss of one row as the definition says: unshifted, pair by pair.
fn textbook(case: &Case) -> f64 {
    let config = case.config;
    let [presence, ratio, difference, epsilon] = [
        config.lambda_presence,
        config.lambda_ratio,
        config.lambda_difference,
        config.epsilon,
    ]
    .map(f64::from);
    let cols = case.problem.cols;
    let counts = |l: &usize| case.problem.class_mask.as_ref().is_none_or(|mask| mask[*l]);
    let all: Vec<usize> = (0..cols).filter(counts).collect();
    let n = all.len() as f64;
    let (s, y) = (&case.problem.logits, &case.problem.targets);
    let weight = |l: usize| case.problem.class_weight.as_ref().map_or(1.0, |w| w[l]);
    let total = |of: &dyn Fn(usize) -> f64| all.iter().map(|&l| of(l)).sum::<f64>();

    let sigma = |l: usize| 1.0 / (1.0 + (-s[l]).exp());
    let bce = |l| -weight(l) * (y[l] * sigma(l).ln() + (1.0 - y[l]) * (1.0 - sigma(l)).ln());
    let power = |l: usize| match config.prediction {
        Prediction::Sigmoid => sigma(l),
        Prediction::Softmax => s[l].exp(),
    };
    let (powers, sizes) = (total(&power), total(&|l| y[l] + epsilon));
    let e = |l: usize| power(l) / powers - (y[l] + epsilon) / sizes;
    let phi = |d: f64| match config.phi {
        Phi::Square => d * d,
        Phi::Abs => d.abs(),
        Phi::Huber { delta } => {
            let delta = f64::from(delta);
            if d.abs() < delta {
                d * d / 2.0
            } else {
                delta * d.abs() - delta * delta / 2.0
            }
        }
    };
    let (sets, len) = config.theta_shape(cols);
    let theta = case.theta.clone().unwrap_or(vec![0.0; sets * len]);
    let weights = |set: usize| -> Vec<f64> {
        let soft = theta[set * len..][..len]
            .iter()
            .map(|t| (1.0 + t.exp()).ln());
        let mean = soft.clone().sum::<f64>() / len as f64;
        soft.map(|a| a / mean).collect()
    };
    let mut d = 0.0;
    match config.form {
        Pairing::Adjacent => {
            let order = match &case.order {
                Some(Order::Batch(order) | Order::PerRow(order)) => order.clone(),
                Some(Order::Seeded { seed, .. }) => permutation(*seed, 0, cols as u32),
                other => panic!("{other:?}"),
            };
            for (k, pair) in order.windows(2).enumerate() {
                let (i, j) = (pair[0] as usize, pair[1] as usize);
                if counts(&i) && counts(&j) {
                    d += weights(0)[k] * phi(e(j) - e(i)) * cols as f64 / (n * (n - 1.0));
                }
            }
        }
        Pairing::Pairs { weights: kind } => {
            for set in 0..sets {
                let a = weights(set);
                for &i in &all {
                    for &j in &all {
                        let w = match kind {
                            PairWeights::Additive => (a[i] + a[j]) / 2.0,
                            _ => a[i] * a[j],
                        };
                        // ordered pairs: each twice
                        d += w * phi(e(i) - e(j)) / (n * (n - 1.0)) / sets as f64;
                    }
                }
            }
        }
    }
    if let Some(theta0) = case.theta0 {
        d = 0.5 * (-theta0).exp() * d + 0.5 * theta0;
    }
    presence / n * total(&bce) + ratio * total(&|l| e(l).powi(2)) + difference * d
}

#[test]
fn definition() {
    for (seed, config) in configs().into_iter().cycle().take(320).enumerate() {
        let rng = &mut Rng(seed as u64);
        let config = Wdl {
            epsilon: [0.0, 0.125][seed / 32 % 2],
            ..config
        };
        let cols = 2 + seed % 9;
        let mut case = Case::random(rng, config, 1, cols);
        if seed % 3 == 0 && cols > 3 {
            case.problem = case.problem.without(1);
        }
        if seed % 2 == 0 {
            case.problem.class_weight = Some(rng.many(cols, 0.2, 2.0));
            case.theta0 = Some(rng.unit() - 0.5);
        }
        let what = format!("seed {seed}, {:?}", case.config);
        close(&what, &case.run().loss, &[textbook(&case)], 1e-13);
    }
}

/// Every configuration x choice of masks, weights, reduction, `theta`, `theta0`, `epsilon`, `ascent`.
#[test]
fn gradients_are_finite_differences() {
    let reductions = [
        Reduction::None,
        Reduction::Sum,
        Reduction::Mean,
        Reduction::MeanOver(7.0),
    ];
    let configs = configs();
    for seed in 0..configs.len() * 12 {
        let rng = &mut Rng(seed as u64);
        let mut config = configs[seed / 12];
        config.epsilon = [0.0, 0.1][usize::from(rng.flip())];
        config.ascent = rng.flip();
        let mut case = Case::random(rng, config, 3, 5);
        case.config.reduction = reductions[seed % 4];
        let full = Problem::full(rng, 3, 5, BCE, Share::Nothing);
        let problem = &mut case.problem;
        problem.class_mask = full.class_mask.filter(|_| rng.flip());
        problem.mask = full.mask.filter(|_| rng.flip());
        problem.sample_weight = full.sample_weight.filter(|_| rng.flip());
        problem.class_weight = full.class_weight.filter(|_| rng.flip());
        let each = case.config.reduction == Reduction::None && rng.flip();
        problem.grad_loss = Some(rng.many(if each { 3 } else { 1 }, -2.0, 2.0));
        case.theta0 = Some(2.0 * rng.unit() - 1.0).filter(|_| rng.flip());

        let what = |of: &str| format!("seed {seed}, d/d {of}, {case:?}");
        let out = case.run();
        let ds = case.slopes(|case| &mut case.problem.logits);
        close(&what("logits"), &out.grad_logits, &ds, 1e-8);
        let dy = case.slopes(|case| &mut case.problem.targets);
        close(&what("targets"), &out.grad_targets, &dy, 1e-8);
        let mut dtheta = case.slopes(|case| case.theta.as_mut().unwrap());
        if case.config.ascent {
            dtheta.iter_mut().for_each(|g| *g = -*g);
        }
        close(&what("theta"), &out.grad_theta, &dtheta, 1e-8);
        let dtheta0 = case.slopes(|case| case.theta0.as_mut_slice());
        close(&what("theta0"), &out.grad_theta0, &dtheta0, 1e-8);
        // absent is 0
        let zeros = Case {
            theta: Some(vec![0.0; dtheta.len()]),
            ..case.clone()
        };
        let absent = Case {
            theta: None,
            ..case.clone()
        };
        assert_eq!(absent.run(), zeros.run(), "{}", what("absent theta"));
    }
}

// ---- form A and form B

fn all_permutations(n: u32) -> Vec<Vec<u32>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in all_permutations(n - 1) {
        for at in 0..n as usize {
            let mut longer = shorter.clone();
            longer.insert(at, n - 1);
            all.push(longer);
        }
    }
    all
}

/// The mean of A over all permutations is B without weights: in value and gradient, for every phi, weights of the
/// positions, mask, and bounded form.
#[test]
fn pairs_are_the_mean_over_all_permutations() {
    for cols in 1..=6 {
        let all = all_permutations(cols);
        for phi in PHIS {
            for prediction in PREDICTIONS {
                for masked in [false, true] {
                    let config = Wdl {
                        phi,
                        prediction,
                        lambda_difference: 3.0,
                        ..Wdl::adjacent()
                    };
                    let rng = &mut Rng(u64::from(cols));
                    let mut a = Case::random(rng, config, 2, cols as usize);
                    a.theta0 = Some(0.3).filter(|_| masked);
                    if masked {
                        let mask = (0..2 * cols).map(|_| rng.unit() < 0.7);
                        a.problem.mask = Some(mask.collect());
                    }
                    let mut mean = Vec::new();
                    for order in &all {
                        a.order = Some(Order::Batch(order.clone()));
                        let out = a.run();
                        let values = [out.loss, out.grad_logits, out.grad_targets].concat();
                        mean.resize(values.len(), 0.0);
                        for (mean, value) in mean.iter_mut().zip(values) {
                            *mean += value / all.len() as f64;
                        }
                    }
                    let mut b = a.clone();
                    (b.config.form, b.theta) = (RANK_ONE, None);
                    let out = b.run();
                    let want = [out.loss, out.grad_logits, out.grad_targets].concat();
                    let what = format!("{cols} labels, {phi:?}, {prediction:?}, masked {masked}");
                    close(&what, &mean, &want, 1e-12);
                }
            }
        }
    }
}

/// Over seeded permutations the mean of A goes to B as a Monte Carlo mean must: off by a few of its own standard
/// deviations, which are those of one draw over the root of their number, and not by less either.
#[test]
fn seeded_permutations_converge_to_pairs() {
    let mut scores: Vec<f64> = Vec::new();
    for (cols, draws) in [
        (3, 4000),
        (7, 250),
        (7, 1000),
        (7, 4000),
        (7, 16_000),
        (40, 4000),
    ] {
        for phi in [Phi::Square, Phi::Abs, huber(0.125)] {
            for scope in [Scope::Batch, Scope::Row] {
                let config = Wdl {
                    phi,
                    ..only_differences(Wdl::adjacent())
                };
                let rng = &mut Rng(cols as u64);
                let one = Case::random(rng, config, 1, cols);
                let mut b = one.clone();
                (b.config.form, b.theta) = (RANK_ONE, None);
                let b = b.run();
                let want = [b.loss, b.grad_logits, b.grad_targets].concat();

                // a draw is a row of one batch, or a step with its own seed
                let mut sums = vec![(0.0, 0.0); want.len()];
                let mut add = |values: Vec<f64>| {
                    for ((sum, squares), value) in sums.iter_mut().zip(values) {
                        (*sum, *squares) = (*sum + value, *squares + value * value);
                    }
                };
                let mut a = one.clone();
                a.config.reduction = Reduction::None;
                if scope == Scope::Row {
                    a.problem.rows = draws;
                    a.problem.logits = one.problem.logits.repeat(draws);
                    a.problem.targets = one.problem.targets.repeat(draws);
                    a.order = Some(Order::Seeded { seed: 11, scope });
                    let out = a.run();
                    for row in 0..draws {
                        let of = |all: &[f64]| all[row * cols..][..cols].to_vec();
                        let gradients = [of(&out.grad_logits), of(&out.grad_targets)];
                        add([vec![out.loss[row]], gradients.concat()].concat());
                    }
                } else {
                    for seed in 0..draws as u64 {
                        a.order = Some(Order::Seeded { seed, scope });
                        let out = a.run();
                        add([out.loss, out.grad_logits, out.grad_targets].concat());
                    }
                }
                let n = draws as f64;
                for (i, ((sum, squares), want)) in sums.iter().zip(&want).enumerate() {
                    let mean = sum / n;
                    let sd = (squares / n - mean * mean).max(0.0).sqrt();
                    let score = (mean - want) / (sd / n.sqrt()).max(1e-15);
                    let what = format!("{cols} labels, {draws} draws, {phi:?}, value {i}");
                    assert!(score.abs() < 4.5, "{what}: {mean} for {want}, {score} sd");
                    scores.push(score);
                }
            }
        }
    }
    // were the deviations smaller or larger than that rate, their mean square would not be near 1
    let square = scores.iter().map(|z| z * z).sum::<f64>() / scores.len() as f64;
    println!("{} scores, mean square {square}", scores.len());
    assert!((0.6..1.5).contains(&square), "mean square {square}");
}

/// A seed gives what the same permutation as an input gives.
#[test]
fn seeds_are_permutations() {
    for scope in [Scope::Batch, Scope::Row] {
        let mut case = Case::random(&mut Rng(3), Wdl::adjacent(), 4, 9);
        case.order = Some(Order::Seeded { seed: 99, scope });
        let seeded = case.run();
        let row = |row: u32| permutation(99, if scope == Scope::Row { row } else { 0 }, 9);
        case.order = Some(Order::PerRow((0..4).flat_map(row).collect()));
        assert_eq!(case.run(), seeded);
    }
}

// ---- laws

/// Unweighted squares are `2 / (n - 1) |p - q|^2`: the ratio term once more.
#[test]
fn unweighted_squares_are_the_ratio_term() {
    for seed in 0..40 {
        for form in &FORMS[1..] {
            let cols = 2 + seed as usize % 7;
            let config = Wdl {
                form: *form,
                ..only_differences(Wdl::default())
            };
            let mut case = Case::random(&mut Rng(seed), config, 2, cols);
            case.theta = None;
            let mut ratio = case.clone();
            ratio.config.lambda_difference = 0.0;
            ratio.config.lambda_ratio = 2.0 / (cols as f32 - 1.0);
            same(
                &format!("seed {seed}, {form:?}"),
                &case.run(),
                &ratio.run(),
                1e-6, // of the coefficient in f32
            );
        }
    }
    let mut case = Case::random(&mut Rng(1), only_differences(Wdl::default()), 1, 5);
    case.theta = None;
    let mut ratio = case.clone();
    (ratio.config.lambda_difference, ratio.config.lambda_ratio) = (0.0, 0.5);
    same("n - 1 = 4", &case.run(), &ratio.run(), 1e-14);
}

/// The closed forms of squares give what the sweep over pairs gives: Huber with a large delta is half of them.
#[test]
fn closed_forms_are_the_sweep() {
    for seed in 0..60 {
        let form = FORMS[1 + seed as usize % 3];
        let config = Wdl {
            form,
            lambda_presence: 0.0,
            lambda_ratio: 0.0,
            ..Wdl::default()
        };
        let mut square = Case::random(&mut Rng(seed), config, 2, 11);
        if seed % 2 == 0 {
            square.problem = square.problem.without(4);
        }
        let mut sweep = square.clone();
        (sweep.config.phi, sweep.config.lambda_difference) = (huber(2.0), 2.0);
        let what = format!("seed {seed}, {form:?}");
        alike(&what, &sweep.run(), &square.run(), 1e-13);
    }
}

/// Rank one is one row of weights; equal rows are one row, and share its gradient.
#[test]
fn ranks() {
    let mut rank = pairs(PairWeights::Rank(1));
    let one = Case::random(&mut Rng(5), Wdl::default(), 2, 6);
    for r in 1..4 {
        let mut case = one.clone();
        case.config.form = rank;
        case.theta = one.theta.as_ref().map(|theta| theta.repeat(r));
        let (mut want, share) = (one.run(), 1.0 / r as f64);
        want.grad_theta = want.grad_theta.iter().map(|g| share * g).collect();
        want.grad_theta = want.grad_theta.repeat(r);
        alike(&format!("rank {r}"), &case.run(), &want, 1e-14);
        rank = pairs(PairWeights::Rank(r as u32 + 1));
    }
}

/// `sum e = 0`, so shifting the logits of softmax, or scaling the targets without `epsilon`, changes no difference.
#[test]
fn distributions_are_relative() {
    for (seed, config) in configs().into_iter().enumerate() {
        let config = only_differences(Wdl {
            lambda_ratio: 1.0,
            ..config
        });
        let case = Case::random(&mut Rng(seed as u64), config, 1, 6);
        let out = case.run();
        let what = format!("{config:?}");
        let along: f64 = case
            .problem
            .targets
            .iter()
            .zip(&out.grad_targets)
            .map(|(y, g)| y * g)
            .sum();
        close(&what, &[along], &[0.0], 1e-14);
        let mut scaled = case.clone();
        scaled.problem.targets.iter_mut().for_each(|y| *y *= 8.0);
        close(&what, &scaled.run().loss, &out.loss, 1e-14);
        if config.prediction == Prediction::Softmax {
            let sum = out.grad_logits.iter().sum();
            close(&what, &[sum], &[0.0], 1e-14);
            let mut shifted = case.clone();
            shifted.problem.logits.iter_mut().for_each(|s| *s += 50.0);
            alike(&what, &shifted.run(), &out, 1e-12);
        }
    }
}

/// Descent takes weight from the label that is furthest off, ascent gives it more.
#[test]
fn ascent_raises_the_weight_of_what_is_off() {
    for form in &FORMS[1..] {
        let config = Wdl {
            form: *form,
            ..Wdl::default()
        };
        let mut problem = Problem::new(1, &[1.0, 1.0, 1.0, -4.0], &[1.0; 4]);
        problem.grad_loss = Some(vec![1.0]);
        let mut case = Case::new(config, problem);
        let descent = case.run().grad_theta;
        assert!(descent[3] > 0.0 && descent[0] < 0.0, "{descent:?}");
        case.config.ascent = true;
        let ascent: Vec<f64> = case.run().grad_theta.iter().map(|g| -g).collect();
        assert_eq!(ascent, descent);
    }
}

/// The bounded form is smallest at `theta0 = log D`, where the gradient to it is 0.
#[test]
fn bounded_form_has_a_minimum() {
    let mut case = Case::random(&mut Rng(8), only_differences(Wdl::default()), 1, 5);
    let d = case.run().loss[0];
    let at = |theta0: f64| {
        let case = Case {
            theta0: Some(theta0),
            ..case.clone()
        };
        case.run()
    };
    let least = at(d.ln());
    close("gradient", &least.grad_theta0, &[0.0], 1e-15);
    close("value", &least.loss, &[0.5 + 0.5 * d.ln()], 1e-14);
    for step in [-1.0, -0.1, 0.1, 1.0] {
        let other = at(d.ln() + step);
        assert!(other.loss[0] > least.loss[0]);
        assert!(other.grad_theta0[0] * step > 0.0);
    }
    case.theta0 = Some(0.0);
    let half = case.run();
    close("theta0 = 0", &half.loss, &[d / 2.0], 1e-15);
    close("theta0 = 0", &half.grad_theta0, &[(1.0 - d) / 2.0], 1e-15);
}

// ---- edge rows

/// No proportions, or no two labels: what is left, and no gradient to `theta`.
#[test]
fn rows_without_differences() {
    for config in configs() {
        let what = format!("{config:?}");
        let presence = Wdl {
            lambda_ratio: 0.0,
            lambda_difference: 0.0,
            ..config
        };
        // all targets 0
        let none = Problem::new(1, &[0.5, -1.0, 2.0], &[0.0; 3]);
        let one = Problem::new(1, &[0.7], &[1.0]);
        // one that counts, of three
        let mut left = Problem::new(1, &[f64::NAN, 0.7, INF], &[1.0; 3]);
        left.class_mask = Some(vec![false, true, false]);
        let nothing = Problem {
            rows: 2,
            ..Problem::default()
        };
        for problem in [none.clone(), one, left, nothing] {
            for theta0 in [None, Some(1.5)] {
                let mut case = Case::new(config, problem.clone());
                case.theta0 = theta0;
                let mut bare = Case::new(presence, problem.clone());
                bare.theta0 = theta0;
                let out = case.run();
                alike(&what, &out, &bare.run(), 1e-15);
                assert!(out.grad_theta.iter().all(|&g| g == 0.0), "{what}");
                assert!(out.grad_theta0.iter().all(|&g| g == 0.0), "{what}");
            }
        }
        // epsilon makes a uniform q of no positives
        let smoothed = Wdl {
            epsilon: 0.25,
            ..config
        };
        let uniform = Problem::new(1, &[0.5, -1.0, 2.0], &[1.0; 3]);
        let zero = Case::new(only_differences(smoothed), none).run();
        let ones = Case::new(only_differences(config), uniform).run();
        close(&what, &zero.loss, &ones.loss, 1e-14);
        close(&what, &zero.grad_logits, &ones.grad_logits, 1e-14);
    }
}

#[test]
fn nan_stays_in_its_row() {
    for config in configs() {
        let mut case = Case::random(&mut Rng(2), config, 3, 4);
        case.config.reduction = Reduction::None;
        case.theta0 = Some(0.2);
        let want = case.run();
        case.problem.logits[5] = f64::NAN;
        let out = case.run();
        for row in [0, 2] {
            assert_eq!(out.loss[row], want.loss[row], "{config:?}");
            for (got, want) in [
                (&out.grad_logits, &want.grad_logits),
                (&out.grad_targets, &want.grad_targets),
            ] {
                assert_eq!(got[row * 4..][..4], want[row * 4..][..4], "{config:?}");
                assert!(got[4..8].iter().all(|g| g.is_nan()), "{config:?}");
            }
        }
        assert!(out.loss[1].is_nan(), "{config:?}");
        let shared = out.grad_theta.iter().chain(&out.grad_theta0);
        assert!(shared.clone().count() > 1, "{config:?}");
        assert!(shared.clone().all(|g| g.is_nan()), "{config:?}");
    }
}

/// Far out everything is finite, and single precision nearly the same.
#[test]
fn large_logits_are_finite() {
    for config in configs() {
        for s in [80.0, -80.0, 1e4, -1e4, 65504.0, -65504.0] {
            for logits in [
                [s; 4],
                [s, -s, s, 0.5],
                [s, 0.0, -s, 1.0],
                [s, s, 0.0, -1.0],
            ] {
                let problem = Problem::new(1, &logits, &[1.0, 0.0, 0.5, 0.25]);
                let case = Case::new(config, problem);
                let out = case.run();
                let what = format!("{logits:?}, {config:?}");
                let narrow = |of: &[f64]| of.iter().map(|&v| v as f32).collect::<Vec<_>>();
                let (logits, targets) =
                    (narrow(&case.problem.logits), narrow(&case.problem.targets));
                let inputs = RowInputs {
                    rows: 1,
                    cols: 4,
                    logits: &logits,
                    targets: &targets,
                    permutation: config
                        .takes()
                        .permutation
                        .then_some(Order::Batch(&[0, 1, 2, 3][..])),
                    ..RowInputs::default()
                };
                let single = wdl(&config, &inputs).unwrap();
                let widen = |of: &[f32]| of.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
                let pairs = [
                    (&out.loss, &single.loss),
                    (&out.grad_logits, &single.grad_logits),
                    (&out.grad_targets, &single.grad_targets),
                    (&out.grad_theta, &single.grad_theta),
                ];
                for (want, got) in pairs {
                    close(&what, &widen(got), want, 1e-5);
                }
            }
        }
        // all very negative: p is that of softmax
        let problem = Problem::new(1, &[-1000.0, -1001.0, -1000.5], &[1.0, 0.0, 0.5]);
        let config = only_differences(config);
        let far = Case::new(config, problem.clone()).run();
        let softmax = Wdl {
            prediction: Prediction::Softmax,
            ..config
        };
        alike("p", &far, &Case::new(softmax, problem).run(), 1e-12);
    }
}

/// The limits at infinite logits; several share alike.
#[test]
fn infinite_logits() {
    for config in configs() {
        let what = format!("{config:?}");
        let run = |logits: &[f64], targets: &[f64], config| {
            Case::new(config, Problem::new(1, logits, targets)).run()
        };
        // on the right side: finite, and the limit
        let y = [1.0, 0.0, 0.0];
        for s in [[0.3, -INF, 0.1], [0.3, -INF, -INF], [INF, -INF, -0.2]] {
            let far = s.map(|s: f64| s.clamp(-1e6, 1e6));
            let (out, want) = (run(&s, &y, config), run(&far, &y, config));
            close(&what, &out.loss, &want.loss, 1e-12);
            close(&what, &out.grad_logits, &want.grad_logits, 1e-12);
        }
        // on the wrong side: the presence term is infinite, its gradient not
        let out = run(&[-INF, 0.0, 0.1], &y, config);
        close(&what, &out.loss, &[INF], 0.0);
        assert!(out.grad_logits.iter().all(|g| g.is_finite()), "{what}");
        // all of them: p is uniform
        let out = run(&[-INF; 3], &y, only_differences(config));
        let even = run(&[0.0; 3], &y, only_differences(config));
        close(&what, &out.loss, &even.loss, 1e-14);
        assert!(out.grad_logits.iter().all(|g| g.is_finite()), "{what}");
    }
}

/// Very negative `theta` counts as -80, which leaves weights of mean 1.
#[test]
fn theta_has_a_floor() {
    for config in configs() {
        let mut case = Case::random(&mut Rng(6), config, 2, 5);
        let count = case.theta.as_ref().unwrap().len();
        case.theta = None;
        let want = case.run();
        for low in [-80.0, -1e4, -INF] {
            case.theta = Some(vec![low; count]);
            let out = case.run();
            same(&format!("{low}, {config:?}"), &out, &want, 1e-12);
            assert!(out.grad_theta.iter().all(|g| g.is_finite()));
        }
    }
}

// ---- refusals

type Spoil = fn(&mut Case);

/// What is said of a case of two rows with three labels, once spoilt.
fn message(config: Wdl, spoil: Spoil) -> String {
    let mut case = Case::random(&mut Rng(1), config, 2, 3);
    spoil(&mut case);
    wdl(&case.config, &case.inputs()).map_or_else(|error| error.to_string(), |_| "fine".into())
}

#[test]
fn wrong_inputs_are_refused() {
    let table: [(Spoil, &str); 9] = [
        (
            |case| case.order = Some(Order::Batch(vec![0, 2])),
            "permutation: expected [3], found [2]",
        ),
        (
            |case| case.order = Some(Order::PerRow(vec![0, 1, 2])),
            "permutation: expected [6], found [3]",
        ),
        (
            |case| case.order = Some(Order::Batch(vec![0, 2, 0])),
            "permutation: expected each label below 3 once, found 0 twice in row 0",
        ),
        (
            |case| case.order = Some(Order::PerRow(vec![0, 1, 2, 1, 0, 3])),
            "permutation: expected each label below 3 once, found 3 in row 1",
        ),
        (
            |case| case.order = None,
            "permutation: this loss needs one, or a seed for it",
        ),
        (
            |case| case.theta = Some(vec![0.0; 3]),
            "theta: expected [2], found [3]",
        ),
        (|case| case.problem.rows = usize::MAX, "shape: expected "),
        (|case| case.problem.logits = vec![], "logits: expected "),
        (
            |case| case.order = Some(Order::PerRow(vec![2, 1, 0, 0, 1, 2])),
            "fine",
        ),
    ];
    for (spoil, want) in table {
        let found = message(Wdl::adjacent(), spoil);
        assert!(found.starts_with(want), "{found}");
    }
    // theta of the pairs; they take no permutation
    for (form, len) in [(RANK_ONE, 3), (ADDITIVE, 3), (RANK_THREE, 9)] {
        let config = Wdl {
            form,
            ..Wdl::default()
        };
        assert_eq!(message(config, |case| case.order = None), "fine");
        let found = message(config, |case| case.theta = Some(vec![0.0; 2]));
        let want = format!("theta: expected [{len}], found [2]");
        assert_eq!(found, want);
    }
}

#[test]
fn settings_are_checked() {
    let fine = Wdl::default();
    let table = [
        (fine, ""),
        (Wdl::adjacent(), ""),
        (Wdl::pairs(PairWeights::Rank(2)), ""),
        (Wdl::pairs(PairWeights::Rank(0)), "rank"),
        (
            Wdl {
                phi: huber(0.0),
                ..fine
            },
            "huber_delta",
        ),
        (
            Wdl {
                epsilon: -0.1,
                ..fine
            },
            "epsilon",
        ),
        (
            Wdl {
                lambda_presence: f32::NAN,
                ..fine
            },
            "lambda_presence",
        ),
        (
            Wdl {
                lambda_ratio: -1.0,
                ..fine
            },
            "lambda_ratio",
        ),
        (
            Wdl {
                lambda_difference: f32::INFINITY,
                ..fine
            },
            "lambda_difference",
        ),
        (fine.with_reduction(Reduction::MeanOver(-1.0)), "reduction"),
    ];
    for (config, subject) in table {
        let result = config.check();
        let found = result.as_ref().map_or_else(Error::subject, |()| "");
        assert_eq!(found, subject, "{result:?}");
    }
}
