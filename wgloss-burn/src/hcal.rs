//! HCAL: prototypes over the levels of a hierarchy.

use crate::balance::{Balance, BalanceConfig};
use crate::fused::{Builder, Loss, Upstream, float, int};
use crate::mcm::words;
use crate::ops;
use crate::targets::check_dims;
use crate::{device, float32, in_a_line, unwrap};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use std::sync::Arc;
use wgloss::losses::hcal::Aggregation;
use wgloss::{Balance as Balancing, Error, Hcal, Levels};

/// Configuration of HCAL (arXiv 2508.13452): features and class means are contrasted with prototypes at every level of a
/// hierarchy, and the levels' losses are balanced.
///
/// ```
/// use wgloss_burn::HcalLossConfig;
///
/// // Four fine classes under two coarse ones; features have 16 components.
/// let config = HcalLossConfig::new(vec![4, 2], vec![vec![0, 0, 1, 1]], 16);
/// # let _ = config;
/// ```
#[derive(Config, Debug)]
pub struct HcalLossConfig {
    /// Classes of each level, from the finest.
    pub classes: Vec<usize>,
    /// Of each level but the last the parent of each class, in the next level.
    pub parents: Vec<Vec<u32>>,
    /// Components of a feature.
    pub dim: usize,
    /// The temperature.
    #[config(default = 0.1)]
    pub temperature: f32,
    /// What the classes of levels beyond the first are compared by.
    #[config(default = "Aggregation::SampleMean")]
    pub aggregation: Aggregation,
    /// How the levels' losses are weighted.
    #[config(default = "Balancing::default()")]
    pub balance: Balancing,
    /// The levels' weights, with `Balance::Fixed`.
    pub level_weights: Option<Vec<f32>>,
    /// Size of the perturbation of the prototypes in training, drawn for each call from burn's generator of the device; 0:
    /// none. Devices without autodiff, on which models are validated, have none either.
    #[config(default = 0.01)]
    pub epsilon: f32,
}

impl HcalLossConfig {
    /// Makes the loss; the prototypes begin as normal numbers.
    ///
    /// # Panics
    /// Where the levels do not fit one another: the message names them. [`HcalLossConfig::try_init`] gives the error instead.
    pub fn init(&self, device: &Device) -> HcalLoss {
        unwrap(self.try_init(device))
    }

    /// The same without a panic.
    ///
    /// # Errors
    /// Levels or parents that do not fit, a setting out of range.
    pub fn try_init(&self, device: &Device) -> Result<HcalLoss, Error> {
        let parents: Vec<&[u32]> = self.parents.iter().map(Vec::as_slice).collect();
        let levels = Levels::new(&self.classes, &parents)?;
        let balance = BalanceConfig {
            losses: levels.len(),
            settings: self.balance,
            weights: self.level_weights.clone(),
        };
        let balance = balance.try_init(device)?;
        let settings = Hcal {
            temperature: self.temperature,
            aggregation: self.aggregation,
            balance: balance.kernel(),
            epsilon: self.epsilon,
            ..Hcal::default()
        };
        settings.check()?;
        if self.dim == 0 {
            return Err(Error::shape("dim", "at least one component", 0));
        }
        let all: usize = self.classes.iter().sum();
        let normal = Tensor::random([all, self.dim], Distribution::Normal(0.0, 1.0), device);
        Ok(HcalLoss {
            prototypes: Param::from_tensor(normal),
            balance,
            words: words(levels.words(), device),
            levels: Arc::new(levels),
            settings,
        })
    }
}

/// HCAL with its prototypes. Made by [`HcalLossConfig`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct HcalLoss {
    /// `[sum of classes, D]`: the prototypes of the first level, then those of the second, and so on.
    pub prototypes: Param<Tensor<2>>,
    /// How the levels' losses are weighted.
    pub balance: Balance,
    words: Tensor<1, Int>,
    #[module(skip)]
    levels: Arc<Levels>,
    #[module(skip)]
    settings: Hcal,
}

/// What HCAL gives.
#[derive(Clone, Debug)]
pub struct HcalOutput {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// `[m]`: the loss of each level. No gradient goes through it.
    pub losses: Tensor<1>,
    /// `[m]`: their weights. No gradient goes through them.
    pub weights: Tensor<1>,
}

impl ModuleDisplay for HcalLoss {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        in_a_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add_debug_attribute("classes", &self.levels.classes())
            .add_debug_attribute("dim", &self.prototypes.dims()[1])
            .add_debug_attribute("settings", &self.settings)
            .optional()
    }
}

