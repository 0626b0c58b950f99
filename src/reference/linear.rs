//! A last layer with a loss on top of it, all logits stored.

use crate::error::{Error, check_len};
use crate::losses::linear::{Linear, Update};
use crate::reference::real::{Real, sum};
use crate::reference::rows::{RowInputs, RowOutputs};
use crate::reference::sparse::elements;

/// The tensors of a last layer over `rows` samples of `dims` components, with `cols` labels each; matrices are row-major.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearInputs<'a, T> {
    /// Number of samples.
    pub rows: usize,
    /// Number of labels.
    pub cols: usize,
    /// Components of a hidden state.
    pub dims: usize,
    /// `rows * dims` values.
    pub hidden: &'a [T],
    /// `cols * dims` values.
    pub weights: &'a [T],
    /// `cols` values; absent: zeros.
    pub bias: Option<&'a [T]>,
    /// `rows * cols` targets.
    pub targets: &'a [T],
    /// `cols` values, as in [`RowInputs`].
    pub class_mask: Option<&'a [bool]>,
    /// `rows` factors, as in [`RowInputs`].
    pub sample_weight: Option<&'a [T]>,
    /// `cols` weights, as in [`RowInputs`].
    pub class_weight: Option<&'a [T]>,
    /// `cols` numbers: what the squares of each label's gradients have come to, for an update that has such; absent: zeros.
    pub state: Option<&'a [T]>,
    /// The gradient that arrives from above, as in [`RowInputs`].
    pub grad_loss: Option<&'a [T]>,
}

/// What a last layer gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinearOutputs<T> {
    /// One value, or `rows` values without a reduction.
    pub loss: Vec<T>,
    /// `rows * dims` values.
    pub grad_hidden: Vec<T>,
    /// `cols * dims` values.
    pub grad_weights: Vec<T>,
    /// `cols` values.
    pub grad_bias: Vec<T>,
    /// `cols * dims` weights after an update, not rounded to any type; empty without one.
    pub weights: Vec<T>,
    /// `cols` numbers after an update that has them.
    pub state: Vec<T>,
}

/// The layer, with a loss of the logits.
pub(crate) fn linear<T: Real>(
    layer: &Linear<()>,
    inputs: &LinearInputs<'_, T>,
    loss: impl FnOnce(&RowInputs<'_, T>) -> Result<RowOutputs<T>, Error>,
) -> Result<LinearOutputs<T>, Error> {
    let (rows, cols) = check(inputs)?;
    let dims = inputs.dims;
    let hidden = |row: usize, d: usize| inputs.hidden[row * dims + d];
    let weight = |col: usize, d: usize| inputs.weights[col * dims + d];
    let logits = logits(inputs);
    let out = loss(&RowInputs {
        rows,
        cols,
        logits: &logits,
        targets: inputs.targets,
        class_mask: inputs.class_mask,
        sample_weight: inputs.sample_weight,
        class_weight: inputs.class_weight,
        grad_loss: inputs.grad_loss,
        mask: None,
        weight: None,
        pos_weight: None,
        alpha: None,
        threshold: None,
        permutation: None,
        theta: None,
        theta0: None,
    })?;
    let slope = |row: usize, col: usize| out.grad_logits[row * cols + col];
    let grad_hidden = (0..rows * dims).map(|i| {
        let (row, d) = (i / dims, i % dims);
        sum((0..cols).map(|col| slope(row, col) * weight(col, d)))
    });
    let grad_weights = (0..cols * dims).map(|i| {
        let (col, d) = (i / dims, i % dims);
        sum((0..rows).map(|row| slope(row, col) * hidden(row, d)))
    });
    let grad_bias = (0..cols).map(|col| sum((0..rows).map(|row| slope(row, col))));
    let mut all = LinearOutputs {
        grad_hidden: grad_hidden.collect(),
        grad_weights: grad_weights.collect(),
        grad_bias: grad_bias.collect(),
        loss: out.loss,
        weights: Vec::new(),
        state: Vec::new(),
    };
    if let Some(update) = layer.update {
        for col in 0..cols {
            let slopes = &all.grad_weights[col * dims..(col + 1) * dims];
            let size = match update {
                Update::Sgd { rate } => T::from_f64(f64::from(rate)),
                Update::Adagrad { rate, epsilon } => {
                    let squares = sum(slopes.iter().map(|slope| *slope * *slope));
                    let before = inputs.state.map_or(T::zero(), |state| state[col]);
                    let state = before + squares / T::from_f64(dims as f64);
                    all.state.push(state);
                    let [rate, epsilon] = [rate, epsilon].map(|v| T::from_f64(f64::from(v)));
                    rate / (state.sqrt() + epsilon)
                }
            };
            let after = (0..dims).map(|d| weight(col, d) - size * slopes[d]);
            all.weights.extend(after);
        }
    }
    Ok(all)
}

/// All logits, row by row.
fn logits<T: Real>(inputs: &LinearInputs<'_, T>) -> Vec<T> {
    let (rows, cols, dims) = (inputs.rows, inputs.cols, inputs.dims);
    let logit = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        let terms =
            (0..dims).map(|d| inputs.hidden[row * dims + d] * inputs.weights[col * dims + d]);
        sum(terms) + inputs.bias.map_or(T::zero(), |bias| bias[col])
    };
    (0..rows * cols).map(logit).collect()
}

/// The labels of the greatest logits of each sample, the greatest first, of equal ones the smaller label first, a NaN last, and
/// these logits; classes that the mask leaves out are none of them. Where fewer than `count` are left, labels are 0xffffffff
/// and logits -inf. Looks at the mask, and not at the targets.
///
/// # Errors
/// Wrong lengths, no label or more labels than there are.
pub fn top<T: Real>(
    inputs: &LinearInputs<'_, T>,
    count: usize,
) -> Result<(Vec<u32>, Vec<T>), Error> {
    let (rows, cols) = check(inputs)?;
    if count == 0 || count > cols {
        return Err(Error::value("top_k", format!("1 to {cols} labels"), count));
    }
    let logits = logits(inputs);
    let (mut labels, mut scores) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let logit = |col: &usize| logits[row * cols + col];
        let counts = |col: &usize| inputs.class_mask.is_none_or(|mask| mask[*col]);
        let mut order: Vec<usize> = (0..cols).filter(counts).collect();
        // Stable, so that equal ones stay in the order of their labels.
        order.sort_by(|a, b| {
            let (a, b) = (logit(a), logit(b));
            let nan = a.is_nan().cmp(&b.is_nan());
            nan.then(b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal))
        });
        for i in 0..count {
            let label = order.get(i);
            labels.push(label.map_or(u32::MAX, |label| *label as u32));
            scores.push(label.map_or(T::neg_infinity(), logit));
        }
    }
    Ok((labels, scores))
}

/// Refuses slices of the wrong length; gives the numbers of samples and labels.
fn check<T: Real>(inputs: &LinearInputs<'_, T>) -> Result<(usize, usize), Error> {
    let (rows, cols, dims) = (inputs.rows, inputs.cols, inputs.dims);
    elements(rows, cols)?;
    check_len("hidden", elements(rows, dims)?, inputs.hidden.len())?;
    check_len("weights", elements(cols, dims)?, inputs.weights.len())?;
    check_len("bias", cols, inputs.bias.map_or(cols, <[T]>::len))?;
    check_len(
        "class_mask",
        cols,
        inputs.class_mask.map_or(cols, <[_]>::len),
    )?;
    check_len("state", cols, inputs.state.map_or(cols, <[T]>::len))?;
    Ok((rows, cols))
}
