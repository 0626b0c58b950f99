//! From a checked row loss to its dispatches: windows of rows, how a row is laid over lanes and workgroups, what goes
//! through scratch, and the parameters of every step.

use crate::device::caps::{Caps, Reduce};
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::plan::{Step, fold};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Draft, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::rows::call::{Gradient, RowInputs, RowOutputs};
use crate::kernels::rows::table::RowSpec;
use crate::kernels::rows::wdl::Stages;
use crate::kernels::shader::{
    GradStorage, Kernel, Module, Program, RowLoss, Storage, TargetStorage, bit_words, cache_words,
};
use crate::kernels::steps::{
    ABSENT, Scratch, bind_all, bind_bytes, bind_rows, rows_per_binding, word,
};
use crate::losses::labels::{TargetNames, Targets, Threshold};
use crate::losses::reduction::Reduction;
use bytemuck::{Pod, Zeroable};

/// Mirror of `RowParams` in shaders/shared/params.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct RowParams {
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) width: u32,
    pub(crate) shift: u32,
    pub(crate) blocks: u32,
    pub(crate) groups: u32,
    pub(crate) groups_x: u32,
    pub(crate) chunks: u32,
    pub(crate) items: u32,
    pub(crate) tile: u32,
    pub(crate) cached: u32,
    pub(crate) first_row: u32,
    pub(crate) first_group: u32,
    pub(crate) logits_offset: u32,
    pub(crate) logits_stride: u32,
    pub(crate) targets_offset: u32,
    pub(crate) targets_stride: u32,
    pub(crate) indices_offset: u32,
    pub(crate) indices_len: u32,
    pub(crate) mask_offset: u32,
    pub(crate) mask_stride: u32,
    pub(crate) grad_offset: u32,
    pub(crate) grad_stride: u32,
    pub(crate) grad2_offset: u32,
    pub(crate) grad2_stride: u32,
    pub(crate) class_mask: u32,
    pub(crate) class_weight: u32,
    pub(crate) sample_weight: u32,
    pub(crate) threshold: u32,
    pub(crate) threshold_row: u32,
    pub(crate) threshold_col: u32,
    pub(crate) grad_loss: u32,
    pub(crate) grad_loss_row: u32,
    pub(crate) loss_at: u32,
    pub(crate) threshold_at: u32,
    pub(crate) coef_at: u32,
    pub(crate) partial_at: u32,
    pub(crate) chunk_at: u32,
    pub(crate) column_at: u32,
    pub(crate) want_grad: u32,
    pub(crate) want_grad2: u32,
    pub(crate) scale: f32,
    pub(crate) smoothing: f32,
    pub(crate) first: f32,
    pub(crate) second: f32,
    pub(crate) third: f32,
    pub(crate) nan: u32,
    pub(crate) infinity: u32,
    pub(crate) row_mean: u32,
    pub(crate) column_rows: u32,
    pub(crate) columns: u32,
    pub(crate) prediction: u32,
    pub(crate) phi: u32,
    pub(crate) additive: u32,
    pub(crate) sets: u32,
    pub(crate) weights: u32,
    pub(crate) huber_delta: f32,
    pub(crate) lambda_presence: f32,
    pub(crate) lambda_difference: f32,
    pub(crate) per_pair: f32,
    pub(crate) degree: f32,
    pub(crate) spread_at: u32,
    pub(crate) e_at: u32,
    pub(crate) h_at: u32,
    pub(crate) c_at: u32,
    pub(crate) weights_at: u32,
    pub(crate) order_offset: u32,
    pub(crate) order_stride: u32,
}

/// Mirror of `Job` in shaders/shared/finish.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct FinishJob {
    source: u32,
    stride: u32,
    count: u32,
    len: u32,
    destination: u32,
    scale: f32,
    groups: u32,
    pad: u32,
}

/// Mirror of `Piece` in shaders/shared/gather.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct GatherPiece {
    source: u32,
    words: u32,
    destination: u32,
    groups: u32,
}

