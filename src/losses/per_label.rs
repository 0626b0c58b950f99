//! The losses people compare with: focal, asymmetric, Hill and SPLC, summed (or averaged) over the labels of a row, and soft
//! dice per row.
//!
//! The first four, like [BCE](super::bce), are `sum_l w_l (t f+(s) + (1 - t) f-(s))` with class weights `w` and
//! `t = (1 - eps) y + eps / 2`, `eps` being the smoothing. With `sp(x) = log(1 + e^x)` and `p = sigma(s)`:
//!
//! | loss | `f+`, of a positive | `f-`, of a negative | source |
//! |---|---|---|---|
//! | [`Focal`] | `alpha (1-p)^gamma sp(-s)` | `(1-alpha) p^gamma sp(s)` | Lin et al., arXiv 1708.02002 |
//! | [`Asl`] | `(1-p)^gamma_pos sp(-s)` | `-pm^gamma_neg log(1-pm)`, `pm = max(p - margin, 0)` | Ridnik et al., arXiv 2009.14119 |
//! | [`Hill`] | `q^gamma sp(-(s-margin))`, `q = sigma(-(s-margin))` | `(lambda - p) p^2` | Zhang et al., arXiv 2112.07368 |
//! | [`Splc`] | as Hill | `p^gamma sp(s)`, where `p > threshold` `(1-p)^gamma sp(-s)` | the same |
//!
//! **Focus held constant.** With `detach_focus` the gradient of focal and asymmetric loss takes the powers for constants:
//! `-alpha (1-p)^(gamma+1)` of a positive, and of ASL's negative `pm^gamma_neg p (1-p) / (1-pm)`. The loss is the same. Of
//! the ASL authors' two classes (`Alibaba-MIIL/ASL`, `src/loss_functions/losses.py`) `AsymmetricLoss` does so by default
//! (`disable_torch_grad_focal_loss=True`), and so does their training script, with exponents 0 and 4 and margin 0.05;
//! `AsymmetricLossOptimized` has `False` for its default, which is the full gradient, as here without the flag. Where `p` is
//! near 1/2 the full gradient of a negative is some five times that with the focus held constant.
//!
//! **Beside the authors' code**, whose defaults are those here but where this says otherwise. Reductions differ always: this
//! crate sums over labels and takes the mean over rows.
//!
//! | code | its defaults | here |
//! |---|---|---|
//! | torchvision's `sigmoid_focal_loss` | `alpha` 0.25, `gamma` 2, none reduced; `alpha` -1 is none | [`Focal`]; its `"mean"` is [`Reduction::MeanElements`] |
//! | `Alibaba-MIIL/ASL`, both classes | `gamma_pos` 1, `gamma_neg` 4, `clip` 0.05; sum over the batch, logarithms of at least 1e-8 | [`Asl`] with [`Reduction::Sum`]; nothing is clamped |
//! | `xinyu1205/robust-loss-mlml`, `Hill` | `lamb` 1.5, `margin` 1, `gamma` 2; sum over the batch | [`Hill`] with [`Reduction::Sum`] |
//! | the same, `SPLC` | `tau` 0.6, `margin` 1, `gamma` 2, `change_epoch` 1; sum over the batch | [`Splc`] with [`Reduction::Sum`]; before that epoch `threshold` 1 |
//! | [`Dice`]'s paper | squares, nothing added, over a volume | over a row's labels; by default no squares, and 1 added |
//!
//! The papers define them on hard labels. A soft label is the mixture written above, linear in `y`, with the gradient
//! `(1 - eps) (f+ - f-)` to it; where `y` is 0 or 1 that is the papers' loss. (Some implementations put a soft `y` inside
//! the powers instead; theirs is another loss between 0 and 1.)
//!
//! [`Dice`] couples the labels of a row: `1 - (2 sum w p y + smooth) / (D + smooth)`, `D = sum w (p + y)`, or
//! `sum w (p^2 + y^2)` if `squared` (Milletari et al., arXiv 1606.04797). A class weight is the factor of its label in
//! all three sums. Nothing but the labels that count is in the sums; a row without any has loss 0.
//!
//! **Edges.** A term of weight 0 is left out. All of them have limits at infinite logits, and take those. `s = -inf`
//! on a negative and `s = +inf` on a positive cost nothing. `s = -inf` on a positive makes the row's loss +inf (focal,
//! ASL, Hill, SPLC), and `s = +inf` on a negative in focal and, without a margin, in ASL, and in SPLC with a threshold of 1;
//! with a margin it costs `-(1-margin)^gamma_neg log(margin)`, with Hill `lambda - 1`, with SPLC nothing, all with gradient 0. The gradient to the logits is
//! finite always. A NaN makes its row's loss and gradient NaN, and no other row's.

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_setting, setters};
use crate::losses::takes::{Takes, TargetKind, elements};

