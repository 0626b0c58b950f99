//! Losses of rows of labels: one module, and a configuration for each loss.

use crate::fused::{Builder, Loss, Upstream};
use crate::ops;
use crate::targets::{Targets, check_dims, dims};
use crate::{device, float32, in_a_line, nothing, unwrap};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::tensor::{Bool, Device, Distribution, Int, Tensor};
use wgloss::losses::wdl::{Form, Phi, Prediction};
use wgloss::losses::zlpr::Half;
use wgloss::{
    AnyLoss, Asl, Bce, Dice, Error, Focal, Hill, Reduction, Rowwise, TargetKind, Threshold, Wdl,
    Zlpr,
};

/// A loss of rows of labels, and what it learns. Made by the configurations of this crate, or of any settings of wgloss by
/// [`RowLoss::new`].
///
/// ```no_run
/// use wgloss_burn::ZlprLossConfig;
/// # use burn::tensor::{Int, Tensor, Device};
/// # fn step(logits: Tensor<2>, targets: Tensor<2, Int>, device: &Device) {
/// let loss = ZlprLossConfig::new().init(device).forward(logits, targets);
/// # }
/// ```
///
/// `logits` are `[B, L]`, of f32, f16 or bf16; [`Targets`] are flags, whole numbers or real numbers `[B, L]`. The loss is f32,
/// `[1]`. The gradient to the logits has their type. An empty batch has the loss 0.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RowLoss {
    /// The threshold of TLPR, `[1]` or `[L]`, which is subtracted from the logits.
    pub threshold: Option<Param<Tensor<1>>>,
    /// The weights of WDL's differences, as `theta`.
    pub theta: Option<Param<Tensor<2>>>,
    /// The coefficient that WDL's bounded form learns, as `theta0`.
    pub theta0: Option<Param<Tensor<1>>>,
    /// BCE: a weight of the positive side for each label.
    pub pos_weight: Option<Tensor<1>>,
    /// Focal: a weight of the positive side for each label.
    pub alpha: Option<Tensor<1>>,
    #[module(skip)]
    settings: AnyLoss,
}

/// What a loss of rows may be given beside logits and targets. What a mask leaves out is not looked at, and has the gradient 0.
#[derive(Clone, Debug, Default)]
pub struct RowExtras {
    /// `[L]`: the classes that count.
    pub class_mask: Option<Tensor<1, Bool>>,
    /// `[B, L]`: the elements that count.
    pub mask: Option<Tensor<2, Bool>>,
    /// `[B]`: the weight of each row's loss. A row of weight 0 counts for nothing, whatever it holds.
    pub sample_weight: Option<Tensor<1>>,
    /// `[L]`, not negative: inside the sums of the ZLPR family, else a factor of the label's term.
    pub class_weight: Option<Tensor<1>>,
    /// `[B, L]`, not negative: a weight for each element, which stands where `class_weight` does.
    pub weight: Option<Tensor<2>>,
    /// TLPR: thresholds that a network has made, in place of the module's own: `[1]`, `[B]` or `[L]`.
    pub threshold: Option<Threshold<Tensor<1>>>,
    /// WDL along a permutation: `[L]`, in place of one that is drawn for each call.
    pub permutation: Option<Tensor<1, Int>>,
}

impl ModuleDisplay for RowLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        in_a_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content.add_debug_attribute("settings", &self.settings);
        let learnt = [
            ("threshold", self.threshold.as_ref().map(|t| t.shape())),
            ("theta", self.theta.as_ref().map(|t| t.shape())),
            ("theta0", self.theta0.as_ref().map(|t| t.shape())),
            ("pos_weight", self.pos_weight.as_ref().map(|t| t.shape())),
            ("alpha", self.alpha.as_ref().map(|t| t.shape())),
        ];
        let shapes = learnt
            .into_iter()
            .filter_map(|(name, shape)| Some((name, shape?)));
        shapes
            .fold(content, |all, (name, shape)| {
                all.add_debug_attribute(name, &shape)
            })
            .optional()
    }
}

