//! Losses that are a sum over the labels, and soft dice.
//!
//! Focal: Lin et al., arXiv 1708.02002. ASL: Ridnik et al., arXiv 2009.14119. Hill: Zhang et al., arXiv 2112.07368.
//! Dice: Milletari et al., arXiv 1606.04797.

use crate::error::Error;
use crate::losses::bce::Bce;
use crate::losses::per_label::{Asl, Dice, Focal, Hill, Splc};
use crate::losses::reduction::Reduction;
use crate::losses::takes::Takes;
use crate::reference::real::{Real, sigmoid, softplus, sum};
use crate::reference::rows::{Label, RowInputs, RowLoss, RowOutputs, over_rows};

/// What a label costs as a positive and as a negative: value and derivative to the logit.
pub(super) struct Sides<T> {
    positive: (T, T),
    negative: (T, T),
}

/// Binary cross-entropy with logits and its gradient. Per row, over the labels that count:
///
/// `sum w (t f+ + (1-t) f-)`, `f+ = W sp(-s)`, `f- = sp(s)`, with `sp(x) = log(1 + e^x)`, class weights
/// `w` (1 where not given), `W` the weight of the positive side and `t = (1-eps) y + eps/2` the smoothed
/// target, divided by the number of labels that count if `row_mean` is set (0 for a row without any).
///
/// Derivative to `s`: `w (t f+' + (1-t) f-')`, `f+' = -W sigma(-s)`, `f-' = sigma(s)`; to `y`:
/// `(1-eps) w (f+ - f-)`. A term of weight 0 is 0 even where `sp` is infinite, so `s = -inf` with `t = 0`
/// gives 0, and with `t > 0` a loss of +inf with gradient `-w W t`. A NaN in a row makes that row's loss
/// and gradient NaN.
pub fn bce<T: Real>(config: &Bce, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let pos_weight = T::from_f64(f64::from(config.pos_weight));
    let shape = (config.smoothing, config.row_mean, config.reduction);
    elementwise(inputs, config.takes(), shape, |l| {
        bce_sides(l.own.unwrap_or(pos_weight), l.s)
    })
}

/// Focal loss and its gradient: [`bce`] with
/// `f+ = alpha (1-p)^gamma sp(-s)`, `f+' = -alpha (1-p)^gamma (gamma p sp(-s) + 1-p)`, `p = sigma(s)`;
/// `f-` is its mirror image, with `1 - alpha`; without `alpha` both have weight 1. A positive at -inf: +inf with gradient
/// `-w alpha t`. With the focus held constant there is no `gamma` in the derivatives but in the power itself.
pub fn focal<T: Real>(config: &Focal, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let focus = Focus::new(config.gamma, config.detach_focus);
    let (alpha, beta) = config.alphas();
    let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
    let shape = (config.smoothing, config.row_mean, config.reduction);
    elementwise(inputs, config.takes(), shape, |l| {
        let (positive, negative) = (focal_side(focus, l.s), focal_side(focus, -l.s));
        let (alpha, beta) = l.own.map_or((alpha, beta), |own| (own, T::one() - own));
        Sides {
            positive: (term(alpha, positive.0), alpha * positive.1),
            negative: (term(beta, negative.0), -beta * negative.1),
        }
    })
}

/// Asymmetric loss and its gradient: [`bce`] with `f+` as in [`focal`] for `gamma_pos` and `alpha` = 1, and
/// `f- = -pm^gamma_neg log(1-pm)`, `pm = max(p - margin, 0)`,
/// `f-' = p (1-p) (pm^gamma_neg / (1-pm) - gamma_neg pm^(gamma_neg-1) log(1-pm))`, both 0 where `p <= margin`.
/// A negative at +inf: `-(1-margin)^gamma_neg log(margin)` with gradient 0; without margin +inf with `w (1-t)`.
pub fn asl<T: Real>(config: &Asl, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let positive = Focus::new(config.gamma_pos, config.detach_focus);
    let negative = Focus::new(config.gamma_neg, config.detach_focus);
    let margin = number(config.margin);
    let shape = (config.smoothing, config.row_mean, config.reduction);
    elementwise(inputs, config.takes(), shape, |l| Sides {
        positive: focal_side(positive, l.s),
        negative: asl_negative(negative, margin, l.s),
    })
}

