//! A last layer with a loss on top of it, all logits stored.

use crate::error::{Error, check_len};
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
}

/// The layer, with a loss of the logits.
pub(crate) fn linear<T: Real>(
    inputs: &LinearInputs<'_, T>,
    loss: impl FnOnce(&RowInputs<'_, T>) -> Result<RowOutputs<T>, Error>,
) -> Result<LinearOutputs<T>, Error> {
    let (rows, cols, dims) = (inputs.rows, inputs.cols, inputs.dims);
    elements(rows, cols)?;
    check_len("hidden", elements(rows, dims)?, inputs.hidden.len())?;
    check_len("weights", elements(cols, dims)?, inputs.weights.len())?;
    check_len("bias", cols, inputs.bias.map_or(cols, <[T]>::len))?;
    let hidden = |row: usize, d: usize| inputs.hidden[row * dims + d];
    let weight = |col: usize, d: usize| inputs.weights[col * dims + d];
    let logits: Vec<T> = (0..rows * cols)
        .map(|i| {
            let (row, col) = (i / cols, i % cols);
            let product = sum((0..dims).map(|d| hidden(row, d) * weight(col, d)));
            product + inputs.bias.map_or(T::zero(), |bias| bias[col])
        })
        .collect();
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
    Ok(LinearOutputs {
        grad_hidden: grad_hidden.collect(),
        grad_weights: grad_weights.collect(),
        grad_bias: grad_bias.collect(),
        loss: out.loss,
    })
}