/// All that a loss of rows is made of, checked.
pub(crate) struct RowCall<'a> {
    pub(crate) settings: AnyLoss,
    pub(crate) logits: Tensor<2>,
    pub(crate) targets: Targets,
    pub(crate) threshold: Option<Threshold<Tensor<1>>>,
    pub(crate) theta: Option<Tensor<2>>,
    pub(crate) theta0: Option<Tensor<1>>,
    pub(crate) pos_weight: Option<Tensor<1>>,
    pub(crate) alpha: Option<Tensor<1>>,
    /// Two words, for a permutation that is drawn.
    pub(crate) seed: Option<Tensor<1, Int>>,
    pub(crate) extras: &'a RowExtras,
}

impl RowLoss {
    /// A loss of any settings that wgloss has for rows.
    ///
    /// # Errors
    /// Settings out of range; the error names the setting.
    pub fn new(settings: impl Into<AnyLoss>) -> Result<RowLoss, Error> {
        let settings = settings.into();
        settings.check()?;
        Ok(RowLoss {
            threshold: None,
            theta: None,
            theta0: None,
            pos_weight: None,
            alpha: None,
            settings,
        })
    }

    /// The settings.
    pub fn settings(&self) -> AnyLoss {
        self.settings
    }

    /// The loss of a batch, `[1]`, reduced as the settings say.
    ///
    /// # Panics
    /// Where shapes do not fit, as burn's own losses; [`RowLoss::try_forward`] gives the error instead.
    pub fn forward(&self, logits: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        unwrap(self.try_forward(logits, targets, &RowExtras::default()))
    }

    /// The loss of each row, `[B]`; of the two-way loss over classes that of each class.
    ///
    /// # Panics
    /// As [`RowLoss::forward`].
    pub fn forward_no_reduction(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let settings = self.settings.with_reduction(Reduction::None);
        unwrap(self.call(settings, logits, targets.into(), &RowExtras::default()))
    }

    /// The loss of a batch with masks and weights.
    ///
    /// # Panics
    /// As [`RowLoss::forward`].
    pub fn forward_with(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
        extras: &RowExtras,
    ) -> Tensor<1> {
        unwrap(self.try_forward(logits, targets, extras))
    }

    /// The same without a panic.
    ///
    /// # Errors
    /// Shapes that do not fit, and what this loss does not take; the error names the tensor.
    pub fn try_forward(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
        extras: &RowExtras,
    ) -> Result<Tensor<1>, Error> {
        self.call(self.settings, logits, targets.into(), extras)
    }

    fn call(
        &self,
        settings: AnyLoss,
        logits: Tensor<2>,
        targets: Targets,
        extras: &RowExtras,
    ) -> Result<Tensor<1>, Error> {
        settings.check()?;
        let own = self.threshold.as_ref().map(|own| match own.val() {
            one if one.dims() == [1] => Threshold::Batch(one),
            each => Threshold::Label(each),
        });
        let takes = settings.takes();
        let drawn = takes.permutation && extras.permutation.is_none();
        let words = || {
            Tensor::random(
                [2],
                Distribution::Uniform(0.0, 2_147_483_647.0),
                &logits.device().inner(),
            )
        };
        let call = RowCall {
            settings,
            threshold: extras.threshold.clone().or(own),
            theta: self.theta.as_ref().map(Param::val),
            theta0: self.theta0.as_ref().map(Param::val),
            pos_weight: self.pos_weight.clone(),
            alpha: self.alpha.clone(),
            seed: drawn.then(words),
            extras,
            logits,
            targets,
        };
        call.check()?;
        call.run()
    }
}

