//! The constraint module of a hierarchy.

use crate::fused::{Builder, Loss, Upstream, float};
use crate::ops;
use crate::targets::{Targets, check_dims, dims};
use crate::{device, float32, in_a_line, nothing, unwrap};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use std::sync::Arc;
use wgloss::{Error, Hierarchy, Mcm, Reduction};

/// Configuration of the max constraint module (C-HMCNN, NeurIPS 2020): the probability of a class is the largest of its
/// descendants' and its own, and the loss is binary cross-entropy of that, with the maximum over the positive descendants
/// where the class is positive.
///
/// ```
/// use wgloss_burn::McmLossConfig;
///
/// // Class 0 is above 1 and 2, class 2 above 3.
/// let config = McmLossConfig::new(4, vec![[1, 0], [2, 0], [3, 2]]);
/// # let _ = config;
/// ```
#[derive(Config, Debug)]
pub struct McmLossConfig {
    /// Classes.
    pub nodes: usize,
    /// Pairs of a child and a parent of it. A class may have several parents.
    pub edges: Vec<[u32; 2]>,
    /// Whether a row's loss is the mean over its classes that count, else their sum.
    #[config(default = true)]
    pub row_mean: bool,
    /// How the rows' losses become one.
    #[config(default = "Reduction::Mean")]
    pub reduction: Reduction,
}

impl McmLossConfig {
    /// Makes the loss.
    ///
    /// # Panics
    /// Where the edges are no hierarchy: the message names classes. [`McmLossConfig::try_init`] gives the error instead.
    pub fn init(&self, device: &Device) -> McmLoss {
        unwrap(self.try_init(device))
    }

    /// The same without a panic.
    ///
    /// # Errors
    /// An edge out of range or twice, a cycle, a setting out of range.
    pub fn try_init(&self, device: &Device) -> Result<McmLoss, Error> {
        let settings = Mcm {
            row_mean: self.row_mean,
            reduction: self.reduction,
        };
        settings.check()?;
        let hierarchy = Hierarchy::from_edges(self.nodes, &self.edges)?;
        Ok(McmLoss {
            words: words(hierarchy.words(), device),
            hierarchy: Arc::new(hierarchy),
            settings,
        })
    }
}

/// What the kernels read of a hierarchy, on the device.
pub(crate) fn words(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let words: Vec<i32> = words.into_iter().map(u32::cast_signed).collect();
    Tensor::from_data(words.as_slice(), (device, DType::I32))
}

/// The constraint module of a hierarchy. Made by [`McmLossConfig`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct McmLoss {
    words: Tensor<1, Int>,
    #[module(skip)]
    hierarchy: Arc<Hierarchy>,
    #[module(skip)]
    settings: Mcm,
}

/// What the constraint module may be given beside logits and targets. What a mask leaves out has no term of its own, and still
/// takes part in the maxima of its ancestors.
#[derive(Clone, Debug, Default)]
pub struct McmExtras {
    /// `[L]`: the classes that count.
    pub class_mask: Option<Tensor<1, Bool>>,
    /// `[B, L]`: the elements that count.
    pub mask: Option<Tensor<2, Bool>>,
    /// `[B]`: the weight of each row's loss. A row of weight 0 counts for nothing.
    pub sample_weight: Option<Tensor<1>>,
    /// `[L]`, not negative: the weight of each class's term.
    pub class_weight: Option<Tensor<1>>,
}

impl ModuleDisplay for McmLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        in_a_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add_debug_attribute("classes", &self.hierarchy.nodes())
            .add_debug_attribute("edges", &self.hierarchy.edges())
            .add_debug_attribute("settings", &self.settings)
            .optional()
    }
}

/// All that the constraint module is made of, checked.
pub(crate) struct McmCall<'a> {
    pub(crate) settings: Mcm,
    pub(crate) hierarchy: &'a Arc<Hierarchy>,
    words: &'a Tensor<1, Int>,
    pub(crate) logits: Tensor<2>,
    pub(crate) targets: Targets,
    pub(crate) extras: &'a McmExtras,
}

