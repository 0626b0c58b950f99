//! From a checked call of the constraint module to its dispatches.

use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::on_device::OnDevice;
use crate::kernels::shader::Program;
use crate::kernels::steps::{
    Scratch, Steps, bind_all, bind_rows, check_apart, real_kind, rows_per_binding, word,
};
use crate::kernels::targets::check_targets;
use crate::losses::hierarchy::{Hierarchy, SMALL};
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use bytemuck::{Pod, Zeroable};

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
        prepare(cx, self, inputs, outputs)
    }
}

/// Mirror of `McmParams` in shaders/mcm/mcm.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct McmParams {
    rows: u32,
    cols: u32,
    first_row: u32,
    groups: u32,
    groups_x: u32,
    logits_offset: u32,
    logits_stride: u32,
    logits_kind: u32,
    targets_offset: u32,
    targets_stride: u32,
    targets_kind: u32,
    hierarchy_offset: u32,
    pairs: u32,
    large_count: u32,
    small_most: u32,
    probabilities_offset: u32,
    probabilities_stride: u32,
    want_probabilities: u32,
    sides_offset: u32,
    sides_row: u32,
    want_sides: u32,
    choice_at: u32,
    loss_at: u32,
    bad_at: u32,
    want_loss: u32,
    grad_offset: u32,
    grad_stride: u32,
    grad_kind: u32,
    reduce: u32,
    all_rows: u32,
    scale: f32,
    row_scale: f32,
    nan: u32,
    infinity: u32,
}

/// Most bytes of the winners that are kept at a time, unless one row has more.
const CHOICE_BYTES: u64 = 64 << 20;
const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];

fn check(config: &Mcm, inputs: &McmInputs<'_>, outputs: &McmOutputs<'_>) -> Result<(), Error> {
    let (rows, cols) = (inputs.logits.rows(), inputs.hierarchy.host.nodes());
    inputs.logits.check("logits", FLOATS)?;
    inputs.logits.check_shape("logits", rows, cols)?;
    let mut read = vec![("logits".to_owned(), inputs.logits)];
    match inputs.targets {
        Some(targets) => {
            let names = TargetNames::TARGETS;
            if let Targets::Sparse { .. } = targets {
                return Err(Error::refused(
                    names.offsets,
                    "this loss takes no lists of labels, but dense targets or bits",
                ));
            }
            let dense = [DType::U8, DType::F32, DType::F16, DType::Bf16];
            check_targets(&targets, names, (rows, cols), &dense)?;
            read.extend(targets.named(names).map(|(name, t)| (name.into(), t)));
        }
        None if outputs.loss.is_some() || outputs.grad_logits.is_some() => {
            return Err(Error::refused(
                "targets",
                "needed to compute the loss or its gradient",
            ));
        }
        None => {}
    }
    read.push(("hierarchy".into(), inputs.hierarchy.words));
    if let Some(grad_loss) = inputs.grad_loss {
        grad_loss.check("grad_loss", &[DType::F32])?;
        let one = config.reduction != Reduction::None || grad_loss.cols() == 1;
        grad_loss.check_len("grad_loss", if one { 1 } else { rows })?;
        read.push(("grad_loss".into(), grad_loss));
    }
    let mut written = Vec::new();
    if let Some(loss) = outputs.loss {
        loss.check("loss", &[DType::F32])?;
        let each = config.reduction == Reduction::None;
        loss.check_len("loss", if each { rows } else { 1 })?;
        written.push(("loss".to_owned(), loss));
    }
    if let Some(grad) = outputs.grad_logits {
        match inputs.logits.dtype() {
            DType::F32 => grad.check("grad_logits", &[DType::F32])?,
            half => grad.check("grad_logits", &[DType::F32, half])?,
        }
        grad.check_shape("grad_logits", rows, cols)?;
        written.push(("grad_logits".into(), grad));
    }
    if let Some(probabilities) = outputs.probabilities {
        probabilities.check("probabilities", &[DType::F32])?;
        probabilities.check_shape("probabilities", rows, cols)?;
        written.push(("probabilities".into(), probabilities));
    }
    if written.is_empty() {
        return Err(Error::refused("outputs", "at least one is needed"));
    }
    check_apart(&written, &read)
}

