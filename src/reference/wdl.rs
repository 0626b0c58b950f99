//! The weighted difference loss, row by row.

use std::borrow::Cow;

use crate::error::Error;
use crate::losses::labels::{Order, Scope};
use crate::losses::wdl::{Form, PairWeights, Phi, Prediction, Wdl};
use crate::reference::per_label::{bce_sides, mixed};
use crate::reference::permutation::permutation;
use crate::reference::real::{Pairwise, Real, Sum, sigmoid, softplus, sum};
use crate::reference::rows::{Label, RowInputs, RowLoss, RowOutputs, over_rows_with};

/// The weighted difference loss and its gradient. Per row, over the `n` labels that count, with `e = p - q`:
///
/// `lambda_presence / n sum w (y sp(-s) + (1-y) sp(s)) + lambda_ratio sum e^2 + lambda_difference D`,
///
/// where `D` becomes `e^-theta0 D / 2 + theta0 / 2` if there is a `theta0`. The formulas of `p`, `q`, `D` and the edge
/// rules stand in [`losses::wdl`](crate::losses::wdl). With `g` the derivative to `p`, and so `-g` that to `q`:
///
/// - to `s`: normalised sigmoid `(1 - sigma(s)) p (g - <p,g>)`, softmax `p (g - <p,g>)`;
/// - to `y`: `(<q,g> - g) / (sum y + n epsilon)`;
/// - to `theta`, with `c` the derivative to its weights `a`: `sigma(theta) / mean softplus(theta) (c - mean(c a))`.
pub fn wdl<T: Real>(config: &Wdl, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let takes = config.takes();
    inputs.check(config.reduction, &takes)?;
    if let Some(Order::Seeded {
        seed,
        scope: Scope::Batch,
    }) = inputs.permutation
    {
        let once = permutation(seed, 0, inputs.cols as u32);
        let inputs = RowInputs {
            permutation: Some(Order::Batch(&once)),
            ..*inputs
        };
        return wdl(config, &inputs);
    }
    let (sets, len) = config.theta_shape(inputs.cols);
    let thetas = sets.saturating_mul(len);
    let theta: Vec<T> = match inputs.theta {
        Some(theta) => theta.iter().map(|&t| at_least(t, -80.0)).collect(),
        None => vec![T::zero(); thetas],
    };
    let mean = |of: &[T]| sum(of.iter().copied()) / count(of.len());
    let soft: Vec<T> = theta.iter().map(|&t| softplus(t)).collect();
    let means: Vec<T> = soft.chunks(len.max(1)).map(mean).collect();
    let weights: Vec<T> = (0..thetas).map(|i| soft[i] / means[i / len]).collect();

    let shared = thetas + usize::from(inputs.theta0.is_some());
    let row_loss =
        |row: usize, labels: &[Label<T>]| row_loss(config, inputs, &weights, row, labels);
    let (mut out, mut shared) = over_rows_with(inputs, config.reduction, takes, shared, row_loss)?;

    out.grad_theta0 = shared.split_off(thetas);
    let sign = if config.ascent { -T::one() } else { T::one() };
    for (set, c) in shared.chunks(len.max(1)).enumerate() {
        let a = &weights[set * len..][..len];
        let centre = mean(&c.iter().zip(a).map(|(&c, &a)| c * a).collect::<Vec<T>>());
        let slope = |(m, &c)| sigmoid(theta[set * len + m]) / means[set] * (c - centre);
        out.grad_theta
            .extend(c.iter().enumerate().map(slope).map(|g| sign * g));
    }
    Ok(out)
}

/// The larger of the two; a NaN stays one.
fn at_least<T: Real>(value: T, least: f64) -> T {
    let least = T::from_f64(least);
    if value < least { least } else { value }
}

