//! ZLPR and its kin, row by row.
//!
//! ZLPR: Su et al., arXiv 2208.02955, and kexue.fm 7359 (hard), 9064 (soft), 9039 (KL).
//! LSEP: Li et al. 2017, arXiv 1704.03135. Two-way: Kobayashi, CVPR 2023.

use crate::error::Error;
use crate::losses::zlpr::{Form, Half, Zlpr};
use crate::reference::real::{Real, sigmoid, softplus, sum};
use crate::reference::rows::{Label, RowInputs, RowLoss, RowOutputs, over_columns, over_rows};

/// A loss of the ZLPR family and its gradient. Per row, over the labels that count, with
/// weights `w` of class and element (1 where not given) and `s` less the threshold:
///
/// | form | loss | derivative to `s` |
/// |---|---|---|
/// | [`Form::Hard`] | `Pz + Nz`, `Pz = log(1 + sum_P w e^-s)`, `Nz = log(1 + sum_N w e^s)` | P: `-w e^(-s-Pz)`; N: `w e^(s-Nz)` |
/// | [`Form::Soft`] | `Pz + Nz`, `Pz = log(1 + sum w t e^-s)`, `Nz = log(1 + sum w (1-t) e^s)` | `-w t e^(-s-Pz) + w (1-t) e^(s-Nz)` |
/// | [`Form::Joint`] | `sp(x)`, `x = t_pos a + t_neg b`, `a = log sum_P w e^(-s/t_pos)`, `b = log sum_N w e^(s/t_neg)` | P: `-q w e^(-s/t_pos-a)`; N: `q w e^(s/t_neg-b)`; `q = sigma(x)` |
/// | [`Form::KlSymmetric`] | `sum w beta (p - r) (s - u)`, `p = sigma(beta s)`, `r = sigma(beta u)` | `w beta (beta p (1-p) (s-u) + p - r)` |
/// | [`Form::KlExcess`] | soft at `t = sigma(2u)`, less `2 log(1 + sum w / (2 cosh u))` | soft at `t` |
///
/// A hard label is positive where its target is above 1/2. Soft targets are in `[0, 1]`; `t` is the
/// smoothed target, and the gradient is to the target before smoothing. The joint form is 0 where
/// the row has no positive or no negative; its half over the classes is that of the batch turned
/// ([`Half`]). The excess is at least 0 up to rounding.
///
/// A logit of -inf leaves its label out, whatever the target. One of +inf on a negative (soft: where `t < 1`) makes the loss
/// +inf and the gradient its limit: the infinite logits share it by weight. A label of weight 0 is in no sum, even if
/// infinite. In the KL forms, which do not
/// support infinite logits, one makes its row NaN. Gradients to the targets are not meaningful in a
/// row whose loss is infinite. A NaN in a row makes that row's loss and gradient NaN.
pub fn zlpr<T: Real>(config: &Zlpr, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let number = |setting: f32| T::from_f64(f64::from(setting));
    let takes = config.takes();
    let reduction = config.reduction;
    match config.form {
        Form::Hard => over_rows(inputs, reduction, takes, hard),
        Form::Soft => {
            let eps = number(config.smoothing);
            over_rows(inputs, reduction, takes, |labels| soft(labels, eps))
        }
        Form::Joint { t_pos, t_neg, half } => {
            let (t_pos, t_neg) = (number(t_pos), number(t_neg));
            let loss = |labels: &[Label<T>]| joint(labels, t_pos, t_neg);
            match half {
                Half::Sample => over_rows(inputs, reduction, takes, loss),
                Half::Class => over_columns(inputs, reduction, takes, loss),
                Half::Both => {
                    let mut all = over_rows(inputs, reduction, takes, loss)?;
                    let more = over_columns(inputs, reduction, takes, loss)?;
                    for (sum, other) in [
                        (&mut all.loss, more.loss),
                        (&mut all.grad_logits, more.grad_logits),
                    ] {
                        sum.iter_mut().zip(other).for_each(|(a, b)| *a = *a + b);
                    }
                    Ok(all)
                }
            }
        }
        Form::KlSymmetric { beta } => {
            let beta = number(beta);
            over_rows(inputs, reduction, takes, |labels| {
                kl_symmetric(labels, beta)
            })
        }
        Form::KlExcess => over_rows(inputs, reduction, takes, kl_excess),
    }
}

