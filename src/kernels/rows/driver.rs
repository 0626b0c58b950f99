//! The driver of every row loss, shaders/shared/rows.wgsl: which modules, which windows, what goes through scratch, the
//! dispatches over a window of rows, and the sums at the end.
//!
//! **Through scratch go** a loss for each row where it cannot go straight to the caller's tensor, and a threshold's gradient
//! for each; of split rows the chunks' accumulators and the rows' coefficients; the sums down the columns; copies of side
//! tensors; the bits of sparse targets. `finish` then sums or copies to loss and threshold gradient, both in one dispatch.
//!
//! **`columns`** computes the gradient to a threshold per label: it goes down the columns, four labels a lane, and
//! computes each gradient again from the coefficients, without writing a matrix. It reads the logits, so where the
//! gradient replaces them, `rows` only keeps coefficients, and `gradient` runs after `columns`.

use crate::device::caps::{Reduce, Variant};
use crate::device::module::{Module, NO_PART, PARTS, Part, Piece, Program, wgsl};
use crate::device::plan::{
    ABSENT, Bind, Binds, Dispatches, Region, Scratch, Target, bindings, to_u32,
};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::gradient::{Gradient, tensor};
use crate::kernels::rows::accumulators::{Held, most_rows};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::loss::{Row, RowLoss, Stage};
use crate::kernels::rows::params::{
    FINISH_PARAMS, FinishJob, JOBS, ROW_MIRRORS, RowGeneral, RowGrid, RowParams, RowPlaces,
    RowViews, RowWindow,
};
use crate::kernels::rows::phase::{Phases, reaches_vectors};
use crate::kernels::rows::shape::{COLUMN_ROWS_PER_LANE, LONG, Merge, Shape, most_chunks};
use crate::kernels::rows::sides::{MAX_COPY_GROUPS, SIDE_FORMS, SideForm, Sides};
use crate::kernels::rows::weights::{
    Copies, MASK_ANY, MASK_NONE, MASK_WORDS, WEIGHT, WEIGHT_ANY, WEIGHT_COPIED, is_copied,
    mask_part,
};
use crate::kernels::sparse::Bits;
use crate::kernels::storage::{
    Access, Destination, STORAGES, Storage, TARGETS_BITS, TARGETS_BITS_ANY, TARGETS_U8,
    TARGETS_U8_ANY, TARGETS_U32, TARGETS_U32_ANY,
};
use crate::losses::labels::{Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;

/// Parts of a module of rows, by number.
const LOSS: usize = 0;
const LOGITS: usize = 1;
const ACCESS: usize = 2;
const TARGETS: usize = 3;
const SECOND: usize = 4;
pub(crate) const MASK: usize = 5;
pub(crate) const SIDES: usize = 6;
pub(crate) const MERGE: usize = 7;
const ACCUMULATOR: usize = 8;
const STATISTICS: usize = 9;
const WHOLE: usize = 10;
const BEGIN: usize = 11;
const LEFT_OUT: usize = 12;
const JOIN: usize = 13;
const PRIOR: usize = 14;

/// Every row loss over every storage.
pub(crate) static ROWS: Program = Program {
    name: "",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/params.wgsl")),
        Piece::File(wgsl!("shared/scratch.wgsl")),
        Piece::File(wgsl!("shared/row_sides.wgsl")),
        Piece::Part(SIDES),
        Piece::File(wgsl!("shared/bytes.wgsl")),
        Piece::Part(MASK),
        Piece::Part(LOGITS),
        Piece::Part(ACCESS),
        Piece::File(wgsl!("shared/target.wgsl")),
        Piece::Part(TARGETS),
        Piece::Part(SECOND),
        Piece::File(wgsl!("shared/labels.wgsl")),
        Piece::Part(LEFT_OUT),
        Piece::File(wgsl!("shared/labels_at.wgsl")),
        Piece::Part(JOIN),
        Piece::Part(PRIOR),
        Piece::File(wgsl!("shared/gradients.wgsl")),
        Piece::Lanes {
            tree: wgsl!("shared/lanes_tree.wgsl"),
            subgroup: wgsl!("shared/lanes_subgroup.wgsl"),
        },
        Piece::File(wgsl!("shared/units.wgsl")),
        Piece::Part(MERGE),
        Piece::Part(ACCUMULATOR),
        Piece::Part(LOSS),
        Piece::Part(BEGIN),
        Piece::File(wgsl!("shared/sweeps.wgsl")),
        Piece::Part(STATISTICS),
        Piece::File(wgsl!("shared/row_store.wgsl")),
        Piece::Part(WHOLE),
        Piece::File(wgsl!("shared/put_columns.wgsl")),
        Piece::File(wgsl!("shared/columns.wgsl")),
        Piece::File(wgsl!("shared/rows.wgsl")),
        Piece::Lanes {
            tree: wgsl!("shared/rows_tree.wgsl"),
            subgroup: wgsl!("shared/rows_subgroup.wgsl"),
        },
    ],
    entries: &["rows", "partial", "gradient", "columns"],
    constants: &[],
    bindings: &[(1, "logits"), (2, "targets"), (6, "scratch")],
    mirrors: &[ROW_MIRRORS],
};

/// Between the chunks of split rows. Knows nothing of element types.
pub(crate) static COMBINE: Program = Program {
    name: "combine",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/params.wgsl")),
        Piece::File(wgsl!("shared/scratch.wgsl")),
        Piece::File(wgsl!("shared/row_sides.wgsl")),
        Piece::Part(SIDES),
        Piece::File(wgsl!("shared/labels.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/units.wgsl")),
        Piece::File(wgsl!("shared/merge_tree.wgsl")),
        Piece::Part(ACCUMULATOR),
        Piece::Part(LOSS),
        Piece::Part(BEGIN),
        Piece::File(wgsl!("shared/row_store.wgsl")),
        Piece::File(wgsl!("shared/combine.wgsl")),
        Piece::File(wgsl!("shared/combine_tree.wgsl")),
    ],
    entries: &["combine", "merge"],
    constants: &[],
    bindings: &[(6, "scratch")],
    mirrors: &[ROW_MIRRORS],
};

