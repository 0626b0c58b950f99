//! What every loss over rows of labels takes and gives, and the one loop over the rows.

use crate::error::{Error, check_len};
use crate::losses::labels::{Order, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::{Gives, Takes};
use crate::reference::order::check_order;
use crate::reference::real::{Pairwise, Real, sum};
use crate::reference::sparse::elements;

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
    /// `rows` factors of the rows' losses. A row of weight 0 counts for nothing, whatever it holds.
    pub sample_weight: Option<&'a [T]>,
    /// `cols` weights, at least 0: inside the sums (`w e^...`) where the loss has log-sum-exps, else
    /// the factor of the label's term.
    pub class_weight: Option<&'a [T]>,
    /// `rows * cols` weights, at least 0, that stand where `class_weight` does, for each element its own.
    pub weight: Option<&'a [T]>,
    /// BCE: `cols` weights of the positive sides, at least 0, in place of the setting.
    pub pos_weight: Option<&'a [T]>,
    /// Focal: `cols` weights of the positive sides, in `[0, 1]`, in place of the setting.
    pub alpha: Option<&'a [T]>,
    /// Subtracted from the logits by the ZLPR family but for its KL forms (TLPR: a learnable threshold); all others
    /// refuse it.
    pub threshold: Option<Threshold<&'a [T]>>,
    /// The order of the labels in the adjacent form of WDL.
    pub permutation: Option<Order<&'a [u32], u64>>,
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
    /// As many values as the threshold has.
    pub grad_threshold: Vec<T>,
    /// WDL: as long as `theta`, summed over the rows; negated with [`Wdl::ascent`](crate::Wdl::ascent).
    pub grad_theta: Vec<T>,
    /// WDL: one value where there is a `theta0`.
    pub grad_theta0: Vec<T>,
}

/// One label that counts: its column, logit (less the threshold), target, weight and own setting.
#[derive(Clone, Copy)]
pub(super) struct Label<T> {
    pub col: usize,
    pub s: T,
    pub y: T,
    pub w: T,
    /// What a tensor says of it in place of a setting.
    pub own: Option<T>,
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

/// `result = scale * sum_i w_i l_i` (without a reduction `w_i l_i` each) over the rows, and its gradient.
///
/// A NaN among a row's labels makes the row's loss and all of its gradient NaN, and touches no other row.
pub(super) fn over_rows<T: Real>(
    inputs: &RowInputs<'_, T>,
    reduction: Reduction,
    takes: Takes,
    row_loss: impl Fn(&[Label<T>]) -> RowLoss<T>,
) -> Result<RowOutputs<T>, Error> {
    let alone = |_, labels: &[Label<T>]| (row_loss(labels), Vec::new());
    over_rows_with(inputs, reduction, takes, 0, alone).map(|(out, _)| out)
}

/// [`over_rows`] for a loss that looks at the row's number or at parameters which all rows share: it also
/// gives the row's derivatives to these `parameters` numbers, and their sum over the rows is the second result.
pub(super) fn over_rows_with<T: Real>(
    inputs: &RowInputs<'_, T>,
    reduction: Reduction,
    takes: Takes,
    parameters: usize,
    row_loss: impl Fn(usize, &[Label<T>]) -> (RowLoss<T>, Vec<T>),
) -> Result<(RowOutputs<T>, Vec<T>), Error> {
    let elements = inputs.check(reduction, &takes)?;
    let (rows, cols) = (inputs.rows, inputs.cols);
    let threshold = inputs.threshold;
    let to_targets = takes.targets.has_gradient();
    let mut out = RowOutputs {
        loss: Vec::new(),
        grad_logits: vec![T::zero(); elements],
        grad_targets: vec![T::zero(); if to_targets { elements } else { 0 }],
        grad_threshold: Vec::new(),
        grad_theta: Vec::new(),
        grad_theta0: Vec::new(),
    };
    let mut to_threshold = vec![Pairwise::new(); threshold.map_or(0, |t| t.values().len())];
    let mut shared = vec![Pairwise::new(); parameters];
    let counted_of = |row: usize| -> Vec<usize> {
        let counts = |&col: &usize| {
            inputs.counts(row, col)
                && !(takes.masked_logits && inputs.logits[row * cols + col] == T::neg_infinity())
        };
        (0..cols).filter(counts).collect()
    };
    let half = T::from_f64(0.5);
    let positive = |row: usize| {
        let counted = counted_of(row);
        counted
            .iter()
            .any(|col| inputs.targets[row * cols + col] > half)
    };
    let count = match reduction {
        Reduction::MeanElements => (0..rows).map(|row| counted_of(row).len()).sum(),
        Reduction::MeanActive => (0..rows).filter(|row| positive(*row)).count(),
        _ => rows,
    };
    let scale = T::from_f64(reduction.scale(count));
    for row in 0..rows {
        let counted = counted_of(row);
        let label = |&col: &usize| {
            let s0 = threshold.map(|t| t.values()[t.index_of(row, col)]);
            let of_class = inputs.class_weight.map_or(T::one(), |w| w[col]);
            let of_element = inputs.weight.map_or(T::one(), |w| w[row * cols + col]);
            Label {
                col,
                s: inputs.logits[row * cols + col] - s0.unwrap_or(T::zero()),
                y: inputs.targets[row * cols + col],
                w: of_class * of_element,
                own: inputs.pos_weight.or(inputs.alpha).map(|own| own[col]),
            }
        };
        let labels: Vec<Label<T>> = counted.iter().map(label).collect();
        let nan = |l: &Label<T>| {
            let own = l.own.is_some_and(T::is_nan);
            l.s.is_nan() || l.y.is_nan() || l.w.is_nan() || own
        };
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
            if to_targets {
                out.grad_targets[row * cols + col] = factor * dy;
            }
            if let Some(i) = threshold.map(|t| t.index_of(row, col)) {
                to_threshold[i].add(-factor * ds);
            }
        }
        for (total, derivative) in shared.iter_mut().zip(to_shared) {
            total.add(factor * derivative);
        }
    }
    let totals = |of: Vec<Pairwise<T>>| {
        let total = |one: Pairwise<T>| T::zero() + one.total().unwrap_or(T::zero());
        of.into_iter().map(total).collect::<Vec<T>>()
    };
    out.grad_threshold = totals(to_threshold);
    if reduction != Reduction::None {
        let total = sum(out.loss.iter().copied());
        out.loss = vec![if rows == 0 { T::zero() } else { scale * total }];
    }
    Ok((out, totals(shared)))
}

