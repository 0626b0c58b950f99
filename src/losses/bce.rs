//! Binary cross-entropy with logits, summed (or averaged) over the labels of a row.
//!
//! `sum_l w y softplus(-s) + (1 - y) softplus(s)`, gradient `-w y sigma(-s) + (1 - y) sigma(s)`, with `w` =
//! `pos_weight` (one for all or one for each label), hard or soft targets `y`.
//!
//! **Beside PyTorch.** The default of `BCEWithLogitsLoss` is the mean over all elements: [`Reduction::MeanElements`], or,
//! where nothing is masked, `row_mean` with [`Reduction::Mean`]; this crate's default is the sum over labels. Its `pos_weight` is this
//! one, 1 by default, and its `weight` those by class and by element, which change no divisor there either. It has no smoothing.
//!
//! **Edges.** A term of weight 0 is left out: a logit of -inf on a negative costs nothing. -inf on a positive makes the
//! row's loss +inf. A NaN makes its row's loss and gradient NaN, and no other row's.
//!
//! **Cost.** As [`zlpr`](super::zlpr).

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_setting, setters};
use crate::losses::takes::{Takes, TargetKind, elements};

/// Binary cross-entropy with logits.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bce {
    /// Weight `w` of the positive side: `w y softplus(-s) + (1 - y) softplus(s)`. It may be one per label instead, from the
    /// tensor [`RowInputs::pos_weight`](crate::RowInputs); this is 1 then.
    pub pos_weight: f32,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    pub smoothing: f32,
    /// Divide each row's sum by the number of labels of that row that count (0 for a row with none).
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Bce {
    /// Positive weight 1, no smoothing, sum over labels, mean over rows.
    fn default() -> Self {
        Bce {
            pos_weight: 1.0,
            smoothing: 0.0,
            row_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Bce {
    /// The same with each row's sum divided by the number of labels of that row that count.
    pub fn with_row_mean(mut self) -> Self {
        self.row_mean = true;
        self
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        // One weight or many.
        Takes {
            counted: elements(self.row_mean),
            by_label: (self.pos_weight == 1.0).then_some("pos_weight"),
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        check_setting("pos_weight", self.pos_weight, 0.0..=f32::MAX)?;
        self.takes().check_reduction(self.reduction)
    }
}

setters! {
    Bce:
    with_pos_weight, pos_weight, f32, "another weight of the positive side";
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}