static NO_SIDES: Part = Part::new("", &[wgsl!("shared/sides_none.wgsl")]);
/// A row needs nothing before it begins.
static ROW_ALONE: Part = Part::new("", &[wgsl!("shared/row_alone.wgsl")]);
static ALL_LOGITS: Part = Part::new("", &[wgsl!("shared/left_out_none.wgsl")]);
/// The gradient replaces what is there.
static REPLACES: Part = Part::new("", &[wgsl!("shared/prior_none.wgsl")]);
/// The gradient is the loss's alone, or has another half.
static ALONE: Part = Part::new("", &[wgsl!("shared/alone.wgsl")]);
static TURNED: Part = Part {
    bindings: &[(3, "turned")],
    ..Part::new("turned", &[wgsl!("zlpr/turned.wgsl")])
};
static MASKED_LOGITS: Part = Part::new("", &[wgsl!("zlpr/left_out.wgsl")]);
static COMPARED_LOGITS: Part = Part::new("", &[wgsl!("zlpr/left_out_kl.wgsl")]);
/// A second gradient: its files.
macro_rules! second {
    ($name:literal, $($file:literal),*) => {
        Part {
            bindings: &[(3, "second")],
            ..Part::new($name, &[$(wgsl!($file)),*])
        }
    };
}
static SECOND_VECTORS: Part = second!(
    "",
    "shared/second_vectors.wgsl",
    "shared/second_replaces.wgsl"
);
static SECOND_ANY: Part = second!(
    "secondany",
    "shared/second_any.wgsl",
    "shared/second_replaces.wgsl"
);
/// The same of one that is added to what is there.
static SECOND_VECTORS_ADDED: Part = second!(
    "secondadded",
    "shared/second_vectors.wgsl",
    "shared/second_adds_vectors.wgsl",
    "shared/sum_bits.wgsl"
);
static SECOND_ANY_ADDED: Part = second!(
    "secondanyadded",
    "shared/second_any.wgsl",
    "shared/second_adds_any.wgsl",
    "shared/sum_bits.wgsl"
);
static SECOND_NONE: Part = Part::new("hard", &[wgsl!("shared/second_none.wgsl")]);
static MERGE_ALONE: Part = Part::new("alone", &[wgsl!("shared/merge_alone.wgsl")]);
static MERGE_NEAR: Part = Part::new("near", &[wgsl!("shared/merge_near.wgsl")]);
static MERGE_WIDE: Part = Part::new("wide", &[wgsl!("shared/merge_wide.wgsl")]);
static MERGE_TREE: Part = Part::new("wide", &[wgsl!("shared/merge_tree.wgsl")]);
static TWICE: Part = Part::new("", &[wgsl!("shared/rows_twice.wgsl")]);
static ONCE: Part = Part::new("once", &[wgsl!("shared/rows_once.wgsl")]);
static SHORT: Part = Part::new("short", &[wgsl!("shared/rows_short.wgsl")]);