/// Checks a call, plans it and makes what it needs.
fn prepare(
    cx: &Context,
    config: &Mcm,
    inputs: &McmInputs<'_>,
    outputs: &McmOutputs<'_>,
) -> Result<Prepared, Error> {
    check(config, inputs, outputs)?;
    let hierarchy = inputs.hierarchy.host;
    let caps = cx.caps();
    let workgroup = cx.variant().workgroup;
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let targets = inputs.targets.map(|targets| match targets {
        Targets::Bits(t) => (t, 4),
        Targets::Dense(t) if t.dtype() == DType::U8 => (t, 3),
        // Lists were refused.
        Targets::Dense(t) | Targets::Sparse { indices: t, .. } => (t, real_kind(t.dtype())),
    });

    // Windows: as many rows as one binding reaches in every tensor, and as the winners have room for.
    let choice_bytes = CHOICE_BYTES.min(caps.max_binding / 2);
    let mut window = (choice_bytes / (4 * cols as u64)).clamp(1, rows.max(1) as u64) as usize;
    let by_rows = [
        ("logits", Some(logits)),
        ("targets", targets.map(|(t, _)| t)),
        ("grad_logits", outputs.grad_logits),
        ("probabilities", outputs.probabilities),
    ];
    for (name, tensor) in by_rows {
        if let Some(tensor) = tensor {
            window = window.min(rows_per_binding(name, &tensor, caps)?);
        }
    }
    // Workgroups are counted in 32 bits.
    let blocks = (cols as u64 + 1).div_ceil(u64::from(workgroup));
    let large = hierarchy.large().count() as u64;
    let most = u64::from(u32::MAX) / 2 / blocks.max(large);
    window = window.min(most.max(1) as usize);

    word(rows as u64, "logits")?;
    let mut scratch = Scratch::default();
    let choice_at = scratch.take(true, window.min(rows) as u64 * cols as u64)?;
    let loss_at = scratch.take(true, rows as u64)?;
    let bad_at = scratch.take(true, window.min(rows) as u64)?;
    let own_scratch = Bind::Scratch {
        start: 0,
        size: (scratch.words * 4).max(4),
    };
    let (hierarchy_bind, hierarchy_offset) = bind_all("hierarchy", &inputs.hierarchy.words, caps)?;
    let (sides_bind, sides_offset) = match &inputs.grad_loss {
        Some(t) => bind_all("grad_loss", t, caps)?,
        None => (Bind::Nothing, 0),
    };
    let want_rows = outputs.loss.is_some() || outputs.grad_logits.is_some();

    let mut steps = Steps::new(cx);
    let mut push = |entry, groups: u64, params: McmParams, bindings| {
        let params = |groups, groups_x| McmParams {
            groups,
            groups_x,
            ..params
        };
        steps.push(Program::Mcm, entry, groups, params, bindings)
    };
    let plain = McmParams {
        cols: cols as u32,
        logits_stride: logits.row_stride() as u32,
        logits_kind: real_kind(logits.dtype()),
        targets_stride: targets.map_or(0, |(t, _)| t.row_stride() as u32),
        targets_kind: targets.map_or(5, |(_, kind)| kind),
        hierarchy_offset,
        pairs: hierarchy.pairs() as u32,
        large_count: large as u32,
        small_most: SMALL,
        probabilities_stride: outputs.probabilities.map_or(0, |t| t.row_stride() as u32),
        want_probabilities: u32::from(outputs.probabilities.is_some()),
        sides_offset,
        sides_row: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
        want_sides: u32::from(inputs.grad_loss.is_some()),
        choice_at,
        loss_at,
        bad_at,
        want_loss: u32::from(outputs.loss.is_some()),
        grad_stride: outputs.grad_logits.map_or(0, |t| t.row_stride() as u32),
        grad_kind: outputs.grad_logits.map_or(0, |t| real_kind(t.dtype())),
        reduce: u32::from(config.reduction != Reduction::None),
        all_rows: rows as u32,
        scale: config.reduction.scale(rows) as f32,
        row_scale: config.row_scale(cols) as f32,
        nan: f32::NAN.to_bits(),
        infinity: f32::INFINITY.to_bits(),
        ..McmParams::zeroed()
    };
    for first in (0..rows).step_by(window) {
        let count = window.min(rows - first);
        let (logits_bind, logits_offset) = bind_rows(&logits, first, count, caps);
        let (targets_bind, targets_offset) = match &targets {
            Some((t, _)) => bind_rows(t, first, count, caps),
            None => (Bind::Nothing, 0),
        };
        let (grad_bind, grad_offset) = match &outputs.grad_logits {
            Some(t) => bind_rows(t, first, count, caps),
            None => (Bind::Nothing, 0),
        };
        let (probabilities_bind, probabilities_offset) = match &outputs.probabilities {
            Some(t) => bind_rows(t, first, count, caps),
            None => (Bind::Nothing, 0),
        };
        let params = McmParams {
            rows: count as u32,
            first_row: first as u32,
            logits_offset,
            targets_offset,
            grad_offset,
            probabilities_offset,
            ..plain
        };
        let mut bindings = [
            logits_bind,
            targets_bind,
            hierarchy_bind,
            probabilities_bind,
            sides_bind,
            own_scratch,
            grad_bind,
        ];
        let count = count as u64;
        let classes = (cols as u64).div_ceil(u64::from(workgroup));
        push("small", count * classes, params, bindings)?;
        if large > 0 {
            push("large", count * large, params, bindings)?;
        }
        if want_rows {
            push("rows", count, params, bindings)?;
        }
        if let Some(grad) = &outputs.grad_logits {
            let pack = if grad.dtype() == DType::F32 { 1 } else { 2 };
            let words = (cols as u64 + pack - 1).div_ceil(pack);
            bindings[3] = Bind::Nothing;
            let groups = count * words.div_ceil(u64::from(workgroup));
            push("gradient", groups, params, bindings)?;
        }
    }
    if let Some(loss) = &outputs.loss {
        let (bind, sides_offset) = bind_all("loss", loss, caps)?;
        let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
        bindings[4] = bind;
        bindings[5] = own_scratch;
        let params = McmParams {
            sides_offset,
            ..plain
        };
        let groups = match config.reduction {
            Reduction::None => (rows as u64).div_ceil(u64::from(workgroup)),
            Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
        };
        if groups > 0 {
            push("total", groups, params, bindings)?;
        }
    }
    call::build(
        cx,
        steps.drafts,
        scratch.words * 4,
        rows.div_ceil(window).max(1),
    )
}
