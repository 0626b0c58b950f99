//! Weights for several losses, found on the GPU from the losses themselves: `L = sum_k lambda_k l_k`.
//!
//! | [`Balance`] | weights | source |
//! |---|---|---|
//! | `Adaptive` | `softmax(l / gamma)`: the larger losses count more | HCAL, arXiv 2508.13452 |
//! | `Dwa` | `K softmax(w / T)`, `w_k = l_k(t-1) / l_k(t-2)`: what falls slowly counts more | Liu et al., arXiv 1803.10704 |
//! | `Uncertainty` | `e^-theta / 2`, and `theta / 2` added to the loss; `theta` is learnt | Kendall et al., arXiv 1705.07115 |
//! | `Random` | `softmax(z)`, `z` normal, drawn anew at each call | Lin et al., arXiv 2111.10603 |
//! | `Fixed` | those of a tensor, which the caller may change from call to call | |
//!
//! All run in one dispatch of one workgroup, read their losses where the kernels before have left them, and keep their
//! state on the device; nothing is read back. The gradient to loss `k` is `grad_losses[k] = grad_loss lambda_k`:
//! weights are constants to it. Only `Adaptive` with `attach` differentiates them too:
//! `grad_loss lambda_k (1 + (l_k - L) / gamma)`.
//!
//! **Absent losses.** Within HCAL the loss of a level without a sample is in no softmax; its weight and gradient are 0,
//! and its history stays. With none left the result is 0. `Fixed` weights are given out as they are.
//!
//! **Dwa** takes a history of `2 K` values, zeros at the start: losses of the call before and of the one before that.
//! Each call weighs with it, then moves its own losses in. Where one of the two is 0 (the first two calls) `w_k = 1`; it is at
//! most 1e30.
//! The paper's `t` are epochs: call it once for each epoch's mean losses to have that.
//!
//! **Random** takes a seed of two words and adds 1 to it at each call, so that the call recorded once draws anew.
//!
//! **Beside the authors' code.** HCAL's `AWA` has `gamma` 0.5 and constant weights, which is [`Balance::Adaptive`] without
//! `attach`. The temperature of DWA is 2 in its authors' code (`lorenmt/mtan`). The others have no setting.
//!
//! **Edges.** Softmaxes are shifted. A NaN or an infinity among the losses that count makes every weight, gradient and the
//! result NaN, but for `Fixed` weights.

use crate::error::Error;
use crate::losses::reduction::check_setting;

/// The largest ratio of two losses that [`Balance::Dwa`] makes.
pub const DWA_MOST: f32 = 1e30;

/// How losses are weighted. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
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
    /// Weights that the caller gives.
    Fixed,
}

/// What a [`Balance`] keeps or learns from call to call. `T` holds numbers, `S` a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BalanceState<T, S = T> {
    /// With [`Balance::Dwa`], `[2 K]`: the losses of the call before and of the one before that.
    History(T),
    /// With [`Balance::Uncertainty`], `[K]`: `theta`.
    LogVariances(T),
    /// With [`Balance::Random`]: the seed.
    Seed(S),
    /// With [`Balance::Fixed`], `[K]`: the weights, finite and not negative. Errors call them `level_weights`.
    Weights(T),
}

impl<T, S> BalanceState<T, S> {
    /// The same, held by something else.
    pub fn map<U, V>(
        self,
        numbers: impl FnOnce(T) -> U,
        seed: impl FnOnce(S) -> V,
    ) -> BalanceState<U, V> {
        match self {
            BalanceState::History(values) => BalanceState::History(numbers(values)),
            BalanceState::LogVariances(values) => BalanceState::LogVariances(numbers(values)),
            BalanceState::Weights(values) => BalanceState::Weights(numbers(values)),
            BalanceState::Seed(value) => BalanceState::Seed(seed(value)),
        }
    }

    /// What holds the numbers; nothing of a seed.
    pub(crate) fn numbers(self) -> Option<T> {
        match self {
            BalanceState::History(values)
            | BalanceState::LogVariances(values)
            | BalanceState::Weights(values) => Some(values),
            BalanceState::Seed(_) => None,
        }
    }
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
            Balance::Uncertainty | Balance::Random | Balance::Fixed => Ok(()),
        }
    }

    /// Refuses a state that is not this balance's.
    pub(crate) fn check_state<T, S>(
        &self,
        state: Option<&BalanceState<T, S>>,
    ) -> Result<(), Error> {
        let name = |state: &BalanceState<T, S>| match state {
            BalanceState::History(_) => "history",
            BalanceState::LogVariances(_) => "log_variances",
            BalanceState::Seed(_) => "seed",
            BalanceState::Weights(_) => "level_weights",
        };
        let wanted = match self {
            Balance::Adaptive { .. } => None,
            Balance::Dwa { .. } => Some("history"),
            Balance::Uncertainty => Some("log_variances"),
            Balance::Random => Some("seed"),
            Balance::Fixed => Some("level_weights"),
        };
        match (wanted, state.map(name)) {
            (wanted, given) if wanted == given => Ok(()),
            (Some(wanted), _) => Err(Error::refused(wanted, "needed by this balance")),
            (None, given) => Err(Error::refused(
                given.unwrap_or("balance"),
                "adaptive weights have no state",
            )),
        }
    }
}
