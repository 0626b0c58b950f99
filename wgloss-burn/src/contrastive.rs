//! Supervised contrastive losses of label sets.

use crate::fused::{Builder, Loss, Upstream, packed};
use crate::ops;
use crate::targets::{check_dims, dims};
use crate::{device, float32, in_a_line, nothing, unwrap};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::tensor::{Bool, Device, Int, Tensor};
use wgloss::losses::contrastive::Weighting;
use wgloss::{Contrastive, ContrastiveReduction, Denominator, Error};

/// Label sets, a flag for each row and label.
#[derive(Clone, Debug)]
pub enum Labels {
    /// Flags.
    Bool(Tensor<2, Bool>),
    /// Whole numbers, not 0 where the row has the label.
    Int(Tensor<2, Int>),
}

impl From<Tensor<2, Bool>> for Labels {
    fn from(labels: Tensor<2, Bool>) -> Self {
        Labels::Bool(labels)
    }
}

impl From<Tensor<2, Int>> for Labels {
    fn from(labels: Tensor<2, Int>) -> Self {
        Labels::Int(labels)
    }
}

impl Labels {
    pub(crate) fn dims(&self) -> [usize; 2] {
        match self {
            Labels::Bool(t) => t.dims(),
            Labels::Int(t) => t.dims(),
        }
    }

    /// 1 where a row has a label.
    pub(crate) fn float(self) -> Tensor<2> {
        match self {
            Labels::Bool(t) => t.float(),
            Labels::Int(t) => t.not_equal_scalar(0).float(),
        }
    }
}

/// Keys of their own: another view, another encoder, a queue. Gradients go to them too, unless they are detached.
#[derive(Clone, Debug)]
pub struct ContrastiveKeys {
    /// `[M, D]`.
    pub embeddings: Tensor<2>,
    /// `[M, L]`: their label sets.
    pub labels: Labels,
    /// `[N]`: the key that is the anchor itself, and is left out of its row (with `Weighting::Paired`: its positive); -1: none.
    pub self_index: Option<Tensor<1, Int>>,
    /// `[M]`: the keys that count.
    pub mask: Option<Tensor<1, Bool>>,
}

impl ContrastiveKeys {
    /// Keys with their label sets, nothing optional.
    pub fn new(embeddings: Tensor<2>, labels: impl Into<Labels>) -> Self {
        ContrastiveKeys {
            embeddings,
            labels: labels.into(),
            self_index: None,
            mask: None,
        }
    }
}

/// What a contrastive loss may be given beside embeddings and label sets.
#[derive(Clone, Debug, Default)]
pub struct ContrastiveExtras {
    /// Absent: the embeddings are the keys, and each is left out of its own row.
    pub keys: Option<ContrastiveKeys>,
    /// `[N]`: the samples that count, as anchors and, where there are no others, as keys.
    pub row_mask: Option<Tensor<1, Bool>>,
    /// `[N, M]`: the positives of each anchor, of `Weighting::Given`.
    pub positives: Option<Tensor<2, Bool>>,
    /// `[N, M]`: the keys that each anchor sees. Not with MulSupCon.
    pub pair_mask: Option<Tensor<2, Bool>>,
    /// `[L]`: what each label weighs, of MulSupCon.
    pub label_weight: Option<Tensor<1>>,
}

/// Configuration of the contrastive family: Similarity-Dissimilarity (arXiv 2410.13439), SupCon (arXiv 2004.11362), MulSupCon
/// (AAAI 2024), Jaccard, InfoNCE (arXiv 1807.03748), SigLIP (arXiv 2303.15343). `wgloss::losses::contrastive` has the formulas.
///
/// ```
/// use wgloss::Contrastive;
/// use wgloss_burn::ContrastiveLossConfig;
///
/// let sim_dis = ContrastiveLossConfig::new();
/// let sup_con = ContrastiveLossConfig::of(Contrastive::sup_con_any()).with_learn_temperature(true);
/// # let _ = (sim_dis, sup_con);
/// ```
#[derive(Config, Debug)]
pub struct ContrastiveLossConfig {
    /// Which pairs attract one another, and how much. The default is Similarity-Dissimilarity, outside the logarithm.
    #[config(default = "Contrastive::sim_dis().weighting")]
    pub weighting: Weighting,
    /// The temperature, and where it begins if it is learnt.
    #[config(default = 0.07)]
    pub temperature: f32,
    /// Whether the temperature is a parameter.
    #[config(default = false)]
    pub learn_temperature: bool,
    /// Which keys a positive is compared with.
    #[config(default = "Denominator::All")]
    pub denominator: Denominator,
    /// What stands beside each similarity, with `Denominator::Sigmoid`; else 0.
    #[config(default = 0.0)]
    pub bias: f32,
    /// Whether the bias is a parameter.
    #[config(default = false)]
    pub learn_bias: bool,
    /// Whether rows are divided by their norm.
    #[config(default = true)]
    pub normalize: bool,
    /// How the anchors' losses become one.
    #[config(default = "ContrastiveReduction::MeanActive")]
    pub reduction: ContrastiveReduction,
}

