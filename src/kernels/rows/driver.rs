//! The driver of every row loss, shaders/shared/rows.wgsl: which modules, which windows, what goes through scratch, the
//! dispatches over a window of rows, and the sums at the end.
//!
//! **Through scratch go** two sums for each workgroup (loss, threshold's gradient); a loss for each row where it cannot
//! go straight to the caller's tensor; of split rows the chunks' accumulators and the rows' coefficients; the sums down
//! the columns; copies of side tensors. `finish` then sums or copies to loss and threshold gradient, both in one dispatch.
//!
//! **`columns`** computes the gradient to a threshold per label: it goes down the columns, 32 labels a workgroup, and
//! computes each gradient again from the coefficients, without writing a matrix. It reads the logits, so where the
//! gradient replaces them, `rows` only keeps coefficients, and `gradient` runs after `columns`.

use crate::device::caps::{Reduce, bit_words, cache_words};
use crate::device::module::{Constant, Module, NO_PART, PARTS, Part, Piece, Program, wgsl};
use crate::device::plan::{
    ABSENT, Bind, Binds, Dispatches, Region, Scratch, Target, bindings, to_u32,
};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::rows::call::{Gradient, RowInputs, RowOutputs};
use crate::kernels::rows::loss::{Row, RowLoss, Stage};
use crate::kernels::rows::params::{
    FINISH_PARAMS, FinishJob, JOBS, ROW_MIRRORS, RowGeneral, RowGrid, RowParams, RowPlaces,
    RowViews, RowWindow,
};
use crate::kernels::rows::shape::{COLUMN_ROWS_PER_LANE, Shape, row_groups};
use crate::kernels::rows::sides::{MAX_COPY_GROUPS, Sides};
use crate::kernels::storage::{STORAGES, Storage, TARGETS_BITS, TARGETS_CSR, TARGETS_U8};
use crate::losses::labels::{Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;

/// Parts of a module of rows, by number.
const LOSS: usize = 0;
const LOGITS: usize = 1;
const TARGETS: usize = 2;
const GRAD: usize = 3;
const SECOND: usize = 4;
const ACCUMULATOR: usize = 5;
const BEGIN: usize = 6;

/// Every row loss over every storage.
pub(crate) static ROWS: Program = Program {
    name: "",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/params.wgsl")),
        Piece::File(wgsl!("shared/scratch.wgsl")),
        Piece::File(wgsl!("shared/sides.wgsl")),
        Piece::Part(LOGITS),
        Piece::Part(GRAD),
        Piece::Part(TARGETS),
        Piece::Part(SECOND),
        Piece::File(wgsl!("shared/element.wgsl")),
        Piece::Lanes {
            tree: wgsl!("shared/lanes_tree.wgsl"),
            subgroup: wgsl!("shared/lanes_subgroup.wgsl"),
        },
        Piece::Lanes {
            tree: wgsl!("shared/reduce_tree.wgsl"),
            subgroup: wgsl!("shared/reduce_subgroup.wgsl"),
        },
        Piece::Part(ACCUMULATOR),
        Piece::Part(LOSS),
        Piece::Part(BEGIN),
        Piece::File(wgsl!("shared/columns.wgsl")),
        Piece::File(wgsl!("shared/rows.wgsl")),
        Piece::Lanes {
            tree: wgsl!("shared/rows_tree.wgsl"),
            subgroup: wgsl!("shared/rows_subgroup.wgsl"),
        },
    ],
    entries: &["rows", "partial", "combine", "gradient", "columns"],
    constants: &[&[
        ("CACHE", Constant::Of(cache_words)),
        ("BIT_WORDS", Constant::Of(bit_words)),
    ]],
    bindings: &[
        (1, "logits"),
        (2, "targets"),
        (4, "mask"),
        (5, "sides"),
        (6, "scratch"),
    ],
    mirrors: &[ROW_MIRRORS],
};

