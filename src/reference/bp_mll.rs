//! BP-MLL.

use crate::error::Error;
use crate::losses::bp_mll::BpMll;
use crate::reference::real::{Real, sum};
use crate::reference::rows::{Label, RowInputs, RowLoss, RowOutputs, over_rows};

/// BP-MLL and its gradient. Per row, over the labels that count: the mean over all pairs of a positive `p` and a negative
/// `n` of `w_p w_n e^(s_n - s_p)`, with class weights `w` (1 where not given) that the divisor does not know. A label is
/// positive where its target is above 1/2.
///
/// Derivative to `s` of a negative `w e^(s + a) / (|P| |N|)`, of a positive `-w e^(b - s) / (|P| |N|)`, with
/// `a = log sum_P w e^-s`, `b = log sum_N w e^s`. 0 where a side is empty or adds nothing; infinite where it overflows.
/// A NaN in a row makes that row's loss and gradient NaN.
pub fn bp_mll<T: Real>(config: &BpMll, inputs: &RowInputs<'_, T>) -> Result<RowOutputs<T>, Error> {
    over_rows(inputs, config.reduction, config.takes(), row)
}

fn row<T: Real>(labels: &[Label<T>]) -> RowLoss<T> {
    let positive = |l: &Label<T>| l.y > T::from_f64(0.5);
    let count = |side: bool| labels.iter().filter(|l| positive(l) == side).count() as f64;
    let log_pairs = T::from_f64((count(true) * count(false)).ln());
    // What a label adds to its side: log w and the exponent; nothing where either is -inf.
    let exponent = |l: &Label<T>| if positive(l) { -l.s } else { l.s };
    let term = |l: &Label<T>| match l.w > T::zero() && exponent(l) > T::neg_infinity() {
        true => l.w.ln() + exponent(l),
        false => T::neg_infinity(),
    };
    let log_sum = |side: bool| {
        let terms = || labels.iter().filter(|l| positive(l) == side).map(term);
        let largest = terms().fold(T::neg_infinity(), T::max);
        match largest.is_infinite() {
            true => largest,
            false => largest + sum(terms().map(|x| (x - largest).exp())).ln(),
        }
    };
    let (a, b) = (log_sum(true), log_sum(false));
    if a == T::neg_infinity() || b == T::neg_infinity() {
        return RowLoss::all(T::zero(), labels);
    }
    let gradient = |l: &Label<T>| {
        let (other, sign) = match positive(l) {
            true => (b, -T::one()),
            false => (a, T::one()),
        };
        let size = match term(l) == T::neg_infinity() {
            true => T::zero(),
            false => (term(l) + other - log_pairs).exp(),
        };
        (sign * size, T::zero())
    };
    RowLoss {
        loss: (a + b - log_pairs).exp(),
        gradient: labels.iter().map(gradient).collect(),
    }
}
