//! What every loss over rows of labels takes and gives, and the one loop over the rows.

use super::sum;
use crate::error::Error;
use crate::losses::reduction::Reduction;
use crate::reference::Real;

/// What is subtracted from the logits before anything else (TLPR: a learnable threshold).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Threshold<'a, T> {
    /// Nothing: the threshold is 0 and has no gradient.
    #[default]
    None,
    /// One value for everything.
    Scalar(T),
    /// `rows` values, one for each row.
    PerRow(&'a [T]),
    /// `cols` values, one for each label.
    PerLabel(&'a [T]),
}

impl<T> Threshold<'_, T> {
    fn values(&self) -> &[T] {
        match self {
            Threshold::None => &[],
            Threshold::Scalar(value) => std::slice::from_ref(value),
            Threshold::PerRow(values) | Threshold::PerLabel(values) => values,
        }
    }

    /// Which of the values belongs to this element.
    fn index(&self, row: usize, col: usize) -> Option<usize> {
        match self {
            Threshold::None => None,
            Threshold::Scalar(_) => Some(0),
            Threshold::PerRow(_) => Some(row),
            Threshold::PerLabel(_) => Some(col),
        }
    }
}

/// The order of the labels in the adjacent form of WDL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permutation<'a> {
    /// None: an error in the adjacent form.
    #[default]
    None,
    /// `cols` values: one permutation for all rows.
    Batch(&'a [u32]),
    /// `rows * cols` values: one for each row.
    PerRow(&'a [u32]),
    /// Made from a seed, by [`permutation`](super::permutation()).
    Seeded {
        /// Take another in each step.
        seed: u64,
        /// One for each row, made with the row's number; else that of row 0 for all.
        per_row: bool,
    },
}

/// The tensors of a loss over `rows` samples with `cols` labels each; matrices are row-major.
///
/// `rows`, `cols` and their product must fit in 32 bits, as on the GPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowInputs<'a, T> {
    /// Number of samples.
    pub rows: usize,
    /// Number of labels.
    pub cols: usize,
    /// `rows * cols` logits `s`.
    pub logits: &'a [T],
    /// `rows * cols` targets `y`: in `[0, 1]`, for WDL at least 0; the other logits `u` for the KL forms.
    pub targets: &'a [T],
    /// `cols` values; a label with `false` counts in no row.
    pub class_mask: Option<&'a [bool]>,
    /// `rows * cols` values; an element with `false` does not count. What does not count is not
    /// looked at (it may be NaN) and has gradient exactly 0.
    pub mask: Option<&'a [bool]>,
    /// `rows` factors of the rows' losses.
    pub sample_weight: Option<&'a [T]>,
    /// `cols` weights, at least 0: inside the sums (`w e^...`) where the loss has log-sum-exps, else
    /// the factor of the label's term.
    pub class_weight: Option<&'a [T]>,
    /// Subtracted from the logits by the ZLPR family but for its KL forms; ignored by all others.
    pub threshold: Threshold<'a, T>,
    /// The order of the labels in the adjacent form of WDL; ignored by all others.
    pub permutation: Permutation<'a>,
    /// WDL: as many values as [`Wdl::theta_shape`](crate::Wdl::theta_shape) says, row-major; absent: zeros, so that all
    /// weights are 1.
    pub theta: Option<&'a [T]>,
    /// WDL: makes it the bounded form.
    pub theta0: Option<T>,
    /// The gradient that arrives from above: one value, or (without a reduction) one or `rows`
    /// values. Absent: 1.
    pub grad_loss: Option<&'a [T]>,
}

/// What a loss over rows gives: the result and the gradient of `sum(grad_loss * result)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowOutputs<T> {
    /// One value, or `rows` values with [`Reduction::None`].
    pub loss: Vec<T>,
    /// `rows * cols` values.
    pub grad_logits: Vec<T>,
    /// `rows * cols` values, to the targets as they were given (before smoothing) or, for the KL
    /// forms, to the other logits. Empty where targets are hard.
    pub grad_targets: Vec<T>,
    /// As many values as the threshold has; 0 where the loss ignores it.
    pub grad_threshold: Vec<T>,
    /// WDL: as long as `theta`, summed over the rows; negated with [`Wdl::ascent`](crate::Wdl::ascent).
    pub grad_theta: Vec<T>,
    /// WDL: one value where there is a `theta0`.
    pub grad_theta0: Vec<T>,
}

/// One label that counts: its column, logit (less the threshold), target and class weight.
#[derive(Clone, Copy)]
pub(super) struct Label<T> {
    pub col: usize,
    pub s: T,
    pub y: T,
    pub w: T,
}

