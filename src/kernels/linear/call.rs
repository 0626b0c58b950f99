//! What a fused last layer reads and writes on the device, and the checks of it.

use crate::device::inspect::{Inspection, Shape};
use crate::device::live::{self, Given, Setting};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::rows::loss::Row;
use crate::kernels::targets::inspect_targets;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::linear::{Linear, MOST_CHOSEN, Update};
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
    /// the last label are ignored, offsets are kept within `indices`. Needed for everything but predictions.
    pub targets: Option<Targets<Tensor<'a>>>,
    /// u8 `[L]`, 1 where the class counts. A class that does not is in no sum, and its gradient is 0.
    pub class_mask: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative, as in [`RowInputs`](crate::RowInputs).
    pub class_weight: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss. A row of weight 0 counts for nothing, whatever its logits are.
    pub sample_weight: Option<Tensor<'a>>,
    /// f32 `[L]`: what the squares of each label's gradients have come to, for [`Update::Adagrad`](crate::Update), which
    /// adds to it. Zeros at first.
    pub state: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
    /// Settings of the loss that lie on the device, as in [`RowInputs`](crate::RowInputs).
    pub settings: &'a [Setting<'a>],
}

impl<'a> LinearInputs<'a> {
    /// Hidden states and weights, nothing optional: enough for predictions.
    pub fn new(hidden: Tensor<'a>, weights: Tensor<'a>) -> LinearInputs<'a> {
        LinearInputs {
            hidden,
            weights,
            bias: None,
            targets: None,
            class_mask: None,
            class_weight: None,
            sample_weight: None,
            state: None,
            grad_loss: None,
            settings: &[],
        }
    }
}

/// What a fused last layer writes; what is absent is not computed. With an [`Update`](crate::Update) it writes the weights, too,
/// and the state.
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
    /// u32 `[B, K]`, K up to 128: the labels of the greatest logits, the greatest first, of equal ones the smaller label first;
    /// 0xffffffff where fewer classes than K count.
    pub top_labels: Option<Tensor<'a>>,
    /// f32 `[B, K]`: these logits, -inf where there is no label. Goes with `top_labels`.
    pub top_scores: Option<Tensor<'a>>,
}

/// Types of a gradient to a tensor: f32, or the tensor's.
fn types(of: Tensor<'_>) -> Vec<DType> {
    let mut all = vec![DType::F32, of.dtype()];
    all.dedup();
    all
}

/// Checks the tensors of a call beside some that have been checked. Gives the settings that are among them, and the bytes of all
/// tensors.
pub(crate) fn check<'a>(
    mut all: Inspection<'a>,
    layer: &Linear<()>,
    row: &Row,
    inputs: &LinearInputs<'a>,
    outputs: &LinearOutputs<'a>,
) -> Result<(Given<'a>, u64), Error> {
    let (rows, dims) = (inputs.hidden.rows(), inputs.hidden.cols());
    let labels = inputs.weights.rows();
    if dims == 0 {
        return Err(Error::shape("hidden", "at least one component", "none"));
    }
    let each = row.reduction == Reduction::None;
    let (by_label, by_row) = (Shape::Vector(labels), Shape::Vector(rows));
    let reals = &[DType::F32];
    let (of_hidden, of_weights) = (Shape::Matrix(rows, dims), Shape::Matrix(labels, dims));
    all.reads("hidden", inputs.hidden, FLOATS, of_hidden)?;
    all.reads("weights", inputs.weights, FLOATS, of_weights)?;
    all.reads("bias", inputs.bias, reals, by_label)?;
    let learns = layer.update.is_some()
        || outputs.loss.is_some()
        || outputs.grad_hidden.is_some()
        || outputs.grad_weights.is_some()
        || outputs.grad_bias.is_some();
    match &inputs.targets {
        Some(Targets::Dense(_)) => {
            return Err(Error::refused(
                "targets",
                "takes labels as bits or as lists (target_bits, or target_offsets with target_indices)",
            ));
        }
        Some(targets) => {
            let names = TargetNames::TARGETS;
            inspect_targets(&mut all, targets, names, (rows, labels), &[])?;
        }
        None if learns => {
            return Err(Error::refused(
                "targets",
                "needed to compute the loss or its gradient",
            ));
        }
        None => {}
    }
    all.reads("class_mask", inputs.class_mask, &[DType::U8], by_label)?;
    all.reads("class_weight", inputs.class_weight, reals, by_label)?;
    all.reads("sample_weight", inputs.sample_weight, reals, by_row)?;
    all.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let losses = Shape::Vector(if each { rows } else { 1 });
    all.writes("loss", outputs.loss, reals, losses)?;
    let to_hidden = outputs.grad_hidden;
    let dtypes = types(inputs.hidden);
    gradient::inspect(&mut all, "grad_hidden", to_hidden, &dtypes, of_hidden)?;
    let to_weights = outputs.grad_weights;
    let dtypes = types(inputs.weights);
    gradient::inspect(&mut all, "grad_weights", to_weights, &dtypes, of_weights)?;
    if outputs.grad_bias.is_some() && inputs.bias.is_none() {
        return Err(Error::refused("grad_bias", "needs a bias"));
    }
    gradient::inspect(&mut all, "grad_bias", outputs.grad_bias, reals, by_label)?;
    inspect_update(&mut all, layer, inputs, outputs)?;
    inspect_top(&mut all, rows, labels, outputs)?;
    let given = live::inspect(&mut all, inputs.settings, row.live)?;
    Ok((given, all.finish()?))
}

fn inspect_update<'a>(
    all: &mut Inspection<'a>,
    layer: &Linear<()>,
    inputs: &LinearInputs<'a>,
    outputs: &LinearOutputs<'a>,
) -> Result<(), Error> {
    let has_state = layer.update.is_some_and(Update::has_state);
    match inputs.state {
        Some(_) if !has_state => {
            return Err(Error::refused("state", "belongs to Adagrad alone"));
        }
        None if has_state => return Err(Error::refused("state", "Adagrad needs it")),
        Some(state) => {
            let by_label = Shape::Vector(inputs.weights.rows());
            all.moves_on("state", state, &[DType::F32], by_label)?;
        }
        None => {}
    }
    if layer.update.is_some() {
        if outputs.grad_weights.is_some() {
            return Err(Error::refused(
                "grad_weights",
                "is stored nowhere where the weights take a step",
            ));
        }
        all.overwrites("weights", inputs.weights);
    }
    Ok(())
}

fn inspect_top<'a>(
    all: &mut Inspection<'a>,
    rows: usize,
    labels: usize,
    outputs: &LinearOutputs<'a>,
) -> Result<(), Error> {
    let count = match (outputs.top_labels, outputs.top_scores) {
        (None, None) => return Ok(()),
        (Some(labels), Some(_)) => labels.cols(),
        (Some(_), None) => return Err(Error::refused("top_scores", "goes with top_labels")),
        (None, Some(_)) => return Err(Error::refused("top_labels", "goes with top_scores")),
    };
    let most = labels.min(MOST_CHOSEN);
    if !(1..=most).contains(&count) {
        return Err(Error::shape(
            "top_labels",
            format!(
                "1 to {most} columns (at most {MOST_CHOSEN}, and no more than there are labels)"
            ),
            count,
        ));
    }
    let shape = Shape::Matrix(rows, count);
    all.writes("top_labels", outputs.top_labels, &[DType::U32], shape)?;
    all.writes("top_scores", outputs.top_scores, &[DType::F32], shape)
}