impl RowCall<'_> {
    fn check(&self) -> Result<(), Error> {
        let takes = self.settings.takes();
        let [rows, cols] = self.logits.dims();
        let extras = self.extras;
        let targets = match takes.targets {
            TargetKind::Logits => "other",
            _ => "targets",
        };
        check_dims(targets, [rows, cols], self.targets.dims())?;
        check_dims("class_mask", [cols], dims(&extras.class_mask))?;
        check_dims("mask", [rows, cols], dims(&extras.mask))?;
        check_dims("sample_weight", [rows], dims(&extras.sample_weight))?;
        check_dims("class_weight", [cols], dims(&extras.class_weight))?;
        check_dims("weight", [rows, cols], dims(&extras.weight))?;
        check_dims("pos_weight", [cols], dims(&self.pos_weight))?;
        check_dims("alpha", [cols], dims(&self.alpha))?;
        check_dims("permutation", [cols], dims(&extras.permutation))?;
        if let Some(threshold) = &self.threshold {
            let expected = threshold.clone().map(|_| ()).len_of(rows, cols);
            check_dims("threshold", [expected], threshold.clone().values().dims())?;
        }
        if let Some(shape) = takes.theta {
            let (sets, len) = shape.of(cols);
            check_dims("theta", [sets, len], dims(&self.theta))?;
        }
        for (name, given, taken) in [
            ("threshold", self.threshold.is_some(), takes.threshold),
            ("weight", extras.weight.is_some(), takes.weight),
            (
                "permutation",
                extras.permutation.is_some(),
                takes.permutation,
            ),
            (
                "theta",
                self.theta.is_some() || self.theta0.is_some(),
                takes.theta.is_some(),
            ),
            (
                "pos_weight",
                self.pos_weight.is_some(),
                takes.by_label == Some("pos_weight"),
            ),
            (
                "alpha",
                self.alpha.is_some(),
                takes.by_label == Some("alpha"),
            ),
        ] {
            if given && !taken {
                return Err(Error::refused(name, "this loss takes none"));
            }
        }
        match (&self.targets, takes.targets) {
            (Targets::Bool(_) | Targets::Int(_), TargetKind::Logits) => Err(Error::refused(
                "other",
                "are logits, which are real numbers",
            )),
            _ => Ok(()),
        }
    }

    fn run(self) -> Result<Tensor<1>, Error> {
        let [rows, cols] = self.logits.dims();
        let takes = self.settings.takes();
        let none = self.settings.reduction() == Reduction::None;
        let losses = match none {
            true => takes.losses(rows, cols),
            false => 1,
        };
        if rows == 0 || cols == 0 {
            return Ok(nothing(losses, self.logits));
        }
        if !device::has_kernels(&self.logits.device()) {
            return ops::rows::loss(self);
        }
        let shared = self.theta.is_some()
            || self.theta0.is_some()
            || matches!(
                self.threshold,
                Some(Threshold::Batch(_) | Threshold::Label(_))
            );
        let upstream = match none {
            false => Upstream::One,
            true if shared || takes.columns => Upstream::Read,
            true => Upstream::ByRow,
        };
        let RowExtras {
            class_mask,
            mask,
            sample_weight,
            class_weight,
            weight,
            permutation,
            threshold: _,
        } = self.extras.clone();
        let form = self
            .threshold
            .clone()
            .map(|threshold| threshold.map(|_| ()));
        let values = self.threshold.map(|threshold| float32(threshold.values()));
        let call = Builder::new(Loss::Rows(self.settings, form), losses, upstream).root(
            "logits",
            "grad_logits",
            self.logits,
        );
        let call = match self.targets {
            Targets::Float(targets) if takes.targets.has_gradient() => {
                call.root("targets", "grad_targets", targets)
            }
            targets => call.targets(targets),
        };
        let call = call
            .root("threshold", "grad_threshold", values)
            .root("theta", "grad_theta", self.theta.map(float32))
            .root("theta0", "grad_theta0", self.theta0.map(float32))
            .flags("class_mask", class_mask)
            .flags("mask", mask)
            .float("sample_weight", sample_weight.map(float32))
            .float("class_weight", class_weight.map(float32))
            .float("weight", weight)
            .float("pos_weight", self.pos_weight.map(float32))
            .float("alpha", self.alpha.map(float32))
            .int("permutation", permutation)
            .int("seed", self.seed);
        Ok(call.loss())
    }
}