/// The loss of the batch turned: a class's samples are a row. The weight of a class is that of its loss then, and the weights of
/// samples stand inside its sums; a class that the mask takes out has no labels.
pub(super) fn over_columns<T: Real>(
    inputs: &RowInputs<'_, T>,
    reduction: Reduction,
    takes: Takes,
    row_loss: impl Fn(&[Label<T>]) -> RowLoss<T>,
) -> Result<RowOutputs<T>, Error> {
    inputs.check(reduction, &takes)?;
    let (rows, cols) = (inputs.rows, inputs.cols);
    fn turned<V: Copy>(values: &[V], cols: usize) -> Vec<V> {
        let column = |col: usize| values.iter().skip(col).step_by(cols).copied();
        (0..cols).flat_map(column).collect()
    }
    let counts = (0..rows * cols).map(|i| inputs.counts(i / cols, i % cols));
    let mask = turned(&counts.collect::<Vec<bool>>(), cols);
    let weight = inputs.weight.map(|weight| turned(weight, cols));
    let out = over_rows(
        &RowInputs {
            rows: cols,
            cols: rows,
            logits: &turned(inputs.logits, cols),
            targets: &turned(inputs.targets, cols),
            mask: Some(&mask),
            sample_weight: inputs.class_weight,
            class_weight: inputs.sample_weight,
            weight: weight.as_deref(),
            class_mask: None,
            ..*inputs
        },
        reduction,
        Takes {
            columns: false,
            ..takes
        },
        row_loss,
    )?;
    Ok(RowOutputs {
        grad_logits: turned(&out.grad_logits, rows),
        ..out
    })
}

impl<T: Real> RowInputs<'_, T> {
    /// Whether this element counts: neither a mask nor a weight of 0 takes it out.
    fn counts(&self, row: usize, col: usize) -> bool {
        self.sample_weight.is_none_or(|w| w[row] != T::zero())
            && self.class_mask.is_none_or(|mask| mask[col])
            && self.mask.is_none_or(|mask| mask[row * self.cols + col])
    }

    /// Refuses slices of the wrong length, and what the loss does not take; gives the number of elements.
    pub(super) fn check(&self, reduction: Reduction, takes: &Takes) -> Result<usize, Error> {
        takes.check(Gives {
            threshold: self.threshold.is_some(),
            permutation: self.permutation.is_some(),
            theta: self.theta.is_some(),
            theta0: self.theta0.is_some(),
            weight: self.weight.is_some(),
            pos_weight: self.pos_weight.is_some(),
            alpha: self.alpha.is_some(),
        })?;
        let (rows, cols) = (self.rows, self.cols);
        let all = elements(rows, cols)?;
        check_len("logits", all, self.logits.len())?;
        check_len(takes.targets.names().dense, all, self.targets.len())?;
        check_len("class_mask", cols, self.class_mask.map_or(cols, <[_]>::len))?;
        check_len("mask", all, self.mask.map_or(all, <[_]>::len))?;
        let len = |slice: Option<&[T]>, absent| slice.map_or(absent, <[T]>::len);
        check_len("sample_weight", rows, len(self.sample_weight, rows))?;
        check_len("class_weight", cols, len(self.class_weight, cols))?;
        check_len("weight", all, len(self.weight, all))?;
        check_len("pos_weight", cols, len(self.pos_weight, cols))?;
        check_len("alpha", cols, len(self.alpha, cols))?;
        if let Some(threshold) = self.threshold {
            let len = threshold.len_of(rows, cols);
            check_len("threshold", len, threshold.values().len())?;
        }
        if let Some(order) = self.permutation {
            let counts = |row: usize| self.sample_weight.is_none_or(|w| w[row] != T::zero());
            check_order(rows, cols, order, counts)?;
        }
        if let (Some(theta), Some(shape)) = (self.theta, takes.theta) {
            let (sets, len) = shape.of(cols);
            check_len("theta", sets.saturating_mul(len), theta.len())?;
        }
        match len(self.grad_loss, 1) {
            1 => Ok(all),
            found if reduction == Reduction::None => {
                let rows = takes.losses(rows, cols);
                check_len("grad_loss", rows, found).map(|()| all)
            }
            found => check_len("grad_loss", 1, found).map(|()| all),
        }
    }
}
