//! The max constraint module.

use crate::error::{Error, check_len};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference::real::{Real, sigmoid, softplus, sum};

/// The tensors of the constraint module; matrices are row-major, with as many columns as the hierarchy has nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmInputs<'a, T> {
    /// Number of samples.
    pub rows: usize,
    /// `rows * nodes` logits.
    pub logits: &'a [T],
    /// `rows * nodes` targets.
    pub targets: &'a [bool],
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
/// `v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B`; see [`crate::losses::mcm`].
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
    let upstream = inputs.grad_loss.unwrap_or(&[]);
    match upstream.len() {
        0 if inputs.grad_loss.is_none() => {}
        len if len == rows && config.reduction == Reduction::None => {}
        len => check_len("grad_loss", 1, len)?,
    }
    let row_scale = T::from_f64(config.row_scale(cols));
    let scale = T::from_f64(config.reduction.scale(rows));
    let mut out = McmOutputs {
        loss: Vec::new(),
        grad_logits: vec![T::zero(); all],
        probabilities: Vec::new(),
    };
    for row in 0..rows {
        let s = &inputs.logits[row * cols..][..cols];
        let y = &inputs.targets[row * cols..][..cols];
        let above = match *upstream {
            [] => T::one(),
            [one] => one,
            _ => upstream[row],
        };
        let nan = s.iter().any(|s| s.is_nan());
        let mut terms = Vec::new();
        // How many positive classes each has won, and how many others.
        let mut wins = vec![(0_u32, 0_u32); cols];
        for a in 0..cols {
            let below = hierarchy.descendants(a);
            let winner = first_largest(s, below.iter().map(|b| *b as usize));
            let any_nan = below.iter().any(|b| s[*b as usize].is_nan());
            out.probabilities.push(match winner {
                Some(b) if !any_nan => sigmoid(s[b]),
                _ => T::nan(),
            });
            if y[a] {
                let positives = below.iter().map(|b| *b as usize).filter(|b| y[*b]);
                if let Some(b) = first_largest(s, positives) {
                    terms.push(softplus(-s[b]));
                    wins[b].0 += 1;
                }
            } else if let Some(b) = winner {
                terms.push(softplus(s[b]));
                wins[b].1 += 1;
            }
        }
        for (b, (positives, others)) in wins.into_iter().enumerate() {
            let number = |n: u32| T::from_f64(f64::from(n));
            let slope = number(others) * sigmoid(s[b]) - number(positives) * sigmoid(-s[b]);
            out.grad_logits[row * cols + b] = above * scale * row_scale * slope;
        }
        out.loss.push(row_scale * sum(terms.into_iter()));
        if nan {
            out.loss[row] = T::nan();
            out.grad_logits[row * cols..][..cols].fill(T::nan());
        }
    }
    if config.reduction != Reduction::None {
        let total = sum(out.loss.iter().copied());
        out.loss = vec![if rows == 0 { T::zero() } else { scale * total }];
    }
    Ok(out)
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
