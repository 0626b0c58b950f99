//! The constraint module: its kernels, and from a call to its dispatches.
//!
//! sigma rises, so the maximum of probabilities is that of logits, and every term is a softplus of the winner's logit.
//! `small` gives a class with few descendants to a lane, `large` one with more to a workgroup. Each class notes its
//! winner in scratch. `rows` sums the terms. `gradient` goes the other way: a class looks through its ancestors for those
//! that it has won, and counts them in integers. shaders/shared/best.wgsl finds maxima with the first index in integers,
//! so that ties, NaN and infinities are the same everywhere.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Module, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Draft, Grid, Scratch, Target, bindings, to_u32};
use crate::device::prepared;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::on_device::OnDevice;
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::targets::inspect_targets;
use crate::kernels::view::View;
use crate::losses::hierarchy;
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;

/// What the constraint module reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct McmInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16.
    pub logits: Tensor<'a>,
    /// The targets, which are hard; needed for loss and gradient, not for probabilities. Dense ones are u8 (0 or 1), or
    /// f32, f16, bf16 (positive above 0.5); bits are u32; lists are not taken.
    pub targets: Option<Targets<Tensor<'a>>>,
    /// The hierarchy.
    pub hierarchy: OnDevice<'a, Hierarchy>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What the constraint module writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, L]`, f32 or the logits' type: the gradient to the logits.
    pub grad_logits: Option<Tensor<'a>>,
    /// f32 `[B, L]`: the constrained probabilities.
    pub probabilities: Option<Tensor<'a>>,
}

impl Mcm {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &McmInputs<'_>,
        outputs: &McmOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let bytes = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

bindings! {
    /// What the kernels reach.
    struct McmBindings {
        1: logits,
        2: targets,
        3: hierarchy,
        4: probabilities,
        5: sides,
        6: scratch,
        7: grad,
    }
}

uniform! {
    /// Parameters of the kernels.
    struct McmParams {
        /// The logits of this window of rows.
        logits: View,
        /// Their targets; the kind is one of `TARGET_KINDS` too.
        targets: View,
        /// Their probabilities.
        probabilities: View,
        /// The upstream gradient, with a stride of 0 where all rows share one; in `total`, the loss.
        sides: View,
        /// The gradient to the logits of this window.
        grad: View,
        /// Workgroups.
        groups: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Classes.
        cols: u32,
        /// The first row of this window.
        first_row: u32,
        /// Where the words of the hierarchy begin.
        hierarchy_offset: u32,
        /// Pairs of a class and a descendant.
        pairs: u32,
        /// Classes with more than `SMALL` descendants.
        large_count: u32,
        /// Where scratch has the winner of each class of each row of this window.
        choice_at: u32,
        /// Where scratch has the loss of each row of the batch.
        loss_at: u32,
        /// Where scratch has whether a row of this window holds a NaN.
        bad_at: u32,
        /// Whether the loss is wanted.
        want_loss: u32,
        /// Whether the losses of the rows are summed.
        reduce: u32,
        /// Rows of the batch.
        all_rows: u32,
        /// The factor of the reduction.
        scale: f32,
        /// The factor of a row's sum over the classes.
        row_scale: f32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
        /// Those of infinity.
        infinity: u32,
    }
}

constants! {
    /// Kinds of targets, beside `REAL_KINDS`.
    TARGET_KINDS {
        TARGET_BYTES = 3,
        TARGET_BITS = 4,
    }
}

constants! {
    /// Limits that the host knows too.
    LIMITS {
        /// Upper bound on the descendants that one lane goes through alone.
        SMALL = hierarchy::SMALL,
    }
}

static MCM: Program = Program {
    name: "mcm",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/best.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("mcm/mcm.wgsl")),
    ],
    entries: &["small", "large", "rows", "gradient", "total"],
    constants: &[REAL_KINDS, TARGET_KINDS, LIMITS],
    bindings: McmBindings::NAMES,
    mirrors: &[&[View::MIRROR, McmParams::MIRROR]],
};

/// Every module of the constraint module.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![MCM.module(workgroup)]
}

/// Limit on the winners that are kept at a time, in bytes, unless one row has more.
const CHOICE_BYTES: u64 = 64 << 20;

