//! What all row losses share: inputs and outputs, and their checks.

use crate::device::inspect::{Inspection, Shape};
use crate::device::live::{self, Given, Live, Setting};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::targets::{DENSE, inspect_targets};
use crate::losses::labels::{AfterCall, Order, Seed, Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::{Gives, Takes, TargetKind};

/// What a row loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct RowInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub logits: Tensor<'a>,
    /// The targets. Dense ones are u8 (0 or 1); or u32, 0 where the row does not have the label and anything else where it
    /// does, which the words of an i32 tensor are too; or f32, f16, bf16: a loss of hard labels takes a value above 0.5 as
    /// positive, one of soft labels expects values in `[0, 1]`, and for the KL forms they are the other logits, in the
    /// logits' own type. Words are u32. Those of lists are not checked: indices beyond the last label are ignored,
    /// offsets are kept within `indices`.
    pub targets: Targets<Tensor<'a>>,
    /// u8 `[L]`, 1 where the class counts. A class that does not is in no sum, and its gradient is 0.
    pub class_mask: Option<Tensor<'a>>,
    /// u8 `[B, L]`, 1 where the element counts.
    pub mask: Option<Tensor<'a>>,
    /// f32 `[B]`: weight of each row's loss. A row of weight 0 counts for nothing, whatever it holds; its gradient is 0.
    pub sample_weight: Option<Tensor<'a>>,
    /// f32 `[L]`, not negative: `w e^...` inside the sums of the ZLPR family, `w` times the label's term in the losses
    /// that are sums over labels.
    pub class_weight: Option<Tensor<'a>>,
    /// `[B, L]`, f32, f16 or bf16, not negative: a weight for each element, which stands where `class_weight` does. Every
    /// row loss takes it but dice, WDL and the KL forms. Beside a `mask`, or of 16 bits, it is copied into scratch, 4 bytes
    /// an element.
    pub weight: Option<Tensor<'a>>,
    /// BCE: f32 `[L]`, not negative: the weight of each label's positive side, in place of the setting.
    pub pos_weight: Option<Tensor<'a>>,
    /// Focal: f32 `[L]`, in `[0, 1]`: the weight of each label's positive side, in place of the setting.
    pub alpha: Option<Tensor<'a>>,
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
    /// Settings that lie on the device. Those of row losses that can: `beta`, `t_pos`, `t_neg`, `smoothing`, `pos_weight`,
    /// `alpha`, `gamma`, `gamma_pos`, `gamma_neg`, `margin`, `lambda`, `smooth`, and of WDL `epsilon`, `lambda_presence`,
    /// `lambda_ratio`, `lambda_difference`, `huber_delta`, each where the loss has it.
    pub settings: &'a [Setting<'a>],
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
            weight: None,
            pos_weight: None,
            alpha: None,
            threshold: None,
            permutation: None,
            theta: None,
            theta0: None,
            grad_loss: None,
            settings: &[],
        }
    }
}

/// What a row loss writes; what is absent is not computed. Loss only: leave the gradients out. Gradient only: leave the
/// loss out.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, L]`, f32 or the logits' type, or over the logits: the gradient to them.
    pub grad_logits: Option<Gradient<'a>>,
    /// f32 `[B, L]`: the gradient to dense float targets, or to the other logits of the KL forms. Needs `grad_logits`.
    pub grad_targets: Option<Gradient<'a>>,
    /// f32, as long as the threshold: the gradient to it.
    pub grad_threshold: Option<Gradient<'a>>,
    /// f32, shaped like `theta`: the gradient to it, summed over the rows.
    pub grad_theta: Option<Gradient<'a>>,
    /// f32 `[1]`: the gradient to `theta0`, summed over the rows.
    pub grad_theta0: Option<Gradient<'a>>,
}

/// Checks the tensors of a call. Gives the settings that are among them, of those in `live`.
pub(crate) fn check<'a>(
    takes: &Takes,
    reduction: Reduction,
    live: &[Live],
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<Given<'a>, Error> {
    let all = Inspection::default();
    check_with(all, takes, reduction, live, inputs, outputs)
}

/// The same beside tensors that have been checked.
pub(crate) fn check_with<'a>(
    mut all: Inspection<'a>,
    takes: &Takes,
    reduction: Reduction,
    live: &[Live],
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<Given<'a>, Error> {
    takes.targets.check_form(&inputs.targets)?;
    takes.check(Gives {
        threshold: inputs.threshold.is_some(),
        permutation: inputs.permutation.is_some(),
        theta: inputs.theta.is_some(),
        theta0: inputs.theta0.is_some(),
        weight: inputs.weight.is_some(),
        pos_weight: inputs.pos_weight.is_some(),
        alpha: inputs.alpha.is_some(),
    })?;
    check_inputs(&mut all, takes, inputs)?;
    let each = reduction == Reduction::None;
    let rows = takes.losses(inputs.logits.rows(), inputs.logits.cols());
    all.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let len = Shape::Vector(if each { rows } else { 1 });
    all.writes("loss", outputs.loss, &[DType::F32], len)?;
    check_outputs(&mut all, takes, inputs, outputs)?;
    let given = live::inspect(&mut all, inputs.settings, live)?;
    let by_label = [
        ("pos_weight", inputs.pos_weight.is_some()),
        ("alpha", inputs.alpha.is_some()),
    ];
    for (name, _) in by_label.into_iter().filter(|(_, given)| *given) {
        if given.iter().any(|(setting, _)| setting.name == name) {
            return Err(Error::refused(name, "is given for each label too"));
        }
    }
    all.finish()?;
    Ok(given)
}

