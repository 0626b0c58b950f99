//! What all row losses share: inputs and outputs, their checks, the plan, the recording.
//!
//! A row loss is computed by the driver `shaders/shared/rows.wgsl`; a loss brings a [`RowLoss`] and its settings.

use crate::device::inspect::{Inspection, Shape};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::rows::loss::{Row, RowLoss};
use crate::kernels::rows::permutation::Permutation;
use crate::losses::reduction::Reduction;

/// The targets of `[B, L]` logits. All forms give equal results for equal labels.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// `[B, L]`: u8 (0 or 1), or f32, f16, bf16. A loss for hard labels takes a value above 0.5 as positive; a loss for
    /// soft ones expects values in `[0, 1]`. For the KL forms: the other logits, in the logits' own type.
    Dense(Tensor<'a>),
    /// u32 `[B, ceil(L/32)]`: label `l` is bit `l % 32` of word `l / 32`.
    Bits(Tensor<'a>),
    /// The positives of row `r` are `indices[offsets[r]..offsets[r + 1]]`, in any order, repeats allowed. The values
    /// lie on the device and are not checked: indices beyond the last label are ignored, offsets are kept within
    /// `indices`.
    Sparse {
        /// u32 `[B + 1]`.
        offsets: Tensor<'a>,
        /// u32 `[number of positives]`.
        indices: Tensor<'a>,
    },
}

impl Targets<'_> {
    /// What errors call the tensor of a loss's dense targets or bits.
    pub(crate) fn name(&self, loss: &RowLoss) -> &'static str {
        match self {
            Targets::Bits(_) => "target_bits",
            _ if loss.targets_are_logits => "other",
            _ => "targets",
        }
    }
}

/// The threshold `s0` of TLPR, f32: the loss is that of `s - s0`.
#[derive(Clone, Copy, Debug)]
pub enum Threshold<'a> {
    /// One for the batch: `[1]`.
    Batch(Tensor<'a>),
    /// One per row: `[B]`.
    Row(Tensor<'a>),
    /// One per label: `[L]`.
    Label(Tensor<'a>),
}

impl<'a> Threshold<'a> {
    pub(crate) fn tensor(&self) -> Tensor<'a> {
        match self {
            Threshold::Batch(t) | Threshold::Row(t) | Threshold::Label(t) => *t,
        }
    }

    fn len(&self, rows: usize, cols: usize) -> usize {
        match self {
            Threshold::Batch(_) => 1,
            Threshold::Row(_) => rows,
            Threshold::Label(_) => cols,
        }
    }
}

/// What a row loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct RowInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub logits: Tensor<'a>,
    /// The targets.
    pub targets: Targets<'a>,
    /// u8 `[L]`, 1 where the class counts. A class that does not is in no sum, and its gradient is 0.
    pub class_mask: Option<Tensor<'a>>,
    /// u8 `[B, L]`, 1 where the element counts.
    pub mask: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss.
    pub sample_weight: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative: `w e^...` inside the sums of the ZLPR family, `w` times the label's term in the losses
    /// that are sums over labels.
    pub class_weight: Option<Tensor<'a>>,
    /// The threshold of TLPR.
    pub threshold: Option<Threshold<'a>>,
    /// WDL: the order of the labels in its adjacent form.
    pub permutation: Option<Permutation<'a>>,
    /// WDL: f32, as [`Wdl::theta_shape`](crate::Wdl::theta_shape) says; absent: all weights are 1.
    pub theta: Option<Tensor<'a>>,
    /// WDL: f32 `[1]`; makes it the bounded form.
    pub theta0: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

impl<'a> RowInputs<'a> {
    /// Logits and targets, nothing optional.
    pub fn new(logits: Tensor<'a>, targets: Targets<'a>) -> Self {
        RowInputs {
            logits,
            targets,
            class_mask: None,
            mask: None,
            sample_weight: None,
            class_weight: None,
            threshold: None,
            permutation: None,
            theta: None,
            theta0: None,
            grad_loss: None,
        }
    }
}

/// Where the gradient to the logits goes.
#[derive(Clone, Copy, Debug)]
pub enum Gradient<'a> {
    /// Into a `[B, L]` tensor, f32 or the logits' type.
    To(Tensor<'a>),
    /// Over the logits.
    InPlace,
}

/// What a row loss writes; what is absent is not computed. Loss only: leave the gradients out. Gradient only: leave the
/// loss out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// The gradient to the logits.
    pub grad_logits: Option<Gradient<'a>>,
    /// f32 `[B, L]`: the gradient to dense float targets, or to the other logits of the KL forms. Needs `grad_logits`.
    pub grad_targets: Option<Tensor<'a>>,
    /// f32, as long as the threshold: the gradient to it.
    pub grad_threshold: Option<Tensor<'a>>,
    /// f32, shaped like `theta`: the gradient to it, summed over the rows.
    pub grad_theta: Option<Tensor<'a>>,
    /// f32 `[1]`: the gradient to `theta0`, summed over the rows.
    pub grad_theta0: Option<Tensor<'a>>,
}