/// Sums and copies from scratch to the caller's tensors.
pub(crate) static FINISH: Program = Program {
    name: "finish",
    pieces: &[
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/finish.wgsl")),
    ],
    entries: &["fold", "finish"],
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

/// How a module reads and writes one call's tensors.
#[derive(Clone, Copy, Debug)]
struct Io {
    access: &'static Access,
    destination: Destination,
    targets: &'static Part,
    second: &'static Part,
    join: &'static Part,
    prior: &'static Part,
    mask: &'static Part,
    sides: SideForm,
}

/// How a module goes over rows.
#[derive(Clone, Copy, Debug)]
struct Way {
    merge: Merge,
    whole: &'static Part,
}

impl Io {
    /// The same for any place of the tensors, and rows that begin with their first label.
    fn anywhere(
        self,
        storage: &'static Storage,
        targets: &'static Part,
        mask: &'static Part,
    ) -> Io {
        Io {
            access: storage.any,
            destination: Destination::F32,
            join: &ALONE,
            prior: &REPLACES,
            targets,
            second: match std::ptr::eq(self.second, &SECOND_NONE) {
                true => self.second,
                false => &SECOND_ANY,
            },
            mask,
            ..self
        }
    }
}

fn begin(loss: &'static RowLoss) -> &'static Part {
    match loss.stage {
        Some(Stage::Last) => &NO_PART,
        _ => &ROW_ALONE,
    }
}

/// The part by which lanes of a row come together.
pub(crate) fn merge_part(merge: Merge) -> &'static Part {
    match merge {
        Merge::Alone => &MERGE_ALONE,
        Merge::Near => &MERGE_NEAR,
        Merge::Wide => &MERGE_WIDE,
        Merge::Tree => &MERGE_TREE,
    }
}

/// The module of a row loss.
fn module(loss: &'static RowLoss, io: Io, way: Way, (reduce, workgroup): (Reduce, u32)) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[LOSS] = &loss.part;
    parts[LOGITS] = &io.access.logits;
    parts[ACCESS] = io.access.to(io.destination);
    parts[TARGETS] = io.targets;
    parts[SECOND] = io.second;
    parts[MASK] = io.mask;
    parts[SIDES] = io.sides.part();
    parts[MERGE] = merge_part(way.merge);
    parts[ACCUMULATOR] = &loss.accumulator.part;
    parts[STATISTICS] = loss.statistics(io.access.step);
    parts[WHOLE] = way.whole;
    parts[BEGIN] = begin(loss);
    parts[JOIN] = io.join;
    parts[PRIOR] = io.prior;
    parts[LEFT_OUT] = match (loss.masked_logits, loss.targets) {
        (true, TargetKind::Logits) => &COMPARED_LOGITS,
        (true, _) => &MASKED_LOGITS,
        (false, _) => &ALL_LOGITS,
    };
    ROWS.with(parts, reduce, workgroup)
}

/// The module between the chunks of a row loss.
fn combine(loss: &'static RowLoss, sides: SideForm, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[LOSS] = &loss.part;
    // These stages give no loss, so that they ask for no row's weight.
    parts[SIDES] = match loss.stage {
        Some(Stage::First | Stage::Count | Stage::Joined) => &NO_SIDES,
        _ => sides.part(),
    };
    parts[ACCUMULATOR] = &loss.accumulator.part;
    parts[BEGIN] = begin(loss);
    COMBINE.with(parts, Reduce::Tree, workgroup)
}

/// Modules of a loss that a device with all features could be asked for. Parts that have nothing to do with each other
/// meet in some modules, not in all; and most ways to reach tensors only where `thorough`.
pub(crate) fn modules(loss: &'static RowLoss, thorough: bool, workgroup: u32) -> Vec<Module> {
    let inner = loss.stage == Some(Stage::First);
    let second = match loss.targets.has_gradient() {
        true => [&SECOND_VECTORS, &SECOND_ANY],
        false => [&SECOND_NONE; 2],
    };
    let mut ios = Vec::new();
    for (i, storage) in STORAGES.iter().enumerate() {
        for access in [storage.whole, storage.vectors, storage.any] {
            for destination in [Destination::F32, Destination::Same, Destination::InPlace] {
                if destination != Destination::F32 && inner
                    || destination == Destination::Same && storage.is_f32()
                {
                    continue;
                }
                ios.push(Io {
                    access,
                    destination,
                    targets: match (loss.targets, i % 2) {
                        (TargetKind::Logits, 0) => storage.targets,
                        (TargetKind::Logits, _) => storage.targets_any,
                        _ => &TARGETS_U8,
                    },
                    second: second[i % 2],
                    join: &ALONE,
                    prior: &REPLACES,
                    mask: &MASK_NONE,
                    sides: SideForm::Rows,
                });
            }
        }
    }
    // What a gradient is added to is another file for each way to reach it.
    let added = ios
        .iter()
        .filter(|io| io.destination != Destination::InPlace);
    let adds = |io: &Io| Io {
        prior: io.access.prior(io.destination),
        ..*io
    };
    let added: Vec<Io> = added.map(adds).collect();
    let first = ios[0];
    if loss.targets != TargetKind::Logits {
        let real = STORAGES.iter().flat_map(|s| [s.targets, s.targets_any]);
        let flags = [
            &TARGETS_U8_ANY,
            &TARGETS_U32,
            &TARGETS_U32_ANY,
            &TARGETS_BITS,
            &TARGETS_BITS_ANY,
        ];
        ios.extend(real.chain(flags).map(|targets| Io { targets, ..first }));
    }
    let second = match loss.targets.has_gradient() {
        true => vec![
            &SECOND_NONE,
            &SECOND_ANY,
            &SECOND_VECTORS_ADDED,
            &SECOND_ANY_ADDED,
        ],
        false => vec![],
    };
    ios.extend(second.into_iter().map(|second| Io { second, ..first }));
    for sides in &SIDE_FORMS[1..] {
        for mask in [&MASK_WORDS, &MASK_ANY] {
            ios.push(Io {
                sides: *sides,
                mask,
                ..first
            });
        }
    }
    if loss.joins {
        // What the gradient is joined with has nothing to do with how else tensors are reached.
        let turned = |io: &Io| Io {
            join: &TURNED,
            ..*io
        };
        let more: Vec<Io> = ios.iter().map(turned).collect();
        ios.extend(more);
    }
    if !inner {
        ios.extend(added);
    }
    for mask in [&WEIGHT, &WEIGHT_ANY, &WEIGHT_COPIED] {
        ios.push(Io { mask, ..first });
    }
    let mut all = Vec::new();
    for reduce in [Reduce::Tree, Reduce::Subgroup] {
        let merges = match reduce {
            Reduce::Tree => [Merge::Alone, Merge::Tree],
            Reduce::Subgroup => [Merge::Near, Merge::Wide],
        };
        // Vectors of four and of eight, each with what the gradient may be joined with.
        let first = |join: &'static Part, step| {
            let like = move |io: &&Io| std::ptr::eq(io.join, join) && io.access.step == step;
            ios.iter().find(like)
        };
        let plain: Vec<*const Io> = [(&ALONE, 4), (&ALONE, 8), (&TURNED, 4), (&TURNED, 8)]
            .into_iter()
            .filter_map(|(join, step)| first(join, step))
            .map(std::ptr::from_ref)
            .collect();
        // How lanes come together has nothing to do with how tensors are reached; and these every compiler can have.
        let reached = match thorough && reduce == Reduce::Tree {
            true => ios.len(),
            false => 0,
        };
        for (i, io) in ios.iter().enumerate() {
            if i >= reached && !plain.contains(&std::ptr::from_ref(io)) {
                continue;
            }
            let mut ways = vec![(merges[0], &TWICE)];
            // A way over rows meets what it touches of a storage: vectors of four and of eight.
            if plain.contains(&std::ptr::from_ref(io)) {
                ways.push((merges[1], &TWICE));
                ways.push((merges[0], &SHORT));
                if loss.accumulator.once {
                    ways.extend(merges.map(|merge| (merge, &ONCE)));
                }
            }
            for (merge, whole) in ways {
                let way = Way { merge, whole };
                let module = module(loss, *io, way, (reduce, workgroup));
                // Both ways with f16 have the same vectors.
                if !all.contains(&module) {
                    all.push(module);
                }
            }
        }
    }
    for sides in SIDE_FORMS {
        all.push(combine(loss, sides, workgroup));
    }
    all
}

/// Windows: as many rows as one binding reaches in every tensor that has rows.
#[derive(Clone, Copy)]
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
        by_rows.extend(inputs.weight.map(|t| ("weight", t)));
        by_rows.extend(gradient(inputs, outputs).map(|t| ("grad_logits", t)));
        by_rows.extend(tensor(outputs.grad_targets).map(|t| ("grad_targets", t)));
        by_rows.extend(others);
        // Rows without labels have no loss; where all that is wanted of them is a sum, they need not be met.
        let summed = row.reduction != Reduction::None;
        let rows = match (inputs.logits.cols(), inputs.logits.rows()) {
            (0, SLICE..) if summed => 0,
            (_, rows) => rows,
        };
        let mut most = most.min(rows.max(1));
        for (name, tensor) in &by_rows {
            most = most.min(target.rows_per_binding(name, tensor)?);
        }
        // A row leaves its loss, a threshold's gradient and its coefficients in scratch.
        let columns = matches!(inputs.threshold, Some(Threshold::Label(_)));
        let coefs = match columns || inputs.logits.cols() > LONG {
            true => u64::from(row.loss.accumulator.coef_words),
            false => 0,
        };
        let kept = 4 * (1 + u64::from(outputs.grad_threshold.is_some()) + coefs);
        let room = target.caps.max_binding / 8 * 7 / kept;
        most = most.min(usize::try_from(room).unwrap_or(usize::MAX).max(1));
        if sparse {
            let caps = target.caps;
            let words = caps.max_binding.saturating_sub(caps.storage_align) / 4;
            most = most.min(words.saturating_sub(2).max(1) as usize);
        }
        if is_copied(inputs) {
            // The copies of a window's weights are one binding too.
            let room = target.caps.max_binding / 4 / (inputs.logits.cols() as u64).max(1);
            most = most.min(usize::try_from(room).unwrap_or(usize::MAX).max(1));
        }
        to_u32(inputs.logits.rows() as u64, "logits")?;
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

    /// Slices of rows in the windows before row `first`, the last of each window perhaps smaller.
    fn slices_before(&self, first: usize) -> usize {
        first / self.most * self.most.div_ceil(SLICE) + (first % self.most).div_ceil(SLICE)
    }

    /// The same in all windows.
    fn slices(&self) -> usize {
        self.slices_before(self.rows)
    }

    /// How many, 1 at least.
    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.most).max(1)
    }
}