/// Which loss of the ZLPR family of hard or soft labels.
#[derive(Config, Debug, PartialEq, Eq, Copy)]
pub enum ZlprForm {
    /// Hard labels: `log(1 + sum_P e^-s) + log(1 + sum_N e^s)`.
    Hard,
    /// Soft labels: `log(1 + sum t e^-s) + log(1 + sum (1 - t) e^s)`.
    Soft,
}

/// Configuration of ZLPR (Su et al., arXiv 2208.02955): predict a label where its logit is above 0, or above the threshold.
///
/// Hard labels of any kind, or soft ones. With `threshold` it is TLPR: a learnt number, or one for each label, that is
/// subtracted from the logits. Probabilities of a model that is trained with it are `sigma(2 s)`.
#[derive(Config, Debug)]
pub struct ZlprLossConfig {
    /// Hard or soft labels.
    #[config(default = "ZlprForm::Hard")]
    pub form: ZlprForm,
    /// Label smoothing in `[0, 1]`, of the soft form.
    #[config(default = 0.0)]
    pub smoothing: f32,
    /// How many thresholds are learnt, 1 or one for each label; they begin at 0.
    pub threshold: Option<usize>,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl ZlprLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, device: &Device) -> RowLoss {
        let settings = match self.form {
            ZlprForm::Hard => Zlpr::hard(),
            ZlprForm::Soft => Zlpr::soft(),
        };
        let settings = settings
            .with_smoothing(self.smoothing)
            .with_reduction(self.reduction);
        RowLoss {
            threshold: self
                .threshold
                .map(|n| Param::from_tensor(Tensor::zeros([n], device))),
            ..unwrap(RowLoss::new(settings))
        }
    }
}

/// Configuration of LSEP (Li et al., arXiv 1704.03135): `softplus(log sum_P e^-s + log sum_N e^s)`, 0 where a side is empty.
#[derive(Config, Debug)]
pub struct LsepLossConfig {
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl LsepLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, _device: &Device) -> RowLoss {
        unwrap(RowLoss::new(Zlpr::lsep().with_reduction(self.reduction)))
    }
}

/// Configuration of the two-way loss (Kobayashi, CVPR 2023):
/// `softplus(t_pos log sum_P e^(-s / t_pos) + t_neg log sum_N e^(s / t_neg))`, over each sample's labels, each class's
/// samples, or both.
#[derive(Config, Debug)]
pub struct TwoWayLossConfig {
    /// Temperature of the positives.
    #[config(default = 4.0)]
    pub t_pos: f32,
    /// Temperature of the negatives.
    #[config(default = 1.0)]
    pub t_neg: f32,
    /// Over what. The published loss is both halves with `Reduction::MeanActive`.
    #[config(default = "Half::Sample")]
    pub half: Half,
    /// How the losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl TwoWayLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, _device: &Device) -> RowLoss {
        let settings = Zlpr::two_way(self.t_pos, self.t_neg).with_half(self.half);
        unwrap(RowLoss::new(settings.with_reduction(self.reduction)))
    }
}

