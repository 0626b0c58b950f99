//! Metrics: their kernels, and from a call to its dispatches.
//!
//! `collect` looks at every label once and lists the positives of each row. What ranks between a positive and the others
//! is not counted pair by pair: `sort` brings a row's positives in order, in slabs of bounded size, `scan` looks at every
//! label again and counts it at the first positive of a slab that it does not rank behind, and `ranks` adds up the counts
//! before each positive. `rows` makes the row's values of that, and `labels` goes down the columns. Only whole numbers are
//! added, and the shares of a row are divided by long division, so that the words are the same on every device.
//!
//! Where there are masks, `mark` makes bits of what is positive and of what counts, which the others read in place of the
//! targets.
//!
//! How many positives a row has is not known here. So `scan` has dispatches for as many slabs as a row could have, which
//! end at once where there are none.

use crate::device::caps::Reduce;
use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{
    Module, NO_PART, PARTS, Part, Piece, Program, constants, uniform, wgsl,
};
use crate::device::plan::{
    Bind, Binds, Dispatches, Draft, Grid, Region, Scratch, Target, bindings, parts_per_dispatch,
    to_u32,
};
use crate::device::prepared;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::sparse::Bits;
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::targets::{DENSE, LABEL_FORMS, inspect_targets, label_form};
use crate::kernels::view::{View, Viewed};
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::metrics;
use crate::losses::metrics::Metrics;

/// What metrics read. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct MetricsInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16.
    pub logits: Tensor<'a>,
    /// The targets, which are hard. Dense ones are u8, u32 or the words of i32 (positive where not 0), or f32, f16,
    /// bf16 (above 0.5, and no NaN).
    pub targets: Targets<Tensor<'a>>,
    /// u8 `[L]`: 0 where a label counts in no row.
    pub class_mask: Option<Tensor<'a>>,
    /// u8 `[B, L]`: 0 where an element does not count.
    pub mask: Option<Tensor<'a>>,
    /// u8 `[B]`: 0 where a row is left out.
    pub row_mask: Option<Tensor<'a>>,
}

impl<'a> MetricsInputs<'a> {
    /// Logits and targets, no mask.
    pub fn new(logits: Tensor<'a>, targets: Targets<Tensor<'a>>) -> Self {
        MetricsInputs {
            logits,
            targets,
            class_mask: None,
            mask: None,
            row_mask: None,
        }
    }
}

/// What metrics add to.
#[derive(Clone, Copy, Debug)]
pub struct MetricsOutputs<'a> {
    /// u32 `[`[`Metrics::words_len`]`]`: read and written.
    pub words: Tensor<'a>,
}