/// Most workgroups of the one-pass kernel; each takes several blocks of rows where there are more, so that its partial
/// sums are few.
const MAX_ROW_GROUPS: u32 = 4096;
/// Most workgroups of a copy.
const MAX_COPY_GROUPS: u32 = 1024;
/// Gradient words that a lane of a short row handles, at least, before another lane joins.
const WORDS_PER_LANE: usize = 4;
/// From this length on a row is split over workgroups, where the rows alone are fewer than `SPLIT_GROUPS`.
const SPLIT_COLS: usize = 8192;
const SPLIT_GROUPS: usize = 1024;
/// Least labels of a chunk of a split row.
const CHUNK_COLS: usize = 4096;
/// Most labels of a workgroup, whatever the number of rows: no lane's loop becomes very long.
const MOST_COLS: usize = 1 << 19;
/// Rows that one lane of the column sums adds up; with sparse targets it looks through each row's positives.
const COLUMN_ROWS_PER_LANE: u32 = 512;

/// How rows are laid over lanes and workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Lanes that share a row.
    width: u32,
    /// Workgroups that share a row; 1 unless the rows are long and few.
    chunks: u32,
    /// Gradient words that a lane handles of a row (or chunk).
    items: u32,
}

impl Shape {
    fn of(rows: usize, cols: usize, workgroup: u32, pack: u32) -> Shape {
        // A row may begin in the middle of a gradient word.
        let words = (cols + pack as usize - 1).div_ceil(pack as usize);
        let wanted = if cols >= SPLIT_COLS && rows < SPLIT_GROUPS {
            let groups = SPLIT_GROUPS.div_ceil(rows.max(1));
            groups.min(cols.div_ceil(CHUNK_COLS))
        } else {
            1
        };
        let wanted = wanted.max(cols.div_ceil(MOST_COLS));
        let width = if wanted > 1 {
            workgroup
        } else {
            let lanes = words.div_ceil(WORDS_PER_LANE).next_power_of_two();
            lanes.clamp(1, workgroup as usize) as u32
        };
        let all = words.div_ceil(width as usize) as u32;
        let items = all.div_ceil(wanted as u32);
        Shape {
            width,
            chunks: all.div_ceil(items.max(1)).max(1),
            items,
        }
    }

    /// The same chunks with all lanes of a workgroup on one row.
    fn whole_groups(&self, cols: usize, workgroup: u32, pack: u32) -> Shape {
        if self.chunks > 1 {
            return *self;
        }
        let words = (cols + pack as usize - 1).div_ceil(pack as usize);
        Shape {
            width: workgroup,
            chunks: 1,
            items: words.div_ceil(workgroup as usize) as u32,
        }
    }

    /// Items between two stagings of sparse targets.
    fn tile(&self, workgroup: u32, pack: u32, sparse: bool) -> u32 {
        if !sparse {
            return self.items.max(1);
        }
        let words = bit_words(workgroup) / (workgroup / self.width);
        (words * 32 / (self.width * pack)).clamp(1, self.items.max(1))
    }
}

fn target_storage(targets: &Targets<Tensor<'_>>) -> TargetStorage {
    match targets {
        Targets::Bits(_) => TargetStorage::Bits,
        Targets::Sparse { .. } => TargetStorage::Csr,
        Targets::Dense(t) => match t.dtype() {
            DType::F32 => TargetStorage::F32,
            DType::F16 => TargetStorage::F16,
            DType::Bf16 => TargetStorage::Bf16,
            DType::U8 | DType::U32 => TargetStorage::U8,
        },
    }
}

/// What errors call the side tensors, in the order of `Sides::at`.
const SIDES: [&str; 5] = [
    "class_mask",
    "class_weight",
    "sample_weight",
    "threshold",
    "grad_loss",
];

/// The small tensors that all kernels reach through one binding, and where in it each begins (in its own elements).
struct Sides<'a> {
    bind: Bind<'a>,
    at: [u32; 5],
}

