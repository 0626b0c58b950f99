//! What the constraint module reads and writes on the device, and the checks of it.

use crate::device::inspect::{Inspection, Shape};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::on_device::OnDevice;
use crate::kernels::targets::{DENSE, inspect_targets};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;

/// What the constraint module reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct McmInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16.
    pub logits: Tensor<'a>,
    /// The targets, which are hard; needed for loss and gradient, not for probabilities. Dense ones are u8 (0 or 1),
    /// u32 or the words of i32 (positive where not 0), or f32, f16, bf16 (positive above 0.5); words are u32, and those of
    /// lists are not checked: indices beyond the last class are ignored, offsets are kept within `indices`. Of an element
    /// that does not count, only a plain 1 is positive.
    pub targets: Option<Targets<Tensor<'a>>>,
    /// The hierarchy.
    pub hierarchy: OnDevice<'a, Hierarchy>,
    /// u8 `[L]`, 1 where the class counts. One that does not has no term, and takes part in the maxima of its ancestors.
    pub class_mask: Option<Tensor<'a>>,
    /// u8 `[B, L]`, 1 where the element counts.
    pub mask: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss. A row of weight 0 counts for nothing, whatever it holds; its gradient is 0.
    pub sample_weight: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative: weight of each class's term.
    pub class_weight: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

impl<'a> McmInputs<'a> {
    /// Logits and hierarchy, nothing optional: enough for probabilities.
    pub fn new(logits: Tensor<'a>, hierarchy: OnDevice<'a, Hierarchy>) -> Self {
        McmInputs {
            logits,
            targets: None,
            hierarchy,
            class_mask: None,
            mask: None,
            sample_weight: None,
            class_weight: None,
            grad_loss: None,
        }
    }
}

/// What the constraint module writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, L]`, f32 or the logits' type: the gradient to the logits.
    pub grad_logits: Option<Gradient<'a>>,
    /// f32 `[B, L]`: the constrained probabilities.
    pub probabilities: Option<Tensor<'a>>,
}

impl McmOutputs<'_> {
    /// Whether anything depends on the targets.
    pub(super) fn want_terms(&self) -> bool {
        self.loss.is_some() || self.grad_logits.is_some()
    }
}

/// Checks the tensors of a call, and gives their bytes.
pub(super) fn inspect(
    config: &Mcm,
    inputs: &McmInputs<'_>,
    outputs: &McmOutputs<'_>,
) -> Result<u64, Error> {
    let hierarchy = inputs.hierarchy.host;
    let (rows, cols) = (inputs.logits.rows(), hierarchy.nodes());
    let each = config.reduction == Reduction::None;
    let all = Shape::Matrix(rows, cols);
    let (by_class, by_row) = (Shape::Vector(cols), Shape::Vector(rows));
    let (flags, reals) = (&[DType::U8], &[DType::F32]);
    let mut tensors = Inspection::default();
    tensors.reads("logits", inputs.logits, FLOATS, all)?;
    match &inputs.targets {
        Some(targets) => {
            let names = TargetNames::TARGETS;
            inspect_targets(&mut tensors, targets, names, (rows, cols), DENSE)?;
        }
        None if outputs.want_terms() => {
            return Err(Error::refused(
                "targets",
                "needed to compute the loss or its gradient",
            ));
        }
        None => {}
    }
    let words = Shape::Vector(hierarchy.words_len());
    tensors.reads("hierarchy", inputs.hierarchy.words, &[DType::U32], words)?;
    tensors.reads("class_mask", inputs.class_mask, flags, by_class)?;
    tensors.reads("mask", inputs.mask, flags, all)?;
    tensors.reads("sample_weight", inputs.sample_weight, reals, by_row)?;
    tensors.reads("class_weight", inputs.class_weight, reals, by_class)?;
    tensors.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let losses = Shape::Vector(if each { rows } else { 1 });
    tensors.writes("loss", outputs.loss, reals, losses)?;
    let grads: &[DType] = match inputs.logits.dtype() {
        DType::F32 => &[DType::F32],
        half => &[DType::F32, half],
    };
    gradient::inspect(&mut tensors, "grad_logits", outputs.grad_logits, grads, all)?;
    tensors.writes("probabilities", outputs.probabilities, reals, all)?;
    tensors.finish()
}
