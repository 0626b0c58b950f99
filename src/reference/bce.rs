//! Binary cross-entropy with logits, row by row.

use super::rows::{Label, RowLoss, Uses, over_rows};
use super::{Real, RowInputs, RowOutputs, sigmoid, softplus, sum};
use crate::{Bce, Error};

/// Binary cross-entropy with logits and its gradient. Per row, over the labels that count:
///
/// `sum w (W t sp(-s) + (1-t) sp(s))`, with `sp(x) = log(1 + e^x)`, class weights `w` (1 where not
/// given), `W` the weight of the positive side and `t = (1-eps) y + eps/2` the smoothed target,
/// divided by the number of labels that count if `row_mean` is set (0 for a row without any).
///
/// Derivative to `s`: `w (-W t sigma(-s) + (1-t) sigma(s))`; to `y`: `(1-eps) w (W sp(-s) - sp(s))`.
/// A term of weight 0 is 0 even where `sp` is infinite, so `s = -inf` with `t = 0` gives 0, and with
/// `t > 0` a loss of +inf with gradient `-w W t`. A NaN in a row makes that row's loss and gradient NaN.
/// The threshold is ignored.
pub fn bce<T: Real>(config: &Bce, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    let pos_weight = T::from_f64(f64::from(config.pos_weight));
    let eps = T::from_f64(f64::from(config.smoothing));
    let uses = Uses {
        threshold: false,
        grad_targets: true,
    };
    over_rows(inputs, config.reduction, uses, |labels| {
        let count = if config.row_mean {
            labels.len().max(1)
        } else {
            1
        };
        let scale = T::one() / T::from_f64(count as f64);
        // the weights of sp(-s) and sp(s)
        let weights = |l: &Label<T>| {
            let t = (T::one() - eps) * l.y + eps / T::from_f64(2.0);
            (l.w * pos_weight * t, l.w * (T::one() - t))
        };
        let loss = |l: &Label<T>| {
            let (pos, neg) = weights(l);
            term(pos, softplus(-l.s)) + term(neg, softplus(l.s))
        };
        let gradient = |l: &Label<T>| {
            let (pos, neg) = weights(l);
            let ds = neg * sigmoid(l.s) - pos * sigmoid(-l.s);
            let dt = term(l.w * pos_weight, softplus(-l.s)) - term(l.w, softplus(l.s));
            (scale * ds, scale * (T::one() - eps) * dt)
        };
        RowLoss {
            loss: scale * sum(labels.iter().map(loss)),
            gradient: labels.iter().map(gradient).collect(),
        }
    })
}

/// `weight * value`, 0 where the weight is 0 and the value infinite.
fn term<T: Real>(weight: T, value: T) -> T {
    if weight == T::zero() {
        T::zero()
    } else {
        weight * value
    }
}