/// A row needs nothing before it begins.
static ROW_ALONE: Part = Part::new("", &[wgsl!("shared/row_alone.wgsl")]);
static SECOND_F32: Part = Part {
    bindings: &[(3, "second")],
    ..Part::new("", &[wgsl!("shared/second_f32.wgsl")])
};
static SECOND_NONE: Part = Part::new("", &[wgsl!("shared/second_none.wgsl")]);

/// Sums and copies from scratch to the caller's tensors.
pub(crate) static FINISH: Program = Program {
    name: "finish",
    pieces: &[
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/finish.wgsl")),
    ],
    entries: &["finish"],
    constants: &[],
    bindings: FinishBindings::NAMES,
    mirrors: &[&[FinishJob::MIRROR, FINISH_PARAMS]],
};

bindings! {
    /// What a row kernel reaches.
    pub(crate) struct RowBindings {
        1: logits,
        2: targets,
        3: second,
        4: mask,
        5: sides,
        6: scratch,
        7: grad,
    }
}

bindings! {
    /// What the last sums reach.
    struct FinishBindings {
        1: first,
        3: second,
        6: scratch,
    }
}

/// Where the gradient to the logits goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Into a tensor of f32 (also where no gradient is wanted).
    F32,
    /// Into a tensor stored like the logits.
    Same,
    /// Over the logits.
    InPlace,
}

/// The part that reads the targets.
fn targets_part(
    targets: &Targets<Tensor<'_>>,
    storage: impl Fn(DType) -> Option<&'static Storage>,
) -> &'static Part {
    match targets {
        Targets::Bits(_) => &TARGETS_BITS,
        Targets::Sparse { .. } => &TARGETS_CSR,
        Targets::Dense(t) => storage(t.dtype()).map_or(&TARGETS_U8, |storage| &storage.targets),
    }
}

/// The module of a row loss.
fn module(
    loss: &'static RowLoss,
    storage: &'static Storage,
    targets: &'static Part,
    destination: Destination,
    reduce: Reduce,
    workgroup: u32,
) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[LOSS] = &loss.part;
    parts[LOGITS] = &storage.logits;
    parts[TARGETS] = targets;
    parts[GRAD] = match destination {
        Destination::F32 => &storage.grad_f32,
        Destination::Same => &storage.grad_same,
        Destination::InPlace => &storage.in_place,
    };
    parts[SECOND] = match loss.targets.has_gradient() && !std::ptr::eq(targets, &TARGETS_CSR) {
        true => &SECOND_F32,
        false => &SECOND_NONE,
    };
    parts[ACCUMULATOR] = &loss.accumulator.part;
    if loss.stage != Some(Stage::Last) {
        parts[BEGIN] = &ROW_ALONE;
    }
    ROWS.with(parts, reduce, workgroup)
}

/// Every module of a loss that a device with all features could be asked for.
pub(crate) fn modules(loss: &'static RowLoss, workgroup: u32) -> Vec<Module> {
    let mut all = Vec::new();
    for storage in &STORAGES {
        // A table by element type: f16 has the same reader of targets in both its storages.
        let mut targets: Vec<&'static Part> = vec![&TARGETS_U8];
        for dense in &STORAGES {
            if !targets.iter().any(|part| part.name == dense.targets.name) {
                targets.push(&dense.targets);
            }
        }
        targets.extend([&TARGETS_BITS, &TARGETS_CSR]);
        if loss.targets == TargetKind::Logits {
            targets = vec![&storage.targets];
        }
        for targets in targets {
            for destination in [Destination::F32, Destination::Same, Destination::InPlace] {
                let inner = loss.stage == Some(Stage::First);
                if destination != Destination::F32 && inner
                    || destination == Destination::Same && storage.is_f32()
                {
                    continue;
                }
                for reduce in [Reduce::Tree, Reduce::Subgroup] {
                    all.push(module(
                        loss,
                        storage,
                        targets,
                        destination,
                        reduce,
                        workgroup,
                    ));
                }
            }
        }
    }
    all
}