impl McmLoss {
    /// The hierarchy.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// The loss of logits `[B, L]` with hard targets `[B, L]`, `[1]`.
    ///
    /// # Panics
    /// Where shapes do not fit, as burn's own losses; [`McmLoss::try_forward`] gives the error instead.
    pub fn forward(&self, logits: Tensor<2>, targets: impl Into<Targets>) -> Tensor<1> {
        unwrap(self.try_forward(logits, targets, &McmExtras::default()))
    }

    /// The loss of each row, `[B]`.
    ///
    /// # Panics
    /// As [`McmLoss::forward`].
    pub fn forward_no_reduction(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
    ) -> Tensor<1> {
        let settings = self.settings.with_reduction(Reduction::None);
        unwrap(self.call(settings, logits, targets.into(), &McmExtras::default()))
    }

    /// The loss with masks and weights.
    ///
    /// # Panics
    /// As [`McmLoss::forward`].
    pub fn forward_with(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
        extras: &McmExtras,
    ) -> Tensor<1> {
        unwrap(self.try_forward(logits, targets, extras))
    }

    /// The same without a panic.
    ///
    /// # Errors
    /// Shapes that do not fit; the error names the tensor.
    pub fn try_forward(
        &self,
        logits: Tensor<2>,
        targets: impl Into<Targets>,
        extras: &McmExtras,
    ) -> Result<Tensor<1>, Error> {
        self.call(self.settings, logits, targets.into(), extras)
    }

    /// The probabilities `[B, L]` that obey the hierarchy. No gradient goes through them.
    ///
    /// # Panics
    /// Where the logits have another number of classes.
    pub fn probabilities(&self, logits: Tensor<2>) -> Tensor<2> {
        let [rows, cols] = logits.dims();
        unwrap(check_dims(
            "logits",
            [rows, self.hierarchy.nodes()],
            [rows, cols],
        ));
        let logits = logits.detach();
        if rows == 0 {
            return logits;
        }
        if !device::has_kernels(&logits.device()) {
            return ops::mcm::probabilities(&self.hierarchy, logits);
        }
        let call = Builder::nothing(Loss::Mcm(self.settings, self.hierarchy.clone()))
            .float("logits", logits)
            .int("hierarchy", self.words.clone())
            .makes("probabilities", vec![rows, cols], DType::F32);
        float(call.run().swap_remove(0))
    }

    fn call(
        &self,
        settings: Mcm,
        logits: Tensor<2>,
        targets: Targets,
        extras: &McmExtras,
    ) -> Result<Tensor<1>, Error> {
        let [rows, cols] = logits.dims();
        check_dims("logits", [rows, self.hierarchy.nodes()], [rows, cols])?;
        check_dims("targets", [rows, cols], targets.dims())?;
        check_dims("class_mask", [cols], dims(&extras.class_mask))?;
        check_dims("mask", [rows, cols], dims(&extras.mask))?;
        check_dims("sample_weight", [rows], dims(&extras.sample_weight))?;
        check_dims("class_weight", [cols], dims(&extras.class_weight))?;
        let call = McmCall {
            settings,
            hierarchy: &self.hierarchy,
            words: &self.words,
            logits,
            targets,
            extras,
        };
        Ok(call.run())
    }
}

impl McmCall<'_> {
    fn run(self) -> Tensor<1> {
        let [rows, _] = self.logits.dims();
        let none = self.settings.reduction == Reduction::None;
        let losses = if none { rows } else { 1 };
        if rows == 0 {
            return nothing(losses, self.logits);
        }
        if !device::has_kernels(&self.logits.device()) {
            return ops::mcm::loss(self);
        }
        let upstream = if none { Upstream::ByRow } else { Upstream::One };
        let McmExtras {
            class_mask,
            mask,
            sample_weight,
            class_weight,
        } = self.extras.clone();
        let call = Builder::new(
            Loss::Mcm(self.settings, self.hierarchy.clone()),
            losses,
            upstream,
        );
        call.root("logits", "grad_logits", self.logits)
            .targets(self.targets)
            .int("hierarchy", self.words.clone())
            .flags("class_mask", class_mask)
            .flags("mask", mask)
            .float("sample_weight", sample_weight.map(float32))
            .float("class_weight", class_weight.map(float32))
            .loss()
    }
}