impl Metrics {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch. Each time that it is recorded
    /// it adds to the words: to begin an epoch the caller clears them.
    ///
    /// ```no_run
    /// use wgloss::{Context, DType, Metrics, MetricsInputs, MetricsOutputs, Targets, Tensor, wgpu};
    ///
    /// # fn record(
    /// #     device: &wgpu::Device, logits: &wgpu::Buffer, targets: &wgpu::Buffer, words: &wgpu::Buffer,
    /// #     encoder: &mut wgpu::CommandEncoder,
    /// # ) -> Result<(), wgloss::Error> {
    /// let (rows, labels) = (4096, 1000);
    /// let metrics = Metrics::default();
    /// let inputs = MetricsInputs::new(
    ///     Tensor::matrix(logits, DType::F16, rows, labels),
    ///     Targets::Dense(Tensor::matrix(targets, DType::U8, rows, labels)),
    /// );
    /// let len = metrics.words_len(labels);
    /// let outputs = MetricsOutputs { words: Tensor::vector(words, DType::U32, len) };
    /// let call = metrics.prepare(&Context::new(device)?, &inputs, &outputs)?; // once
    /// encoder.clear_buffer(words, 0, None); // every epoch
    /// call.encode(encoder); // every batch
    /// # Ok(())
    /// # }
    /// # fn read(words: &[u32]) -> Result<(), wgloss::Error> {
    /// // At the end of the epoch, from the words as the caller has read them:
    /// let values = Metrics::default().values(1000, words)?;
    /// println!("{:.4} {:.4}", values.f1_macro, values.average_precision);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of the words with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &MetricsInputs<'_>,
        outputs: &MetricsOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let bytes = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

bindings! {
    /// What the kernels reach.
    struct MetricsBindings {
        1: logits,
        2: targets,
        3: list,
        4: sorted,
        5: counts,
        6: state,
        7: words,
    }
}

uniform! {
    /// Parameters of the kernels.
    struct MetricsParams {
        /// The logits of this window of rows.
        logits: View,
        /// Their targets.
        targets: View,
        /// The first unit of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Rows of this window.
        rows: u32,
        /// Labels.
        cols: u32,
        /// Positives that a row has room for.
        room: u32,
        /// Portions of a row.
        portions: u32,
        /// The first slab of this dispatch.
        first_slab: u32,
        /// Where they end.
        end_slab: u32,
        /// The bits of the threshold.
        threshold: u32,
        /// Where the words begin.
        words_at: u32,
        /// Ranks that are looked at.
        top: u32,
        /// 1 where marks stand for the targets, and say how many labels of a row count.
        marked: u32,
    }
}

bindings! {
    /// What `mark` reaches.
    struct MarkBindings {
        1: class_mask,
        2: targets,
        3: mask,
        4: row_mask,
        6: state,
        7: marks,
    }
}

uniform! {
    /// Parameters of `mark`.
    struct MarkParams {
        /// The targets of this window of rows.
        targets: View,
        /// A flag for each label.
        class_mask: View,
        /// The mask by element of this window.
        mask: View,
        /// A flag for each row of the batch.
        row_mask: View,
        /// The first unit of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Labels.
        cols: u32,
        /// Units of a row: words of bits, at least one.
        units: u32,
        /// The first row of this window.
        first_row: u32,
    }
}

constants! {
    /// Sizes of what a lane does, what is kept of a row, and where the words lie.
    NUMBERS {
        /// Labels of a row that a lane looks at.
        PORTION = 32,
        /// Rows that a lane goes down.
        BLOCK = 64,
        /// Positives of a row that are sorted together.
        SLAB = 1024,
        /// Words of a row.
        ROW_WORDS = 10,
        /// NaN among its logits; MASKED where a mask leaves it out.
        ROW_LEFT_OUT = 0,
        MASKED = 1 << 31,
        ROW_POSITIVES = 1,
        ROW_PREDICTED = 2,
        /// Positives that are predicted.
        ROW_HITS = 3,
        ROW_COVERAGE = 4,
        /// Pairs: sums over its positives.
        ROW_RANKING = 5,
        ROW_PRECISION = 7,
        /// Labels of it that count, where that is not all.
        ROW_LABELS = 9,
        WORDS_ROWS = metrics::ROWS,
        WORDS_LEFT_OUT = metrics::LEFT_OUT,
        WORDS_EXACT = metrics::EXACT,
        WORDS_WITHOUT = metrics::WITHOUT,
        WORDS_RANKING = metrics::RANKING,
        WORDS_PRECISION = metrics::PRECISION,
        WORDS_F1 = metrics::F1,
        WORDS_COVERAGE = metrics::COVERAGE,
        WORDS_RANKS = metrics::RANKS,
        ONE = metrics::ONE,
    }
}

/// What looks at labels. Its parts are the form of the targets, and which labels count.
static METRICS: Program = Program {
    name: "metrics",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/best.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("metrics/params.wgsl")),
        Piece::File(wgsl!("metrics/logits.wgsl")),
        Piece::Part(0),
        Piece::Part(1),
        Piece::File(wgsl!("metrics/collect.wgsl")),
        Piece::File(wgsl!("metrics/scan.wgsl")),
        Piece::File(wgsl!("metrics/labels.wgsl")),
    ],
    entries: &["collect", "scan", "labels"],
    constants: &[REAL_KINDS, NUMBERS],
    bindings: MetricsBindings::NAMES,
    mirrors: &[&[View::MIRROR, MetricsParams::MIRROR]],
};