impl ContrastiveLossConfig {
    /// The configuration of any settings of wgloss.
    pub fn of(settings: Contrastive) -> Self {
        ContrastiveLossConfig::new()
            .with_weighting(settings.weighting)
            .with_temperature(settings.temperature)
            .with_denominator(settings.denominator)
            .with_bias(settings.bias)
            .with_normalize(settings.normalize)
            .with_reduction(settings.reduction)
    }

    /// Makes the loss.
    ///
    /// # Panics
    /// Where a setting is out of range.
    pub fn init(&self, device: &Device) -> ContrastiveLoss {
        let settings = Contrastive {
            denominator: self.denominator,
            bias: self.bias,
            normalize: self.normalize,
            reduction: self.reduction,
            ..Contrastive::new(self.weighting, self.temperature)
        };
        unwrap(settings.check());
        if self.learn_bias && self.denominator != Denominator::Sigmoid {
            let reason = "stands beside a similarity with the sigmoid alone";
            unwrap::<()>(Err(Error::refused("bias", reason)));
        }
        let learnt = |wanted: bool, from: f32| wanted.then(|| Param::from_data([from], device));
        ContrastiveLoss {
            temperature: learnt(self.learn_temperature, self.temperature),
            bias: learnt(self.learn_bias, self.bias),
            settings,
        }
    }
}

/// A contrastive loss, and what it learns. Made by [`ContrastiveLossConfig`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ContrastiveLoss {
    /// The temperature, where it is learnt. Keep it above 0.
    pub temperature: Option<Param<Tensor<1>>>,
    /// The bias beside each similarity, where it is learnt.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    settings: Contrastive,
}

impl ModuleDisplay for ContrastiveLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        in_a_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add_debug_attribute("settings", &self.settings)
            .add_debug_attribute("learn_temperature", &self.temperature.is_some())
            .add_debug_attribute("learn_bias", &self.bias.is_some())
            .optional()
    }
}

/// All that a contrastive loss is made of, checked.
pub(crate) struct ContrastiveCall<'a> {
    pub(crate) settings: Contrastive,
    pub(crate) temperature: Option<Tensor<1>>,
    pub(crate) bias: Option<Tensor<1>>,
    pub(crate) embeddings: Tensor<2>,
    pub(crate) labels: Labels,
    pub(crate) extras: &'a ContrastiveExtras,
}

impl ContrastiveLoss {
    /// The settings.
    pub fn settings(&self) -> Contrastive {
        self.settings
    }

    /// The loss of embeddings `[N, D]` with label sets `[N, L]` among themselves, `[1]`.
    ///
    /// # Panics
    /// Where shapes do not fit, as burn's own losses; [`ContrastiveLoss::try_forward`] gives the error instead.
    pub fn forward(&self, embeddings: Tensor<2>, labels: impl Into<Labels>) -> Tensor<1> {
        unwrap(self.try_forward(embeddings, labels, &ContrastiveExtras::default()))
    }

    /// The loss with keys, masks and weights.
    ///
    /// # Panics
    /// As [`ContrastiveLoss::forward`].
    pub fn forward_with(
        &self,
        embeddings: Tensor<2>,
        labels: impl Into<Labels>,
        extras: &ContrastiveExtras,
    ) -> Tensor<1> {
        unwrap(self.try_forward(embeddings, labels, extras))
    }

    /// The loss of each anchor, `[N]`; 0 where it is inactive.
    ///
    /// # Panics
    /// As [`ContrastiveLoss::forward`].
    pub fn forward_no_reduction(
        &self,
        embeddings: Tensor<2>,
        labels: impl Into<Labels>,
        extras: &ContrastiveExtras,
    ) -> Tensor<1> {
        let settings = self.settings.with_reduction(ContrastiveReduction::None);
        unwrap(self.call(settings, embeddings, labels.into(), extras))
    }

    /// The loss with keys, masks and weights, without a panic.
    ///
    /// # Errors
    /// Shapes that do not fit, and what this loss does not take; the error names the tensor.
    pub fn try_forward(
        &self,
        embeddings: Tensor<2>,
        labels: impl Into<Labels>,
        extras: &ContrastiveExtras,
    ) -> Result<Tensor<1>, Error> {
        self.call(self.settings, embeddings, labels.into(), extras)
    }

