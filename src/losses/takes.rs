//! What a loss of rows takes beside logits and targets. The device, the reference and the slices of the host all ask
//! here, so that they refuse the same things with the same words.

use crate::error::Error;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::reduction::{Reduction, check_reduction};

/// What the targets mean to a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// 0 or 1; there is no gradient to them.
    Hard,
    /// Values in `[0, 1]`, with a gradient to them where they are real numbers.
    Soft,
    /// Values that are not negative, with a gradient to them where they are real numbers.
    Proportions,
    /// Other logits, dense, with a gradient to them.
    Logits,
}

impl TargetKind {
    /// Whether there is a gradient to targets that are real numbers.
    pub fn has_gradient(self) -> bool {
        self != TargetKind::Hard
    }

    /// What errors call targets of this kind.
    pub(crate) fn names(self) -> TargetNames {
        match self {
            TargetKind::Logits => TargetNames::OTHER,
            TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => TargetNames::TARGETS,
        }
    }

    /// Refuses a form of targets that this kind does not have.
    pub(crate) fn check_form<D, W>(self, targets: &Targets<D, W>) -> Result<(), Error> {
        if self == TargetKind::Logits && !matches!(targets, Targets::Dense(_)) {
            return Err(Error::refused(
                self.names().dense,
                "this loss takes other logits, dense and in the logits' type, and no labels",
            ));
        }
        Ok(())
    }
}

/// The shape of the weights `theta` that a loss learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThetaShape {
    /// `[1, L - 1]`: one for each link between neighbours.
    Links,
    /// `[r, L]`: this many for each label.
    Labels(usize),
}

impl ThetaShape {
    /// Rows, each of mean-one weights, and their length, for `cols` labels.
    pub fn of(self, cols: usize) -> (usize, usize) {
        match self {
            ThetaShape::Links => (1, cols.saturating_sub(1)),
            ThetaShape::Labels(sets) => (sets, cols),
        }
    }
}

/// What a loss of rows takes, with its settings, of what not all of them do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Takes {
    /// What the targets mean.
    pub targets: TargetKind,
    /// Whether it takes a threshold.
    pub threshold: bool,
    /// Whether it needs an order of the labels.
    pub permutation: bool,
    /// The mean over what counts in the batch that it has: [`Reduction::MeanElements`] or [`Reduction::MeanActive`].
    pub counted: Option<Reduction>,
    /// Whether it has sums over samples, in which their weights stand, so that these are not negative.
    pub columns: bool,
    /// Whether it takes a weight for each element.
    pub weight: bool,
    /// The name of the setting that a tensor may give for each label, where there is one.
    pub by_label: Option<&'static str>,
    /// Whether targets that are proportions may be above 1.
    pub counts: bool,
    /// Whether a logit of -inf leaves its label out, as a mask does.
    pub masked_logits: bool,
    /// The shape of `theta`, where it takes that and `theta0`.
    pub theta: Option<ThetaShape>,
}

/// The mean over elements, of a loss whose rows are sums over labels, if they are no means.
pub(crate) fn elements(row_mean: bool) -> Option<Reduction> {
    (!row_mean).then_some(Reduction::MeanElements)
}

/// Which of them a call gives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gives {
    pub(crate) threshold: bool,
    pub(crate) permutation: bool,
    pub(crate) theta: bool,
    pub(crate) theta0: bool,
    pub(crate) weight: bool,
    pub(crate) pos_weight: bool,
    pub(crate) alpha: bool,
}

impl Takes {
    /// Targets of this kind, a weight for each element, and nothing else.
    pub(crate) const fn targets(targets: TargetKind) -> Takes {
        Takes {
            targets,
            threshold: false,
            permutation: false,
            counted: None,
            columns: false,
            weight: true,
            by_label: None,
            counts: false,
            masked_logits: false,
            theta: None,
        }
    }

    /// How many losses a batch has without a reduction.
    pub fn losses(&self, rows: usize, cols: usize) -> usize {
        if self.columns { cols } else { rows }
    }

    /// Checks the reduction.
    pub(crate) fn check_reduction(&self, reduction: Reduction) -> Result<(), Error> {
        match self.counted == Some(reduction) {
            true => Ok(()),
            false => check_reduction(reduction),
        }
    }

    /// Refuses what the loss does not take, and that what it needs is missing.
    pub(crate) fn check(&self, gives: Gives) -> Result<(), Error> {
        for (name, given, taken) in [
            ("threshold", gives.threshold, self.threshold),
            ("permutation", gives.permutation, self.permutation),
            ("theta", gives.theta, self.theta.is_some()),
            ("theta0", gives.theta0, self.theta.is_some()),
            ("weight", gives.weight, self.weight),
            (
                "pos_weight",
                gives.pos_weight,
                self.by_label == Some("pos_weight"),
            ),
            ("alpha", gives.alpha, self.by_label == Some("alpha")),
        ] {
            if given && !taken {
                return Err(Error::refused(name, "this loss takes none"));
            }
        }
        if self.permutation && !gives.permutation {
            return Err(Error::refused(
                "permutation",
                "this loss needs one, or a seed for it",
            ));
        }
        Ok(())
    }
}