/// Configuration of binary cross-entropy with logits: `sum w y softplus(-s) + (1 - y) softplus(s)` over a row's labels, soft or
/// hard. The mean of PyTorch's `BCEWithLogitsLoss` is `Reduction::MeanElements`.
#[derive(Config, Debug)]
pub struct BceLossConfig {
    /// The weight of the positive side: one number, or one for each label.
    pub pos_weight: Option<Vec<f32>>,
    /// Label smoothing in `[0, 1]`: targets become `(1 - eps) y + eps / 2`.
    #[config(default = 0.0)]
    pub smoothing: f32,
    /// Whether a row's loss is the mean over its labels that count, not their sum.
    #[config(default = false)]
    pub row_mean: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl BceLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, device: &Device) -> RowLoss {
        let (one, each) = one_or_each(&self.pos_weight);
        let settings = Bce {
            pos_weight: one.unwrap_or(1.0),
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            reduction: self.reduction,
        };
        for weight in each.iter().flat_map(|each| each.iter()) {
            unwrap(settings.with_pos_weight(*weight).check());
        }
        RowLoss {
            pos_weight: each.map(|each| Tensor::from_floats(each, device)),
            ..unwrap(RowLoss::new(settings))
        }
    }
}

/// Configuration of the focal loss (Lin et al., arXiv 1708.02002), with sigmoids, over a row's labels, soft or hard.
#[derive(Config, Debug)]
pub struct FocalLossConfig {
    /// The exponent.
    #[config(default = 2.0)]
    pub gamma: f32,
    /// The weight of the positive side in `[0, 1]`, that of the negative being one less it: one number, or one for each
    /// label; none: both sides weigh 1. The default is `[0.25]`.
    #[config(default = "Some(vec![0.25])")]
    pub alpha: Option<Vec<f32>>,
    /// Whether the focusing weight is a constant to the gradient.
    #[config(default = false)]
    pub detach_focus: bool,
    /// Label smoothing in `[0, 1]`.
    #[config(default = 0.0)]
    pub smoothing: f32,
    /// Whether a row's loss is the mean over its labels that count, not their sum.
    #[config(default = false)]
    pub row_mean: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl FocalLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, device: &Device) -> RowLoss {
        let (one, each) = one_or_each(&self.alpha);
        let settings = Focal {
            gamma: self.gamma,
            alpha: one,
            detach_focus: self.detach_focus,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            reduction: self.reduction,
        };
        for alpha in each.iter().flat_map(|each| each.iter()) {
            unwrap(settings.with_alpha(*alpha).check());
        }
        RowLoss {
            alpha: each.map(|each| Tensor::from_floats(each, device)),
            ..unwrap(RowLoss::new(settings))
        }
    }
}

/// Configuration of the asymmetric loss (Ridnik et al., arXiv 2009.14119), over a row's labels, soft or hard. The authors'
/// training script holds the focusing weight constant: `detach_focus`.
#[derive(Config, Debug)]
pub struct AslLossConfig {
    /// Exponent of the positives.
    #[config(default = 1.0)]
    pub gamma_pos: f32,
    /// Exponent of the negatives.
    #[config(default = 4.0)]
    pub gamma_neg: f32,
    /// How far a negative's probability is moved down, in `[0, 1]`.
    #[config(default = 0.05)]
    pub margin: f32,
    /// Whether the focusing weight is a constant to the gradient.
    #[config(default = false)]
    pub detach_focus: bool,
    /// Label smoothing in `[0, 1]`.
    #[config(default = 0.0)]
    pub smoothing: f32,
    /// Whether a row's loss is the mean over its labels that count, not their sum.
    #[config(default = false)]
    pub row_mean: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl AslLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, _device: &Device) -> RowLoss {
        unwrap(RowLoss::new(Asl {
            gamma_pos: self.gamma_pos,
            gamma_neg: self.gamma_neg,
            margin: self.margin,
            detach_focus: self.detach_focus,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            reduction: self.reduction,
        }))
    }
}