fn check_inputs<'a>(
    all: &mut Inspection<'a>,
    takes: &Takes,
    inputs: &RowInputs<'a>,
) -> Result<(), Error> {
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let (each, one) = (Shape::Matrix(rows, cols), Shape::Vector(1));
    let (by_class, by_row) = (Shape::Vector(cols), Shape::Vector(rows));
    let (flags, reals, words) = (&[DType::U8], &[DType::F32], &[DType::U32]);
    all.reads("logits", logits, FLOATS, each)?;
    let own = [logits.dtype()];
    let dense: &[DType] = match takes.targets {
        TargetKind::Logits => &own,
        _ => DENSE,
    };
    let names = takes.targets.names();
    inspect_targets(all, &inputs.targets, names, (rows, cols), dense)?;
    all.reads("class_mask", inputs.class_mask, flags, by_class)?;
    all.reads("class_weight", inputs.class_weight, reals, by_class)?;
    all.reads("weight", inputs.weight, FLOATS, each)?;
    all.reads("pos_weight", inputs.pos_weight, reals, by_class)?;
    all.reads("alpha", inputs.alpha, reals, by_class)?;
    all.reads("sample_weight", inputs.sample_weight, reals, by_row)?;
    all.reads("mask", inputs.mask, flags, each)?;
    if let Some(threshold) = inputs.threshold {
        let len = Shape::Vector(threshold.len_of(rows, cols));
        all.reads("threshold", threshold.values(), reals, len)?;
    }
    match inputs.permutation {
        None => {}
        Some(Order::Batch(t)) => all.reads("permutation", t, words, by_class)?,
        Some(Order::PerRow(t)) => all.reads("permutation", t, words, each)?,
        Some(Order::Seeded { seed, .. }) => {
            let pair = Shape::Vector(2);
            match seed.after {
                AfterCall::Keep => all.reads("seed", seed.words, words, pair)?,
                AfterCall::Advance => all.moves_on("seed", seed.words, words, pair)?,
            }
        }
    }
    if let (Some(theta), Some(shape)) = (inputs.theta, takes.theta) {
        let (sets, len) = shape.of(cols);
        all.reads("theta", theta, reals, Shape::Matrix(sets, len))?;
    }
    all.reads("theta0", inputs.theta0, reals, one)
}

fn check_outputs<'a>(
    all: &mut Inspection<'a>,
    takes: &Takes,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<(), Error> {
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let (each, reals) = (Shape::Matrix(rows, cols), &[DType::F32]);
    match outputs.grad_logits {
        None if outputs.grad_targets.is_some() => {
            return Err(Error::refused("grad_targets", "needs grad_logits too"));
        }
        Some(Gradient::InPlace) => all.overwrites("logits", logits),
        to => {
            let dtypes = [DType::F32, logits.dtype()];
            let distinct = if dtypes[0] == dtypes[1] { 1 } else { 2 };
            gradient::inspect(all, "grad_logits", to, &dtypes[..distinct], each)?;
        }
    }
    if outputs.grad_targets.is_some() {
        let float = matches!(inputs.targets, Targets::Dense(t) if t.dtype().is_float());
        if !(takes.targets.has_gradient() && float) {
            return Err(Error::refused(
                "grad_targets",
                "needs a loss of soft labels, and targets that are real numbers",
            ));
        }
        gradient::inspect(all, "grad_targets", outputs.grad_targets, reals, each)?;
    }
    if outputs.grad_threshold.is_some() {
        let Some(threshold) = inputs.threshold else {
            return Err(Error::refused("grad_threshold", "needs a threshold"));
        };
        let len = Shape::Vector(threshold.len_of(rows, cols));
        gradient::inspect(all, "grad_threshold", outputs.grad_threshold, reals, len)?;
    }
    if outputs.grad_theta.is_some() {
        let Some(theta) = inputs.theta else {
            return Err(Error::refused("grad_theta", "needs theta"));
        };
        let shape = Shape::Matrix(theta.rows(), theta.cols());
        gradient::inspect(all, "grad_theta", outputs.grad_theta, reals, shape)?;
    }
    if outputs.grad_theta0.is_some() {
        if inputs.theta0.is_none() {
            return Err(Error::refused("grad_theta0", "needs theta0"));
        }
        gradient::inspect(
            all,
            "grad_theta0",
            outputs.grad_theta0,
            reals,
            Shape::Vector(1),
        )?;
    }
    Ok(())
}