/// What does not.
static METRICS_ROWS: Program = Program {
    name: "metrics_rows",
    pieces: &[
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("metrics/params.wgsl")),
        Piece::File(wgsl!("metrics/shares.wgsl")),
        Piece::File(wgsl!("metrics/sort.wgsl")),
        Piece::File(wgsl!("metrics/ranks.wgsl")),
        Piece::File(wgsl!("metrics/rows.wgsl")),
    ],
    entries: &["sort", "ranks", "clear", "rows"],
    constants: &[NUMBERS],
    bindings: &[
        (3, "list"),
        (4, "sorted"),
        (5, "counts"),
        (6, "state"),
        (7, "words"),
    ],
    mirrors: &[&[View::MIRROR, MetricsParams::MIRROR]],
};

/// Makes marks of targets and masks. Its part is the form of the targets.
static METRICS_MARK: Program = Program {
    name: "metrics_mark",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("shared/class_mask.wgsl")),
        Piece::File(wgsl!("shared/element_mask.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("metrics/mark.wgsl")),
    ],
    entries: &["mark"],
    constants: &[REAL_KINDS, NUMBERS],
    bindings: MarkBindings::NAMES,
    mirrors: &[&[View::MIRROR, MarkParams::MIRROR]],
};

/// Marks in place of targets.
static MARKED: Part = Part::new("marked", &[wgsl!("metrics/marked.wgsl")]);
/// All labels count.
static ALL_COUNT: Part = Part::new("all", &[wgsl!("metrics/all_count.wgsl")]);

/// A module with its parts.
fn module(program: &'static Program, given: &[&'static Part], workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[..given.len()].copy_from_slice(given);
    program.with(parts, Reduce::Tree, workgroup)
}

/// Every module of the metrics.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = vec![
        METRICS_ROWS.module(workgroup),
        module(&METRICS, &[&MARKED], workgroup),
    ];
    for form in &LABEL_FORMS {
        all.push(module(&METRICS, &[form, &ALL_COUNT], workgroup));
        all.push(module(&METRICS_MARK, &[form], workgroup));
    }
    all
}

/// Limit on what is kept of a window of rows, in bytes, unless one row has more.
const WINDOW_BYTES: u64 = 64 << 20;
/// Beyond so many labels twice a row's count of them does not fit a word of the long division.
const MOST_LABELS: usize = 1 << 30;
/// What meeting a label costs, in the measure of [`parts_per_dispatch`].
const LABEL: u64 = 32;

/// Checks the tensors of a call, and gives their bytes.
fn inspect(
    config: &Metrics,
    inputs: &MetricsInputs<'_>,
    outputs: &MetricsOutputs<'_>,
) -> Result<u64, Error> {
    let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
    let mut tensors = Inspection::default();
    tensors.reads("logits", inputs.logits, FLOATS, Shape::Matrix(rows, cols))?;
    if cols >= MOST_LABELS {
        let expected = format!("fewer than {MOST_LABELS} labels");
        return Err(Error::shape("logits", expected, cols));
    }
    let names = TargetNames::TARGETS;
    inspect_targets(&mut tensors, &inputs.targets, names, (rows, cols), DENSE)?;
    let flags = &[DType::U8];
    tensors.reads("class_mask", inputs.class_mask, flags, Shape::Vector(cols))?;
    tensors.reads("mask", inputs.mask, flags, Shape::Matrix(rows, cols))?;
    tensors.reads("row_mask", inputs.row_mask, flags, Shape::Vector(rows))?;
    let words = Shape::Vector(config.words_len(cols));
    tensors.writes("words", outputs.words, &[DType::U32], words)?;
    tensors.finish()
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Metrics,
    inputs: &MetricsInputs<'a>,
    outputs: &MetricsOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
    for first in (0..call.rows).step_by(call.window) {
        call.sweep(first)?;
    }
    let windows = call.rows.div_ceil(call.window).max(1);
    Ok(call.dispatches.draft(&call.scratch, windows))
}

