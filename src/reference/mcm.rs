//! The max constraint module.

use crate::error::{Error, check_len};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference::per_label::term;
use crate::reference::real::{Real, sigmoid, softplus, sum};

/// The tensors of the constraint module; matrices are row-major, with as many columns as the hierarchy has nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmInputs<'a, T> {
    /// Number of samples.
    pub rows: usize,
    /// `rows * nodes` logits.
    pub logits: &'a [T],
    /// `rows * nodes` targets: positive above 0.5, and where the element does not count, only if exactly 1.
    pub targets: &'a [T],
    /// `nodes` values; a class with `false` has a term in no row, and takes part in the maxima of its ancestors.
    pub class_mask: Option<&'a [bool]>,
    /// `rows * nodes` values; an element with `false` does not count.
    pub mask: Option<&'a [bool]>,
    /// `rows` factors of the rows' losses. A row of weight 0 counts for nothing, whatever it holds.
    pub sample_weight: Option<&'a [T]>,
    /// `nodes` weights of the classes' terms, at least 0.
    pub class_weight: Option<&'a [T]>,
    /// The gradient that arrives from above: one value, or (without a reduction) one or `rows`. Absent: 1.
    pub grad_loss: Option<&'a [T]>,
}

/// What the constraint module gives.
#[derive(Clone, Debug, PartialEq)]
pub struct McmOutputs<T> {
    /// One value, or `rows` values with [`Reduction::None`].
    pub loss: Vec<T>,
    /// `rows * nodes` values.
    pub grad_logits: Vec<T>,
    /// `rows * nodes` constrained probabilities.
    pub probabilities: Vec<T>,
}

/// `MCM_A = max_{B in D_A} sigma(s_B)`, and the loss `BCE(v, y)` with
/// `v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B`; see [`crate::losses::mcm`], which says too what masks
/// and weights mean.
///
/// # Errors
/// Wrong lengths; an invalid [`Reduction::MeanOver`] divisor.
pub fn mcm<T: Real>(
    config: &Mcm,
    hierarchy: &Hierarchy,
    inputs: &McmInputs<'_, T>,
) -> Result<McmOutputs<T>, Error> {
    config.check()?;
    let (rows, cols) = (inputs.rows, hierarchy.nodes());
    let all = rows.saturating_mul(cols);
    check_len("logits", all, inputs.logits.len())?;
    check_len("targets", all, inputs.targets.len())?;
    check_len(
        "class_mask",
        cols,
        inputs.class_mask.map_or(cols, <[_]>::len),
    )?;
    check_len("mask", all, inputs.mask.map_or(all, <[_]>::len))?;
    let len = |slice: Option<&[T]>, absent| slice.map_or(absent, <[T]>::len);
    check_len("sample_weight", rows, len(inputs.sample_weight, rows))?;
    check_len("class_weight", cols, len(inputs.class_weight, cols))?;
    let upstream = inputs.grad_loss.unwrap_or(&[]);
    match upstream.len() {
        0 if inputs.grad_loss.is_none() => {}
        len if len == rows && config.reduction == Reduction::None => {}
        len => check_len("grad_loss", 1, len)?,
    }
    let scale = T::from_f64(config.reduction.scale(rows));
    let mut out = McmOutputs {
        loss: Vec::new(),
        grad_logits: vec![T::zero(); all],
        probabilities: Vec::new(),
    };
    for row in 0..rows {
        let s = &inputs.logits[row * cols..][..cols];
        let counts: Vec<bool> = (0..cols).map(|a| inputs.counts(row, a, cols)).collect();
        let positive = |a: usize| match (inputs.targets[row * cols + a], counts[a]) {
            (y, true) => y > T::from_f64(0.5),
            // It may be anything.
            (y, false) => y == T::one(),
        };
        let y: Vec<bool> = (0..cols).map(positive).collect();
        let mut terms = Vec::new();
        // The weights of the positive classes that each has won, and of the others.
        let mut wins = vec![(T::zero(), T::zero()); cols];
        for a in 0..cols {
            let below = hierarchy.descendants(a);
            let winner = first_largest(s, below.iter().map(|b| *b as usize));
            let any_nan = below.iter().any(|b| s[*b as usize].is_nan());
            out.probabilities.push(match winner {
                Some(b) if !any_nan => sigmoid(s[b]),
                _ => T::nan(),
            });
            if !counts[a] {
                continue;
            }
            let weight = inputs.class_weight.map_or(T::one(), |w| w[a]);
            let positives = below.iter().map(|b| *b as usize).filter(|b| y[*b]);
            if any_nan {
                terms.push(T::nan());
            } else if y[a] {
                if let Some(b) = first_largest(s, positives) {
                    terms.push(term(weight, softplus(-s[b])));
                    wins[b].0 = wins[b].0 + weight;
                }
            } else if let Some(b) = winner {
                terms.push(term(weight, softplus(s[b])));
                wins[b].1 = wins[b].1 + weight;
            }
        }
        let counted = counts.iter().filter(|counts| **counts).count();
        let weight = inputs.sample_weight.map_or(T::one(), |w| w[row]);
        let factor = weight * T::from_f64(config.row_scale(counted));
        let loss = factor * sum(terms.into_iter());
        out.loss.push(loss);
        if counted == 0 {
            continue;
        }
        let above = match *upstream {
            [] => T::one(),
            [one] => one,
            _ => upstream[row],
        };
        let gradient = &mut out.grad_logits[row * cols..][..cols];
        for ((g, s), (positives, others)) in gradient.iter_mut().zip(s).zip(wins) {
            let slope = term(others, sigmoid(*s)) - term(positives, sigmoid(-*s));
            *g = above * scale * factor * slope;
        }
        if loss.is_nan() {
            gradient.fill(T::nan());
        }
    }
    if config.reduction != Reduction::None {
        let total = sum(out.loss.iter().copied());
        out.loss = vec![if rows == 0 { T::zero() } else { scale * total }];
    }
    Ok(out)
}

impl<T: Real> McmInputs<'_, T> {
    /// Whether this element counts: neither a mask nor a weight of 0 takes it out.
    fn counts(&self, row: usize, col: usize, cols: usize) -> bool {
        self.sample_weight.is_none_or(|w| w[row] != T::zero())
            && self.class_mask.is_none_or(|mask| mask[col])
            && self.mask.is_none_or(|mask| mask[row * cols + col])
    }
}

/// The first of the candidates that has the largest value, NaN aside.
fn first_largest<T: Real>(s: &[T], candidates: impl Iterator<Item = usize>) -> Option<usize> {
    let mut best: Option<usize> = None;
    for b in candidates.filter(|b| !s[*b].is_nan()) {
        if best.is_none_or(|best| s[b] > s[best]) {
            best = Some(b);
        }
    }
    best
}