    fn call(
        &self,
        settings: Contrastive,
        embeddings: Tensor<2>,
        labels: Labels,
        extras: &ContrastiveExtras,
    ) -> Result<Tensor<1>, Error> {
        settings.check()?;
        let call = ContrastiveCall {
            settings,
            temperature: self.temperature.as_ref().map(Param::val),
            bias: self.bias.as_ref().map(Param::val),
            embeddings,
            labels,
            extras,
        };
        call.check()?;
        Ok(call.run())
    }
}

impl ContrastiveCall<'_> {
    fn check(&self) -> Result<(), Error> {
        let [rows, width] = self.embeddings.dims();
        let [_, classes] = self.labels.dims();
        check_dims("labels", [rows, classes], self.labels.dims())?;
        let extras = self.extras;
        let mut others = rows;
        if let Some(keys) = &extras.keys {
            others = keys.embeddings.dims()[0];
            check_dims("keys", [others, width], keys.embeddings.dims())?;
            check_dims("key_labels", [others, classes], keys.labels.dims())?;
            check_dims("key_mask", [others], dims(&keys.mask))?;
            check_dims("self_index", [rows], dims(&keys.self_index))?;
        }
        check_dims("row_mask", [rows], dims(&extras.row_mask))?;
        check_dims("positives", [rows, others], dims(&extras.positives))?;
        check_dims("pair_mask", [rows, others], dims(&extras.pair_mask))?;
        check_dims("label_weight", [classes], dims(&extras.label_weight))?;
        let weighting = self.settings.weighting;
        let by_label = matches!(weighting, Weighting::MulSupCon { .. });
        for (name, given, taken, reason) in [
            (
                "label_weight",
                extras.label_weight.is_some(),
                by_label,
                "MulSupCon alone weighs labels",
            ),
            (
                "pair_mask",
                extras.pair_mask.is_some(),
                !by_label,
                "MulSupCon takes none",
            ),
            (
                "positives",
                extras.positives.is_some(),
                weighting == Weighting::Given,
                "belong to Weighting::Given",
            ),
        ] {
            if given && !taken {
                return Err(Error::refused(name, reason));
            }
        }
        if weighting == Weighting::Given && extras.positives.is_none() {
            return Err(Error::refused("positives", "Weighting::Given needs them"));
        }
        if weighting == Weighting::Paired
            && extras
                .keys
                .as_ref()
                .is_none_or(|keys| keys.self_index.is_none())
        {
            return Err(Error::refused(
                "self_index",
                "Weighting::Paired needs keys, and which of them is an anchor's own",
            ));
        }
        Ok(())
    }

    fn run(self) -> Tensor<1> {
        let [rows, width] = self.embeddings.dims();
        let (none, classes) = (
            self.settings.reduction == ContrastiveReduction::None,
            self.labels.dims()[1],
        );
        let losses = if none { rows } else { 1 };
        if rows == 0 || width == 0 || classes == 0 {
            return nothing(losses, self.embeddings);
        }
        if !device::has_kernels(&self.embeddings.device()) {
            return ops::contrastive::loss(self);
        }
        // Every gradient has parts of all anchors.
        let upstream = if none { Upstream::Read } else { Upstream::One };
        let call = Builder::new(Loss::Contrastive(self.settings, classes), losses, upstream);
        let call = call.root("embeddings", "grad_embeddings", self.embeddings);
        let labelled = |call: Builder, name, labels| match labels {
            Labels::Bool(labels) => call.bool(name, labels),
            Labels::Int(labels) => call.int(name, labels),
        };
        let call = labelled(call, "labels", self.labels);
        let ContrastiveExtras {
            keys,
            row_mask,
            positives,
            pair_mask,
            label_weight,
        } = self.extras.clone();
        let call = match keys {
            Some(keys) => labelled(
                call.root("keys", "grad_keys", keys.embeddings),
                "key_labels",
                keys.labels,
            )
            .int("self_index", keys.self_index)
            .flags("key_mask", keys.mask),
            None => call,
        };
        call.root(
            "temperature",
            "grad_temperature",
            self.temperature.map(float32),
        )
        .root("bias", "grad_bias", self.bias.map(float32))
        .flags("row_mask", row_mask)
        .int("positives", positives.map(bits))
        .int("pair_mask", pair_mask.map(bits))
        .float("label_weight", label_weight.map(float32))
        .loss()
    }
}

/// A bit for each flag, each row beginning with a word of its own.
fn bits(flags: Tensor<2, Bool>) -> Tensor<1, Int> {
    let [rows, cols] = flags.dims();
    let whole = cols.next_multiple_of(32);
    let flags = match whole == cols {
        true => flags,
        false => {
            let rest =
                Tensor::<2, Int>::zeros([rows, whole - cols], &flags.device()).not_equal_scalar(0);
            Tensor::cat(vec![flags, rest], 1)
        }
    };
    packed(flags, 32, 1)
}