fn hard<T: Real>(labels: &[Label<T>]) -> RowLoss<T> {
    let p = Lse::one_plus(labels.iter().map(|l| (hard_log_weights(l).0, -l.s)));
    let n = Lse::one_plus(labels.iter().map(|l| (hard_log_weights(l).1, l.s)));
    let gradient = |l: &Label<T>| {
        let (log_p, log_n) = hard_log_weights(l);
        (n.share(log_n, l.s) - p.share(log_p, -l.s), T::zero())
    };
    RowLoss {
        loss: p.value + n.value,
        gradient: labels.iter().map(gradient).collect(),
    }
}

fn soft<T: Real>(labels: &[Label<T>], eps: T) -> RowLoss<T> {
    let target = |l: &Label<T>| (T::one() - eps) * l.y + eps / T::from_f64(2.0);
    let log_p = |l: &Label<T>| log(l.w * target(l));
    let log_n = |l: &Label<T>| log(l.w * (T::one() - target(l)));
    let p = Lse::one_plus(labels.iter().map(|l| (log_p(l), -l.s)));
    let n = Lse::one_plus(labels.iter().map(|l| (log_n(l), l.s)));
    let gradient = |l: &Label<T>| {
        let ds = n.share(log_n(l), l.s) - p.share(log_p(l), -l.s);
        let dt = p.share(log(l.w), -l.s) - n.share(log(l.w), l.s); // also where t is 0 or 1
        (ds, (T::one() - eps) * dt)
    };
    RowLoss {
        loss: p.value + n.value,
        gradient: labels.iter().map(gradient).collect(),
    }
}

fn joint<T: Real>(labels: &[Label<T>], t_pos: T, t_neg: T) -> RowLoss<T> {
    let p = Lse::plain(labels.iter().map(|l| (hard_log_weights(l).0, -l.s / t_pos)));
    let n = Lse::plain(labels.iter().map(|l| (hard_log_weights(l).1, l.s / t_neg)));
    if p.is_empty() || n.is_empty() {
        return RowLoss::all(T::zero(), labels);
    }
    let x = t_pos * p.value + t_neg * n.value;
    let gradient = |l: &Label<T>| {
        let (log_p, log_n) = hard_log_weights(l);
        let ds = n.share(log_n, l.s / t_neg) - p.share(log_p, -l.s / t_pos);
        (sigmoid(x) * ds, T::zero())
    };
    RowLoss {
        loss: softplus(x),
        gradient: labels.iter().map(gradient).collect(),
    }
}

fn kl_symmetric<T: Real>(labels: &[Label<T>], beta: T) -> RowLoss<T> {
    if labels.iter().any(infinite) {
        return RowLoss::all(T::nan(), labels);
    }
    // p - r without cancellation: sigma(a) - sigma(b) = sigma(a) sigma(-b) (1 - e^(b-a)) for a >= b.
    let difference = |s: T, u: T| {
        let (a, b) = (beta * s.max(u), beta * s.min(u));
        let d = -sigmoid(a) * sigmoid(-b) * (b - a).exp_m1();
        if s < u { -d } else { d }
    };
    // sigma'(x) = p (1 - p)
    let slope = |x: T| sigmoid(beta * x) * sigmoid(-beta * x);
    let loss = |l: &Label<T>| l.w * beta * difference(l.s, l.y) * (l.s - l.y);
    let gradient = |l: &Label<T>| {
        let (s, u) = (l.s, l.y);
        let ds = beta * slope(s) * (s - u) + difference(s, u);
        let du = beta * slope(u) * (u - s) - difference(s, u);
        (l.w * beta * ds, l.w * beta * du)
    };
    RowLoss {
        loss: sum(labels.iter().map(loss)),
        gradient: labels.iter().map(gradient).collect(),
    }
}