/// Windows: as many rows as one binding reaches in every tensor that has rows.
pub(crate) struct Windows {
    /// Rows of every window but perhaps the last.
    pub(crate) most: usize,
    rows: usize,
}

impl Windows {
    /// The windows of a call, of at most `most` rows; `others` have rows beside the tensors of every row loss.
    pub(crate) fn of<'a>(
        target: Target<'_>,
        row: &Row,
        inputs: &RowInputs<'a>,
        outputs: &RowOutputs<'a>,
        most: usize,
        others: &[(&'static str, Tensor<'a>)],
    ) -> Result<Self, Error> {
        let mut by_rows = vec![("logits", inputs.logits)];
        let mut sparse = false;
        match inputs.targets {
            Targets::Dense(t) | Targets::Bits(t) => {
                by_rows.push((inputs.targets.name(row.loss.targets.names()), t));
            }
            Targets::Sparse { .. } => sparse = true,
        }
        by_rows.extend(inputs.mask.map(|t| ("mask", t)));
        by_rows.extend(gradient(inputs, outputs).map(|t| ("grad_logits", t)));
        by_rows.extend(outputs.grad_targets.map(|t| ("grad_targets", t)));
        by_rows.extend(others);
        let rows = inputs.logits.rows();
        let mut most = most.min(rows.max(1));
        for (name, tensor) in &by_rows {
            most = most.min(target.rows_per_binding(name, tensor)?);
        }
        if sparse {
            let caps = target.caps;
            let words = caps.max_binding.saturating_sub(caps.storage_align) / 4;
            most = most.min(words.saturating_sub(2).max(1) as usize);
        }
        to_u32(rows as u64, "logits")?;
        to_u32(inputs.logits.cols() as u64, "logits")?;
        Ok(Windows { most, rows })
    }

    /// First row and number of rows of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        let (most, rows) = (self.most, self.rows);
        (0..rows)
            .step_by(most)
            .map(move |first| (first, most.min(rows - first)))
    }

    /// Rows of the first, which has the most.
    pub(crate) fn first(&self) -> usize {
        self.most.min(self.rows)
    }

    /// How many, 1 at least.
    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.most).max(1)
    }
}

/// The tensor that the gradient to the logits goes to.
fn gradient<'a>(inputs: &RowInputs<'a>, outputs: &RowOutputs<'a>) -> Option<Tensor<'a>> {
    match outputs.grad_logits {
        Some(Gradient::To(grad)) => Some(grad),
        Some(Gradient::InPlace) => Some(inputs.logits),
        None => None,
    }
}

/// The dispatches of one loss over one window of rows.
#[derive(Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) module: Module,
    /// Gradient elements in a word.
    pub(crate) pack: u32,
    pub(crate) shape: Shape,
    sparse: bool,
    /// The gradient in a dispatch of its own, one workgroup a row (or chunk), whatever the statistics took.
    pub(crate) gradient_last: bool,
    /// Whether the gradient is summed down the columns.
    pub(crate) columns: bool,
}

