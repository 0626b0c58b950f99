//! What HCAL reads and writes on the device.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::hcal::plan;
use crate::kernels::on_device::OnDevice;
use crate::losses::balance::BalanceState;
use crate::losses::hcal::Hcal;
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{Noise, Seed};

impl Hcal {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &HcalInputs<'_>,
        outputs: &HcalOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        plan::prepare(cx, self, inputs, outputs)
    }
}

/// What HCAL reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct HcalInputs<'a> {
    /// `[B, D]`, f32, f16 or bf16.
    pub features: Tensor<'a>,
    /// `[C_k, D]` for each level, f32, f16 or bf16.
    pub prototypes: &'a [Tensor<'a>],
    /// u32 `[m, B]`: a row for each level; [`Levels::NONE`] where there is no label. Needed for losses.
    pub labels: Option<Tensor<'a>>,
    /// The levels.
    pub levels: OnDevice<'a, Levels>,
    /// The perturbation of the prototypes, f32; absent: none, for validation or an ablation.
    pub noise: Option<Noise<&'a [Tensor<'a>], Seed<Tensor<'a>>>>,
    /// State or parameters of the balance, as [`BalanceInputs::state`](crate::BalanceInputs::state).
    pub balance: Option<BalanceState<Tensor<'a>>>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What HCAL writes; what is absent is not computed. Predictions and violations alone: leave out all others, and
/// labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct HcalOutputs<'a> {
    /// f32 `[m]`: the loss of each level.
    pub losses: Option<Tensor<'a>>,
    /// f32 `[m]`: their weights.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[B, D]`.
    pub grad_features: Option<Tensor<'a>>,
    /// f32 `[C_k, D]` for each level.
    pub grad_prototypes: Option<&'a [Tensor<'a>]>,
    /// f32 `[m]`: the gradient to the log variances of [`Balance::Uncertainty`](crate::Balance::Uncertainty).
    pub grad_log_variances: Option<Tensor<'a>>,
    /// u32 `[m, B]`.
    pub predictions: Option<Tensor<'a>>,
    /// u32 `[m + 1]`, added to, so that calls of an epoch go to one tensor that was zeros at its beginning: samples,
    /// samples with a violation, and violations of each link from level `k` to `k + 1`. HVR by sample is the second
    /// through the first; by edge, the sum of the rest through `m - 1` times the first.
    pub violations: Option<Tensor<'a>>,
}