/// All that HCAL is made of, checked.
pub(crate) struct HcalCall<'a> {
    pub(crate) settings: Hcal,
    pub(crate) levels: &'a Arc<Levels>,
    words: &'a Tensor<1, Int>,
    pub(crate) features: Tensor<2>,
    pub(crate) prototypes: Tensor<2>,
    /// `[m, B]`, -1 where there is none.
    pub(crate) labels: Tensor<2, Int>,
    pub(crate) noise: Option<Tensor<2>>,
    /// Log variances, or weights.
    pub(crate) state: Option<Tensor<1>>,
}

impl HcalLoss {
    /// The levels.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The loss of features `[B, D]` with labels `[m, B]`, a row for each level from the finest, -1 where a sample has none;
    /// `[1]`. Labels beyond the classes of their level count as missing.
    ///
    /// # Panics
    /// Where shapes do not fit, as burn's own losses; [`HcalLoss::try_forward`] gives the error instead.
    pub fn forward(&self, features: Tensor<2>, labels: Tensor<2, Int>) -> Tensor<1> {
        unwrap(self.try_forward(features, labels)).loss
    }

    /// The loss, and those of the levels with their weights.
    ///
    /// # Errors
    /// Shapes that do not fit; the error names the tensor.
    pub fn try_forward(
        &self,
        features: Tensor<2>,
        labels: Tensor<2, Int>,
    ) -> Result<HcalOutput, Error> {
        let [rows, dim] = features.dims();
        let device = features.device();
        let prototypes = self.prototypes.val();
        let [classes, of_prototypes] = prototypes.dims();
        check_dims("features", [rows, of_prototypes], [rows, dim])?;
        check_dims("labels", [self.levels.len(), rows], labels.dims())?;
        let epsilon = f64::from(self.settings.epsilon);
        let perturbed = epsilon > 0.0 && device.is_autodiff();
        let draw = || {
            Tensor::random(
                [classes, dim],
                Distribution::Uniform(-epsilon, epsilon),
                &device.clone().inner(),
            )
        };
        let call = HcalCall {
            settings: self.settings,
            levels: &self.levels,
            words: &self.words,
            features,
            prototypes,
            labels,
            noise: perturbed.then(draw),
            state: self.balance.state(&device),
        };
        let made = call.run();
        self.balance.remember(made.losses.clone());
        Ok(made)
    }

    /// The class of each level that each sample is nearest to, `[m, B]`.
    ///
    /// # Panics
    /// Where the features have another number of components.
    pub fn predict(&self, features: Tensor<2>) -> Tensor<2, Int> {
        let [rows, dim] = features.dims();
        let prototypes = self.prototypes.val().detach();
        unwrap(check_dims(
            "features",
            [rows, prototypes.dims()[1]],
            [rows, dim],
        ));
        let features = features.detach();
        if rows == 0 || !device::has_kernels(&features.device()) {
            return ops::hcal::predict(&self.levels, features, prototypes);
        }
        let settings = Hcal {
            balance: Balancing::default(),
            ..self.settings
        };
        let call = Builder::nothing(Loss::Hcal(settings, self.levels.clone()))
            .float("features", features)
            .float("prototypes", prototypes)
            .int("levels", self.words.clone())
            .makes("predictions", vec![self.levels.len(), rows], DType::I32);
        int(call.run().swap_remove(0))
    }
}

impl HcalCall<'_> {
    fn run(self) -> HcalOutput {
        let [rows, _] = self.features.dims();
        // Without a sample the levels are all absent, which the tensor operations know too.
        if rows == 0 || !device::has_kernels(&self.features.device()) {
            return ops::hcal::loss(self);
        }
        let m = self.levels.len();
        let call = Builder::new(
            Loss::Hcal(self.settings, self.levels.clone()),
            1,
            Upstream::One,
        )
        .root("features", "grad_features", self.features)
        .root("prototypes", "grad_prototypes", self.prototypes);
        let call = match (self.state, self.settings.balance) {
            (Some(state), Balancing::Uncertainty) => {
                call.root("log_variances", "grad_log_variances", float32(state))
            }
            (state, _) => call.float("level_weights", state.map(float32)),
        };
        let call = call
            .int("labels", self.labels)
            .int("levels", self.words.clone())
            .float("noise", self.noise)
            .makes("losses", vec![m], DType::F32)
            .makes("weights", vec![m], DType::F32);
        let mut made = call.run().into_iter();
        let mut next = || made.next().map(float);
        match (next(), next(), next()) {
            (Some(loss), Some(losses), Some(weights)) => HcalOutput {
                loss,
                losses,
                weights,
            },
            _ => unreachable!("HCAL makes a loss, those of its levels, and weights"),
        }
    }
}