/// Loss of one row and, label by label, its derivatives to logit and target.
pub(super) struct RowLoss<T> {
    pub loss: T,
    pub gradient: Vec<(T, T)>,
}

impl<T: Copy> RowLoss<T> {
    /// The same value everywhere: 0 or NaN.
    pub fn all(value: T, labels: &[Label<T>]) -> Self {
        RowLoss {
            loss: value,
            gradient: vec![(value, value); labels.len()],
        }
    }
}

/// What a loss makes of its inputs.
#[derive(Clone, Copy)]
pub(super) struct Uses {
    pub threshold: bool,
    pub grad_targets: bool,
}

/// `result = scale * sum_i w_i l_i` (without a reduction `w_i l_i` each) over the rows, and its gradient.
///
/// A NaN among a row's labels makes the row's loss and all of its gradient NaN, and touches no other row.
pub(super) fn over_rows<T: Real>(
    inputs: &RowInputs<'_, T>,
    reduction: Reduction,
    uses: Uses,
    row_loss: impl Fn(&[Label<T>]) -> RowLoss<T>,
) -> Result<RowOutputs<T>, Error> {
    let alone = |_, labels: &[Label<T>]| (row_loss(labels), Vec::new());
    over_rows_with(inputs, reduction, uses, 0, alone).map(|(out, _)| out)
}

/// [`over_rows`] for a loss that looks at the row's number or at parameters which all rows share: it also
/// gives the row's derivatives to these `parameters` numbers, and their sum over the rows is the second result.
pub(super) fn over_rows_with<T: Real>(
    inputs: &RowInputs<'_, T>,
    reduction: Reduction,
    uses: Uses,
    parameters: usize,
    row_loss: impl Fn(usize, &[Label<T>]) -> (RowLoss<T>, Vec<T>),
) -> Result<(RowOutputs<T>, Vec<T>), Error> {
    let elements = inputs.check(reduction)?;
    let (rows, cols) = (inputs.rows, inputs.cols);
    let scale = T::from_f64(reduction.scale(rows));
    let threshold = match uses.threshold {
        true => inputs.threshold,
        false => Threshold::None,
    };
    let mut out = RowOutputs {
        loss: Vec::new(),
        grad_logits: vec![T::zero(); elements],
        grad_targets: vec![T::zero(); if uses.grad_targets { elements } else { 0 }],
        grad_threshold: vec![T::zero(); inputs.threshold.values().len()],
        grad_theta: Vec::new(),
        grad_theta0: Vec::new(),
    };
    let mut shared = vec![T::zero(); parameters];
    for row in 0..rows {
        let counted: Vec<usize> = (0..cols).filter(|&col| inputs.counts(row, col)).collect();
        let label = |&col: &usize| {
            let s0 = threshold.index(row, col).map(|i| threshold.values()[i]);
            Label {
                col,
                s: inputs.logits[row * cols + col] - s0.unwrap_or(T::zero()),
                y: inputs.targets[row * cols + col],
                w: inputs.class_weight.map_or(T::one(), |w| w[col]),
            }
        };
        let labels: Vec<Label<T>> = counted.iter().map(label).collect();
        let nan = |l: &Label<T>| l.s.is_nan() || l.y.is_nan() || l.w.is_nan();
        let (result, to_shared) = if labels.iter().any(nan) {
            let nans = vec![T::nan(); parameters];
            (RowLoss::all(T::nan(), &labels), nans)
        } else {
            row_loss(row, &labels)
        };

        let weight = inputs.sample_weight.map_or(T::one(), |w| w[row]);
        let upstream = match inputs.grad_loss {
            None => T::one(),
            Some(&[one]) => one,
            Some(each) => each[row],
        };
        let factor = upstream * scale * weight;
        out.loss.push(weight * result.loss);
        for (&col, &(ds, dy)) in counted.iter().zip(&result.gradient) {
            out.grad_logits[row * cols + col] = factor * ds;
            if uses.grad_targets {
                out.grad_targets[row * cols + col] = factor * dy;
            }
            if let Some(i) = threshold.index(row, col) {
                out.grad_threshold[i] = out.grad_threshold[i] - factor * ds;
            }
        }
        for (total, derivative) in shared.iter_mut().zip(to_shared) {
            *total = *total + factor * derivative;
        }
    }
    if reduction != Reduction::None {
        let total = sum(out.loss.iter().copied());
        out.loss = vec![if rows == 0 { T::zero() } else { scale * total }];
    }
    Ok((out, shared))
}