impl Sweep {
    /// Adds the dispatches. `params` and `bindings` are those of the window; what depends on the dispatch is filled in
    /// here.
    pub(crate) fn record<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let workgroup = self.module.workgroup;
        let rows = u64::from(params.window.rows);
        let with = |shape: Shape, params: RowParams| RowParams {
            grid: RowGrid {
                width: shape.width,
                shift: shape.width.ilog2(),
                chunks: shape.chunks,
                items: shape.items,
                tile: shape.tile(workgroup, self.pack, self.sparse),
                ..params.grid
            },
            ..params
        };
        let params = with(self.shape, params);
        let on = |params: RowParams| move |grid| params.on(grid);
        if self.shape.chunks > 1 {
            let groups = rows * u64::from(self.shape.chunks);
            steps.push(self.module, "partial", groups, on(params), bindings)?;
            steps.push(self.module, "combine", rows, on(params), bindings)?;
        } else {
            let per_group = workgroup / self.shape.width;
            let (groups, blocks) = row_groups(params.window.rows as usize, per_group);
            let kept = cache_words(workgroup) / workgroup;
            let mut params = params;
            params.grid.blocks = blocks;
            params.grid.cached = kept.min(self.shape.items * self.pack).max(1);
            if self.gradient_last {
                params.places.want_grad = 0;
            }
            steps.push(self.module, "rows", u64::from(groups), on(params), bindings)?;
        }
        if self.columns {
            column_sums(steps, self.module, params, bindings)?;
        }
        if self.gradient_last && params.places.want_grad != 0 {
            let cols = params.window.cols as usize;
            let whole = self.shape.whole_groups(cols, workgroup, self.pack);
            let params = with(whole, params);
            let groups = rows * u64::from(whole.chunks);
            steps.push(self.module, "gradient", groups, on(params), bindings)?;
        }
        Ok(())
    }
}

/// Rows of one chunk of the sums down the columns.
fn column_rows(workgroup: u32) -> u32 {
    COLUMN_ROWS_PER_LANE * (workgroup / 32)
}

/// Adds the sums down the columns of a window, by a module that has `columns`.
pub(crate) fn column_sums<'a>(
    steps: &mut Dispatches<'a, '_>,
    module: Module,
    mut params: RowParams,
    bindings: impl Into<Binds<'a>>,
) -> Result<(), Error> {
    let rows = column_rows(module.workgroup);
    params.grid.column_rows = rows;
    let tiles = u64::from(params.grid.columns.div_ceil(32));
    let parts = params.window.rows.div_ceil(rows);
    let on = move |grid| params.on(grid);
    steps.push_layers(module, "columns", (tiles, parts), on, bindings)
}

/// A checked call of a row loss on its way to dispatches.
pub(crate) struct Driver<'a, 'c> {
    target: Target<'c>,
    row: Row,
    inputs: RowInputs<'a>,
    outputs: RowOutputs<'a>,
    storage: &'static Storage,
    pub(crate) sweep: Sweep,
    /// Workgroups of `rows` over all windows.
    groups: u32,
    /// Parts of the sums down the columns.
    pub(crate) parts: u32,
    /// Where the rows' losses go without a detour.
    direct: Option<Tensor<'a>>,
    places: Places,
}

/// Regions of scratch.
struct Places {
    partial: Region,
    loss: Region,
    threshold: Region,
    coef: Region,
    column: Region,
    chunk: Region,
}