/// The tensor that the gradient to the logits goes to.
fn gradient<'a>(inputs: &RowInputs<'a>, outputs: &RowOutputs<'a>) -> Option<Tensor<'a>> {
    match outputs.grad_logits {
        Some(Gradient::To(grad) | Gradient::AddTo(grad)) => Some(grad),
        Some(Gradient::InPlace) => Some(inputs.logits),
        None => None,
    }
}

/// The dispatches of one loss over one window of rows.
#[derive(Clone, Copy)]
pub(crate) struct Sweep {
    loss: &'static RowLoss,
    io: Io,
    /// That of its columns, whose rows begin with their first label.
    columns_io: Io,
    variant: Variant,
    pub(crate) shape: Shape,
    /// Whether loss and gradient come of one sweep.
    once: bool,
    /// The gradient in a dispatch of its own.
    pub(crate) gradient_last: bool,
    /// Whether the gradient is summed down the columns.
    columns: bool,
}

/// The parts of masks and side tensors for a program that meets rows anywhere, by label.
pub(crate) fn reach(masked: bool, sides: SideForm) -> [&'static Part; PARTS] {
    let mut parts = [&NO_PART; PARTS];
    parts[MASK] = if masked { &MASK_ANY } else { &MASK_NONE };
    parts[SIDES] = sides.part();
    parts
}

impl Sweep {
    fn module(&self, whole: &'static Part) -> Module {
        let way = Way {
            merge: self.shape.merge,
            whole,
        };
        let kind = (self.variant.reduce, self.variant.workgroup);
        module(self.loss, self.io, way, kind)
    }

    /// Adds the dispatches. `params` and `bindings` are those of the window; what depends on the dispatch is filled in
    /// here.
    pub(crate) fn record<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let shape = self.shape;
        if shape.chunks > 1 {
            self.partial(steps, params, bindings)?;
            self.combine(steps, params, shape.chunks, bindings)?;
        } else {
            let mut params = params;
            if self.gradient_last {
                params.places.want_grad = 0;
            }
            self.rows(steps, params, bindings)?;
        }
        self.rest(steps, params, bindings)
    }

    /// Adds what is left to do with rows whose coefficients are known.
    fn rest<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        if self.columns {
            let way = Way {
                merge: self.shape.merge,
                whole: &TWICE,
            };
            let kind = (self.variant.reduce, self.variant.workgroup);
            let module = module(self.loss, self.columns_io, way, kind);
            column_sums(steps, module, self.laid(params), bindings)?;
        }
        if self.gradient_last && params.places.want_grad != 0 {
            self.gradient(steps, params, bindings)?;
        }
        Ok(())
    }

    /// Adds the dispatches for rows of which so many accumulators are in the places of chunks.
    fn met<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        accumulators: u32,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        self.combine(steps, params, accumulators, bindings)?;
        self.rest(steps, params, bindings)
    }

    /// What of the parameters follows from the shape.
    fn laid(&self, params: RowParams) -> RowParams {
        let shape = self.shape;
        RowParams {
            grid: RowGrid {
                width: shape.width,
                shift: shape.width.ilog2(),
                chunks: shape.chunks,
                steps: shape.steps,
                block: shape.block(self.io.access.step),
                apart: params.grid.apart.max(shape.chunks),
                ..params.grid
            },
            ..params
        }
    }

    /// Adds a dispatch over the rows, or their chunks.
    fn push<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        (whole, entry): (&'static Part, &'static str),
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let params = self.laid(params);
        let units = u64::from(params.window.rows) * u64::from(self.shape.chunks);
        let groups = units.div_ceil(u64::from(self.variant.workgroup / self.shape.width));
        let on = |grid| params.on(grid);
        steps.push(self.module(whole), entry, groups, on, bindings)
    }

    /// Adds the dispatch for the statistics of the chunks.
    pub(crate) fn partial<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        self.push(steps, (&TWICE, "partial"), params, bindings)
    }

    /// Adds the dispatch that makes of those of so many chunks a row what the rows come to.
    pub(crate) fn combine<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        chunks: u32,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let of = (self.loss, self.io.sides, "combine");
        push_chunks(steps, of, params, chunks, bindings)
    }

    /// Adds the dispatch that makes of those of so many chunks a row one accumulator.
    pub(crate) fn merge<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        chunks: u32,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let of = (self.loss, self.io.sides, "merge");
        push_chunks(steps, of, params, chunks, bindings)
    }

    /// Adds the dispatch for loss and gradient of whole rows.
    pub(crate) fn rows<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        let whole = match (self.shape.short, params.places.want_grad != 0 && self.once) {
            (true, _) => &SHORT,
            (false, true) => &ONCE,
            (false, false) => &TWICE,
        };
        self.push(steps, (whole, "rows"), params, bindings)
    }

    /// Adds the dispatch for the gradient of rows whose coefficients are known.
    pub(crate) fn gradient<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: RowParams,
        bindings: RowBindings<'a>,
    ) -> Result<(), Error> {
        self.push(steps, (&TWICE, "gradient"), params, bindings)
    }
}

