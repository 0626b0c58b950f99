//! What all row losses share: inputs and outputs, their checks, the plan, the recording.
//!
//! A row loss is computed by the driver `shaders/shared/rows.wgsl`; a loss brings a [`RowLoss`] and its settings.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::rows::permutation::{Permutation, check_seed};
use crate::kernels::rows::table::RowSpec;
use crate::kernels::shader::RowLoss;
use crate::kernels::steps::check_apart;
use crate::losses::reduction::{Reduction, check_reduction};
use crate::losses::wdl::Form;

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
    pub(crate) fn name(&self, loss: RowLoss) -> &'static str {
        match self {
            Targets::Bits(_) => "target_bits",
            _ if loss.parts().targets_are_logits => "other",
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

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];

pub(crate) fn check_inputs(spec: &RowSpec, inputs: &RowInputs<'_>) -> Result<(), Error> {
    check_reduction(spec.reduction)?;
    let logits = &inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    logits.check("logits", FLOATS)?;
    let parts = spec.loss.parts();
    match &inputs.targets {
        Targets::Dense(t) if parts.targets_are_logits => {
            t.check("other", &[logits.dtype()])?;
            t.check_shape("other", rows, cols)?;
        }
        _ if parts.targets_are_logits => {
            return Err(Error::new(
                ErrorKind::DType,
                "other",
                "other logits, dense and in the logits' type",
                "bits or sparse targets",
            ));
        }
        Targets::Dense(t) => {
            t.check("targets", &[DType::U8, DType::F32, DType::F16, DType::Bf16])?;
            t.check_shape("targets", rows, cols)?;
        }
        Targets::Bits(t) => {
            t.check("target_bits", &[DType::U32])?;
            t.check_shape("target_bits", rows, cols.div_ceil(32))?;
        }
        Targets::Sparse { offsets, indices } => {
            offsets.check("target_offsets", &[DType::U32])?;
            offsets.check_len("target_offsets", rows.saturating_add(1))?;
            indices.check("target_indices", &[DType::U32])?;
            indices.check_len("target_indices", indices.cols())?;
        }
    }
    let vector = |name: &str, t: &Option<Tensor<'_>>, dtype: DType, len: usize| match t {
        Some(t) => t
            .check(name, &[dtype])
            .and_then(|()| t.check_len(name, len)),
        None => Ok(()),
    };
    vector("class_mask", &inputs.class_mask, DType::U8, cols)?;
    vector("class_weight", &inputs.class_weight, DType::F32, cols)?;
    vector("sample_weight", &inputs.sample_weight, DType::F32, rows)?;
    if let Some(mask) = &inputs.mask {
        mask.check("mask", &[DType::U8])?;
        mask.check_shape("mask", rows, cols)?;
    }
    if let Some(threshold) = &inputs.threshold {
        if !spec.threshold {
            return Err(Error::value("threshold", "none with this loss", "one"));
        }
        let len = threshold.len(rows, cols);
        vector("threshold", &Some(threshold.tensor()), DType::F32, len)?;
    }
    check_wdl(spec, inputs)?;
    if let Some(grad_loss) = &inputs.grad_loss {
        grad_loss.check("grad_loss", &[DType::F32])?;
        let one = spec.reduction != Reduction::None || grad_loss.cols() == 1;
        grad_loss.check_len("grad_loss", if one { 1 } else { rows })?;
    }
    Ok(())
}

/// Checks the inputs of WDL, or that there are none.
fn check_wdl(spec: &RowSpec, inputs: &RowInputs<'_>) -> Result<(), Error> {
    let Some(config) = &spec.wdl else {
        for (name, given) in [
            ("permutation", inputs.permutation.is_some()),
            ("theta", inputs.theta.is_some()),
            ("theta0", inputs.theta0.is_some()),
        ] {
            if given {
                return Err(Error::value(name, "none with this loss", "one"));
            }
        }
        return Ok(());
    };
    let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
    match &inputs.permutation {
        None if config.form == Form::Adjacent => {
            let expected = "a permutation of the labels, or a seed";
            return Err(Error::value("permutation", expected, "none"));
        }
        None => {}
        Some(Permutation::Batch(t)) => {
            t.check("permutation", &[DType::U32])?;
            t.check_len("permutation", cols)?;
        }
        Some(Permutation::PerRow(t)) => {
            t.check("permutation", &[DType::U32])?;
            t.check_shape("permutation", rows, cols)?;
        }
        Some(Permutation::Seeded { seed, .. }) => check_seed(seed)?,
    }
    if let Some(theta) = &inputs.theta {
        let (sets, len) = config.theta_shape(cols);
        theta.check("theta", &[DType::F32])?;
        theta.check_shape("theta", sets, len)?;
    }
    if let Some(theta0) = &inputs.theta0 {
        theta0.check("theta0", &[DType::F32])?;
        theta0.check_len("theta0", 1)?;
    }
    Ok(())
}