impl<'a, 'c> Driver<'a, 'c> {
    /// Chooses module and shape, and finds room in scratch. Accumulators of chunks have at least `chunk_words` words for
    /// each row.
    pub(crate) fn new(
        target: Target<'c>,
        row: &Row,
        inputs: &RowInputs<'a>,
        outputs: &RowOutputs<'a>,
        windows: &Windows,
        chunk_words: u32,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let logits = inputs.logits;
        let (rows, cols) = (logits.rows(), logits.cols());
        let variant = target.variant;
        let workgroup = variant.workgroup;
        let of = |dtype| Storage::of(dtype, variant.half);
        let storage = of(logits.dtype()).ok_or_else(|| {
            Error::new(
                ErrorKind::DType,
                "logits",
                "f32, f16 or bf16",
                logits.dtype(),
            )
        })?;
        let destination = match outputs.grad_logits {
            Some(Gradient::InPlace) => Destination::InPlace,
            Some(Gradient::To(grad)) if grad.dtype() != DType::F32 => Destination::Same,
            _ => Destination::F32,
        };
        let pack = match destination {
            Destination::F32 => 1,
            Destination::Same | Destination::InPlace => storage.pack,
        };
        let targets = targets_part(&inputs.targets, of);
        let shape = Shape::of(windows.first(), cols, workgroup, pack);
        let split = shape.chunks > 1;

        let reduced = row.reduction != Reduction::None;
        let want_grad = outputs.grad_logits.is_some();
        let want_threshold = outputs.grad_threshold.is_some();
        let per_row = matches!(inputs.threshold, Some(Threshold::Row(_)));
        let per_label = matches!(inputs.threshold, Some(Threshold::Label(_)));
        let columns = want_threshold && per_label;
        let batch = want_threshold && !per_row && !per_label;
        // The sums down the columns read the logits, which an in-place gradient would have replaced.
        let gradient_last = split || (columns && destination == Destination::InPlace);
        let coefs = columns || (gradient_last && want_grad);
        // A last stage has scratch where the losses of the rows would be bound.
        let plain = !reduced && !split && !coefs && !want_threshold && row.loss.stage.is_none();
        let direct = outputs.loss.filter(|_| plain);
        let through = outputs.loss.is_some() && direct.is_none();
        let per_group = workgroup / shape.width;
        let groups = windows
            .iter()
            .map(|(_, rows)| row_groups(rows, per_group).0);
        let groups: u32 = groups.sum();
        // The first window has the most rows, and the others add to its parts.
        let parts = (windows.first() as u32).div_ceil(column_rows(workgroup));
        let own = if split {
            shape.chunks * row.loss.accumulator.acc_words
        } else {
            0
        };
        let chunk_words = u64::from(own.max(chunk_words));
        let coef_words = u64::from(row.loss.accumulator.coef_words);
        let all = rows as u64;
        let partial = !split && ((reduced && through) || batch);
        let places = Places {
            partial: scratch.take_if(partial, 2 * u64::from(groups))?,
            loss: scratch.take_if(through && (split || !reduced), all)?,
            threshold: scratch.take_if(per_row && want_threshold || split && batch, all)?,
            coef: scratch.take_if(coefs, all * coef_words)?,
            column: scratch.take_if(columns, u64::from(parts) * cols as u64)?,
            chunk: scratch.take_if(chunk_words > 0, windows.first() as u64 * chunk_words)?,
        };
        Ok(Driver {
            target,
            row: *row,
            inputs: *inputs,
            outputs: *outputs,
            storage,
            sweep: Sweep {
                module: module(
                    row.loss,
                    storage,
                    targets,
                    destination,
                    variant.reduce,
                    workgroup,
                ),
                pack,
                shape,
                sparse: matches!(inputs.targets, Targets::Sparse { .. }),
                gradient_last,
                columns,
            },
            groups,
            parts,
            direct,
            places,
        })
    }

    /// The same window of another loss over the same tensors, whose gradient goes into a tensor of f32.
    pub(crate) fn stage(&self, loss: &'static RowLoss, shape: Shape) -> Sweep {
        let variant = self.target.variant;
        let targets = targets_part(&self.inputs.targets, |dtype| {
            Storage::of(dtype, variant.half)
        });
        Sweep {
            module: module(
                loss,
                self.storage,
                targets,
                Destination::F32,
                variant.reduce,
                variant.workgroup,
            ),
            pack: 1,
            shape,
            gradient_last: shape.chunks > 1,
            columns: false,
            ..self.sweep
        }
    }

    /// Parameters and bindings of every window, in order.
    pub(crate) fn windows(
        &self,
        windows: &Windows,
        sides: &Sides<'a>,
        scratch: Bind<'a>,
    ) -> Result<Vec<(RowParams, RowBindings<'a>)>, Error> {
        let per_group = self.sweep.module.workgroup / self.sweep.shape.width;
        let mut first_group = 0;
        let mut all = Vec::new();
        for (first, rows) in windows.iter() {
            all.push(self.window((first, rows), first_group, sides, scratch)?);
            first_group += row_groups(rows, per_group).0;
        }
        Ok(all)
    }