impl<T> RowInputs<'_, T> {
    /// Whether this element counts.
    fn counts(&self, row: usize, col: usize) -> bool {
        self.class_mask.is_none_or(|mask| mask[col])
            && self.mask.is_none_or(|mask| mask[row * self.cols + col])
    }

    /// Refuses slices of the wrong length; gives the number of elements.
    pub(super) fn check(&self, reduction: Reduction) -> Result<usize, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let all = elements(rows, cols)?;
        check_len("logits", all, self.logits.len())?;
        check_len("targets", all, self.targets.len())?;
        check_len("class_mask", cols, self.class_mask.map_or(cols, <[_]>::len))?;
        check_len("mask", all, self.mask.map_or(all, <[_]>::len))?;
        let len = |slice: Option<&[T]>, absent| slice.map_or(absent, <[T]>::len);
        check_len("sample_weight", rows, len(self.sample_weight, rows))?;
        check_len("class_weight", cols, len(self.class_weight, cols))?;
        match self.threshold {
            Threshold::None | Threshold::Scalar(_) => {}
            Threshold::PerRow(values) => check_len("threshold", rows, values.len())?,
            Threshold::PerLabel(values) => check_len("threshold", cols, values.len())?,
        }
        match len(self.grad_loss, 1) {
            1 => Ok(all),
            found if reduction == Reduction::None => {
                check_len("grad_loss", rows, found).map(|()| all)
            }
            found => check_len("grad_loss", 1, found).map(|()| all),
        }
    }
}

pub(super) fn check_len(tensor: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    let values = |count| format!("{count} values");
    Err(Error::shape(tensor, values(expected), values(found)))
}

/// `rows * cols`, where all three fit in 32 bits.
fn elements(rows: usize, cols: usize) -> Result<usize, Error> {
    let fits = |n: &usize| u32::try_from(*n).is_ok();
    match rows.checked_mul(cols).filter(fits) {
        Some(elements) if fits(&rows) && fits(&cols) => Ok(elements),
        _ => Err(Error::shape(
            "shape",
            "rows, cols and their product below 2^32",
            format!("{rows} rows, {cols} cols"),
        )),
    }
}

/// Packed bits to one value per element: label `l` is bit `l % 32` of word `l / 32` of its row.
///
/// `words` has `ceil(cols / 32)` words for each row; the bits beyond `cols` are not looked at.
pub fn dense_from_bits(rows: usize, cols: usize, words: &[u32]) -> Result<Vec<bool>, Error> {
    let mut dense = vec![false; elements(rows, cols)?];
    let words_per_row = cols.div_ceil(32);
    check_len("bits", rows.saturating_mul(words_per_row), words.len())?;
    for (at, value) in dense.iter_mut().enumerate() {
        let (row, col) = (at / cols, at % cols);
        *value = words[row * words_per_row + col / 32] >> (col % 32) & 1 == 1;
    }
    Ok(dense)
}

/// Checks lists of positive labels: `offsets` has `rows + 1` values, starts at 0, never falls and ends at the length of
/// `indices`, whose values are below `cols`.
pub fn check_csr(rows: usize, cols: usize, offsets: &[u32], indices: &[u32]) -> Result<(), Error> {
    check_len("offsets", rows.saturating_add(1), offsets.len())?;
    if offsets[0] != 0 {
        return Err(Error::value("offsets", "0 as the first value", offsets[0]));
    }
    if let Some(pair) = offsets.windows(2).find(|pair| pair[0] > pair[1]) {
        let found = format!("{} after {}", pair[1], pair[0]);
        return Err(Error::value("offsets", "values that do not fall", found));
    }
    if offsets[rows] as usize != indices.len() {
        let expected = format!(
            "{}, the length of indices, as the last value",
            indices.len()
        );
        return Err(Error::value("offsets", expected, offsets[rows]));
    }
    match indices.iter().find(|label| **label as usize >= cols) {
        Some(label) => Err(Error::value(
            "indices",
            format!("labels below {cols}"),
            label,
        )),
        None => Ok(()),
    }
}

/// Lists of positive labels to one value per element: row `r` has the labels
/// `indices[offsets[r]..offsets[r + 1]]`, in any order; one named twice is one label. They must pass [`check_csr`].
pub fn dense_from_csr(
    rows: usize,
    cols: usize,
    offsets: &[u32],
    indices: &[u32],
) -> Result<Vec<bool>, Error> {
    let mut dense = vec![false; elements(rows, cols)?];
    check_csr(rows, cols, offsets, indices)?;
    for row in 0..rows {
        for &label in &indices[offsets[row] as usize..offsets[row + 1] as usize] {
            dense[row * cols + label as usize] = true;
        }
    }
    Ok(dense)
}