/// Adds a dispatch between the chunks of rows, of which each has so many.
pub(crate) fn push_chunks<'a>(
    steps: &mut Dispatches<'a, '_>,
    (loss, sides, entry): (&'static RowLoss, SideForm, &'static str),
    mut params: RowParams,
    chunks: u32,
    bindings: RowBindings<'a>,
) -> Result<(), Error> {
    let workgroup = steps.target.variant.workgroup;
    let width = chunks.next_power_of_two().min(workgroup);
    params.grid.chunks = chunks;
    params.grid.width = width;
    params.grid.shift = width.ilog2();
    let module = combine(loss, sides, workgroup);
    let groups = u64::from(params.window.rows).div_ceil(u64::from(workgroup / width));
    let reached = RowBindings {
        sides: bindings.sides,
        scratch: bindings.scratch,
        ..RowBindings::default()
    };
    steps.push(module, entry, groups, |grid| params.on(grid), reached)
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
    let tiles = u64::from(params.grid.columns.div_ceil(4 * 32));
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
    phases: Phases,
    pub(crate) sweep: Sweep,
    windows: Windows,
    /// Parts of the sums down the columns.
    pub(crate) parts: u32,
    /// Where the rows' losses go without a detour.
    direct: Option<Tensor<'a>>,
    places: Places,
    /// The bits of sparse targets.
    bits: Option<Bits<'a>>,
    /// The copies of weights.
    copies: Option<Copies<'a>>,
    /// The number that a stage leaves.
    total: Region,
}