/// Focal loss: `alpha (1-p)^gamma sp(-s)` of a positive, `(1-alpha) p^gamma sp(s)` of a negative.
///
/// `gamma` 0 and `alpha` 1/2 is half the binary cross-entropy.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Focal {
    /// How strongly easy labels are played down; not negative.
    pub gamma: f32,
    /// Weight of the positives, in `[0, 1]`; the negatives have `1 - alpha`. None: both have 1. The tensor
    /// [`RowInputs::alpha`](crate::RowInputs) has one per label in its place.
    pub alpha: Option<f32>,
    /// Take the power for a constant in the gradient.
    pub detach_focus: bool,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    pub smoothing: f32,
    /// Divide each row's sum by the number of labels of that row that count (0 for a row with none).
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Focal {
    /// The paper's `gamma` 2 and `alpha` 1/4, no smoothing, sum over labels, mean over rows.
    fn default() -> Self {
        Focal {
            gamma: 2.0,
            alpha: Some(0.25),
            detach_focus: false,
            smoothing: 0.0,
            row_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Focal {
    /// The same with another weight of the positives.
    pub fn with_alpha(mut self, alpha: f32) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// The same with positives and negatives of weight 1.
    pub fn without_alpha(mut self) -> Self {
        self.alpha = None;
        self
    }

    /// The same with the power taken for a constant in the gradient.
    pub fn with_detached_focus(mut self) -> Self {
        self.detach_focus = true;
        self
    }

    /// Weights of the positives and of the negatives.
    pub(crate) fn alphas(&self) -> (f64, f64) {
        let both = |alpha| (f64::from(alpha), 1.0 - f64::from(alpha));
        self.alpha.map_or((1.0, 1.0), both)
    }

    /// The same with each row's sum divided by the number of labels of that row that count.
    pub fn with_row_mean(mut self) -> Self {
        self.row_mean = true;
        self
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            counted: elements(self.row_mean),
            by_label: Some("alpha"),
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("gamma", self.gamma, 0.0..=f32::MAX)?;
        check_setting("alpha", self.alpha.unwrap_or(1.0), 0.0..=1.0)?;
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        self.takes().check_reduction(self.reduction)
    }
}

/// Asymmetric loss (ASL): `(1-p)^gamma_pos sp(-s)` of a positive, `-pm^gamma_neg log(1-pm)` of a negative, with
/// `pm = max(p - margin, 0)`: a negative with `p` up to the margin costs nothing and has gradient 0.
///
/// The powers are differentiated too, unless `detach_focus` is set; the [module](self) says which of the authors' classes
/// does what. Without margin, and both exponents the same, it is [`Focal`] without `alpha`.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asl {
    /// Exponent of the positives; not negative.
    pub gamma_pos: f32,
    /// Exponent of the negatives; not negative.
    pub gamma_neg: f32,
    /// Probability margin of the negatives, in `[0, 1]`.
    pub margin: f32,
    /// Take the powers for constants in the gradient.
    pub detach_focus: bool,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    pub smoothing: f32,
    /// Divide each row's sum by the number of labels of that row that count (0 for a row with none).
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Asl {
    /// The authors' exponents 1 and 4 and margin 0.05, no smoothing, sum over labels, mean over rows.
    fn default() -> Self {
        Asl {
            gamma_pos: 1.0,
            gamma_neg: 4.0,
            margin: 0.05,
            detach_focus: false,
            smoothing: 0.0,
            row_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Asl {
    /// The same with the powers taken for constants in the gradient.
    pub fn with_detached_focus(mut self) -> Self {
        self.detach_focus = true;
        self
    }

    /// The same with each row's sum divided by the number of labels of that row that count.
    pub fn with_row_mean(mut self) -> Self {
        self.row_mean = true;
        self
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            counted: elements(self.row_mean),
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("gamma_pos", self.gamma_pos, 0.0..=f32::MAX)?;
        check_setting("gamma_neg", self.gamma_neg, 0.0..=f32::MAX)?;
        check_setting("margin", self.margin, 0.0..=1.0)?;
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        self.takes().check_reduction(self.reduction)
    }
}

/// Hill loss with the focal margin loss for the positives: `q^gamma sp(-(s-margin))` with `q = sigma(-(s-margin))` of a
/// positive, `(lambda - p) p^2` of a negative.
///
/// Made for labels of which some positives are missing: the slope of a negative falls again as `p` approaches 1.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hill {
    /// At least 1, so that no negative has a loss below 0. Below 3/2 the slope of a negative changes its sign at
    /// `p = 2 lambda / 3`.
    pub lambda: f32,
    /// What is subtracted from the logit of a positive; not negative.
    pub margin: f32,
    /// Exponent of the positives; not negative.
    pub gamma: f32,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    pub smoothing: f32,
    /// Divide each row's sum by the number of labels of that row that count (0 for a row with none).
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Hill {
    /// The paper's `lambda` 1.5, margin 1 and exponent 2, no smoothing, sum over labels, mean over rows.
    fn default() -> Self {
        Hill {
            lambda: 1.5,
            margin: 1.0,
            gamma: 2.0,
            smoothing: 0.0,
            row_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Hill {
    /// The same with each row's sum divided by the number of labels of that row that count.
    pub fn with_row_mean(mut self) -> Self {
        self.row_mean = true;
        self
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            counted: elements(self.row_mean),
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("lambda", self.lambda, 1.0..=f32::MAX)?;
        check_setting("margin", self.margin, 0.0..=f32::MAX)?;
        check_setting("gamma", self.gamma, 0.0..=f32::MAX)?;
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        self.takes().check_reduction(self.reduction)
    }
}

/// SPLC, self-paced loss correction: the focal margin loss `q^gamma sp(-(s-margin))`, `q = sigma(-(s-margin))`, of a
/// positive, `p^gamma sp(s)` of a negative that the model does not take for a missed positive, `(1-p)^gamma sp(-s)` of one
/// that it does, `p > threshold`.
///
/// Made for labels of which some positives are missing. There is no gradient through the choice. As in the authors' code
/// (`xinyu1205/robust-loss-mlml`) a negative that is taken for a positive has no margin, and the powers are differentiated. That
/// code begins to correct in the second epoch: until then the threshold is 1 here, which switches the correction off.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Splc {
    /// What is subtracted from the logit of a positive; not negative.
    pub margin: f32,
    /// Exponent of the focus; not negative.
    pub gamma: f32,
    /// Probability, in `[0, 1]`, above which a negative counts as a positive; 1: none does.
    pub threshold: f32,
    /// Label smoothing `eps` in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    pub smoothing: f32,
    /// Divide each row's sum by the number of labels of that row that count (0 for a row with none).
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Splc {
    /// The authors' margin 1, exponent 2 and threshold 0.6, no smoothing, sum over labels, mean over rows.
    fn default() -> Self {
        Splc {
            margin: 1.0,
            gamma: 2.0,
            threshold: 0.6,
            smoothing: 0.0,
            row_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Splc {
    /// The same with each row's sum divided by the number of labels of that row that count.
    pub fn with_row_mean(mut self) -> Self {
        self.row_mean = true;
        self
    }

    /// The logit above which a negative counts as a positive: `p > threshold` without the rounding of `p`.
    pub(crate) fn threshold_logit(&self) -> f64 {
        let p = f64::from(self.threshold);
        p.ln() - (-p).ln_1p()
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            counted: elements(self.row_mean),
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("margin", self.margin, 0.0..=f32::MAX)?;
        check_setting("gamma", self.gamma, 0.0..=f32::MAX)?;
        check_setting("threshold", self.threshold, 0.0..=1.0)?;
        check_setting("smoothing", self.smoothing, 0.0..=1.0)?;
        self.takes().check_reduction(self.reduction)
    }
}

/// Soft dice over the labels of a row: `1 - (2 sum p y + smooth) / (D + smooth)`, `D = sum p + sum y`, or
/// `sum p^2 + sum y^2`.
///
/// In `[0, 1)`; 0 for a row without labels.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dice {
    /// Added above and below the line, at least 1e-6: a row without positives has the loss `1 - smooth / (D + smooth)`.
    pub smooth: f32,
    /// Squares in `D`, with which `p = y` has the loss 0 for soft targets too.
    pub squared: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Dice {
    /// Smooth 1, no squares, mean over rows.
    fn default() -> Self {
        Dice {
            smooth: 1.0,
            squared: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Dice {
    /// The same with squares in `D`.
    pub fn with_squares(mut self) -> Self {
        self.squared = true;
        self
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            weight: false,
            ..Takes::targets(TargetKind::Soft)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("smooth", self.smooth, 1e-6..=f32::MAX)?;
        self.takes().check_reduction(self.reduction)
    }
}

setters! {
    Focal:
    with_gamma, gamma, f32, "another exponent";
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}

setters! {
    Asl:
    with_gamma_pos, gamma_pos, f32, "another exponent of the positives";
    with_gamma_neg, gamma_neg, f32, "another exponent of the negatives";
    with_margin, margin, f32, "another margin of the negatives";
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}

setters! {
    Hill:
    with_lambda, lambda, f32, "another `lambda`";
    with_margin, margin, f32, "another margin of the positives";
    with_gamma, gamma, f32, "another exponent";
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}

setters! {
    Splc:
    with_margin, margin, f32, "another margin of the positives";
    with_gamma, gamma, f32, "another exponent";
    with_threshold, threshold, f32, "another threshold";
    with_smoothing, smoothing, f32, "label smoothing, or another";
    with_reduction, reduction, Reduction, "another reduction";
}

setters! {
    Dice:
    with_smooth, smooth, f32, "another number added above and below the line";
    with_reduction, reduction, Reduction, "another reduction";
}
