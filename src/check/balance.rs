//! Cases of balances of any losses. There is no table of them: HCAL's has every balance.

use crate::check::case::{Case, Layout, Output};
use crate::check::numbers::{Numbers, rounded};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::kernels::balance::{BalanceInputs, BalanceOutputs};
use crate::losses::balance::{Balance, BalanceState};
use crate::reference;
use std::fmt;

/// One case of a balance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BalanceCase {
    pub(super) config: Balance,
    /// Whether there is an upstream gradient.
    pub(super) upstream: bool,
    pub(super) layout: Layout,
    /// Size of the losses.
    pub(super) size: f64,
    /// How many losses.
    pub(super) losses: usize,
    /// Seed of the numbers.
    pub(super) seed: u64,
}

impl fmt::Display for BalanceCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "balance {self:?}")
    }
}

impl BalanceCase {
    fn reference<T: reference::Real>(
        &self,
        n: &Numbers,
    ) -> Result<reference::BalanceOutputs<T>, Error> {
        let losses = n.real("losses").unwrap_or_default();
        let state = n.real("state").unwrap_or_default();
        let inputs = reference::BalanceInputs {
            losses: &losses,
            present: None,
            state: self.state(&state[..], self.seed),
            grad_loss: n.real("grad_loss").and_then(|g: Vec<T>| g.first().copied()),
        };
        reference::balance(&self.config, &inputs)
    }

    /// The state that the balance has, of numbers or of a seed.
    fn state<T, S>(&self, numbers: T, seed: S) -> Option<BalanceState<T, S>> {
        match self.config {
            Balance::Adaptive { .. } => None,
            Balance::Dwa { .. } => Some(BalanceState::History(numbers)),
            Balance::Uncertainty => Some(BalanceState::LogVariances(numbers)),
            Balance::Random => Some(BalanceState::Seed(seed)),
            Balance::Fixed => Some(BalanceState::Weights(numbers)),
        }
    }
}

impl Case for BalanceCase {
    fn name(&self) -> &'static str {
        "balance"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let mut some = |count: usize, low: f64, high: f64| -> Vec<f64> {
            let all = rng.many(count, low, high).into_iter();
            all.map(|value| rounded(DType::F32, value)).collect()
        };
        let k = self.losses;
        let mut n = Numbers::default();
        let losses = some(k, 0.0, self.size);
        n.put_vector("losses", DType::F32, Some(losses));
        match self.config {
            Balance::Adaptive { .. } => {}
            Balance::Random => n.put_seed("state", self.seed),
            Balance::Dwa { .. } => {
                n.put_vector("state", DType::F32, Some(some(2 * k, 0.0, self.size)));
            }
            Balance::Uncertainty => n.put_vector("state", DType::F32, Some(some(k, -3.0, 3.0))),
            Balance::Fixed => n.put_vector("state", DType::F32, Some(some(k, 0.0, 3.0))),
        }
        let upstream = self.upstream.then(|| some(1, -2.0, 2.0));
        n.put_vector("grad_loss", DType::F32, upstream);
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let (truth, naive) = (self.reference::<f64>(n)?, self.reference::<f32>(n)?);
        let most = |of: &[f64]| of.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let upstream = n.find("grad_loss").map_or(1.0, most);
        let (loss, weight) = (most(n.get("losses")), most(&truth.weights));
        let near = |name, truth: Vec<f64>, naive: Vec<f32>, size| {
            Output::near(name, DType::F32, (1, truth.len()), truth, naive).cancelling(size)
        };
        // What weights that are differentiated add cancels with the loss, which all losses make.
        let through = match self.config {
            Balance::Adaptive {
                gamma,
                attach: true,
            } => 1.0 + loss / f64::from(gamma),
            _ => 1.0,
        };
        let slope = upstream * weight * through;
        let mut outputs = vec![
            near("loss", vec![truth.loss], vec![naive.loss], weight * loss),
            near("grad_losses", truth.grad_losses, naive.grad_losses, slope),
            near("weights", truth.weights, naive.weights, weight),
        ];
        match self.config {
            Balance::Uncertainty => {
                let (t, f) = (truth.grad_log_variances, naive.grad_log_variances);
                let size = upstream * (0.5 + weight * loss);
                outputs.push(near("grad_log_variances", t, f, size));
            }
            Balance::Dwa { .. } => {
                outputs.push(Output::changed("state").exactly(truth.history));
            }
            Balance::Random => {
                let next = self.seed.wrapping_add(1);
                let next = [next as u32, (next >> 32) as u32].map(f64::from);
                outputs.push(Output::changed("state").exactly(next.into()));
            }
            Balance::Adaptive { .. } | Balance::Fixed => {}
        }
        Ok(outputs)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        t: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let state = match t.find("state") {
            Some(state) => self.state(state, state),
            None => None,
        };
        let inputs = BalanceInputs {
            losses: t.get("losses")?,
            state,
            grad_loss: t.find("grad_loss"),
            settings: &[],
        };
        let outputs = BalanceOutputs {
            weights: t.find("weights"),
            loss: t.find("loss"),
            grad_losses: t.gradient("grad_losses"),
            grad_log_variances: t.gradient("grad_log_variances"),
        };
        Ok(vec![self.config.prepare(cx, &inputs, &outputs)?])
    }
}