/// Checks the tensors of a call, and gives their bytes.
fn inspect(config: &Mcm, inputs: &McmInputs<'_>, outputs: &McmOutputs<'_>) -> Result<u64, Error> {
    let hierarchy = inputs.hierarchy.host;
    let (rows, cols) = (inputs.logits.rows(), hierarchy.nodes());
    let each = config.reduction == Reduction::None;
    let all = Shape::Matrix(rows, cols);
    let mut tensors = Inspection::default();
    tensors.reads("logits", inputs.logits, FLOATS, all)?;
    let dense = &[DType::U8, DType::F32, DType::F16, DType::Bf16];
    match &inputs.targets {
        Some(Targets::Sparse { .. }) => {
            let reason = "this loss takes no lists of labels";
            return Err(Error::refused(TargetNames::TARGETS.offsets, reason));
        }
        Some(targets) => {
            let names = TargetNames::TARGETS;
            inspect_targets(&mut tensors, targets, names, (rows, cols), dense)?;
        }
        None if outputs.loss.is_some() || outputs.grad_logits.is_some() => {
            return Err(Error::refused(
                "targets",
                "needed to compute the loss or its gradient",
            ));
        }
        None => {}
    }
    let words = Shape::Vector(hierarchy.words_len());
    tensors.reads("hierarchy", inputs.hierarchy.words, &[DType::U32], words)?;
    tensors.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let losses = Shape::Vector(if each { rows } else { 1 });
    tensors.writes("loss", outputs.loss, &[DType::F32], losses)?;
    let grads: &[DType] = match inputs.logits.dtype() {
        DType::F32 => &[DType::F32],
        half => &[DType::F32, half],
    };
    tensors.writes("grad_logits", outputs.grad_logits, grads, all)?;
    tensors.writes("probabilities", outputs.probabilities, &[DType::F32], all)?;
    tensors.finish()
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Mcm,
    inputs: &McmInputs<'a>,
    outputs: &McmOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
    for first in (0..call.rows).step_by(call.window) {
        call.sweep(first)?;
    }
    call.total(config)?;
    let windows = call.rows.div_ceil(call.window).max(1);
    Ok(call.dispatches.draft(&call.scratch, windows))
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    target: Target<'c>,
    inputs: &'c McmInputs<'a>,
    outputs: &'c McmOutputs<'a>,
    targets: Option<Tensor<'a>>,
    rows: usize,
    cols: usize,
    /// Rows that are gone through at a time.
    window: usize,
    scratch: Scratch,
    /// What all dispatches reach, and their parameters but for what a window changes.
    shared: McmBindings<'a>,
    plain: McmParams,
    dispatches: Dispatches<'a, 'c>,
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what all windows share, and lays out the scratch.
    fn new(
        target: Target<'c>,
        config: &Mcm,
        inputs: &'c McmInputs<'a>,
        outputs: &'c McmOutputs<'a>,
    ) -> Result<Self, Error> {
        let hierarchy = inputs.hierarchy.host;
        let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
        let large = hierarchy.large().count();
        let targets = inputs.targets.map(|targets| match targets {
            Targets::Dense(t) | Targets::Bits(t) | Targets::Sparse { offsets: t, .. } => t,
        });
        let window = window(&target, inputs, outputs, targets, large)?;
        to_u32(rows as u64, "logits")?;
        let mut scratch = Scratch::default();
        let choice = scratch.take(window.min(rows) as u64 * cols as u64)?;
        let loss = scratch.take(rows as u64)?;
        let bad = scratch.take(window.min(rows) as u64)?;
        let (words, words_view) = target.view_all("hierarchy", inputs.hierarchy.words)?;
        let (sides, sides_view) = target.view_all("grad_loss", inputs.grad_loss)?;
        Ok(Call {
            target,
            inputs,
            outputs,
            targets,
            rows,
            cols,
            window,
            shared: McmBindings {
                hierarchy: words,
                sides,
                scratch: scratch.bind(),
                ..McmBindings::default()
            },
            plain: McmParams {
                sides: View {
                    stride: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
                    ..sides_view
                },
                cols: cols as u32,
                hierarchy_offset: words_view.offset,
                pairs: hierarchy.pairs() as u32,
                large_count: large as u32,
                choice_at: choice.at(),
                loss_at: loss.at(),
                bad_at: bad.at(),
                want_loss: u32::from(outputs.loss.is_some()),
                reduce: u32::from(config.reduction != Reduction::None),
                all_rows: rows as u32,
                scale: config.reduction.scale(rows) as f32,
                row_scale: config.row_scale(cols) as f32,
                nan: f32::NAN.to_bits(),
                infinity: f32::INFINITY.to_bits(),
                ..McmParams::default()
            },
            scratch,
            dispatches: Dispatches::new(target),
        })
    }

    /// Adds a dispatch.
    fn push(
        &mut self,
        entry: &'static str,
        groups: u64,
        params: McmParams,
        bindings: McmBindings<'a>,
    ) -> Result<(), Error> {
        let module = MCM.module(self.target.variant.workgroup);
        let params = |grid: Grid| McmParams {
            groups: grid.groups,
            groups_x: grid.groups_x,
            ..params
        };
        self.dispatches
            .push(module, entry, groups, params, bindings)
    }

    /// A window of rows, from `first` on: winners, losses, gradient.
    fn sweep(&mut self, first: usize) -> Result<(), Error> {
        let count = self.window.min(self.rows - first);
        let view = |tensor: Option<Tensor<'a>>| self.target.view_rows(tensor, first, count);
        let (logits, logits_view) = view(Some(self.inputs.logits));
        let (targets, targets_view) = view(self.targets);
        let (grad, grad_view) = view(self.outputs.grad_logits);
        let (probabilities, probabilities_view) = view(self.outputs.probabilities);
        let params = McmParams {
            first_row: first as u32,
            logits: logits_view,
            targets: View {
                kind: match self.inputs.targets {
                    Some(Targets::Bits(_)) => TARGET_BITS,
                    Some(Targets::Dense(t)) if t.dtype() == DType::U8 => TARGET_BYTES,
                    Some(Targets::Dense(_) | Targets::Sparse { .. }) | None => targets_view.kind,
                },
                ..targets_view
            },
            grad: grad_view,
            probabilities: probabilities_view,
            ..self.plain
        };
        let bindings = McmBindings {
            logits,
            targets,
            probabilities,
            grad,
            ..self.shared
        };
        let (count, cols) = (count as u64, self.cols as u64);
        let lanes = u64::from(self.target.variant.workgroup);
        let large = u64::from(params.large_count);
        self.push("small", count * cols.div_ceil(lanes), params, bindings)?;
        if large > 0 {
            self.push("large", count * large, params, bindings)?;
        }
        if self.outputs.loss.is_some() || self.outputs.grad_logits.is_some() {
            self.push("rows", count, params, bindings)?;
        }
        if let Some(grad) = self.outputs.grad_logits {
            let pack = if grad.dtype() == DType::F32 { 1 } else { 2 };
            let words = (cols + pack - 1).div_ceil(pack);
            let bindings = McmBindings {
                probabilities: Bind::Nothing,
                ..bindings
            };
            let groups = count * words.div_ceil(lanes);
            self.push("gradient", groups, params, bindings)?;
        }
        Ok(())
    }

    /// The losses of all rows, to the caller's tensor.
    fn total(&mut self, config: &Mcm) -> Result<(), Error> {
        if self.outputs.loss.is_none() {
            return Ok(());
        }
        let (loss, sides) = self.target.view_all("loss", self.outputs.loss)?;
        let bindings = McmBindings {
            sides: loss,
            scratch: self.shared.scratch,
            ..McmBindings::default()
        };
        let params = McmParams {
            sides,
            ..self.plain
        };
        let lanes = u64::from(self.target.variant.workgroup);
        let groups = match config.reduction {
            Reduction::None => (self.rows as u64).div_ceil(lanes),
            Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
        };
        match groups {
            0 => Ok(()),
            groups => self.push("total", groups, params, bindings),
        }
    }
}

/// Rows of a window: as many as one binding reaches in every tensor, and as the winners have room for.
fn window(
    target: &Target<'_>,
    inputs: &McmInputs<'_>,
    outputs: &McmOutputs<'_>,
    targets: Option<Tensor<'_>>,
    large: usize,
) -> Result<usize, Error> {
    let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
    let bytes = CHOICE_BYTES.min(target.caps.max_binding / 2);
    let mut window = (bytes / (4 * cols as u64)).clamp(1, rows.max(1) as u64) as usize;
    for (name, tensor) in [
        ("logits", Some(inputs.logits)),
        ("targets", targets),
        ("grad_logits", outputs.grad_logits),
        ("probabilities", outputs.probabilities),
    ] {
        if let Some(tensor) = tensor {
            window = window.min(target.rows_per_binding(name, &tensor)?);
        }
    }
    // Workgroups are counted in 32 bits.
    let blocks = (cols as u64 + 1).div_ceil(u64::from(target.variant.workgroup));
    let most = u64::from(u32::MAX) / 2 / blocks.max(large as u64);
    Ok(window.min(most.max(1) as usize))
}