pub(crate) fn check_outputs(
    spec: &RowSpec,
    inputs: &RowInputs<'_>,
    outputs: &RowOutputs<'_>,
) -> Result<(), Error> {
    let logits = &inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let mut written: Vec<(&str, Tensor<'_>)> = Vec::new();
    if let Some(loss) = &outputs.loss {
        let len = if spec.reduction == Reduction::None {
            rows
        } else {
            1
        };
        loss.check("loss", &[DType::F32])?;
        loss.check_len("loss", len)?;
        written.push(("loss", *loss));
    }
    match &outputs.grad_logits {
        None if outputs.grad_targets.is_some() => {
            return Err(Error::value(
                "grad_targets",
                "grad_logits beside it",
                "none",
            ));
        }
        Some(Gradient::To(grad)) => {
            match logits.dtype() {
                DType::F32 => grad.check("grad_logits", &[DType::F32])?,
                half => grad.check("grad_logits", &[DType::F32, half])?,
            }
            grad.check_shape("grad_logits", rows, cols)?;
            written.push(("grad_logits", *grad));
        }
        Some(Gradient::InPlace) => written.push(("logits", *logits)),
        None => {}
    }
    if let Some(grad) = &outputs.grad_targets {
        let float = matches!(&inputs.targets, Targets::Dense(t) if t.dtype().is_float());
        if !(spec.loss.parts().second && float) {
            return Err(Error::new(
                ErrorKind::DType,
                "grad_targets",
                "a loss of soft labels and dense float targets",
                "hard labels",
            ));
        }
        grad.check("grad_targets", &[DType::F32])?;
        grad.check_shape("grad_targets", rows, cols)?;
        written.push(("grad_targets", *grad));
    }
    if let Some(grad) = &outputs.grad_threshold {
        let Some(threshold) = &inputs.threshold else {
            return Err(Error::value("grad_threshold", "a threshold", "none"));
        };
        grad.check("grad_threshold", &[DType::F32])?;
        grad.check_len("grad_threshold", threshold.len(rows, cols))?;
        written.push(("grad_threshold", *grad));
    }
    if let Some(grad) = &outputs.grad_theta {
        let Some(theta) = &inputs.theta else {
            return Err(Error::value("grad_theta", "theta", "none"));
        };
        grad.check("grad_theta", &[DType::F32])?;
        grad.check_shape("grad_theta", theta.rows(), theta.cols())?;
        written.push(("grad_theta", *grad));
    }
    if let Some(grad) = &outputs.grad_theta0 {
        if inputs.theta0.is_none() {
            return Err(Error::value("grad_theta0", "theta0", "none"));
        }
        grad.check("grad_theta0", &[DType::F32])?;
        grad.check_len("grad_theta0", 1)?;
        written.push(("grad_theta0", *grad));
    }
    let (order_name, order) = match inputs.permutation {
        Some(Permutation::Batch(t) | Permutation::PerRow(t)) => ("permutation", Some(t)),
        Some(Permutation::Seeded { seed, advance, .. }) => {
            if advance {
                written.push(("seed", seed));
            }
            ("seed", Some(seed))
        }
        None => ("permutation", None),
    };
    if written.is_empty() {
        return Err(Error::value("outputs", "at least one", "none"));
    }
    // Nothing that is written may be read or written under another name.
    let mut others = vec![("logits", *logits)];
    match &inputs.targets {
        Targets::Dense(t) | Targets::Bits(t) => others.push((inputs.targets.name(spec.loss), *t)),
        Targets::Sparse { offsets, indices } => {
            others.extend([("target_offsets", *offsets), ("target_indices", *indices)]);
        }
    }
    let threshold = inputs.threshold.map(|t| t.tensor());
    for (name, tensor) in [
        ("class_mask", &inputs.class_mask),
        ("mask", &inputs.mask),
        ("sample_weight", &inputs.sample_weight),
        ("class_weight", &inputs.class_weight),
        ("threshold", &threshold),
        (order_name, &order),
        ("theta", &inputs.theta),
        ("theta0", &inputs.theta0),
        ("grad_loss", &inputs.grad_loss),
    ] {
        others.extend(tensor.map(|t| (name, t)));
    }
    check_apart(&written, &others)
}