/// Hill loss and its gradient: [`bce`] with `f+` as in [`focal`] at `s - margin` with `alpha` = 1, and
/// `f- = (lambda - p) p^2`, `f-' = p (1-p) (2 lambda p - 3 p^2)`.
/// A negative at +inf: `lambda - 1` with gradient 0.
pub fn hill<T: Real>(config: &Hill, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let (two, three) = (T::from_f64(2.0), T::from_f64(3.0));
    let (lambda, margin) = (number::<T>(config.lambda), number::<T>(config.margin));
    let focus = Focus::new(config.gamma, false);
    let shape = (config.smoothing, config.row_mean, config.reduction);
    elementwise(inputs, config.takes(), shape, |l| {
        let s = l.s;
        let (p, q) = (sigmoid(s), sigmoid(-s));
        Sides {
            positive: focal_side(focus, s - margin),
            negative: ((lambda - p) * p * p, p * q * p * (two * lambda - three * p)),
        }
    })
}

/// SPLC and its gradient: [`bce`] with `f+` as in [`hill`]; `f-` is the mirror image of `f+` as in [`focal`] with weight 1, or
/// that `f+` itself where `sigma(s) > threshold`.
pub fn splc<T: Real>(config: &Splc, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let (margin, focus) = (number::<T>(config.margin), Focus::new(config.gamma, false));
    let threshold = T::from_f64(config.threshold_logit());
    let shape = (config.smoothing, config.row_mean, config.reduction);
    elementwise(inputs, config.takes(), shape, |l| Sides {
        positive: focal_side(focus, l.s - margin),
        negative: match l.s > threshold {
            true => focal_side(focus, l.s),
            false => {
                let (loss, slope) = focal_side(focus, -l.s);
                (loss, -slope)
            }
        },
    })
}

/// Soft dice over the labels of a row and its gradient. With `p = sigma(s)` and class weights `w`:
///
/// `1 - N / M`, `N = 2 sum w p y + smooth`, `M = sum w (p + y) + smooth`, or `sum w (p^2 + y^2) + smooth`.
///
/// Derivative to `p`: `w (N - 2 y M) / M^2`, or `w (2 p N - 2 y M) / M^2`, times `p (1-p)` to `s`; to `y` the
/// same with `p` and `y` swapped. 0 for a row without labels. A NaN in a row makes that row's loss and
/// gradient NaN.
pub fn dice<T: Real>(config: &Dice, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let (one, two, smooth) = (T::one(), T::from_f64(2.0), number::<T>(config.smooth));
    // a summand of M, and its derivative
    let size = |v: T| if config.squared { v * v } else { v };
    let slope = |v: T| if config.squared { two * v } else { one };
    over_rows(inputs, config.reduction, config.takes(), |labels| {
        let both = |l: &Label<T>| two * l.w * sigmoid(l.s) * l.y;
        let each = |l: &Label<T>| l.w * (size(sigmoid(l.s)) + size(l.y));
        let n = sum(labels.iter().map(both)) + smooth;
        let m = sum(labels.iter().map(each)) + smooth;
        let gradient = |l: &Label<T>| {
            let p = sigmoid(l.s);
            let to = |v: T, other: T| l.w * (slope(v) * n / m - two * other) / m;
            (p * sigmoid(-l.s) * to(p, l.y), to(l.y, p))
        };
        RowLoss {
            loss: one - n / m,
            gradient: labels.iter().map(gradient).collect(),
        }
    })
}