    /// Parameters and bindings of a window: its first row and their number, the partial sums before its own.
    fn window(
        &self,
        (first, rows): (usize, usize),
        first_group: u32,
        sides: &Sides<'a>,
        scratch: Bind<'a>,
    ) -> Result<(RowParams, RowBindings<'a>), Error> {
        let (inputs, outputs, target) = (&self.inputs, &self.outputs, self.target);
        let (logits, cols) = (inputs.logits, inputs.logits.cols());
        let part = |tensor: Option<Tensor<'a>>| match tensor {
            Some(t) => {
                let (bind, at) = target.bind_rows(&t, first, rows);
                (bind, at, t.row_stride() as u32)
            }
            None => (Bind::Nothing, ABSENT, 0),
        };
        let (logits_bind, logits_offset, logits_stride) = part(Some(logits));
        let (second, mut indices_len) = (part(outputs.grad_targets), 0);
        let ((targets_bind, targets_offset, targets_stride), second) = match inputs.targets {
            Targets::Dense(t) | Targets::Bits(t) => (part(Some(t)), second),
            Targets::Sparse { offsets, indices } => {
                indices_len = indices.cols() as u32;
                let (bind, at) = target.bind_all("target_indices", &indices)?;
                (self.offsets(&offsets, first, rows), (bind, at, 0))
            }
        };
        let (second_bind, second_offset, grad2_stride) = second;
        let second_offset = if second_offset == ABSENT {
            0
        } else {
            second_offset
        };
        let (mask_bind, mask_offset, mask_stride) = part(inputs.mask);
        let (grad_bind, grad_offset, grad_stride) = part(gradient(inputs, outputs));
        let in_place = matches!(outputs.grad_logits, Some(Gradient::InPlace));
        let (scratch, loss_at) = match &self.direct {
            Some(loss) => target.bind_all("loss", loss)?,
            None => (scratch, self.places.loss.at()),
        };
        let params = RowParams {
            window: RowWindow {
                rows: rows as u32,
                cols: cols as u32,
                first_row: first as u32,
                first_group,
            },
            grid: RowGrid {
                columns: cols as u32,
                ..RowGrid::default()
            },
            views: RowViews {
                logits_offset,
                logits_stride,
                targets_offset,
                targets_stride,
                indices_offset: second_offset,
                indices_len,
                mask_offset,
                mask_stride,
                grad_offset: if grad_offset == ABSENT {
                    0
                } else {
                    grad_offset
                },
                grad_stride,
                grad2_offset: second_offset,
                grad2_stride,
            },
            sides: sides.params(inputs),
            places: RowPlaces {
                loss_at,
                threshold_at: self.places.threshold.at(),
                coef_at: self.places.coef.at(),
                partial_at: self.places.partial.at(),
                chunk_at: self.places.chunk.at(),
                column_at: self.places.column.at(),
                want_grad: u32::from(outputs.grad_logits.is_some()),
                want_grad2: u32::from(outputs.grad_targets.is_some()),
            },
            general: RowGeneral {
                scale: self.scale(),
                smoothing: self.row.smoothing,
                row_mean: u32::from(self.row.row_mean),
                nan: f32::NAN.to_bits(),
                infinity: f32::INFINITY.to_bits(),
                ..RowGeneral::default()
            },
            own: self.row.own,
        };
        let bindings = RowBindings {
            logits: logits_bind,
            targets: targets_bind,
            second: second_bind,
            mask: mask_bind,
            sides: sides.bind,
            scratch,
            grad: if in_place { Bind::Nothing } else { grad_bind },
        };
        Ok((params, bindings))
    }

    /// The offsets of a window's rows and the one behind.
    fn offsets(&self, offsets: &Tensor<'a>, first: usize, rows: usize) -> (Bind<'a>, u32, u32) {
        let (start, _) = offsets.bytes(0, 1);
        let from = start + 4 * first as u64;
        let end = from + 4 * (rows as u64 + 1);
        let (bind, at) = self.target.bind_bytes(offsets, from, end);
        (bind, at, 0)
    }

    fn scale(&self) -> f32 {
        self.row.reduction.scale(self.inputs.logits.rows()) as f32
    }

    /// Adds the sums and copies to the caller's tensors.
    pub(crate) fn finish(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: Bind<'a>,
    ) -> Result<(), Error> {
        let workgroup = self.sweep.module.workgroup;
        let split = self.sweep.shape.chunks > 1;
        let (rows, cols) = (self.inputs.logits.rows(), self.inputs.logits.cols());
        let copy_groups = |len: u32| match len {
            1 => 1,
            len => len.div_ceil(workgroup).min(MAX_COPY_GROUPS),
        };
        let mut jobs = [FinishJob::default(); JOBS];
        let mut bindings = FinishBindings {
            scratch,
            ..FinishBindings::default()
        };
        if let Some(loss) = self.outputs.loss.filter(|_| self.direct.is_none()) {
            let (bind, destination) = self.target.bind_all("loss", &loss)?;
            bindings.first = bind;
            let len = loss.cols() as u32;
            let reduced = self.row.reduction != Reduction::None;
            let (source, stride, count) = match (reduced, split) {
                (false, _) => (self.places.loss.at(), 0, 1),
                (true, false) => (self.places.partial.at(), 2, self.groups),
                (true, true) => (self.places.loss.at(), 1, rows as u32),
            };
            jobs[0] = FinishJob {
                source,
                stride,
                count,
                len,
                destination,
                scale: if reduced { self.scale() } else { 1.0 },
                groups: copy_groups(len),
                pad: 0,
            };
        }
        if let Some(grad) = &self.outputs.grad_threshold {
            let (bind, destination) = self.target.bind_all("grad_threshold", grad)?;
            bindings.second = bind;
            let len = grad.cols() as u32;
            let (source, stride, count) = match self.inputs.threshold {
                Some(Threshold::Label(_)) => (self.places.column.at(), cols as u32, self.parts),
                Some(Threshold::Row(_)) => (self.places.threshold.at(), 0, 1),
                _ if split => (self.places.threshold.at(), 1, rows as u32),
                _ => (self.places.partial.at() + 1, 2, self.groups),
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
            let layers = 1 + u32::from(jobs[1].groups > 0);
            let module = FINISH.module(workgroup);
            steps.push_grid(module, "finish", [widest, layers, 1], jobs, bindings);
        }
        Ok(())
    }

    /// Bytes that `stages` such sweeps over all rows move: logits and targets once for each sweep of a stage, and what
    /// is written. The second sweep of a row goes without the logits that the workgroup has kept of it.
    pub(crate) fn bytes(&self, stages: u64) -> u64 {
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        let logits = inputs.logits;
        let (rows, cols) = (logits.rows() as u64, logits.cols() as u64);
        let all = rows * cols;
        let kept = u64::from(cache_words(self.sweep.module.workgroup));
        let again = match gradient(inputs, outputs) {
            None => 0,
            Some(_) if self.sweep.gradient_last => all,
            Some(_) => rows * cols.saturating_sub(kept),
        };
        let columns = if self.sweep.columns { all } else { 0 };
        let read = stages * (all + again) + columns;
        let size = |t: Tensor<'_>| t.rows() as u64 * t.cols() as u64 * t.dtype().size();
        let targets = match inputs.targets {
            Targets::Dense(t) | Targets::Bits(t) => size(t),
            Targets::Sparse { offsets, indices } => size(offsets) + size(indices),
        };
        let beside = targets + inputs.mask.map_or(0, size);
        let beside = u128::from(beside) * u128::from(read) / u128::from(all.max(1));
        let written = [
            gradient(inputs, outputs),
            outputs.grad_targets,
            outputs.loss,
        ];
        let written: u64 = written.into_iter().flatten().map(size).sum();
        read * logits.dtype().size() + beside as u64 + written
    }
}
