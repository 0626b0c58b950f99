//! Weights for several losses over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::{Answer, Gpu};
use crate::host::values::{check_each, narrow, seed_words, wide};
use crate::kernels::balance::{BalanceInputs, BalanceOutputs};
use crate::losses::balance::{Balance, BalanceState};
use crate::reference;

/// What came out. What a balance does not have is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BalanceResult {
    /// One for each loss.
    pub weights: Vec<f32>,
    /// The weighted sum.
    pub loss: f32,
    /// One for each loss.
    pub grad_losses: Vec<f32>,
    /// With uncertainty weighting: one for each loss.
    pub grad_log_variances: Vec<f32>,
}

/// Checks the state of a balance of `count` losses, and the values of weights that are given.
pub(super) fn check_state(
    config: &Balance,
    count: usize,
    state: Option<BalanceState<&[f32], u64>>,
) -> Result<(), Error> {
    config.check_state(state.as_ref())?;
    let Some(BalanceState::Weights(weights)) = state else {
        return Ok(());
    };
    check_len("level_weights", count, weights.len())?;
    let good = |w: &f32| w.is_finite() && *w >= 0.0;
    let expected = "finite weights, not negative";
    check_each("level_weights", weights, count, expected, good)
}

/// One call on the device.
fn on_gpu(
    gpu: &Gpu,
    config: &Balance,
    losses: &[f32],
    state: Option<BalanceState<&[f32], u64>>,
    grad_loss: Option<f32>,
) -> Result<Answer<BalanceResult>, Error> {
    let count = losses.len();
    let vector = |buffer, len| Tensor::vector(buffer, DType::F32, len);
    let input = gpu.put(losses)?;
    let upstream = gpu.put(&[grad_loss.unwrap_or(1.0)])?;
    let (kept, kept_len) = match state {
        Some(BalanceState::Seed(seed)) => (gpu.put(&seed_words(seed))?, 2),
        state => {
            let values = state.and_then(BalanceState::numbers).unwrap_or(&[]);
            (gpu.put(values)?, values.len())
        }
    };
    let [weights, loss, grads, grad_state] = [
        gpu.numbers(count)?,
        gpu.numbers(1)?,
        gpu.numbers(count)?,
        gpu.numbers(count)?,
    ];
    let log_variances = matches!(config, Balance::Uncertainty);
    let inputs = BalanceInputs {
        losses: vector(&input, count),
        state: state.map(|state| {
            let seed = |_| Tensor::vector(&kept, DType::U32, 2);
            state.map(|_| vector(&kept, kept_len), seed)
        }),
        grad_loss: Some(vector(&upstream, 1)),
        settings: &[],
    };
    let outputs = BalanceOutputs {
        weights: Some(vector(&weights, count)),
        loss: Some(vector(&loss, 1)),
        grad_losses: Some(vector(&grads, count).into()),
        grad_log_variances: log_variances.then(|| vector(&grad_state, count).into()),
    };
    let call = config.prepare(gpu.context(), &inputs, &outputs)?;
    let of_state = if log_variances { count } else { 0 };
    let reads = [
        (&weights, count),
        (&loss, 1),
        (&grads, count),
        (&grad_state, of_state),
    ];
    Ok(Answer::coming(gpu.send_call(&call, &reads)?, |mut read| {
        Ok(BalanceResult {
            weights: read.next(),
            loss: read.next().first().copied().unwrap_or(0.0),
            grad_losses: read.next(),
            grad_log_variances: read.next(),
        })
    }))
}

impl Engine {
    /// Weighs losses: their weights, the weighted sum, and its gradients. What the call makes of a history or a seed is
    /// not given back.
    ///
    /// # Errors
    /// Settings, a state that is missing or of another length, device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn balance(
        &self,
        config: &Balance,
        losses: &[f32],
        state: Option<BalanceState<&[f32], u64>>,
        grad_loss: Option<f32>,
    ) -> Result<BalanceResult, Error> {
        self.begin_balance(config, losses, state, grad_loss)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn balance_async(
        &self,
        config: &Balance,
        losses: &[f32],
        state: Option<BalanceState<&[f32], u64>>,
        grad_loss: Option<f32>,
    ) -> Result<BalanceResult, Error> {
        let begun = self.begin_balance(config, losses, state, grad_loss)?;
        begun.done().await
    }

    fn begin_balance(
        &self,
        config: &Balance,
        losses: &[f32],
        state: Option<BalanceState<&[f32], u64>>,
        grad_loss: Option<f32>,
    ) -> Result<Answer<BalanceResult>, Error> {
        config.check()?;
        check_state(config, losses.len(), state)?;
        // A device weighs at least one.
        if let Some(gpu) = self.gpu().filter(|_| !losses.is_empty()) {
            return on_gpu(gpu, config, losses, state, grad_loss);
        }
        let kept = wide(state.and_then(BalanceState::numbers).unwrap_or(&[]));
        let out = reference::balance(
            config,
            &reference::BalanceInputs {
                losses: &wide(losses),
                present: None,
                state: state.map(|state| state.map(|_| &kept[..], |seed| seed)),
                grad_loss: grad_loss.map(f64::from),
            },
        )?;
        Ok(Answer::Here(BalanceResult {
            weights: narrow(out.weights),
            loss: out.loss as f32,
            grad_losses: narrow(out.grad_losses),
            grad_log_variances: narrow(out.grad_log_variances),
        }))
    }
}