/// Loss of one row, and its derivatives to the weights and, last, to `theta0`.
fn row_loss<T: Real>(
    config: &Wdl,
    inputs: &RowInputs<'_, T>,
    weights: &[T],
    row: usize,
    labels: &[Label<T>],
) -> (RowLoss<T>, Vec<T>) {
    let (one, two) = (T::one(), T::from_f64(2.0));
    let [presence, ratio, difference, epsilon] = [
        config.lambda_presence,
        config.lambda_ratio,
        config.lambda_difference,
        config.epsilon,
    ]
    .map(|setting| T::from_f64(f64::from(setting)));
    let n = count(labels.len());

    let mut out = mixed(labels, presence / n, T::zero(), |l| bce_sides(one, l.s));
    let total = sum(labels.iter().map(|l| l.y + epsilon));
    if total <= T::zero() {
        return (out, Vec::new()); // no label counts, or none has a proportion
    }
    let p = predicted(config.prediction, labels);
    let q: Vec<T> = labels.iter().map(|l| (l.y + epsilon) / total).collect();
    let e: Vec<T> = p.iter().zip(&q).map(|(&p, &q)| p - q).collect();

    out.loss = out.loss + ratio * dot(&e, &e);
    let mut g: Vec<T> = e.iter().map(|&e| two * ratio * e).collect();
    let mut shared = Vec::new();
    if labels.len() > 1 {
        let d = differences(config, inputs, weights, row, labels, &e);
        let (scale, extra) = match inputs.theta0 {
            None => (difference, T::zero()),
            Some(theta0) => (
                difference * (-theta0).exp() / two,
                difference * theta0 / two,
            ),
        };
        out.loss = out.loss + scale * d.value + extra;
        for (g, &de) in g.iter_mut().zip(&d.de) {
            *g = *g + scale * de;
        }
        shared = d.dw.iter().map(|&dw| scale * dw).collect();
        if inputs.theta0.is_some() {
            shared.push(difference / two - scale * d.value);
        }
    }
    let (pg, qg) = (dot(&p, &g), dot(&q, &g));
    for (i, (ds, dy)) in out.gradient.iter_mut().enumerate() {
        let slope = match config.prediction {
            Prediction::Sigmoid => sigmoid(-labels[i].s),
            Prediction::Softmax => one,
        };
        *ds = *ds + slope * p[i] * (g[i] - pg);
        *dy = *dy + (qg - g[i]) / total;
    }
    (out, shared)
}

/// `p`; infinite logits count as the largest finite ones.
fn predicted<T: Real>(prediction: Prediction, labels: &[Label<T>]) -> Vec<T> {
    let log = |l: &Label<T>| {
        let s = l.s.max(T::min_value()).min(T::max_value());
        match prediction {
            Prediction::Sigmoid => -softplus(-s),
            Prediction::Softmax => s,
        }
    };
    let logs: Vec<T> = labels.iter().map(log).collect();
    let largest = logs.iter().fold(T::min_value(), |max, &v| max.max(v));
    let powers: Vec<T> = logs.iter().map(|&v| (v - largest).exp()).collect();
    let total = sum(powers.iter().copied());
    powers.iter().map(|&power| power / total).collect()
}

/// `D` of one row, and its derivatives to `e` (of the labels that count) and to all weights.
struct Differences<T> {
    value: T,
    de: Vec<T>,
    dw: Vec<T>,
}

fn differences<T: Real>(
    config: &Wdl,
    inputs: &RowInputs<'_, T>,
    weights: &[T],
    row: usize,
    labels: &[Label<T>],
    e: &[T],
) -> Differences<T> {
    let (cols, n) = (inputs.cols, labels.len());
    let mut sum = Differences {
        value: T::zero(),
        de: vec![T::zero(); n],
        dw: vec![T::zero(); weights.len()],
    };
    let pairs = count::<T>(n) * count(n - 1);
    let factor = match config.form {
        Form::Adjacent => {
            adjacent(
                config.phi,
                &order(inputs, row),
                weights,
                labels,
                e,
                &mut sum,
            );
            count::<T>(cols) / pairs
        }
        Form::Pairs { weights: kind } => {
            for (set, a) in weights.chunks(cols).enumerate() {
                let at = |i: usize| labels[i].col;
                let a: Vec<T> = (0..n).map(|i| a[at(i)]).collect();
                let additive = kind == PairWeights::Additive;
                let dw = match config.phi {
                    Phi::Square if additive => square_additive(&a, e, &mut sum),
                    Phi::Square => square_rank_one(&a, e, &mut sum),
                    phi => sweep(phi, additive, &a, e, &mut sum),
                };
                for (i, dw) in dw.into_iter().enumerate() {
                    sum.dw[set * cols + at(i)] = dw;
                }
            }
            count::<T>(2) / pairs / count(weights.len() / cols)
        }
    };
    let scaled = |of: Vec<T>| of.into_iter().map(|v| factor * v).collect();
    Differences {
        value: factor * sum.value,
        de: scaled(sum.de),
        dw: scaled(sum.dw),
    }
}

/// `sum w_k phi(e_pi(k+1) - e_pi(k))`, over the `k` whose two labels both count.
fn adjacent<T: Real>(
    phi: Phi,
    order: &[u32],
    weights: &[T],
    labels: &[Label<T>],
    e: &[T],
    sum: &mut Differences<T>,
) {
    let mut index = vec![None; order.len()];
    for (i, label) in labels.iter().enumerate() {
        index[label.col] = Some(i);
    }
    let mut all = Pairwise::new();
    for (k, pair) in order.windows(2).enumerate() {
        if let (Some(i), Some(j)) = (index[pair[0] as usize], index[pair[1] as usize]) {
            let (value, slope) = apply(phi, e[j] - e[i]);
            all.add(weights[k] * value);
            sum.de[j] = sum.de[j] + weights[k] * slope;
            sum.de[i] = sum.de[i] - weights[k] * slope;
            sum.dw[k] = value;
        }
    }
    sum.value = all.total().unwrap_or(T::zero());
}