/// Configuration of the Hill loss (Zhang et al., arXiv 2112.07368), for labels of which many are missing.
#[derive(Config, Debug)]
pub struct HillLossConfig {
    /// `lambda` of `(lambda - p) p^2`, at least 1.
    #[config(default = 1.5)]
    pub lambda: f32,
    /// Margin of the positives.
    #[config(default = 1.0)]
    pub margin: f32,
    /// Exponent of the positives.
    #[config(default = 2.0)]
    pub gamma: f32,
    /// Label smoothing in `[0, 1]`.
    #[config(default = 0.0)]
    pub smoothing: f32,
    /// Whether a row's loss is the mean over its labels that count, not their sum.
    #[config(default = false)]
    pub row_mean: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl HillLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, _device: &Device) -> RowLoss {
        unwrap(RowLoss::new(Hill {
            lambda: self.lambda,
            margin: self.margin,
            gamma: self.gamma,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            reduction: self.reduction,
        }))
    }
}

/// Configuration of soft dice over a row's labels (Milletari et al., arXiv 1606.04797).
#[derive(Config, Debug)]
pub struct DiceLossConfig {
    /// Added above and below the line.
    #[config(default = 1.0)]
    pub smooth: f32,
    /// Whether the sums below the line are of squares.
    #[config(default = false)]
    pub squared: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl DiceLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, _device: &Device) -> RowLoss {
        unwrap(RowLoss::new(Dice {
            smooth: self.smooth,
            squared: self.squared,
            reduction: self.reduction,
        }))
    }
}

/// Configuration of WDL, the weighted difference of label distributions without a sort: a formulation of the idea of Sci Rep
/// 15:25052, which `wgloss::losses::wdl` has in full.
#[derive(Config, Debug)]
pub struct WdlLossConfig {
    /// Which differences. Along a permutation ([`Form::Adjacent`]) one is drawn for each call, from burn's generator of the
    /// device, unless the call is given one.
    #[config(default = "Wdl::default().form")]
    pub form: Form,
    /// For how many labels weights of the differences are learnt (`theta`, zeros at the start); none: all weigh 1.
    pub learn_weights: Option<usize>,
    /// Whether the coefficient of the differences is learnt (`theta0`, 0 at the start): the bounded form.
    #[config(default = false)]
    pub bounded: bool,
    /// What makes a distribution of the logits.
    #[config(default = "Prediction::Sigmoid")]
    pub prediction: Prediction,
    /// What is made of a difference.
    #[config(default = "Phi::Square")]
    pub phi: Phi,
    /// Added to each target before normalising.
    #[config(default = 0.0)]
    pub epsilon: f32,
    /// Coefficient of the presence term; 0 where targets are counts.
    #[config(default = 1.0)]
    pub lambda_presence: f32,
    /// Coefficient of the proportions.
    #[config(default = 1.0)]
    pub lambda_ratio: f32,
    /// Coefficient of the differences.
    #[config(default = 1.0)]
    pub lambda_difference: f32,
    /// Whether the gradient to `theta` is negated, so that an optimiser raises the weights of what is fitted badly.
    #[config(default = false)]
    pub ascent: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl WdlLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, device: &Device) -> RowLoss {
        let settings = Wdl {
            form: self.form,
            prediction: self.prediction,
            phi: self.phi,
            epsilon: self.epsilon,
            lambda_presence: self.lambda_presence,
            lambda_ratio: self.lambda_ratio,
            lambda_difference: self.lambda_difference,
            ascent: self.ascent,
            reduction: self.reduction,
        };
        let theta = self.learn_weights.map(|labels| {
            let (sets, len) = settings.theta_shape(labels);
            Param::from_tensor(Tensor::zeros([sets, len], device))
        });
        RowLoss {
            theta,
            theta0: self
                .bounded
                .then(|| Param::from_tensor(Tensor::zeros([1], device))),
            ..unwrap(RowLoss::new(settings))
        }
    }
}

/// One number, or one for each label.
fn one_or_each(values: &Option<Vec<f32>>) -> (Option<f32>, Option<&[f32]>) {
    match values.as_deref() {
        None => (None, None),
        Some([one]) => (Some(*one), None),
        Some(each) => (None, Some(each)),
    }
}
