//! What all row losses share: inputs and outputs, and their checks.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::rows::permutation::check_seed;
use crate::kernels::steps::check_apart;
use crate::kernels::targets::check_targets;
use crate::losses::labels::{AfterCall, Order, Seed, Targets, Threshold};
use crate::losses::reduction::{Reduction, check_reduction};
use crate::losses::takes::{Gives, Takes, TargetKind};

/// What a row loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct RowInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub logits: Tensor<'a>,
    /// The targets. Dense ones are u8 (0 or 1), or f32, f16, bf16: a loss of hard labels takes a value above 0.5 as
    /// positive, one of soft labels expects values in `[0, 1]`, and for the KL forms they are the other logits, in the
    /// logits' own type. Words are u32. Those of lists are not checked: indices beyond the last label are ignored,
    /// offsets are kept within `indices`.
    pub targets: Targets<Tensor<'a>>,
    /// u8 `[L]`, 1 where the class counts. A class that does not is in no sum, and its gradient is 0.
    pub class_mask: Option<Tensor<'a>>,
    /// u8 `[B, L]`, 1 where the element counts.
    pub mask: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss.
    pub sample_weight: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative: `w e^...` inside the sums of the ZLPR family, `w` times the label's term in the losses
    /// that are sums over labels.
    pub class_weight: Option<Tensor<'a>>,
    /// The threshold of TLPR, f32.
    pub threshold: Option<Threshold<Tensor<'a>>>,
    /// WDL: the order of the labels in its adjacent form, u32. Values are not checked: an index outside `0..L` is
    /// skipped; repeats give a meaningless result, never an access out of bounds.
    pub permutation: Option<Order<Tensor<'a>, Seed<Tensor<'a>>>>,
    /// WDL: f32, as [`Wdl::theta_shape`](crate::Wdl::theta_shape) says; absent: all weights are 1.
    pub theta: Option<Tensor<'a>>,
    /// WDL: f32 `[1]`; makes it the bounded form.
    pub theta0: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

impl<'a> RowInputs<'a> {
    /// Logits and targets, nothing optional.
    pub fn new(logits: Tensor<'a>, targets: Targets<Tensor<'a>>) -> Self {
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

pub(crate) fn check_inputs(
    takes: &Takes,
    reduction: Reduction,
    inputs: &RowInputs<'_>,
) -> Result<(), Error> {
    check_reduction(reduction)?;
    let logits = &inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    logits.check("logits", FLOATS)?;
    takes.targets.check_form(&inputs.targets)?;
    takes.check(Gives {
        threshold: inputs.threshold.is_some(),
        permutation: inputs.permutation.is_some(),
        theta: inputs.theta.is_some(),
        theta0: inputs.theta0.is_some(),
    })?;
    let own = [logits.dtype()];
    let dense: &[DType] = match takes.targets {
        TargetKind::Logits => &own,
        _ => &[DType::U8, DType::F32, DType::F16, DType::Bf16],
    };
    check_targets(&inputs.targets, takes.targets.names(), (rows, cols), dense)?;
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
        let len = threshold.len_of(rows, cols);
        vector("threshold", &Some(threshold.values()), DType::F32, len)?;
    }
    match &inputs.permutation {
        None => {}
        Some(Order::Batch(t)) => {
            t.check("permutation", &[DType::U32])?;
            t.check_len("permutation", cols)?;
        }
        Some(Order::PerRow(t)) => {
            t.check("permutation", &[DType::U32])?;
            t.check_shape("permutation", rows, cols)?;
        }
        Some(Order::Seeded { seed, .. }) => check_seed(&seed.words)?,
    }
    if let (Some(theta), Some(shape)) = (&inputs.theta, takes.theta) {
        let (sets, len) = shape.of(cols);
        theta.check("theta", &[DType::F32])?;
        theta.check_shape("theta", sets, len)?;
    }
    vector("theta0", &inputs.theta0, DType::F32, 1)?;
    if let Some(grad_loss) = &inputs.grad_loss {
        grad_loss.check("grad_loss", &[DType::F32])?;
        let one = reduction != Reduction::None || grad_loss.cols() == 1;
        grad_loss.check_len("grad_loss", if one { 1 } else { rows })?;
    }
    Ok(())
}

pub(crate) fn check_outputs(
    takes: &Takes,
    reduction: Reduction,
    inputs: &RowInputs<'_>,
    outputs: &RowOutputs<'_>,
) -> Result<(), Error> {
    let logits = &inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let mut written: Vec<(&str, Tensor<'_>)> = Vec::new();
    if let Some(loss) = &outputs.loss {
        let len = if reduction == Reduction::None {
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
            return Err(Error::refused("grad_targets", "needs grad_logits too"));
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
        if !(takes.targets.has_gradient() && float) {
            return Err(Error::refused(
                "grad_targets",
                "needs a loss of soft labels, and targets that are real numbers",
            ));
        }
        grad.check("grad_targets", &[DType::F32])?;
        grad.check_shape("grad_targets", rows, cols)?;
        written.push(("grad_targets", *grad));
    }
    if let Some(grad) = &outputs.grad_threshold {
        let Some(threshold) = &inputs.threshold else {
            return Err(Error::refused("grad_threshold", "needs a threshold"));
        };
        grad.check("grad_threshold", &[DType::F32])?;
        grad.check_len("grad_threshold", threshold.len_of(rows, cols))?;
        written.push(("grad_threshold", *grad));
    }
    if let Some(grad) = &outputs.grad_theta {
        let Some(theta) = &inputs.theta else {
            return Err(Error::refused("grad_theta", "needs theta"));
        };
        grad.check("grad_theta", &[DType::F32])?;
        grad.check_shape("grad_theta", theta.rows(), theta.cols())?;
        written.push(("grad_theta", *grad));
    }
    if let Some(grad) = &outputs.grad_theta0 {
        if inputs.theta0.is_none() {
            return Err(Error::refused("grad_theta0", "needs theta0"));
        }
        grad.check("grad_theta0", &[DType::F32])?;
        grad.check_len("grad_theta0", 1)?;
        written.push(("grad_theta0", *grad));
    }
    let (order_name, order) = match inputs.permutation {
        Some(Order::Batch(t) | Order::PerRow(t)) => ("permutation", Some(t)),
        Some(Order::Seeded { seed, .. }) => {
            if seed.after == AfterCall::Advance {
                written.push(("seed", seed.words));
            }
            ("seed", Some(seed.words))
        }
        None => ("permutation", None),
    };
    if written.is_empty() {
        return Err(Error::refused("outputs", "at least one is needed"));
    }
    // Nothing that is written may be read or written under another name.
    let mut others = vec![("logits", *logits)];
    others.extend(inputs.targets.named(takes.targets.names()));
    let threshold = inputs.threshold.map(Threshold::values);
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
