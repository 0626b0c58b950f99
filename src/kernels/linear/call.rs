//! What a fused last layer reads and writes on the device, and the checks of it.

use crate::device::inspect::{Inspection, Shape};
use crate::device::live::{self, Given, Live, Setting};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::targets::inspect_targets;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::reduction::Reduction;

/// What a fused last layer reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct LinearInputs<'a> {
    /// `[B, D]`, f32, f16 or bf16: the hidden states. Multiplied and summed in f32 whatever the type.
    pub hidden: Tensor<'a>,
    /// `[L, D]`, f32, f16 or bf16: the weights, a row for each label.
    pub weights: Tensor<'a>,
    /// f32 `[L]`: what is added to the logits.
    pub bias: Option<Tensor<'a>>,
    /// The targets, as bits or as lists of labels, all words u32: at so many labels a dense form is refused. Indices beyond
    /// the last label are ignored, offsets are kept within `indices`.
    pub targets: Targets<Tensor<'a>>,
    /// u8 `[L]`, 1 where the class counts. A class that does not is in no sum, and its gradient is 0.
    pub class_mask: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative, as in [`RowInputs`](crate::RowInputs).
    pub class_weight: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss. A row of weight 0 counts for nothing, whatever its logits are.
    pub sample_weight: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
    /// Settings of the loss that lie on the device, as in [`RowInputs`](crate::RowInputs).
    pub settings: &'a [Setting<'a>],
}

impl<'a> LinearInputs<'a> {
    /// Hidden states, weights and targets, nothing optional.
    pub fn new(
        hidden: Tensor<'a>,
        weights: Tensor<'a>,
        targets: Targets<Tensor<'a>>,
    ) -> LinearInputs<'a> {
        LinearInputs {
            hidden,
            weights,
            bias: None,
            targets,
            class_mask: None,
            class_weight: None,
            sample_weight: None,
            grad_loss: None,
            settings: &[],
        }
    }
}

/// What a fused last layer writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, D]`, f32 or the hidden states' type.
    pub grad_hidden: Option<Gradient<'a>>,
    /// `[L, D]`, f32 or the weights' type.
    pub grad_weights: Option<Gradient<'a>>,
    /// f32 `[L]`; needs a bias.
    pub grad_bias: Option<Gradient<'a>>,
}

impl LinearOutputs<'_> {
    /// Whether there is a gradient.
    pub(super) fn backward(&self) -> bool {
        self.grad_hidden.is_some() || self.by_label()
    }

    /// Whether there is one to what belongs to labels.
    pub(super) fn by_label(&self) -> bool {
        self.grad_weights.is_some() || self.grad_bias.is_some()
    }
}

/// Types of a gradient to a tensor: f32, or the tensor's.
fn types(of: Tensor<'_>) -> Vec<DType> {
    let mut all = vec![DType::F32, of.dtype()];
    all.dedup();
    all
}

/// Checks the tensors of a call. Gives the settings that are among them, of those in `live`, and the bytes of all tensors.
pub(crate) fn check<'a>(
    reduction: Reduction,
    live: &[Live],
    inputs: &LinearInputs<'a>,
    outputs: &LinearOutputs<'a>,
) -> Result<(Given<'a>, u64), Error> {
    let (rows, dims) = (inputs.hidden.rows(), inputs.hidden.cols());
    let labels = inputs.weights.rows();
    if dims == 0 {
        return Err(Error::shape("hidden", "at least one component", "none"));
    }
    if let Targets::Dense(_) = inputs.targets {
        return Err(Error::refused(
            "targets",
            "takes labels as bits or as lists (target_bits, or target_offsets with target_indices)",
        ));
    }
    let each = reduction == Reduction::None;
    let (by_label, by_row) = (Shape::Vector(labels), Shape::Vector(rows));
    let reals = &[DType::F32];
    let mut all = Inspection::default();
    all.reads("hidden", inputs.hidden, FLOATS, Shape::Matrix(rows, dims))?;
    let of_weights = Shape::Matrix(labels, dims);
    all.reads("weights", inputs.weights, FLOATS, of_weights)?;
    all.reads("bias", inputs.bias, reals, by_label)?;
    let names = TargetNames::TARGETS;
    inspect_targets(&mut all, &inputs.targets, names, (rows, labels), &[])?;
    all.reads("class_mask", inputs.class_mask, &[DType::U8], by_label)?;
    all.reads("class_weight", inputs.class_weight, reals, by_label)?;
    all.reads("sample_weight", inputs.sample_weight, reals, by_row)?;
    all.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let losses = Shape::Vector(if each { rows } else { 1 });
    all.writes("loss", outputs.loss, reals, losses)?;
    let to_hidden = outputs.grad_hidden;
    let of_hidden = Shape::Matrix(rows, dims);
    gradient::inspect(
        &mut all,
        "grad_hidden",
        to_hidden,
        &types(inputs.hidden),
        of_hidden,
    )?;
    let to_weights = outputs.grad_weights;
    gradient::inspect(
        &mut all,
        "grad_weights",
        to_weights,
        &types(inputs.weights),
        of_weights,
    )?;
    if outputs.grad_bias.is_some() && inputs.bias.is_none() {
        return Err(Error::refused("grad_bias", "needs a bias"));
    }
    gradient::inspect(&mut all, "grad_bias", outputs.grad_bias, reals, by_label)?;
    let given = live::inspect(&mut all, inputs.settings, live)?;
    Ok((given, all.finish()?))
}