fn kl_excess<T: Real>(labels: &[Label<T>]) -> RowLoss<T> {
    if labels.iter().any(infinite) {
        return RowLoss::all(T::nan(), labels);
    }
    let (one, two) = (T::one(), T::from_f64(2.0));
    // log t and log(1 - t) of t = sigma(2u), precise where t itself would round to 0 or 1
    let log_t = |u: T| -softplus(-two * u);
    let p = Lse::one_plus(labels.iter().map(|l| (log(l.w) + log_t(l.y), -l.s)));
    let n = Lse::one_plus(labels.iter().map(|l| (log(l.w) + log_t(-l.y), l.s)));
    let q_term = |l: &Label<T>| l.w / (two * l.y.cosh());
    let q = sum(labels.iter().map(q_term));
    let gradient = |l: &Label<T>| {
        let (s, u) = (l.s, l.y);
        let (log_p, log_n) = (log(l.w) + log_t(u), log(l.w) + log_t(-u));
        let ds = n.share(log_n, s) - p.share(log_p, -s);
        // 2 t (1-t) w (e^(-s-Pz) - e^(s-Nz)) + 2 Q' / (1 + Q), Q' = w sinh u / (2 cosh^2 u)
        let log_both = log_p + log_t(-u);
        let dt = p.share(log_both, -s) - n.share(log_both, s);
        (ds, two * dt + two * q_term(l) * u.tanh() / (one + q))
    };
    RowLoss {
        loss: p.value + n.value - two * q.ln_1p(),
        gradient: labels.iter().map(gradient).collect(),
    }
}

/// What the KL forms do not support.
fn infinite<T: Real>(l: &Label<T>) -> bool {
    l.s.is_infinite() || l.y.is_infinite()
}

/// The log-weights of a label in the sum of the positives and in that of the negatives.
fn hard_log_weights<T: Real>(l: &Label<T>) -> (T, T) {
    if l.y > T::from_f64(0.5) {
        (log(l.w), T::neg_infinity())
    } else {
        (T::neg_infinity(), log(l.w))
    }
}

/// The logarithm of a weight; one of 0 (or below) is in no sum.
fn log<T: Real>(weight: T) -> T {
    weight.max(T::zero()).ln()
}

/// `log sum w e^a`, or `log(1 + sum w e^a)`, of terms given as `(log w, a)`.
struct Lse<T> {
    value: T,
    shift: T,
    total: T,
    infinite: T,
}

impl<T: Real> Lse<T> {
    fn one_plus(terms: impl Iterator<Item = (T, T)> + Clone) -> Self {
        Lse::new(T::zero(), terms)
    }

    fn plain(terms: impl Iterator<Item = (T, T)> + Clone) -> Self {
        Lse::new(T::neg_infinity(), terms)
    }

    /// `first` is the exponent of the term that every sum has: 0 for the 1, -inf for none.
    ///
    /// With `m` the largest exponent, `log w` included: `m + log(e^(first-m) + sum e^(a-m) w)`. Where
    /// `m = first = 0` that is `log1p(sum)`, which keeps the relative precision of a tiny loss.
    fn new(first: T, terms: impl Iterator<Item = (T, T)> + Clone) -> Self {
        let terms = terms.filter(|&(log_w, a)| !out(log_w, a));
        let above = terms.clone().filter(|(_, a)| *a == T::infinity());
        let infinite = sum(above.map(|(log_w, _)| log_w.exp()));
        let below = terms.clone().filter(|(_, a)| *a != T::infinity());
        let shift = below.fold(first, |most, (log_w, a)| most.max(a + log_w));
        let rest = sum(terms.map(|(log_w, a)| (a - shift + log_w).exp()));
        let (total, value) = if shift > first {
            let total = (first - shift).exp() + rest;
            (total, shift + total.ln())
        } else {
            (T::one() + rest, shift + rest.ln_1p())
        };
        let value = if infinite > T::zero() {
            T::infinity()
        } else {
            value
        };
        Lse {
            value,
            shift,
            total,
            infinite,
        }
    }

    /// No term (and no 1).
    fn is_empty(&self) -> bool {
        self.value == T::neg_infinity()
    }

    /// `w e^a` over the sum: the derivative of the value to `a`. With infinite exponents in the sum
    /// the limit: they share by weight, the others have nothing.
    fn share(&self, log_w: T, a: T) -> T {
        if out(log_w, a) {
            T::zero()
        } else if self.infinite > T::zero() {
            if a == T::infinity() {
                log_w.exp() / self.infinite
            } else {
                T::zero()
            }
        } else {
            (a - self.shift + log_w).exp() / self.total
        }
    }
}

/// Whether a term is 0: its weight is, or its exponential.
fn out<T: Real>(log_w: T, a: T) -> bool {
    log_w == T::neg_infinity() || a == T::neg_infinity()
}
