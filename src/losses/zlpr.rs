//! ZLPR and its kin: one two-sided log-sum-exp.
//!
//! With logits `s`, positives `P`, negatives `N`, `a = lse over P of (-s / t_pos)`, `b = lse over N of (s / t_neg)` and
//! `lse0(x) = log(1 + sum e^x)`:
//!
//! | constructor | loss of a row | source |
//! |---|---|---|
//! | [`Zlpr::hard`] | `lse0_P(-s) + lse0_N(s)`; predict `s > 0` | Su et al., arXiv 2208.02955 |
//! | [`Zlpr::hard`] with a threshold `s0` (TLPR) | the same with `s - s0` | the same |
//! | [`Zlpr::soft`] | `log(1 + sum t e^-s) + log(1 + sum (1-t) e^s)` | kexue.fm 9064 |
//! | [`Zlpr::lsep`] | `softplus(a + b)`, 0 where a side is empty | Li et al., arXiv 1704.03135 |
//! | [`Zlpr::two_way`] | `softplus(t_pos a + t_neg b)`; over samples, classes ([`Half`]) or both | Kobayashi, CVPR 2023 |
//! | [`Zlpr::kl_symmetric`] | `sum beta (sigma(beta s) - sigma(beta u)) (s - u)` | kexue.fm 9039 (beta = 1) |
//! | [`Zlpr::kl_excess`] | `soft(t = sigma(2u), s) - 2 log(1 + sum 1/(2 cosh u))` | derived from the soft form |
//!
//! **Edges.** No positives: the positive term is 0; no negatives: the negative term is 0. A logit of -inf leaves its label
//! out of everything, whatever its target and whatever the smoothing, with gradient 0: that is how one masks through
//! logits, and what the author's own code does. A logit of +inf on a positive contributes nothing and has gradient 0; on a
//! negative it makes the row's loss +inf. A NaN makes its row's loss and gradient NaN, and no other row's. In the KL forms
//! +inf, and any infinity of the other logits, makes the row NaN. Gradients to logits of hard labels lie in (-1, 1)
//! times weight and upstream gradient.
//!
//! **Beside the authors' code.** `multilabel_categorical_crossentropy` of `bojone/bert4keras` (`backend.py`) has hard and soft
//! labels in one function, no settings, and gives a loss for each row: [`Reduction::None`], of which Keras takes the mean. The
//! two-way loss of `tk1980/TwoWayMultiLabelLoss` has temperatures 4 and 1 by default, and is the mean over the samples with a
//! positive plus that over the classes with one: [`Half::Both`] with [`Reduction::MeanActive`], where this crate's defaults
//! are [`Half::Sample`] and [`Reduction::Mean`]. Smoothing, masks, weights and LSEP's empty sides are ours.
//!
//! **Cost.** Each logit is read once where a row fits a workgroup's memory (about 1,500 labels), twice otherwise; two
//! dispatches, or four for few long rows, plus one for the gradient to a threshold per label and one where weights, mask
//! of classes, threshold and upstream gradient lie in more than one buffer. Scratch: two floats for each group of rows.
//! Rows that are split: up to seven for each row, six for each 4,096 labels of it. The gradient to a threshold per label:
//! five for each row, and one for each label and started 512 * workgroup / 32 rows.
//! [`Plan::scratch_bytes`](crate::Plan) has the number.

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_setting, setters};
use crate::losses::takes::{Takes, TargetKind};

/// Over what the two-way loss is taken.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Half {
    /// A sample's labels, a loss for each row.
    #[default]
    Sample,
    /// A class's samples, a loss for each column; reductions are over the classes. The weight of a class is that of its loss,
    /// and those of samples, not negative, stand inside its sums.
    Class,
    /// The sum of both, each with its own reduction. The published loss is that with [`Reduction::MeanActive`].
    Both,
}

/// Which member of the family.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// `lse0_P(-s) + lse0_N(s)`; with a threshold input, TLPR.
    Hard,
    /// `log(1 + sum t e^-s) + log(1 + sum (1-t) e^s)`; every label is in both sums.
    Soft,
    /// `softplus(t_pos a + t_neg b)`, `a = lse_P(-s/t_pos)`, `b = lse_N(s/t_neg)`; LSEP where both are 1.
    Joint {
        /// Temperature of the positives.
        t_pos: f32,
        /// Temperature of the negatives.
        t_neg: f32,
        /// Over what the loss is taken.
        half: Half,
    },
    /// `sum beta (sigma(beta s) - sigma(beta u)) (s - u)`, the targets being other logits `u`.
    KlSymmetric {
        /// 1: the author's published form; 2: the form that agrees with [`Form::Soft`].
        beta: f32,
    },
    /// `soft(t = sigma(2u), s) - 2 log(1 + sum 1/(2 cosh u))`, the targets being other logits `u`.
    KlExcess,
}