/// Binds the side tensors: where they lie if one binding reaches them all, else a copy that the `gather` kernel makes.
fn bind_sides<'a>(
    tensors: [Option<Tensor<'a>>; 5],
    caps: &Caps,
    gather: Kernel,
    scratch: &mut Scratch,
) -> Result<(Sides<'a>, Option<Draft<'a>>), Error> {
    let present: Vec<(usize, Tensor<'a>)> = tensors
        .into_iter()
        .enumerate()
        .filter_map(|(i, t)| Some((i, t.filter(|t| t.len() > 0)?)))
        .collect();
    let mut sides = Sides {
        bind: Bind::Nothing,
        at: [ABSENT; 5],
    };
    let Some((first, one)) = present.first() else {
        return Ok((sides, None));
    };
    let ends: Vec<(u64, u64)> = present.iter().map(|(_, t)| t.bytes(0, 1)).collect();
    let from = ends.iter().map(|(from, _)| *from).min().unwrap_or(0);
    let end = ends.iter().map(|(_, end)| *end).max().unwrap_or(0);
    // A range over several tensors may cover outputs too, which browsers refuse.
    let together = present.len() == 1
        || (!cfg!(target_arch = "wasm32")
            && present.iter().all(|(_, t)| t.buffer() == one.buffer())
            && end - from + caps.storage_align <= caps.max_binding);
    if together {
        let (bind, before) = Bind::bytes(one.buffer(), from, end, caps.storage_align);
        if end - from + before > caps.max_binding {
            rows_per_binding(SIDES[*first], one, caps)?;
        }
        sides.bind = bind;
        for ((i, tensor), (first, _)) in present.iter().zip(&ends) {
            let at = (first - from + before) / tensor.dtype().size();
            sides.at[*i] = word(at, SIDES[*i])?;
        }
        return Ok((sides, None));
    }
    let begin = scratch.words;
    let mut pieces = [GatherPiece::default(); 5];
    let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
    let mut widest = 1;
    for (place, ((i, tensor), (first, end))) in present.iter().zip(&ends).enumerate() {
        let words = (end - first).div_ceil(4);
        let at = scratch.take(true, words)?;
        let (bind, before) = Bind::bytes(tensor.buffer(), *first, *end, caps.storage_align);
        let groups = words
            .div_ceil(u64::from(gather.module.workgroup))
            .min(u64::from(MAX_COPY_GROUPS)) as u32;
        widest = widest.max(groups);
        bindings[place] = bind;
        pieces[place] = GatherPiece {
            source: word(before, SIDES[*i])?,
            words: word(words, SIDES[*i])?,
            destination: at - begin as u32,
            groups,
        };
        sides.at[*i] = word(
            u64::from(at - begin as u32) * 4 / tensor.dtype().size(),
            SIDES[*i],
        )?;
    }
    let place = Bind::Scratch {
        start: begin * 4,
        size: (scratch.words - begin) * 4,
    };
    sides.bind = place;
    bindings[5] = place;
    let draft = Draft {
        step: Step {
            kernel: gather,
            groups: [widest, present.len() as u32, 1],
        },
        params: bytemuck::bytes_of(&pieces).to_vec(),
        bindings,
    };
    Ok((sides, Some(draft)))
}

/// The dispatches of the driver `shaders/shared/rows.wgsl` over one window of rows.
struct Sweeps<'k> {
    kernel: &'k dyn Fn(&'static str) -> Kernel,
    max_groups: u32,
    workgroup: u32,
    pack: u32,
    shape: Shape,
    sparse: bool,
    /// Labels a lane keeps between the two sweeps, at most.
    kept: u32,
    /// The gradient in a dispatch of its own, one workgroup a row (or chunk), whatever the statistics took.
    gradient_last: bool,
    /// Parts of the column sums, where there are any.
    columns: Option<u32>,
}

impl Sweeps<'_> {
    /// `params` and `bindings` are those of the window; what depends on the dispatch is filled in here.
    fn record<'a>(
        &self,
        drafts: &mut Vec<Draft<'a>>,
        params: RowParams,
        bindings: [Bind<'a>; STORAGE_BINDINGS],
    ) {
        let Sweeps {
            workgroup,
            pack,
            shape,
            sparse,
            ..
        } = *self;
        let cols = params.cols as usize;
        let params = RowParams {
            width: shape.width,
            shift: shape.width.ilog2(),
            groups: params.rows * shape.chunks,
            chunks: shape.chunks,
            items: shape.items,
            tile: shape.tile(workgroup, pack, sparse),
            ..params
        };
        let mut push = |entry, groups: [u32; 3], params: RowParams| {
            drafts.push(Draft {
                step: Step {
                    kernel: (self.kernel)(entry),
                    groups,
                },
                params: bytemuck::bytes_of(&params).to_vec(),
                bindings,
            });
        };
        if shape.chunks > 1 {
            let (grid, params_split) = folded(params, params.groups, 1, self.max_groups);
            push("partial", grid, params_split);
            let (grid, params_rows) = folded(params, params.rows, 1, self.max_groups);
            push("combine", grid, params_rows);
        } else {
            let (groups, blocks) = row_groups(params.rows as usize, workgroup / shape.width);
            let params = RowParams {
                blocks,
                cached: self.kept.min(shape.items * pack).max(1),
                want_grad: u32::from(params.want_grad != 0 && !self.gradient_last),
                ..params
            };
            push("rows", [groups, 1, 1], params);
        }
        if let Some(parts) = self.columns {
            let tiles = params.columns.div_ceil(32);
            let (grid, params) = folded(params, tiles, parts, self.max_groups);
            push("columns", grid, params);
        }
        if self.gradient_last && params.want_grad != 0 {
            let whole = shape.whole_groups(cols, workgroup, pack);
            let params = RowParams {
                width: whole.width,
                shift: whole.width.ilog2(),
                items: whole.items,
                tile: whole.tile(workgroup, pack, sparse),
                ..params
            };
            let (grid, params) = folded(params, params.groups, 1, self.max_groups);
            push("gradient", grid, params);
        }
    }
}

