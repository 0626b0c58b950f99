//! Weights for several losses, found on the GPU from the losses themselves: `L = sum_k lambda_k l_k`.
//!
//! | [`Balance`] | weights | source |
//! |---|---|---|
//! | `Adaptive` | `softmax(l / gamma)`: the larger losses count more | HCAL, arXiv 2508.13452 |
//! | `Dwa` | `K softmax(w / T)`, `w_k = l_k(t-1) / l_k(t-2)`: what falls slowly counts more | Liu et al., arXiv 1803.10704 |
//! | `Uncertainty` | `e^-theta / 2`, and `theta / 2` added to the loss; `theta` is learnt | Kendall et al., arXiv 1705.07115 |
//! | `Random` | `softmax(z)`, `z` normal, drawn anew at each call | Lin et al., arXiv 2111.10603 |
//!
//! All run in one dispatch of one workgroup, read their losses where the kernels before have left them, and keep their
//! state on the device; nothing is read back. The gradient to loss `k` is `grad_losses[k] = grad_loss lambda_k`:
//! weights are constants to it. Only `Adaptive` with `attach` differentiates them too:
//! `grad_loss lambda_k (1 + (l_k - L) / gamma)`.
//!
//! **Absent losses.** Within HCAL the loss of a level without a sample is in no softmax; its weight and gradient are 0,
//! and its history stays. With none left the result is 0.
//!
//! **Dwa** takes a history of `2 K` values, zeros at the start: losses of the call before and of the one before that.
//! Each call weighs with it, then moves its own losses in. Where one of the two is 0 (the first two calls) `w_k = 1`.
//! The paper's `t` are epochs: call it once for each epoch's mean losses to have that.
//!
//! **Random** takes a seed of two words and adds 1 to it at each call, so that the call recorded once draws anew.
//!
//! **Edges.** Softmaxes are shifted. A NaN among the losses that count makes every weight, gradient and the result NaN.

use super::balance_steps;
use super::rows::check_setting;
use crate::{Context, Error, Prepared, Tensor};

/// How losses are weighted. The [module](self) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Balance {
    /// HCAL's adaptive weights.
    Adaptive {
        /// Temperature, above 0.
        gamma: f32,
        /// Whether the weights are differentiated too.
        attach: bool,
    },
    /// Dynamic weight averaging.
    Dwa {
        /// Temperature, above 0; 2 in the paper.
        temperature: f32,
    },
    /// Uncertainty weighting, with a learnable logarithm of each loss's variance.
    Uncertainty,
    /// Random loss weighting.
    Random,
}

impl Default for Balance {
    /// HCAL's: `gamma` 0.5, detached.
    fn default() -> Self {
        Balance::Adaptive {
            gamma: 0.5,
            attach: false,
        }
    }
}

/// What a [`Balance`] keeps or learns, on the device.
#[derive(Clone, Copy, Debug, Default)]
pub enum BalanceState<'a> {
    /// Nothing, with `Adaptive`.
    #[default]
    None,
    /// With `Dwa`: f32 `[2 K]`, read and written.
    History(Tensor<'a>),
    /// With `Uncertainty`: f32 `[K]`, `theta`.
    LogVariances(Tensor<'a>),
    /// With `Random`: u32 `[2]`, low and high half, read and written.
    Seed(Tensor<'a>),
}

/// What balancing reads.
#[derive(Clone, Copy, Debug)]
pub struct BalanceInputs<'a> {
    /// f32 `[K]`.
    pub losses: Tensor<'a>,
    /// State or parameters.
    pub state: BalanceState<'a>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What balancing writes; what is absent is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceOutputs<'a> {
    /// f32 `[K]`.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[K]`: the gradient to the losses.
    pub grad_losses: Option<Tensor<'a>>,
    /// f32 `[K]`: the gradient to `theta` of `Uncertainty`.
    pub grad_log_variances: Option<Tensor<'a>>,
}

impl Balance {
    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Balance::Adaptive { gamma, .. } => check_setting("gamma", gamma, 1e-6..=f32::MAX),
            Balance::Dwa { temperature } => {
                check_setting("dwa temperature", temperature, 1e-6..=f32::MAX)
            }
            Balance::Uncertainty | Balance::Random => Ok(()),
        }
    }

    /// Checks the call and makes what it needs: one dispatch, no scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &BalanceInputs<'_>,
        outputs: &BalanceOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        balance_steps::prepare(cx, self, inputs, outputs)
    }
}