/// `sum_{i<j} W_ij phi(e_i - e_j)`, added to the sum; the derivatives to `a` are the result.
fn sweep<T: Real>(phi: Phi, additive: bool, a: &[T], e: &[T], out: &mut Differences<T>) -> Vec<T> {
    let (n, half) = (a.len(), T::from_f64(0.5));
    // the weight of a pair, and its derivative to `a_i`
    let weight = |i: usize, j: usize| match additive {
        true => (half * (a[i] + a[j]), half),
        false => (a[i] * a[j], a[j]),
    };
    let mut all = Sum::new();
    let mut da = Vec::with_capacity(n);
    for i in 0..n {
        // Each pair is looked at once for all that is made of it: on long rows this loop is what the reference takes.
        let (mut above, mut to_e, mut to_a) = (Sum::new(), Sum::new(), Sum::new());
        for j in 0..n {
            if j == i {
                continue;
            }
            let (value, slope) = apply(phi, e[i] - e[j]);
            let (by, to) = weight(i, j);
            if j > i {
                above.add(by * value);
            }
            to_e.add(by * slope);
            to_a.add(to * value);
        }
        all.add(above.total());
        out.de[i] = out.de[i] + to_e.total();
        da.push(to_a.total());
    }
    out.value = out.value + all.total();
    da
}

/// As [`sweep`], for `W_ij = a_i a_j` and squares: `A sum a (e-mu)^2`, `A = sum a`, `mu = sum a e / A`.
fn square_rank_one<T: Real>(a: &[T], e: &[T], out: &mut Differences<T>) -> Vec<T> {
    let two = T::from_f64(2.0);
    let all = sum(a.iter().copied());
    let mu = if all > T::zero() {
        dot(a, e) / all
    } else {
        all
    };
    let spread = sum(a.iter().zip(e).map(|(&a, &e)| a * (e - mu) * (e - mu)));
    out.value = out.value + all * spread;
    for i in 0..e.len() {
        out.de[i] = out.de[i] + two * all * a[i] * (e[i] - mu);
    }
    e.iter()
        .map(|&e| all * (e - mu) * (e - mu) + spread)
        .collect()
}

/// As [`sweep`], for `W_ij = (a_i + a_j) / 2` and squares: `1/2 sum a (n e^2 - 2 e T1 + T2)`, `T1 = sum e`,
/// `T2 = sum e^2`.
fn square_additive<T: Real>(a: &[T], e: &[T], out: &mut Differences<T>) -> Vec<T> {
    let (half, two) = (T::from_f64(0.5), T::from_f64(2.0));
    let (n, all, mean) = (count::<T>(e.len()), sum(a.iter().copied()), dot(a, e));
    let (t1, t2) = (sum(e.iter().copied()), dot(e, e));
    let da: Vec<T> = e
        .iter()
        .map(|&e| half * (n * e * e - two * e * t1 + t2))
        .collect();
    out.value = out.value + dot(a, &da);
    for i in 0..e.len() {
        out.de[i] = out.de[i] + a[i] * (n * e[i] - t1) + all * e[i] - mean;
    }
    da
}

/// `phi` and its derivative.
fn apply<T: Real>(phi: Phi, d: T) -> (T, T) {
    let half = T::from_f64(0.5);
    let sign = if d == T::zero() { d } else { d.signum() };
    match phi {
        Phi::Square => (d * d, d + d),
        Phi::Abs => (d.abs(), sign),
        Phi::Huber { delta } => {
            let delta = T::from_f64(f64::from(delta));
            if d.abs() <= delta {
                (half * d * d, d)
            } else {
                (delta * (d.abs() - half * delta), delta * sign)
            }
        }
    }
}

/// The permutation of one row that counts, which has been checked.
fn order<'a, T>(inputs: &RowInputs<'a, T>, row: usize) -> Cow<'a, [u32]> {
    let cols = inputs.cols;
    match inputs.permutation {
        None => Cow::Borrowed(&[]),
        Some(Order::Batch(all)) => Cow::Borrowed(all),
        Some(Order::PerRow(all)) => Cow::Borrowed(&all[row * cols..][..cols]),
        Some(Order::Seeded { seed, scope }) => {
            let row = match scope {
                Scope::Batch => 0,
                Scope::Row => row as u32,
            };
            Cow::Owned(permutation(seed, row, cols as u32))
        }
    }
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    sum(a.iter().zip(b).map(|(&a, &b)| a * b))
}

fn count<T: Real>(n: usize) -> T {
    T::from_f64(n as f64)
}