/// A loss of the ZLPR family: form, label smoothing, reduction. The [module](self) has the formulas.
///
/// Probabilities of a model trained with the hard or soft form are `sigma(2s)`, not `sigma(s)`.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zlpr {
    /// Which member of the family.
    pub form: Form,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`. Above 0 only with [`Form::Soft`].
    pub smoothing: f32,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Zlpr {
    fn of(form: Form) -> Self {
        Zlpr {
            form,
            smoothing: 0.0,
            reduction: Reduction::Mean,
        }
    }

    /// Hard labels; with a threshold input, TLPR. Mean over the rows.
    pub fn hard() -> Self {
        Zlpr::of(Form::Hard)
    }

    /// Soft labels in `[0, 1]`, with a gradient to them too. Mean over the rows.
    pub fn soft() -> Self {
        Zlpr::of(Form::Soft)
    }

    /// LSEP. Mean over the rows.
    pub fn lsep() -> Self {
        Zlpr::two_way(1.0, 1.0)
    }

    /// The sample half of the two-way loss; the paper has `t_pos` = 4 and `t_neg` = 1. Mean over the rows. A temperature
    /// multiplies a logarithm of f32: the loss is exact to some 1e-7 of the temperatures.
    pub fn two_way(t_pos: f32, t_neg: f32) -> Self {
        Zlpr::of(Form::Joint {
            t_pos,
            t_neg,
            half: Half::Sample,
        })
    }

    /// The same over something else, for LSEP and the two-way loss. The two halves that are over classes take no threshold;
    /// their scratch has copies of logits, targets and weights, and a plane for the gradient, in one storage binding each.
    /// Another form stays as it is.
    pub fn with_half(mut self, over: Half) -> Self {
        if let Form::Joint { half, .. } = &mut self.form {
            *half = over;
        }
        self
    }

    /// Over what the loss is taken.
    pub(crate) fn half(&self) -> Half {
        match self.form {
            Form::Joint { half, .. } => half,
            _ => Half::Sample,
        }
    }

    /// Symmetric KL of two logit vectors (R-Drop, VAT, distillation). Mean over the rows.
    pub fn kl_symmetric(beta: f32) -> Self {
        Zlpr::of(Form::KlSymmetric { beta })
    }

    /// Excess risk of logits over other logits. Mean over the rows.
    pub fn kl_excess() -> Self {
        Zlpr::of(Form::KlExcess)
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        let (targets, threshold) = match self.form {
            Form::Hard => (TargetKind::Hard, true),
            Form::Joint { half, .. } => (TargetKind::Hard, half == Half::Sample),
            Form::Soft => (TargetKind::Soft, true),
            Form::KlSymmetric { .. } | Form::KlExcess => (TargetKind::Logits, false),
        };
        Takes {
            threshold,
            columns: self.half() != Half::Sample,
            counted: matches!(self.form, Form::Joint { .. }).then_some(Reduction::MeanActive),
            weight: targets != TargetKind::Logits,
            masked_logits: true,
            ..Takes::targets(targets)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        if self.smoothing > 0.0 && self.form != Form::Soft {
            return Err(Error::value(
                "smoothing",
                "0, or the soft form",
                self.smoothing,
            ));
        }
        match self.form {
            Form::Joint { t_pos, t_neg, half } => {
                let one = matches!(self.reduction, Reduction::None | Reduction::MeanOver(_));
                if half == Half::Both && one {
                    let reason = "both halves have a mean or a sum each";
                    return Err(Error::refused("reduction", reason));
                }
                check_setting("t_pos", t_pos, 1e-6..=f32::MAX)?;
                check_setting("t_neg", t_neg, 1e-6..=f32::MAX)?;
            }
            Form::KlSymmetric { beta } => check_setting("beta", beta, 1e-6..=f32::MAX)?,
            Form::Hard | Form::Soft | Form::KlExcess => {}
        }
        self.takes().check_reduction(self.reduction)
    }
}

setters! {
    Zlpr:
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}