/// Checks the tensors of a call.
pub(crate) fn check(
    row: &Row,
    inputs: &RowInputs<'_>,
    outputs: &RowOutputs<'_>,
) -> Result<(), Error> {
    let mut all = Inspection::default();
    check_inputs(&mut all, row, inputs)?;
    for (name, given) in [
        ("permutation", inputs.permutation.is_some()),
        ("theta", inputs.theta.is_some()),
        ("theta0", inputs.theta0.is_some()),
    ] {
        if given {
            return Err(Error::value(name, "none with this loss", "one"));
        }
    }
    check_grad_loss(&mut all, row, inputs)?;
    check_outputs(&mut all, row, inputs, outputs)?;
    for (name, input, wanted) in [
        ("grad_theta", "theta", outputs.grad_theta.is_some()),
        ("grad_theta0", "theta0", outputs.grad_theta0.is_some()),
    ] {
        if wanted {
            return Err(Error::value(name, input, "none"));
        }
    }
    all.finish()
}

/// Checks what every row loss may read, but for the upstream gradient.
pub(crate) fn check_inputs<'a>(
    all: &mut Inspection<'a>,
    row: &Row,
    inputs: &RowInputs<'a>,
) -> Result<(), Error> {
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let each = Shape::Matrix(rows, cols);
    all.reads("logits", logits, FLOATS, each)?;
    match inputs.targets {
        Targets::Dense(t) if row.loss.targets_are_logits => {
            all.reads("other", t, &[logits.dtype()], each)?;
        }
        _ if row.loss.targets_are_logits => {
            return Err(Error::new(
                ErrorKind::DType,
                "other",
                "other logits, dense and in the logits' type",
                "bits or sparse targets",
            ));
        }
        Targets::Dense(t) => {
            let dtypes = [DType::U8, DType::F32, DType::F16, DType::Bf16];
            all.reads("targets", t, &dtypes, each)?;
        }
        Targets::Bits(t) => {
            let words = Shape::Matrix(rows, cols.div_ceil(32));
            all.reads("target_bits", t, &[DType::U32], words)?;
        }
        Targets::Sparse { offsets, indices } => {
            let u32s = &[DType::U32];
            let len = Shape::Vector(rows.saturating_add(1));
            all.reads("target_offsets", offsets, u32s, len)?;
            let len = Shape::Vector(indices.cols());
            all.reads("target_indices", indices, u32s, len)?;
        }
    }
    let (by_class, by_row) = (Shape::Vector(cols), Shape::Vector(rows));
    let (flags, reals) = (&[DType::U8], &[DType::F32]);
    all.reads("class_mask", inputs.class_mask, flags, by_class)?;
    all.reads("class_weight", inputs.class_weight, reals, by_class)?;
    all.reads("sample_weight", inputs.sample_weight, reals, by_row)?;
    all.reads("mask", inputs.mask, flags, each)?;
    if let Some(threshold) = &inputs.threshold {
        if !row.threshold {
            return Err(Error::value("threshold", "none with this loss", "one"));
        }
        let len = Shape::Vector(threshold.len(rows, cols));
        all.reads("threshold", threshold.tensor(), reals, len)?;
    }
    Ok(())
}

/// Checks the upstream gradient.
pub(crate) fn check_grad_loss<'a>(
    all: &mut Inspection<'a>,
    row: &Row,
    inputs: &RowInputs<'a>,
) -> Result<(), Error> {
    let each = row.reduction == Reduction::None;
    all.grad_loss(inputs.grad_loss, each.then_some(inputs.logits.rows()))
}

/// Checks what every row loss may write.
pub(crate) fn check_outputs<'a>(
    all: &mut Inspection<'a>,
    row: &Row,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<(), Error> {
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let (each, reals) = (Shape::Matrix(rows, cols), &[DType::F32]);
    let len = match row.reduction {
        Reduction::None => rows,
        Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
    };
    all.writes("loss", outputs.loss, reals, Shape::Vector(len))?;
    match outputs.grad_logits {
        None if outputs.grad_targets.is_some() => {
            let expected = "grad_logits beside it";
            return Err(Error::value("grad_targets", expected, "none"));
        }
        Some(Gradient::To(grad)) => {
            let dtypes = [DType::F32, logits.dtype()];
            let distinct = if dtypes[0] == dtypes[1] { 1 } else { 2 };
            all.writes("grad_logits", grad, &dtypes[..distinct], each)?;
        }
        Some(Gradient::InPlace) => all.overwrites("logits", logits),
        None => {}
    }
    if outputs.grad_targets.is_some() {
        let float = matches!(inputs.targets, Targets::Dense(t) if t.dtype().is_float());
        if !(row.loss.second && float) {
            return Err(Error::new(
                ErrorKind::DType,
                "grad_targets",
                "a loss of soft labels and dense float targets",
                "hard labels",
            ));
        }
        all.writes("grad_targets", outputs.grad_targets, reals, each)?;
    }
    if outputs.grad_threshold.is_some() {
        let Some(threshold) = &inputs.threshold else {
            return Err(Error::value("grad_threshold", "a threshold", "none"));
        };
        let len = Shape::Vector(threshold.len(rows, cols));
        all.writes("grad_threshold", outputs.grad_threshold, reals, len)?;
    }
    Ok(())
}