/// The targets as the kernels read them.
enum Labels<'a> {
    /// Where they lie.
    There(Tensor<'a>),
    /// Bits of lists, in scratch.
    Made(Bits<'a>),
}

/// What masks leave of the targets.
struct Marks<'a> {
    class_mask: Viewed<'a>,
    mask: Option<Tensor<'a>>,
    row_mask: Viewed<'a>,
    /// Of each 32 labels of a window's rows the positive ones that count, and those that count.
    region: Region,
}

impl<'a> Marks<'a> {
    /// Those of a call that has masks. Their place comes later.
    fn of(target: &Target<'_>, inputs: &MetricsInputs<'a>) -> Result<Option<Self>, Error> {
        let masks = [inputs.class_mask, inputs.mask, inputs.row_mask];
        if masks.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(Marks {
            class_mask: target.view_all("class_mask", inputs.class_mask)?,
            mask: inputs.mask,
            row_mask: target.view_all("row_mask", inputs.row_mask)?,
            region: Region::ABSENT,
        }))
    }
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    target: Target<'c>,
    logits: Tensor<'a>,
    labels: Labels<'a>,
    form: &'static Part,
    marks: Option<Marks<'a>>,
    rows: usize,
    /// Rows that are gone through at a time.
    window: usize,
    scratch: Scratch,
    list: Region,
    sorted: Region,
    counts: Region,
    state: Region,
    words: Bind<'a>,
    /// The parameters but for what a window changes.
    plain: MetricsParams,
    dispatches: Dispatches<'a, 'c>,
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what all windows share, and lays out the scratch.
    fn new(
        target: Target<'c>,
        config: &Metrics,
        inputs: &MetricsInputs<'a>,
        outputs: &MetricsOutputs<'a>,
    ) -> Result<Self, Error> {
        let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
        let (form, room) = form_and_room(&inputs.targets, cols);
        let mut labels = match (Bits::of(&inputs.targets, (rows, cols)), inputs.targets) {
            (Some(bits), _) => Labels::Made(bits),
            (None, Targets::Dense(t) | Targets::Bits(t) | Targets::Sparse { offsets: t, .. }) => {
                Labels::There(t)
            }
        };
        let mut marks = Marks::of(&target, inputs)?;
        let marked = marks.is_some();
        let mut window = window(&target, (rows, cols), room as u64, (&labels, marked));
        window = window.min(target.rows_per_binding("logits", &inputs.logits)?);
        if let Some(mask) = &inputs.mask {
            window = window.min(target.rows_per_binding("mask", mask)?);
        }
        if let Labels::There(tensor) = &labels {
            let name = inputs.targets.name(TargetNames::TARGETS);
            window = window.min(target.rows_per_binding(name, tensor)?);
        }
        let of_window = window.min(rows);
        let places = of_window as u64 * room as u64;
        to_u32(3 * places, "scratch")?;
        let mut scratch = Scratch::default();
        if let Labels::Made(bits) = &mut labels {
            bits.take(&mut scratch, of_window)?;
        }
        if let Some(marks) = &mut marks {
            marks.region = scratch.take(2 * of_window as u64 * Bits::words(cols))?;
        }
        let [list, sorted] = [scratch.take(2 * places)?, scratch.take(2 * places)?];
        let counts = scratch.take(3 * places)?;
        let state = scratch.take(of_window as u64 * u64::from(ROW_WORDS))?;
        let (words, words_view) = target.view_all("words", outputs.words)?;
        Ok(Call {
            target,
            logits: inputs.logits,
            labels,
            form,
            marks,
            rows,
            window,
            scratch,
            list,
            sorted,
            counts,
            state,
            words,
            plain: MetricsParams {
                cols: cols as u32,
                room: room as u32,
                portions: cols.div_ceil(PORTION as usize) as u32,
                threshold: config.threshold.to_bits(),
                words_at: words_view.offset,
                top: config.top as u32,
                marked: u32::from(marked),
                ..MetricsParams::default()
            },
            dispatches: Dispatches::new(target),
        })
    }

    /// Adds the dispatches of a kernel for `units` units, each of so much work, a unit a lane.
    fn push(
        &mut self,
        (module, entry): (Module, &'static str),
        (units, work): (u64, u64),
        params: MetricsParams,
        bindings: MetricsBindings<'a>,
    ) -> Result<(), Error> {
        let params = |begin, end, grid: Grid| MetricsParams {
            begin,
            end,
            groups_x: grid.groups_x,
            ..params
        };
        push(
            &mut self.dispatches,
            (module, entry),
            (units, work),
            params,
            bindings,
        )
    }

    /// The targets of a window, as bits of it if they are lists.
    fn targets(&mut self, first: usize, count: usize) -> Result<Viewed<'a>, Error> {
        match &self.labels {
            Labels::There(tensor) => Ok(self.target.view_rows(*tensor, first, count)),
            Labels::Made(bits) => {
                bits.make(&mut self.dispatches, first, count)?;
                let (bind, _, stride) = bits.bind();
                Ok((bind, View::whole(stride as usize)))
            }
        }
    }

    /// What kernels read in place of a window's targets: the marks, where there are masks.
    fn marked(
        &mut self,
        (first, count): (usize, usize),
        (targets, targets_view): Viewed<'a>,
    ) -> Result<Viewed<'a>, Error> {
        let Some(marks) = &self.marks else {
            return Ok((targets, targets_view));
        };
        let words = Bits::words(self.plain.cols as usize);
        let units = words.max(1);
        let (mask, mask_view) = self.target.view_rows(marks.mask, first, count);
        let params = |begin, end, grid: Grid| MarkParams {
            targets: targets_view,
            class_mask: marks.class_mask.1,
            mask: mask_view,
            row_mask: marks.row_mask.1,
            begin,
            end,
            groups_x: grid.groups_x,
            cols: self.plain.cols,
            units: units as u32,
            first_row: first as u32,
        };
        let bindings = MarkBindings {
            class_mask: marks.class_mask.0,
            targets,
            mask,
            row_mask: marks.row_mask.0,
            state: self.state.bind(),
            marks: marks.region.bind(),
        };
        let mark = module(&METRICS_MARK, &[self.form], self.target.variant.workgroup);
        let work = (count as u64 * units, u64::from(PORTION) * LABEL);
        push(&mut self.dispatches, (mark, "mark"), work, params, bindings)?;
        Ok((marks.region.bind(), View::whole(words as usize)))
    }

    /// Adds the dispatches of a window.
    fn sweep(&mut self, first: usize) -> Result<(), Error> {
        let count = self.window.min(self.rows - first);
        let (logits, logits_view) = self.target.view_rows(self.logits, first, count);
        let given = self.targets(first, count)?;
        let rows = count as u64;
        let params = MetricsParams {
            logits: logits_view,
            rows: count as u32,
            ..self.plain
        };
        let bindings = MetricsBindings {
            logits,
            targets: Bind::default(),
            list: self.list.bind(),
            sorted: self.sorted.bind(),
            counts: self.counts.bind(),
            state: self.state.bind(),
            words: self.words,
        };
        let workgroup = self.target.variant.workgroup;
        let of_labels = match self.marks {
            Some(_) => module(&METRICS, &[&MARKED], workgroup),
            None => module(&METRICS, &[self.form, &ALL_COUNT], workgroup),
        };
        let of_rows = METRICS_ROWS.module(workgroup);
        let (cols, slab) = (u64::from(params.cols), u64::from(SLAB));
        let places = rows * u64::from(params.room);
        let portions = rows * u64::from(params.portions);
        let portion = u64::from(PORTION) * LABEL;

        let kept = rows * u64::from(ROW_WORDS);
        self.push((of_rows, "clear"), (kept, 1), params, bindings)?;
        // They are counted in what has been cleared.
        let (targets, targets_view) = self.marked((first, count), given)?;
        let bindings = MetricsBindings {
            targets,
            ..bindings
        };
        let params = MetricsParams {
            targets: targets_view,
            ..params
        };
        self.push(
            (of_labels, "collect"),
            (portions, portion),
            params,
            bindings,
        )?;
        self.push((of_rows, "sort"), (places, slab), params, bindings)?;
        let slabs = params.room.div_ceil(SLAB);
        let step = parts_per_dispatch(portions * portion);
        for first_slab in (0..slabs).step_by(step) {
            let end = (first_slab as usize).saturating_add(step);
            let end_slab = end.min(slabs as usize) as u32;
            let params = MetricsParams {
                first_slab,
                end_slab,
                ..params
            };
            let work = portion * u64::from(end_slab - first_slab);
            self.push((of_labels, "scan"), (portions, work), params, bindings)?;
        }
        self.push((of_rows, "ranks"), (places, 3 * slab), params, bindings)?;
        self.push((of_rows, "rows"), (rows, portion), params, bindings)?;
        let blocks = rows.div_ceil(u64::from(BLOCK)) * cols;
        let block = u64::from(BLOCK) * LABEL;
        self.push((of_labels, "labels"), (blocks, block), params, bindings)
    }
}