/// A grid over `groups` workgroups, folded over x and y.
pub(crate) fn folded(
    params: RowParams,
    groups: u32,
    z: u32,
    max_groups: u32,
) -> ([u32; 3], RowParams) {
    let (x, y) = fold(groups, max_groups);
    let params = RowParams {
        groups_x: x,
        ..params
    };
    ([x, y, z], params)
}

/// Workgroups of the one-pass kernel, and the blocks of rows that each takes.
fn row_groups(rows: usize, per_group: u32) -> (u32, u32) {
    let blocks = (rows as u32).div_ceil(per_group);
    let each = blocks.div_ceil(MAX_ROW_GROUPS).max(1);
    (blocks.div_ceil(each), each)
}

/// Plans a checked call and makes what it needs.
pub(crate) fn build(
    cx: &Context,
    spec: &RowSpec,
    inputs: &RowInputs<'_>,
    outputs: &RowOutputs<'_>,
) -> Result<Prepared, Error> {
    let caps = cx.caps();
    let variant = cx.variant();
    let workgroup = variant.workgroup;
    let parts = spec.loss.parts();
    let logits = inputs.logits;
    let (rows, cols) = (logits.rows(), logits.cols());
    let storage = Storage::of(logits.dtype(), variant.half).ok_or_else(|| {
        Error::new(
            ErrorKind::DType,
            "logits",
            "f32, f16 or bf16",
            logits.dtype(),
        )
    })?;
    let (grad_storage, grad) = match outputs.grad_logits {
        None => (GradStorage::F32, None),
        Some(Gradient::InPlace) => (GradStorage::InPlace, Some(logits)),
        Some(Gradient::To(t)) if t.dtype() == DType::F32 => (GradStorage::F32, Some(t)),
        Some(Gradient::To(t)) => (GradStorage::Same, Some(t)),
    };
    let pack = match grad_storage {
        GradStorage::F32 => 1,
        GradStorage::Same | GradStorage::InPlace => storage.pack(),
    };
    let kernel = |program: Program, entry: &'static str| Kernel {
        module: Module {
            program,
            // Only the row losses have two forms.
            reduce: match program {
                Program::Rows { .. } => variant.reduce,
                _ => Reduce::Tree,
            },
            workgroup,
        },
        entry,
    };
    let row_kernel = |loss: RowLoss, grad: GradStorage, entry: &'static str| {
        let program = Program::Rows {
            loss,
            logits: storage,
            targets: target_storage(&inputs.targets),
            grad,
        };
        kernel(program, entry)
    };
    // The bounded form's parameter goes the way of a threshold that the whole batch shares.
    let threshold = inputs.threshold.or(inputs.theta0.map(Threshold::Batch));
    let grad_threshold = outputs.grad_threshold.or(outputs.grad_theta0);
    let mut wdl = spec
        .wdl
        .map(|config| Stages::new(config, inputs, outputs, grad.is_some(), &kernel));

    // Windows: as many rows as one binding reaches in every tensor that has rows.
    let mut by_rows = vec![("logits", logits)];
    let sparse = match inputs.targets {
        Targets::Dense(t) | Targets::Bits(t) => {
            let names = match parts.targets_are_logits {
                true => TargetNames::OTHER,
                false => TargetNames::TARGETS,
            };
            by_rows.push((inputs.targets.name(names), t));
            None
        }
        Targets::Sparse { offsets, indices } => Some((offsets, indices)),
    };
    by_rows.extend(inputs.mask.map(|t| ("mask", t)));
    by_rows.extend(grad.map(|t| ("grad_logits", t)));
    by_rows.extend(outputs.grad_targets.map(|t| ("grad_targets", t)));
    let mut window = rows.max(1);
    if let Some(wdl) = &wdl {
        window = window.min(wdl.most_rows(caps));
        by_rows.extend(wdl.by_rows());
    }
    for (name, tensor) in &by_rows {
        window = window.min(rows_per_binding(name, tensor, caps)?);
    }
    if sparse.is_some() {
        let words = caps.max_binding.saturating_sub(caps.storage_align) / 4;
        window = window.min(words.saturating_sub(2).max(1) as usize);
    }
    word(rows as u64, "logits")?;
    word(cols as u64, "logits")?;
    let windows: Vec<(usize, usize)> = (0..rows)
        .step_by(window)
        .map(|first| (first, window.min(rows - first)))
        .collect();
    let shape = Shape::of(window.min(rows), cols, workgroup, pack);
    let split = shape.chunks > 1;
    let per_group = workgroup / shape.width;

    // What goes through scratch on its way to the caller's tensors.
    let reduced = spec.reduction != Reduction::None;
    let per_row = matches!(threshold, Some(Threshold::Row(_)));
    let per_label = matches!(threshold, Some(Threshold::Label(_)));
    let want_threshold = grad_threshold.is_some();
    let columns = want_threshold && per_label;
    // The column sums read the logits, which an in-place gradient would have replaced.
    let gradient_last = split || (columns && grad_storage == GradStorage::InPlace);
    let coefs = columns || (gradient_last && grad.is_some());
    let batch_threshold = want_threshold && !per_row && !per_label;
    let direct = outputs
        .loss
        .filter(|_| !reduced && !split && !coefs && !want_threshold && wdl.is_none());
    let through = outputs.loss.filter(|_| direct.is_none());
    let column_rows = COLUMN_ROWS_PER_LANE * (workgroup / 32);
    let column_parts = |rows: usize| (rows as u32).div_ceil(column_rows);
    let groups: u32 = windows
        .iter()
        .map(|(_, rows)| row_groups(*rows, per_group).0)
        .sum();
    // The first window has the most rows, and the others add to its parts.
    let all_parts = column_parts(window.min(rows));

    let mut scratch = Scratch::default();
    let partials = !split && ((reduced && through.is_some()) || batch_threshold);
    let partial_at = scratch.take(partials, 2 * u64::from(groups))?;
    let loss_at = scratch.take(through.is_some() && (split || !reduced), rows as u64)?;
    let threshold_at = scratch.take(
        per_row && want_threshold || split && batch_threshold,
        rows as u64,
    )?;
    let coef_at = scratch.take(coefs, rows as u64 * u64::from(parts.coef_words))?;
    let column_at = scratch.take(columns, u64::from(all_parts) * cols as u64)?;
    // The stages of WDL take turns with the accumulators of split rows.
    let first_shape = Shape::of(window.min(rows), cols, workgroup, 1);
    let first_words = match &wdl {
        Some(_) if first_shape.chunks > 1 => first_shape.chunks * Stages::FIRST.parts().acc_words,
        _ => 0,
    };
    let chunk_words = if split {
        shape.chunks * parts.acc_words
    } else {
        0
    }
    .max(first_words);
    let chunk_at = scratch.take(
        chunk_words > 0,
        window.min(rows) as u64 * u64::from(chunk_words),
    )?;
    let place = |words: u64| match words {
        0 => Bind::Nothing,
        words => Bind::Scratch {
            start: 0,
            size: words * 4,
        },
    };
    let mut first_scratch = Bind::Nothing;
    if let Some(wdl) = &mut wdl {
        wdl.take_sums(&mut scratch, window.min(rows), all_parts)?;
        first_scratch = place(scratch.words);
        wdl.take_planes(&mut scratch, window.min(rows))?;
    }
    let own_scratch = place(scratch.words);
    if let Some(wdl) = &mut wdl {
        wdl.take_order(&mut scratch, window.min(rows))?;
    }

    let (sides, gather) = bind_sides(
        [
            inputs.class_mask,
            inputs.class_weight,
            inputs.sample_weight,
            threshold.map(Threshold::values),
            inputs.grad_loss,
        ],
        caps,
        kernel(Program::Gather, "gather"),
        &mut scratch,
    )?;
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    drafts.extend(gather.filter(|_| !windows.is_empty()));
    if let Some(wdl) = wdl.as_ref().filter(|_| !windows.is_empty()) {
        wdl.weights(&mut drafts, own_scratch, caps)?;
    }

    let scale = spec.reduction.scale(rows) as f32;
    let mut first_group = 0;
    for (first, count) in windows {
        let (logits_bind, logits_offset) = bind_rows(&logits, first, count, caps);
        let (targets_bind, targets_offset, targets_stride) = match inputs.targets {
            Targets::Dense(t) | Targets::Bits(t) => {
                let (bind, at) = bind_rows(&t, first, count, caps);
                (bind, at, t.row_stride() as u32)
            }
            Targets::Sparse { offsets, .. } => {
                // The offsets of the window's rows and the one behind.
                let (start, _) = offsets.bytes(0, 1);
                let from = start + 4 * first as u64;
                let (bind, at) = bind_bytes(&offsets, from, from + 4 * (count as u64 + 1), caps);
                (bind, at, 0)
            }
        };
        let (mut extra_bind, mut extra_offset) = (Bind::Nothing, 0);
        if let Some((_, indices)) = &sparse {
            (extra_bind, extra_offset) = bind_all("target_indices", indices, caps)?;
        } else if let Some(t) = &outputs.grad_targets {
            (extra_bind, extra_offset) = bind_rows(t, first, count, caps);
        }
        let mask = inputs.mask.map(|t| bind_rows(&t, first, count, caps));
        let grad_at = grad.map(|t| bind_rows(&t, first, count, caps));
        let (scratch_bind, loss_at) = match &direct {
            Some(loss) => bind_all("loss", loss, caps)?,
            None => (own_scratch, loss_at),
        };
        let params = RowParams {
            rows: count as u32,
            cols: cols as u32,
            first_row: first as u32,
            first_group,
            logits_offset,
            logits_stride: logits.row_stride() as u32,
            targets_offset,
            targets_stride,
            indices_offset: extra_offset,
            indices_len: sparse.map_or(0, |(_, indices)| indices.cols() as u32),
            mask_offset: mask.as_ref().map_or(ABSENT, |(_, at)| *at),
            mask_stride: inputs.mask.map_or(0, |t| t.row_stride() as u32),
            grad_offset: grad_at.as_ref().map_or(0, |(_, at)| *at),
            grad_stride: grad.map_or(0, |t| t.row_stride() as u32),
            grad2_offset: extra_offset,
            grad2_stride: outputs.grad_targets.map_or(0, |t| t.row_stride() as u32),
            class_mask: sides.at[0],
            class_weight: sides.at[1],
            sample_weight: sides.at[2],
            threshold: sides.at[3],
            threshold_row: u32::from(per_row),
            threshold_col: u32::from(per_label),
            grad_loss: sides.at[4],
            grad_loss_row: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
            loss_at,
            threshold_at,
            coef_at,
            partial_at,
            chunk_at,
            column_at,
            want_grad: u32::from(grad.is_some()),
            want_grad2: u32::from(outputs.grad_targets.is_some()),
            scale,
            smoothing: spec.smoothing,
            first: spec.first,
            second: spec.second,
            third: spec.third,
            nan: f32::NAN.to_bits(),
            infinity: f32::INFINITY.to_bits(),
            row_mean: u32::from(spec.row_mean),
            column_rows,
            columns: cols as u32,
            ..RowParams::zeroed()
        };
        let grad_bind = match (grad_storage, grad_at) {
            (GradStorage::InPlace, _) | (_, None) => Bind::Nothing,
            (_, Some((bind, _))) => bind,
        };
        let bindings = [
            logits_bind,
            targets_bind,
            extra_bind,
            mask.map_or(Bind::Nothing, |(bind, _)| bind),
            sides.bind,
            scratch_bind,
            grad_bind,
        ];
        let sweeps = Sweeps {
            kernel: &|entry| row_kernel(spec.loss, grad_storage, entry),
            max_groups: caps.max_groups,
            workgroup,
            pack,
            shape,
            sparse: sparse.is_some(),
            kept: cache_words(workgroup) / workgroup,
            gradient_last,
            columns: columns.then(|| column_parts(count)),
        };
        let mut params = params;
        if let Some(wdl) = &wdl {
            params = wdl.params(params);
            let (distributions, planes) = wdl.first(params);
            let first = Sweeps {
                kernel: &|entry| row_kernel(Stages::FIRST, GradStorage::F32, entry),
                pack: 1,
                shape: first_shape,
                gradient_last: first_shape.chunks > 1,
                columns: None,
                ..sweeps
            };
            let mut first_bindings = bindings;
            first_bindings[5] = first_scratch;
            first_bindings[6] = planes;
            first.record(&mut drafts, distributions, first_bindings);
            wdl.differences(&mut drafts, params, bindings, column_parts(count), caps)?;
        }
        sweeps.record(&mut drafts, params, bindings);
        first_group += row_groups(count, per_group).0;
    }

    let mut jobs = [FinishJob::default(); 2];
    let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
    bindings[5] = own_scratch;
    let copy_groups = |len: u32| match len {
        1 => 1,
        len => len.div_ceil(workgroup).min(MAX_COPY_GROUPS),
    };
    if let Some(loss) = through {
        let (bind, destination) = bind_all("loss", &loss, caps)?;
        bindings[0] = bind;
        let len = loss.cols() as u32;
        let (source, stride, count) = match (reduced, split) {
            (false, _) => (loss_at, 0, 1),
            (true, false) => (partial_at, 2, groups),
            (true, true) => (loss_at, 1, rows as u32),
        };
        jobs[0] = FinishJob {
            source,
            stride,
            count,
            len,
            destination,
            scale: if reduced { scale } else { 1.0 },
            groups: copy_groups(len),
            pad: 0,
        };
    }
    if let Some(threshold) = &grad_threshold {
        let (bind, destination) = bind_all("grad_threshold", threshold, caps)?;
        bindings[2] = bind;
        let len = threshold.cols() as u32;
        let (source, stride, count) = if per_label {
            (column_at, cols as u32, all_parts)
        } else if per_row {
            (threshold_at, 0, 1)
        } else if split {
            (threshold_at, 1, rows as u32)
        } else {
            (partial_at + 1, 2, groups)
        };
        jobs[1] = FinishJob {
            source,
            stride,
            count,
            len,
            destination,
            scale: 1.0,
            groups: copy_groups(len),
            pad: 0,
        };
    }
    let widest = jobs[0].groups.max(jobs[1].groups);
    if widest > 0 {
        drafts.push(Draft {
            step: Step {
                kernel: kernel(Program::Finish, "finish"),
                groups: [widest, 1 + u32::from(jobs[1].groups > 0), 1],
            },
            params: bytemuck::bytes_of(&jobs).to_vec(),
            bindings,
        });
    }
    if let Some(wdl) = wdl.as_ref() {
        wdl.finish(&mut drafts, own_scratch, all_parts, caps)?;
    }
    let count = rows.div_ceil(window).max(1);
    call::build(cx, drafts, scratch.words * 4, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_of_every_row_has_a_lane() {
        for workgroup in [32, 64, 256, 1024] {
            for pack in [1, 2] {
                for rows in [1, 5, 1023, 1024, 100_000] {
                    for cols in [
                        0, 1, 2, 3, 5, 14, 64, 65, 257, 1000, 8191, 8192, 8193, 70_001, 4_000_000,
                    ] {
                        let shape = Shape::of(rows, cols, workgroup, pack);
                        let reach = u64::from(shape.width)
                            * u64::from(shape.chunks)
                            * u64::from(shape.items)
                            * u64::from(pack);
                        assert!(
                            reach >= cols as u64 + u64::from(pack) - 1 || cols == 0,
                            "{shape:?} of {rows} x {cols}"
                        );
                        assert!(shape.width.is_power_of_two() && shape.width <= workgroup);
                        let few = cols >= SPLIT_COLS && rows < SPLIT_GROUPS;
                        assert!(shape.chunks == 1 || few || cols > MOST_COLS);
                        // Debian 12's stock software driver cuts loops after about 65,535 iterations.
                        assert!(
                            shape.items * pack < 65_535 / 2,
                            "{shape:?} of {rows} x {cols}"
                        );
                        let tile = shape.tile(workgroup, pack, true);
                        assert!(
                            tile * shape.width * pack
                                <= 32 * bit_words(workgroup) / (workgroup / shape.width)
                        );
                    }
                }
            }
        }
    }
}
