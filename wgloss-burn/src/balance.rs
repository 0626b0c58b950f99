//! Weights of several losses.

use crate::fused::{Builder, Loss, Upstream, float};
use crate::ops;
use crate::targets::check_dims;
use crate::{device, float32, in_a_line, unwrap};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param, RunningState};
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Distribution, Tensor};
use wgloss::losses::balance::DWA_MOST;
use wgloss::{Balance as Settings, Error};

/// Configuration of [`Balance`].
///
/// ```no_run
/// # use burn::tensor::{Device, Tensor};
/// # let device = Device::default();
/// # let (first, second) = (Tensor::<1>::ones([1], &device), Tensor::<1>::ones([1], &device));
/// use wgloss_burn::BalanceConfig;
///
/// let balance = BalanceConfig::new(2).init(&device);
/// let loss = balance.forward(Tensor::cat(vec![first, second], 0));
/// ```
#[derive(Config, Debug)]
pub struct BalanceConfig {
    /// How many losses there are.
    pub losses: usize,
    /// How they are weighted: HCAL's adaptive weights (arXiv 2508.13452) unless set otherwise; dynamic weight averaging
    /// (arXiv 1803.10704), learnt uncertainties (arXiv 1705.07115), random (arXiv 2111.10603) or fixed weights.
    #[config(default = "Settings::default()")]
    pub settings: Settings,
    /// The weights, with `Balance::Fixed`.
    pub weights: Option<Vec<f32>>,
}

impl BalanceConfig {
    /// Makes the balance.
    ///
    /// # Panics
    /// Where a setting is out of range, and fixed weights are missing or of another number.
    pub fn init(&self, device: &Device) -> Balance {
        unwrap(self.try_init(device))
    }

    pub(crate) fn try_init(&self, device: &Device) -> Result<Balance, Error> {
        self.settings.check()?;
        if self.losses == 0 {
            return Err(Error::shape("losses", "at least one", 0));
        }
        let fixed = self.settings == Settings::Fixed;
        let weights = match (&self.weights, fixed) {
            (Some(weights), true) => {
                check_dims("level_weights", [self.losses], [weights.len()])?;
                if let Some(weight) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
                    return Err(Error::value(
                        "level_weights",
                        "finite numbers that are not negative",
                        weight,
                    ));
                }
                Some(Tensor::from_floats(weights.as_slice(), device))
            }
            (None, false) => None,
            (None, true) => return Err(Error::refused("level_weights", "needed by this balance")),
            (Some(_), false) => {
                return Err(Error::refused("level_weights", "belong to fixed weights"));
            }
        };
        let learnt = self.settings == Settings::Uncertainty;
        let history = matches!(self.settings, Settings::Dwa { .. });
        Ok(Balance {
            log_variances: learnt.then(|| Param::from_tensor(Tensor::zeros([self.losses], device))),
            history: history.then(|| RunningState::new(Tensor::zeros([2 * self.losses], device))),
            weights,
            count: self.losses,
            settings: self.settings,
        })
    }
}

/// Several losses weighted, and what the weights are made of. Made by [`BalanceConfig`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Balance {
    /// Of learnt uncertainties: the logarithm of each loss's variance.
    pub log_variances: Option<Param<Tensor<1>>>,
    /// Of dynamic weight averaging: the losses of the call before, and of the one before that.
    pub history: Option<RunningState<Tensor<1>>>,
    /// Fixed weights.
    pub weights: Option<Tensor<1>>,
    count: usize,
    #[module(skip)]
    settings: Settings,
}

impl ModuleDisplay for Balance {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        in_a_line()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add_debug_attribute("losses", &self.count)
            .add_debug_attribute("settings", &self.settings)
            .optional()
    }
}

/// Losses and how they are weighted.
pub(crate) struct BalanceCall {
    /// Adaptive, learnt or fixed: the others are fixed by the time of the call.
    pub(crate) settings: Settings,
    pub(crate) losses: Tensor<1>,
    /// Log variances or weights.
    pub(crate) state: Option<Tensor<1>>,
}

impl Balance {
    /// The weighted sum of the losses `[K]`, `[1]`.
    ///
    /// # Panics
    /// Where there are not as many losses as configured.
    pub fn forward(&self, losses: Tensor<1>) -> Tensor<1> {
        self.forward_with_weights(losses).0
    }

    /// The weighted sum, and the weights, `[K]`.
    ///
    /// # Panics
    /// As [`Balance::forward`].
    pub fn forward_with_weights(&self, losses: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        unwrap(check_dims("losses", [self.count], losses.dims()));
        let call = BalanceCall {
            settings: self.kernel(),
            state: self.state(&losses.device()),
            losses: losses.clone(),
        };
        let made = call.run();
        self.remember(losses);
        made
    }

    /// What the kernels are asked for: weights that are found here are fixed to them.
    pub(crate) fn kernel(&self) -> Settings {
        match self.settings {
            Settings::Dwa { .. } | Settings::Random => Settings::Fixed,
            settings => settings,
        }
    }

    /// Log variances or weights of the next call.
    pub(crate) fn state(&self, device: &Device) -> Option<Tensor<1>> {
        let count = self.count;
        match self.settings {
            Settings::Dwa { temperature } => {
                let history = self.history.as_ref()?.value_sync();
                let (last, before) = (
                    history.clone().narrow(0, 0, count),
                    history.narrow(0, count, count),
                );
                let known = last
                    .clone()
                    .greater_scalar(0.0)
                    .bool_and(before.clone().greater_scalar(0.0));
                let none = known.bool_not();
                let ratio = last / before.mask_fill(none.clone(), 1.0);
                let ratio = ratio.mask_fill(none, 1.0).clamp_max(DWA_MOST);
                Some(softmax(ratio / temperature, 0) * count as f32)
            }
            Settings::Random => {
                let normal = Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), device);
                Some(softmax(normal, 0))
            }
            _ => {
                let learnt = self.log_variances.as_ref().map(Param::val);
                learnt.or_else(|| self.weights.clone())
            }
        }
    }

    /// Moves losses into the history.
    pub(crate) fn remember(&self, losses: Tensor<1>) {
        if let Some(history) = &self.history {
            let last = history.value_sync().narrow(0, 0, self.count);
            history.update(Tensor::cat(vec![losses.detach().inner(), last], 0));
        }
    }
}

impl BalanceCall {
    fn run(self) -> (Tensor<1>, Tensor<1>) {
        if !device::has_kernels(&self.losses.device()) {
            return ops::balance::loss(&self, None);
        }
        let count = self.losses.dims()[0];
        let call = Builder::new(Loss::Balance(self.settings), 1, Upstream::One);
        let call = call.root("losses", "grad_losses", float32(self.losses));
        let call = match (self.state, self.settings) {
            (Some(state), Settings::Uncertainty) => {
                call.root("log_variances", "grad_log_variances", float32(state))
            }
            (state, _) => call.float("level_weights", state.map(float32)),
        };
        let mut made = call
            .makes("weights", vec![count], DType::F32)
            .run()
            .into_iter();
        let mut next = || made.next().map(float);
        match (next(), next()) {
            (Some(loss), Some(weights)) => (loss, weights),
            _ => unreachable!("a balance makes a loss and weights"),
        }
    }
}