/// The loop that the losses above share; `shape` is smoothing, `row_mean` and reduction.
fn elementwise<T: Real>(
    inputs: &RowInputs<'_, T>,
    takes: Takes,
    (smoothing, row_mean, reduction): (f32, bool, Reduction),
    sides: impl Fn(&Label<T>) -> Sides<T>,
) -> Result<RowOutputs<T>, Error> {
    let eps = number(smoothing);
    over_rows(inputs, reduction, takes, |labels| {
        let count = if row_mean { labels.len().max(1) } else { 1 };
        mixed(labels, T::one() / T::from_f64(count as f64), eps, &sides)
    })
}

/// `scale * sum w (t f+ + (1-t) f-)` over the labels, `t = (1-eps) y + eps/2`.
pub(super) fn mixed<T: Real>(
    labels: &[Label<T>],
    scale: T,
    eps: T,
    sides: impl Fn(&Label<T>) -> Sides<T>,
) -> RowLoss<T> {
    let each = |l: &Label<T>| {
        let Sides { positive, negative } = sides(l);
        let (w, t) = (scale * l.w, (T::one() - eps) * l.y + eps / T::from_f64(2.0));
        let (w_pos, w_neg) = (w * t, w * (T::one() - t));
        let loss = term(w_pos, positive.0) + term(w_neg, negative.0);
        let ds = w_pos * positive.1 + w_neg * negative.1;
        let dt = term(w, positive.0) - term(w, negative.0);
        // Targets that smoothing 1 takes no notice of have no gradient, however large the difference.
        (loss, (ds, term(T::one() - eps, dt)))
    };
    let (losses, gradient): (Vec<T>, _) = labels.iter().map(each).unzip();
    RowLoss {
        loss: sum(losses.into_iter()),
        gradient,
    }
}

pub(super) fn bce_sides<T: Real>(pos_weight: T, s: T) -> Sides<T> {
    Sides {
        positive: (term(pos_weight, softplus(-s)), -pos_weight * sigmoid(-s)),
        negative: (softplus(s), sigmoid(s)),
    }
}

/// The exponent of a power, and what it is to the derivative: 0 where the power is a constant to that.
#[derive(Clone, Copy)]
struct Focus<T> {
    gamma: T,
    slope: T,
}

impl<T: Real> Focus<T> {
    fn new(gamma: f32, detached: bool) -> Self {
        Focus {
            gamma: number(gamma),
            slope: if detached { T::zero() } else { number(gamma) },
        }
    }
}

/// `q^gamma sp(-s)`, `q = sigma(-s)`, and its derivative `-q^gamma (gamma (1-q) sp(-s) + q)`.
fn focal_side<T: Real>(by: Focus<T>, s: T) -> (T, T) {
    let q = sigmoid(-s);
    let focus = q.powf(by.gamma);
    // at -inf the limit: (1-q) sp(-s) -> 0
    let pull = term(sigmoid(s), softplus(-s));
    (focus * softplus(-s), -focus * (by.slope * pull + q))
}

fn asl_negative<T: Real>(by: Focus<T>, margin: T, s: T) -> (T, T) {
    let (p, q) = (sigmoid(s), sigmoid(-s));
    if p <= margin {
        return (T::zero(), T::zero());
    }
    // pm, 1 - pm and -log(1 - pm), none of them as a difference of nearly equal numbers but p - margin itself
    let (pm, rest) = (p - margin, q + margin);
    let cost = if margin == T::zero() {
        softplus(s)
    } else if pm < T::from_f64(0.5) {
        -(-pm).ln_1p()
    } else {
        -rest.ln()
    };
    // q / (1 - pm) and, at +inf, the limit of q (-log(1 - pm))
    let share = if margin == T::zero() {
        T::one()
    } else {
        q / rest
    };
    let focus = pm.powf(by.gamma);
    let slope = p * (share + by.slope * term(q, cost) / pm);
    (focus * cost, focus * slope)
}

/// `weight * value`, 0 where the weight is 0 and the value infinite.
pub(super) fn term<T: Real>(weight: T, value: T) -> T {
    if weight == T::zero() {
        T::zero()
    } else {
        weight * value
    }
}

fn number<T: Real>(setting: f32) -> T {
    T::from_f64(f64::from(setting))
}
