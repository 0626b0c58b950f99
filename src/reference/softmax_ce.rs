//! Multi-label softmax cross-entropy.

use crate::error::Error;
use crate::losses::softmax_ce::SoftmaxCe;
use crate::reference::real::{Real, sum};
use crate::reference::rows::{Label, RowInputs, RowLoss, RowOutputs, over_rows};

/// Softmax cross-entropy of several labels and its gradient. Per row, over the labels that count: `-sum w q log p`,
/// `q = t / sum t`, `p = e^s / sum e^s`, with class weights `w` (1 where not given).
///
/// Derivative to `s`: `p sum w q - w q`; to `t`: `(-w log p - loss) / sum t`. 0 for a row whose targets sum to 0. An
/// infinite logit counts as the largest finite number of its sign, but a target infinitely far below the largest logit
/// makes the loss +inf, with gradient 0 to the targets. A NaN in a row makes that row's loss and gradient NaN.
pub fn softmax_ce<T: Real>(
    config: &SoftmaxCe,
    inputs: &RowInputs<'_, T>,
) -> Result<RowOutputs<T>, Error> {
    over_rows(inputs, config.reduction, config.takes(), row)
}

fn row<T: Real>(labels: &[Label<T>]) -> RowLoss<T> {
    let total = sum(labels.iter().map(|l| l.y));
    if total <= T::zero() {
        return RowLoss::all(T::zero(), labels);
    }
    let largest = labels.iter().fold(T::neg_infinity(), |m, l| m.max(l.s));
    // How far a label lies below the largest: 0 for both where both are the same infinity.
    let below = |l: &Label<T>| {
        if l.s == largest {
            T::zero()
        } else {
            largest - l.s
        }
    };
    // The largest adds 1, which is left to the logarithm: a confident row keeps its precision.
    let first = labels.iter().position(|l| l.s == largest);
    let others = labels.iter().enumerate().filter(|(i, _)| Some(*i) != first);
    let log_sum = sum(others.map(|(_, l)| (-below(l)).exp())).ln_1p();
    let cost = |l: &Label<T>| below(l) + log_sum;
    let share = |l: &Label<T>| l.w * l.y / total;
    let term = |l: &Label<T>| match share(l) == T::zero() {
        true => T::zero(),
        false => share(l) * cost(l),
    };
    let loss = sum(labels.iter().map(term));
    let all = sum(labels.iter().map(share));
    let gradient = |l: &Label<T>| {
        let dt = match loss.is_infinite() {
            true => T::zero(),
            false => (l.w * cost(l) - loss) / total,
        };
        (all * (-cost(l)).exp() - share(l), dt)
    };
    RowLoss {
        loss,
        gradient: labels.iter().map(gradient).collect(),
    }
}