/// Where the labels of rows are.
#[derive(Clone, Copy)]
pub(crate) enum Among<'k, 'a> {
    /// All here.
    Here,
    /// Tile by tile.
    Tiles(&'k Kept),
    /// On other devices too, for which accumulators are left.
    Leaves(Held<'a>),
    /// On other devices too, of which there are accumulators.
    Meets(Held<'a>),
}

impl<'a> Among<'_, 'a> {
    /// Rows of a window at most, where there are shards.
    pub(crate) fn most_rows(&self, target: Target<'_>, row: &Row, cols: usize) -> Option<usize> {
        let accumulators = match self {
            Among::Here | Among::Tiles(_) => return None,
            Among::Leaves(_) => most_chunks(cols) + 1,
            Among::Meets(held) => u64::from(held.shards()),
        };
        let accumulator = row.loss.accumulator;
        let words = accumulators * u64::from(accumulator.acc_words);
        Some(most_rows(target, words))
    }
}

/// What is kept of rows whose labels come tile by tile, and what is the same of all tiles.
pub(crate) struct Kept {
    pub(crate) shape: Shape,
    pub(crate) loss: Region,
    pub(crate) coef: Region,
    pub(crate) chunk: Region,
}

impl Kept {
    fn places(&self) -> Places {
        Places {
            loss: self.loss,
            threshold: Region::ABSENT,
            coef: self.coef,
            column: Region::ABSENT,
            chunk: self.chunk,
            folds: [Region::ABSENT; JOBS],
        }
    }
}

/// Regions of scratch.
struct Places {
    loss: Region,
    threshold: Region,
    coef: Region,
    column: Region,
    chunk: Region,
    /// Where losses and threshold gradients of a window are summed slice by slice: sums of the slices of all windows.
    folds: [Region; JOBS],
}

/// Rows whose losses one workgroup sums up at the end; of more rows, or in several windows, slices of so many are summed
/// before.
const SLICE: usize = 1 << 14;

impl<'a, 'c> Driver<'a, 'c> {
    /// Chooses modules and shape, and finds room in scratch: of a tile, what all tiles have.
    pub(crate) fn new(
        target: Target<'c>,
        row: &Row,
        inputs: &RowInputs<'a>,
        outputs: &RowOutputs<'a>,
        windows: &Windows,
        among: Among<'_, 'a>,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let logits = inputs.logits;
        let (rows, cols) = (windows.rows, logits.cols());
        let variant = target.variant;
        let storage = Storage::of(logits.dtype(), variant.half).ok_or_else(|| {
            Error::new(
                ErrorKind::DType,
                "logits",
                "f32, f16 or bf16",
                logits.dtype(),
            )
        })?;
        let destination = match outputs.grad_logits {
            Some(Gradient::InPlace) => Destination::InPlace,
            Some(Gradient::To(grad) | Gradient::AddTo(grad)) if grad.dtype() != DType::F32 => {
                Destination::Same
            }
            _ => Destination::F32,
        };
        let (access, phases) = access(storage, destination, inputs, outputs);
        let adds = outputs.grad_targets.is_some_and(|grad| grad.adds());
        let second = match (tensor(outputs.grad_targets), adds) {
            (None, _) => &SECOND_NONE,
            (Some(t), false) if phases.vectors(&t) => &SECOND_VECTORS,
            (Some(t), true) if phases.vectors(&t) => &SECOND_VECTORS_ADDED,
            (Some(_), false) => &SECOND_ANY,
            (Some(_), true) => &SECOND_ANY_ADDED,
        };
        let io = Io {
            access,
            destination,
            targets: targets_part(&inputs.targets, variant, Some(&phases)),
            second,
            join: match row.turned {
                Some(_) => &TURNED,
                None => &ALONE,
            },
            prior: match outputs.grad_logits {
                Some(Gradient::AddTo(_)) => access.prior(destination),
                _ => &REPLACES,
            },
            mask: mask_part(inputs, Some(&phases)),
            sides: SideForm::of(target, inputs),
        };
        let at = (cols, phases.most());
        let shape = Shape::of(
            windows.first(),
            at,
            access.step,
            variant,
            target.caps.subgroup_size,
        );
        let shape = match among {
            Among::Tiles(kept) => kept.shape,
            // Rows that lanes keep are whole.
            Among::Leaves(_) | Among::Meets(_) => Shape {
                short: false,
                ..shape
            },
            Among::Here => shape,
        };
        // Accumulators of a row: its chunks', and what is left of several; or those of all shards.
        let accumulators = match among {
            Among::Leaves(_) if shape.chunks > 1 => shape.chunks + 1,
            Among::Leaves(_) => 1,
            Among::Meets(held) => held.shards(),
            Among::Here | Among::Tiles(_) => shape.chunks,
        };
        let split = shape.chunks > 1 || matches!(among, Among::Leaves(_) | Among::Meets(_));

        let reduced = row.reduction != Reduction::None;
        let want_grad = outputs.grad_logits.is_some();
        let want_threshold = outputs.grad_threshold.is_some();
        let per_label = matches!(inputs.threshold, Some(Threshold::Label(_)));
        let columns = want_threshold && per_label;
        // The sums down the columns read the logits, which an in-place gradient would have replaced.
        let gradient_last = split || (columns && destination == Destination::InPlace);
        let coefs = columns || (gradient_last && want_grad);
        // A last stage has scratch where the losses of the rows would be bound.
        let plain = !reduced && !split && !coefs && !want_threshold && row.loss.stage.is_none();
        let direct = outputs.loss.filter(|_| plain);
        let leaves = matches!(among, Among::Leaves(_));
        let counts = row.loss.stage == Some(Stage::Count) && !leaves;
        let through = counts || outputs.loss.is_some() && direct.is_none();
        // The first window has the most rows, and the others add to its parts.
        let parts = (windows.first() as u32).div_ceil(column_rows(variant.workgroup));
        let acc_words = u64::from(accumulators) * u64::from(row.loss.accumulator.acc_words);
        let coef_words = u64::from(row.loss.accumulator.coef_words);
        // What is summed at the end: losses, and gradients to one threshold.
        let per_row = matches!(inputs.threshold, Some(Threshold::Row(_)));
        let sums = [through && reduced, want_threshold && !per_label && !per_row];
        let folds = windows.slices() > 1;
        let many = |summed: bool| match summed && folds {
            true => windows.first() as u64,
            false => rows as u64,
        };
        let first = windows.first() as u64;
        let mut fold = |summed: bool| scratch.take_if(summed && folds, windows.slices() as u64);
        let places = match among {
            Among::Tiles(kept) => kept.places(),
            _ => {
                let folds = [fold(sums[0])?, fold(sums[1])?];
                Places {
                    loss: scratch.take_if(through, many(sums[0]))?,
                    threshold: scratch.take_if(want_threshold && !per_label, many(sums[1]))?,
                    coef: scratch.take_if(coefs, first * coef_words)?,
                    column: scratch.take_if(columns, u64::from(parts) * cols as u64)?,
                    chunk: scratch.take_if(split, first * acc_words)?,
                    folds,
                }
            }
        };
        // How many labels of a row count is not known beforehand where a mask may take some out.
        let counted = row.row_mean && (inputs.mask.is_some() || inputs.class_mask.is_some());
        Ok(Driver {
            target,
            row: *row,
            inputs: *inputs,
            outputs: *outputs,
            storage,
            phases,
            sweep: Sweep {
                loss: row.loss,
                io,
                columns_io: io.anywhere(
                    storage,
                    targets_part(&inputs.targets, variant, None),
                    mask_part(inputs, None),
                ),
                variant,
                shape,
                once: row.loss.accumulator.once && !counted,
                gradient_last,
                columns,
            },
            windows: *windows,
            parts,
            direct,
            places,
            bits: Bits::of(
                &inputs.targets,
                (inputs.logits.rows(), inputs.logits.cols()),
            ),
            copies: Copies::of(inputs),
            total: Region::ABSENT,
        })
    }

    /// Adds the dispatches of a window.
    pub(crate) fn record(
        &self,
        steps: &mut Dispatches<'a, '_>,
        among: Among<'_, 'a>,
        (params, bindings): (RowParams, RowBindings<'a>),
        scratch: Bind<'a>,
    ) -> Result<(), Error> {
        let sweep = &self.sweep;
        let window = (params.window.first_row, params.window.rows);
        let place = params.places.chunk_at;
        match among {
            Among::Here | Among::Tiles(_) => sweep.record(steps, params, bindings)?,
            Among::Leaves(held) => {
                sweep.partial(steps, params, bindings)?;
                let chunks = sweep.shape.chunks;
                let words = sweep.loss.accumulator.acc_words;
                let mut left = place;
                if chunks > 1 {
                    left += window.1 * chunks * words;
                    let mut params = params;
                    params.places.coef_at = left;
                    sweep.merge(steps, params, chunks, bindings)?;
                }
                held.leave(steps, words, window, (scratch, left))?;
            }
            Among::Meets(held) => {
                let words = sweep.loss.accumulator.acc_words;
                held.bring(steps, words, window, (scratch, place))?;
                sweep.met(steps, params, held.shards(), bindings)?;
            }
        }
        self.after(steps, &params, scratch);
        Ok(())
    }

    /// The same of labels from one on, where those before are other tiles'.
    pub(crate) fn starting_at(self, first: usize) -> Self {
        Driver {
            bits: self.bits.map(|bits| bits.starting_at(first)),
            ..self
        }
    }

    /// The same window of another loss over the same tensors, whose gradient goes into a plane of f32.
    pub(crate) fn stage(&self, loss: &'static RowLoss, rows: usize) -> Sweep {
        let inputs = &self.inputs;
        let plane = inputs.logits.cols() as u64;
        let phases = Phases::of(&inputs.logits, self.storage.vectors.step);
        let vectors = reaches_vectors(&inputs.logits)
            && phases.congruent((u64::from(phases.at(0)), plane), 4);
        let (access, phases) = match vectors {
            true => (in_vectors(self.storage, inputs, &phases), phases),
            false => (self.storage.any, Phases::NONE),
        };
        let at = (inputs.logits.cols(), phases.most());
        let subgroup = self.target.caps.subgroup_size;
        let shape = Shape::of(rows, at, access.step, self.sweep.variant, subgroup);
        Sweep {
            loss,
            io: Io {
                access,
                destination: Destination::F32,
                targets: targets_part(&inputs.targets, self.sweep.variant, Some(&phases)),
                second: &SECOND_NONE,
                join: &ALONE,
                prior: &REPLACES,
                mask: mask_part(inputs, Some(&phases)),
                sides: self.sweep.io.sides,
            },
            shape,
            once: false,
            gradient_last: shape.chunks > 1,
            columns: false,
            ..self.sweep
        }
    }

    /// Takes room for the bits of sparse targets, for copies of weights, and for the number that a stage leaves: apart
    /// from the scratch that is bound beside them.
    pub(crate) fn take_copies(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        if let Some(bits) = &mut self.bits {
            bits.take(scratch, rows)?;
        }
        if let Some(copies) = &mut self.copies {
            copies.take(scratch, rows)?;
        }
        self.total = scratch.take_if(self.row.loss.stage == Some(Stage::Count), 1)?;
        Ok(())
    }

    /// Where a stage leaves the number of all rows.
    pub(crate) fn total(&self) -> Region {
        self.total
    }

    /// Adds what a window needs before its own dispatches: the bits of sparse targets, and copies of weights.
    pub(crate) fn before(
        &self,
        steps: &mut Dispatches<'a, '_>,
        params: &RowParams,
    ) -> Result<(), Error> {
        let (first, rows) = (params.window.first_row, params.window.rows);
        if let Some(bits) = &self.bits {
            bits.make(steps, first as usize, rows as usize)?;
        }
        match &self.copies {
            Some(copies) => copies.make(steps, first as usize, rows as usize),
            None => Ok(()),
        }
    }

    /// Parameters and bindings of every window, in order.
    pub(crate) fn windows(
        &self,
        windows: &Windows,
        sides: &Sides<'a>,
        scratch: Bind<'a>,
    ) -> Result<Vec<(RowParams, RowBindings<'a>)>, Error> {
        let window = |window| self.window(window, sides, scratch);
        windows.iter().map(window).collect()
    }

    /// Parameters and bindings of a window: its first row and their number.
    fn window(
        &self,
        (first, rows): (usize, usize),
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
            None => (Bind::Nothing, 0, 0),
        };
        let (logits_bind, logits_offset, logits_stride) = part(Some(logits));
        let (targets_bind, targets_offset, targets_stride) = match (&self.bits, inputs.targets) {
            (Some(bits), _) => bits.bind(),
            (None, Targets::Dense(t) | Targets::Bits(t)) => part(Some(t)),
            (None, Targets::Sparse { .. }) => (Bind::Nothing, 0, 0),
        };
        let (second_bind, grad2_offset, grad2_stride) = match &self.row.turned {
            // All classes, from the window's first sample on.
            Some(turned) => {
                let (bind, at) = target.bind_all("grad_logits", turned)?;
                (bind, at + first as u32, turned.row_stride() as u32)
            }
            None => part(tensor(outputs.grad_targets)),
        };
        let (mask_bind, mask_offset, mask_stride) = match &self.copies {
            Some(copies) => copies.bind(),
            None => part(inputs.weight.or(inputs.mask)),
        };
        let (grad_bind, grad_offset, grad_stride) = part(gradient(inputs, outputs));
        let in_place = matches!(outputs.grad_logits, Some(Gradient::InPlace));
        // Where a window's numbers lie among those of all rows, unless they are folded window by window.
        let place = |region: Region, fold: Region| match (region.at(), fold.at()) {
            (ABSENT, _) => ABSENT,
            (at, ABSENT) => at + first as u32,
            (at, _) => at,
        };
        let [loss_fold, threshold_fold] = self.places.folds;
        let (scratch, loss_at) = match &self.direct {
            Some(loss) => {
                let (bind, at) = target.bind_all("loss", loss)?;
                (bind, at + first as u32)
            }
            None => (scratch, place(self.places.loss, loss_fold)),
        };
        let params = RowParams {
            window: RowWindow {
                rows: rows as u32,
                cols: cols as u32,
                first_row: first as u32,
                pad: 0,
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
                mask_offset,
                mask_stride,
                grad_offset,
                grad_stride,
                grad2_offset,
                grad2_stride,
                ..RowViews::default()
            },
            sides: sides.params(),
            places: RowPlaces {
                loss_at,
                threshold_at: place(self.places.threshold, threshold_fold),
                coef_at: self.places.coef.at(),
                chunk_at: self.places.chunk.at(),
                column_at: self.places.column.at(),
                want_grad: u32::from(outputs.grad_logits.is_some()),
                ..RowPlaces::default()
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

    /// How rows begin within vectors.
    pub(crate) fn phases(&self) -> &Phases {
        &self.phases
    }

    /// What the reduction multiplies by, unless something has to be counted.
    fn scale(&self) -> f32 {
        let logits = self.inputs.logits;
        let count = match self.row.reduction {
            Reduction::MeanElements => logits.rows() * logits.cols(),
            _ => logits.rows(),
        };
        self.row.reduction.scale(count) as f32
    }

    /// Adds what follows a window's own dispatches: sums of its slices.
    fn after(&self, steps: &mut Dispatches<'a, '_>, params: &RowParams, scratch: Bind<'a>) {
        let RowWindow {
            rows, first_row, ..
        } = params.window;
        let before = self.windows.slices_before(first_row as usize);
        let slices = rows.div_ceil(SLICE as u32);
        let sources = [params.places.loss_at, params.places.threshold_at];
        let mut jobs = [FinishJob::default(); JOBS];
        for ((job, fold), source) in jobs.iter_mut().zip(self.places.folds).zip(sources) {
            if fold.at() != ABSENT {
                *job = FinishJob {
                    source,
                    stride: 1,
                    count: rows,
                    len: 1,
                    destination: fold.at() + before as u32,
                    scale: 1.0,
                    groups: slices,
                    slice: SLICE as u32,
                };
            }
        }
        if jobs.iter().any(|job| job.groups > 0) {
            let module = FINISH.module(self.sweep.variant.workgroup);
            let bindings = FinishBindings {
                scratch,
                ..FinishBindings::default()
            };
            steps.push_grid(module, "fold", [slices, JOBS as u32, 1], jobs, bindings);
        }
    }

    /// Adds the sums and copies to the caller's tensors.
    pub(crate) fn finish(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: Bind<'a>,
    ) -> Result<(), Error> {
        let copy_groups = |len| copy_groups(len, self.sweep.variant.workgroup);
        let (rows, cols) = (self.windows.rows, self.inputs.logits.cols());
        let mut jobs = [FinishJob::default(); JOBS];
        let mut bindings = FinishBindings {
            scratch,
            ..FinishBindings::default()
        };
        let through = self.outputs.loss.filter(|_| self.direct.is_none());
        let first = match (through, self.total.at()) {
            (Some(loss), _) => Some((self.target.bind_all("loss", &loss)?, loss.cols() as u32)),
            (None, ABSENT) => None,
            (None, _) => Some(((self.total.bind(), 0), 1)),
        };
        if let Some(((bind, destination), len)) = first {
            bindings.first = bind;
            let reduced = self.row.reduction != Reduction::None;
            let (stride, count) = if reduced { (1, rows as u32) } else { (0, 1) };
            jobs[0] = FinishJob {
                source: self.places.loss.at(),
                stride,
                count,
                len,
                destination,
                scale: if reduced { self.scale() } else { 1.0 },
                groups: copy_groups(len),
                slice: 0,
            };
        }
        if let Some(grad) = tensor(self.outputs.grad_threshold) {
            let (bind, destination) = self.target.bind_all("grad_threshold", &grad)?;
            bindings.second = bind;
            let len = grad.cols() as u32;
            let (source, stride, count) = match self.inputs.threshold {
                Some(Threshold::Label(_)) => (self.places.column.at(), cols as u32, self.parts),
                Some(Threshold::Row(_)) => (self.places.threshold.at(), 0, 1),
                _ => (self.places.threshold.at(), 1, rows as u32),
            };
            jobs[1] = FinishJob {
                source,
                stride,
                count,
                len,
                destination,
                scale: 1.0,
                groups: copy_groups(len),
                slice: 0,
            };
        }
        for (job, fold) in jobs.iter_mut().zip(self.places.folds) {
            if fold.at() != ABSENT {
                (job.source, job.count) = (fold.at(), self.windows.slices() as u32);
            }
        }
        push_finish(steps, jobs, bindings);
        Ok(())
    }

    /// Bytes that `stages` such sweeps over all rows move: every tensor once for each stage, and logits and targets once
    /// more where a dispatch of its own reads them again. What a second sweep of the same lanes reads is in their caches.
    pub(crate) fn bytes(&self, stages: u64) -> u64 {
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        let again = u64::from(self.sweep.gradient_last && outputs.grad_logits.is_some());
        let reads = stages + again + u64::from(self.sweep.columns);
        let size = |t: Tensor<'_>| t.rows() as u64 * t.cols() as u64 * t.dtype().size();
        let targets = match inputs.targets {
            Targets::Dense(t) | Targets::Bits(t) => size(t),
            Targets::Sparse { offsets, indices } => size(offsets) + size(indices),
        };
        let written = [
            gradient(inputs, outputs),
            tensor(outputs.grad_targets),
            outputs.loss,
        ];
        // What is added to is read too.
        let gradients = [outputs.grad_logits, outputs.grad_targets];
        let added = gradients.map(|grad| tensor(grad.filter(Gradient::adds)));
        let all = written.into_iter().chain(added);
        let written: u64 = all.flatten().map(size).sum();
        reads
            * (size(inputs.logits)
                + targets
                + inputs.mask.map_or(0, size)
                + inputs.weight.map_or(0, size))
            + written
    }
}

/// Workgroups of a job with so many results.
fn copy_groups(len: u32, workgroup: u32) -> u32 {
    match len {
        1 => 1,
        len => len.div_ceil(workgroup).min(MAX_COPY_GROUPS),
    }
}

/// Adds the last dispatch, where there is anything to do.
fn push_finish<'a>(
    steps: &mut Dispatches<'a, '_>,
    jobs: [FinishJob; JOBS],
    bindings: FinishBindings<'a>,
) {
    let widest = jobs[0].groups.max(jobs[1].groups);
    if widest > 0 {
        let layers = 1 + u32::from(jobs[1].groups > 0);
        let module = FINISH.module(steps.target.variant.workgroup);
        steps.push_grid(module, "finish", [widest, layers, 1], jobs, bindings);
    }
}

/// Adds the sum of numbers in scratch, or themselves, times a scale, to a place of a binding.
pub(crate) fn push_losses<'a>(
    steps: &mut Dispatches<'a, '_>,
    (scratch, source, count): (Bind<'a>, u32, u32),
    (scale, sums): (f32, bool),
    (first, destination): (Bind<'a>, u32),
) {
    let len = if sums { 1 } else { count };
    let job = FinishJob {
        source,
        stride: u32::from(sums),
        count: if sums { count } else { 1 },
        len,
        destination,
        scale,
        groups: copy_groups(len, steps.target.variant.workgroup).max(u32::from(sums)),
        slice: 0,
    };
    let bindings = FinishBindings {
        first,
        scratch,
        ..FinishBindings::default()
    };
    push_finish(steps, [job, FinishJob::default()], bindings);
}

/// How logits and gradient are reached: in vectors where both lie so that it goes.
fn access<'a>(
    storage: &'static Storage,
    destination: Destination,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> (&'static Access, Phases) {
    let logits = &inputs.logits;
    let phases = Phases::of(logits, storage.vectors.step);
    let grad = gradient(inputs, outputs);
    // No two rows may share a word of 16-bit values, since a word is written as a whole.
    let words = |t: &Tensor<'_>| storage.is_f32() || Phases::of(t, 2).most() == 0;
    let fits = reaches_vectors(logits)
        && grad.is_none_or(|grad| {
            reaches_vectors(&grad)
                && match destination {
                    Destination::F32 => phases.vectors(&grad),
                    Destination::Same => phases.same(&grad) && words(&grad),
                    Destination::InPlace => words(&grad),
                }
        });
    if fits {
        return (in_vectors(storage, inputs, &phases), phases);
    }
    let phases = match (grad, destination) {
        (Some(grad), Destination::Same | Destination::InPlace) if storage.any.shares_words => {
            Phases::of(&grad, 2)
        }
        _ => Phases::NONE,
    };
    (storage.any, phases)
}

/// How they are reached in vectors, of which none has labels of two rows, or of a row and what is beside it, if rows are
/// whole vectors.
fn in_vectors(
    storage: &'static Storage,
    inputs: &RowInputs<'_>,
    phases: &Phases,
) -> &'static Access {
    let cols = inputs.logits.cols() as u64;
    match phases.most() == 0 && cols.is_multiple_of(u64::from(storage.vectors.step)) {
        true => storage.whole,
        false => storage.vectors,
    }
}

/// The part that reads the targets of rows that begin at these phases; of rows that begin anywhere without.
fn targets_part(
    targets: &Targets<Tensor<'_>>,
    variant: Variant,
    phases: Option<&Phases>,
) -> &'static Part {
    match targets {
        Targets::Bits(_) | Targets::Sparse { .. } => {
            match phases.is_none_or(|phases| phases.most() == 0) {
                true => &TARGETS_BITS,
                false => &TARGETS_BITS_ANY,
            }
        }
        Targets::Dense(t) => match Storage::of(t.dtype(), variant.half) {
            Some(storage) => match phases.is_some_and(|phases| phases.vectors(t)) {
                true => storage.targets,
                false => storage.targets_any,
            },
            None if t.dtype() == DType::U32 => match phases.is_some_and(|phases| phases.vectors(t))
            {
                true => &TARGETS_U32,
                false => &TARGETS_U32_ANY,
            },
            None => match phases.is_some_and(|phases| phases.begin_alike(t)) {
                true => &TARGETS_U8,
                false => &TARGETS_U8_ANY,
            },
        },
    }
}