/// Adds the dispatches of a kernel for `units` units, each of so much work, a unit a lane.
fn push<'a, P: bytemuck::Pod>(
    dispatches: &mut Dispatches<'a, '_>,
    (module, entry): (Module, &'static str),
    (units, work): (u64, u64),
    params: impl Fn(u32, u32, Grid) -> P,
    bindings: impl Into<Binds<'a>>,
) -> Result<(), Error> {
    let bindings = bindings.into();
    let lanes = u64::from(module.workgroup);
    let units = to_u32(units, "logits")?;
    let step = parts_per_dispatch(work);
    for begin in (0..units).step_by(step) {
        let end = units.min(begin.saturating_add(u32::try_from(step).unwrap_or(u32::MAX)));
        let groups = u64::from(end - begin).div_ceil(lanes);
        let params = |grid| params(begin, end, grid);
        dispatches.push(module, entry, groups, params, bindings)?;
    }
    Ok(())
}

/// The form of the targets, and how many positives a row of `cols` labels may have: no more than labels, and no more than
/// there are indices.
fn form_and_room(targets: &Targets<Tensor<'_>>, cols: usize) -> (&'static Part, usize) {
    let room = match targets {
        Targets::Sparse { indices, .. } => cols.min(indices.cols()),
        _ => cols,
    };
    (&LABEL_FORMS[label_form(targets)], room)
}

/// Rows of a window by what is kept of them: as many as there is room for, and as one binding reaches of each region.
fn window(
    target: &Target<'_>,
    (rows, cols): (usize, usize),
    room: u64,
    (labels, marked): (&Labels<'_>, bool),
) -> usize {
    let bits = match labels {
        Labels::There(_) => 0,
        Labels::Made(_) => 4 * Bits::words(cols),
    };
    let marks = if marked { 8 * Bits::words(cols) } else { 0 };
    let (listed, counted, state) = (8 * room, 12 * room, 4 * u64::from(ROW_WORDS));
    let kept = WINDOW_BYTES / (2 * listed + counted + state + bits + marks);
    let bound = target.caps.max_binding / counted.max(state).max(bits).max(marks);
    // Portions, labels and what is counted of places are numbered in 32 bits.
    let numbered = u64::from(u32::MAX) / (cols as u64).max(3 * room).max(state);
    let most = kept.min(bound).min(numbered);
    most.clamp(1, rows.max(1) as u64) as usize
}
