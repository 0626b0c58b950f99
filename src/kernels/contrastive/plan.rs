//! From a checked contrastive loss to its dispatches: windows of rows over bindings, blocks and chunks of pairs, tiles of
//! pair gradients, what goes through scratch, and the parameters of every step.

use crate::device::caps::{Caps, Reduce};
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::plan::{Step, fold};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Draft, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::contrastive::call::{ContrastiveInputs, ContrastiveOutputs, RelationInputs};
use crate::kernels::shader::{ContrastivePart, Kernel, Module, Program, block_lanes};
use crate::kernels::steps::{Scratch, bind_all, bind_bytes, bind_rows, rows_per_binding, word};
use crate::losses::contrastive::JACCARD_SLACK;
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Normalizer, Placement, Weighting,
};
use crate::losses::labels::{TargetNames, Targets};
use bytemuck::{Pod, Zeroable};

/// Mirror of `PairParams` in shaders/contrastive/params.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct PairParams {
    rows: u32,
    cols: u32,
    first_row: u32,
    first_col: u32,
    groups: u32,
    groups_x: u32,
    chunks: u32,
    chunk_tiles: u32,
    first_chunk: u32,
    all_chunks: u32,
    row_blocks: u32,
    dims: u32,
    depth: u32,
    words: u32,
    stage: u32,
    four: u32,
    own_z: u32,
    other_z: u32,
    split_z: u32,
    own_sets: u32,
    other_sets: u32,
    split_sets: u32,
    own_stride: u32,
    other_stride: u32,
    own_sizes: u32,
    other_sizes: u32,
    norms: u32,
    counts: u32,
    record: u32,
    record_stride: u32,
    totals: u32,
    itself: u32,
    itself_at: u32,
    partial_at: u32,
    partial_stride: u32,
    tile_at: u32,
    tile_stride: u32,
    sum_at: u32,
    add: u32,
    weighting: u32,
    divisor: u32,
    direction: u32,
    threshold: f32,
    inv_temperature: f32,
    normalize: u32,
    mean_active: u32,
    mean_labels: u32,
    scale: f32,
    source_offset: u32,
    source_stride: u32,
    form: u32,
    labels_offset: u32,
    labels_stride: u32,
    labels: u32,
    indices_offset: u32,
    indices_len: u32,
    want_each: u32,
    want_loss: u32,
    want_upstream: u32,
    want_temperature: u32,
    each_at: u32,
    loss_at: u32,
    upstream_at: u32,
    grad_at: u32,
    grad_stride: u32,
    nan: u32,
}

/// Components of a row of `z` come in multiples of this: what a block of products stages at a time.
const DEPTH: u64 = 16;
/// Windows begin at multiples of this many rows: 256 bytes of any region, and whole blocks of the largest workgroups.
const WINDOW_ROWS: u64 = 128;
/// Workgroups of the forward pass that are aimed at by sharing the keys of an anchor.
const PAIR_GROUPS: u64 = 1024;
/// Most products of components in one dispatch of the forward pass: drivers stop what runs for seconds.
const DISPATCH_PRODUCTS: u64 = 1 << 36;
/// Vectors of an anchor's sums in a chunk; arrays of the record.
const SUM_FIELDS: u64 = 8;
const RECORD_FIELDS: u64 = 6;
/// Values of `itself` and bits of `direction`.
const SAME_NUMBER: u32 = 1;
const FROM_INDEX: u32 = 2;
const OWN_ANCHORS: u32 = 1;
const OTHER_ANCHORS: u32 = 2;

/// Anchors or keys, and where they are in scratch.
#[derive(Clone)]
struct Side<'a> {
    embeddings: Option<Tensor<'a>>,
    names: (&'static str, [&'static str; 2]),
    sets: Targets<Tensor<'a>>,
    /// How many labels the sets are of.
    classes: usize,
    rows: usize,
    /// Words of a row in `z` and in `sets`.
    z_words: u64,
    set_words: u64,
    z_at: u32,
    sets_at: u32,
    /// In `small`.
    sizes: u32,
    norms: u32,
    windows: Vec<Window>,
}

/// Rows that one binding reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    first: usize,
    rows: usize,
}

/// Cuts rows into pieces of `most`.
fn pieces(first: usize, rows: usize, most: usize) -> impl Iterator<Item = Window> {
    let most = most.max(1);
    (0..rows).step_by(most).map(move |at| Window {
        first: first + at,
        rows: most.min(rows - at),
    })
}

impl<'a> Side<'a> {
    /// Finds room for the rows' scratch.
    fn new(
        keys: bool,
        embeddings: Option<Tensor<'a>>,
        (sets, classes): (Targets<Tensor<'a>>, usize),
        rows: usize,
        set_words: u64,
        caps: &Caps,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let (name, names) = match keys {
            true => ("keys", TargetNames::KEY_LABELS),
            false => ("embeddings", TargetNames::LABELS),
        };
        word(rows as u64, name)?;
        let dims = embeddings.map_or(0, |t| t.cols()) as u64;
        word(dims, name)?;
        let z_words = dims.next_multiple_of(DEPTH);
        let widest = 4 * z_words.max(set_words);
        let fitting = caps.max_binding.min(u64::from(u32::MAX)) / widest.max(1);
        let most = match fitting >= rows as u64 {
            true => rows as u64,
            false => fitting / WINDOW_ROWS * WINDOW_ROWS,
        };
        if most == 0 && rows > 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                name,
                format!(
                    "rows of at most {} bytes in f32 and as label bits",
                    caps.max_binding / WINDOW_ROWS
                ),
                format!("{widest} bytes"),
            ));
        }
        Ok(Side {
            embeddings,
            names: (name, [sets.name(names), names.indices]),
            sets,
            classes,
            rows,
            z_words,
            set_words,
            z_at: scratch.take(true, rows as u64 * z_words)?,
            sets_at: scratch.take(true, rows as u64 * set_words)?,
            sizes: 0,
            norms: 0,
            windows: pieces(0, rows, most as usize).collect(),
        })
    }

    fn z(&self, window: Window) -> Bind<'a> {
        region(self.z_at, window, self.z_words)
    }

    fn sets(&self, window: Window) -> Bind<'a> {
        region(self.sets_at, window, self.set_words)
    }

    /// Vectors and words before a row in the bindings of its window.
    fn before(&self, window: Window, first: usize) -> (u32, u32) {
        let rows = (first - window.first) as u64;
        // A binding has fewer than 2^32 bytes.
        (
            (rows * self.z_words / 4) as u32,
            (rows * self.set_words) as u32,
        )
    }
}

fn region<'a>(at: u32, window: Window, words: u64) -> Bind<'a> {
    match 4 * window.rows as u64 * words {
        0 => Bind::Nothing,
        size => Bind::Scratch {
            start: 4 * (u64::from(at) + window.first as u64 * words),
            size,
        },
    }
}

/// A call on its way to steps.
struct Steps<'a, 'c> {
    cx: &'c Context,
    caps: &'c Caps,
    workgroup: u32,
    drafts: Vec<Draft<'a>>,
    small: Bind<'a>,
    /// Which key an anchor is, where it is a tensor.
    index: Bind<'a>,
}

impl<'a> Steps<'a, '_> {
    /// A dispatch of `groups` workgroups, folded over x and y.
    fn push(
        &mut self,
        part: ContrastivePart,
        entry: &'static str,
        groups: u64,
        params: PairParams,
        bindings: [Bind<'a>; STORAGE_BINDINGS],
    ) -> Result<(), Error> {
        let groups = word(groups, "workgroups")?;
        let (x, y) = fold(groups, self.caps.max_groups);
        if y > self.caps.max_groups {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "workgroups",
                format!("at most {0} x {0}", self.caps.max_groups),
                groups,
            ));
        }
        let module = Module {
            program: Program::Contrastive(part),
            reduce: Reduce::Tree,
            workgroup: self.workgroup,
        };
        let params = PairParams {
            groups,
            groups_x: x,
            ..params
        };
        self.drafts.push(Draft {
            step: Step {
                kernel: Kernel { module, entry },
                groups: [x, y, 1],
            },
            params: bytemuck::bytes_of(&params).to_vec(),
            bindings,
        });
        Ok(())
    }

    /// Brings the rows of a side into scratch.
    fn pack(&mut self, side: &Side<'a>, base: PairParams) -> Result<(), Error> {
        let part = match side.embeddings.map(|t| t.dtype()) {
            Some(DType::F16) => ContrastivePart::PackF16,
            Some(DType::Bf16) => ContrastivePart::PackBf16,
            _ => ContrastivePart::PackF32,
        };
        let (name, [sets_name, indices_name]) = side.names;
        let mut most = match &side.embeddings {
            Some(t) => rows_per_binding(name, t, self.caps)?,
            None => side.rows,
        };
        match &side.sets {
            Targets::Dense(t) | Targets::Bits(t) => {
                most = most.min(rows_per_binding(sets_name, t, self.caps)?);
            }
            Targets::Sparse { .. } => {
                let words = self
                    .caps
                    .max_binding
                    .saturating_sub(self.caps.storage_align)
                    / 4;
                most = most.min(words.saturating_sub(2) as usize);
            }
        }
        for window in &side.windows {
            for piece in pieces(window.first, window.rows, most) {
                let (own_z, own_sets) = side.before(*window, piece.first);
                let (source, source_offset) = match &side.embeddings {
                    Some(t) => bind_rows(t, piece.first, piece.rows, self.caps),
                    None => (Bind::Nothing, 0),
                };
                let mut params = PairParams {
                    first_row: piece.first as u32,
                    own_z,
                    own_sets,
                    own_stride: side.set_words as u32,
                    own_sizes: side.sizes,
                    norms: side.norms,
                    source_offset,
                    source_stride: side.embeddings.map_or(0, |t| t.stride() as u32),
                    ..base
                };
                let mut indices_bind = Bind::Nothing;
                let labels_bind = match &side.sets {
                    Targets::Dense(t) | Targets::Bits(t) => {
                        let (bind, at) = bind_rows(t, piece.first, piece.rows, self.caps);
                        params.form = u32::from(t.dtype() == DType::U8);
                        params.labels = t.cols() as u32;
                        params.labels_offset = at;
                        params.labels_stride = t.stride() as u32;
                        bind
                    }
                    Targets::Sparse { offsets, indices } => {
                        // The offsets of the piece's rows and the one behind.
                        let from = offsets.bytes(0, 1).0 + 4 * piece.first as u64;
                        let end = from + 4 * (piece.rows as u64 + 1);
                        let (bind, at) = bind_bytes(offsets, from, end, self.caps);
                        params.form = 2;
                        params.labels = word(side.classes as u64, "labels")?;
                        params.labels_offset = at;
                        (indices_bind, params.indices_offset) =
                            bind_all(indices_name, indices, self.caps)?;
                        params.indices_len = indices.cols() as u32;
                        bind
                    }
                };
                let bindings = [
                    source,
                    labels_bind,
                    indices_bind,
                    side.z(*window),
                    side.sets(*window),
                    self.small,
                    Bind::Nothing,
                ];
                self.push(part, "pack", piece.rows as u64, params, bindings)?;
            }
        }
        Ok(())
    }

    /// What MulSupCon needs to know of the labels: keys with each, and which a key has that is the anchor.
    fn count(
        &mut self,
        anchors: &Side<'a>,
        keys: &Side<'a>,
        base: PairParams,
    ) -> Result<(), Error> {
        let part = ContrastivePart::Counts;
        for (i, window) in keys.windows.iter().enumerate() {
            let params = PairParams {
                rows: window.rows as u32,
                own_stride: keys.set_words as u32,
                add: u32::from(i > 0),
                ..base
            };
            let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
            bindings[2] = keys.sets(*window);
            bindings[4] = self.small;
            let words = u64::from(base.words);
            self.push(part, "count_labels", words, params, bindings)?;
        }
        if base.itself != FROM_INDEX {
            return Ok(());
        }
        for own in &anchors.windows {
            for other in &keys.windows {
                let params = PairParams {
                    first_row: own.first as u32,
                    first_col: other.first as u32,
                    cols: other.rows as u32,
                    own_stride: anchors.set_words as u32,
                    other_stride: keys.set_words as u32,
                    ..base
                };
                let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
                bindings[2] = anchors.sets(*own);
                bindings[3] = keys.sets(*other);
                bindings[6] = self.index;
                self.push(part, "leave_out", own.rows as u64, params, bindings)?;
            }
        }
        Ok(())
    }
}

/// Own rows and other rows of a dispatch over pairs: their parameters and bindings 1 to 4.
fn pair_of<'a>(
    own: (&Side<'a>, Window, Window),
    other: (&Side<'a>, Window, Window),
    one_side: bool,
    base: PairParams,
) -> (PairParams, [Bind<'a>; 4]) {
    let (own_side, own_window, own_rows) = own;
    let (other_side, other_window, other_rows) = other;
    let (own_z, own_sets) = own_side.before(own_window, own_rows.first);
    let (other_z, other_sets) = other_side.before(other_window, other_rows.first);
    // The same memory is bound once.
    let split = !(one_side && own_window == other_window);
    let second = |bind: Bind<'a>| if split { bind } else { Bind::Nothing };
    let params = PairParams {
        rows: own_rows.rows as u32,
        cols: other_rows.rows as u32,
        first_row: own_rows.first as u32,
        first_col: other_rows.first as u32,
        own_z,
        other_z,
        split_z: u32::from(split),
        own_sets,
        other_sets,
        split_sets: u32::from(split),
        own_stride: own_side.set_words as u32,
        other_stride: other_side.set_words as u32,
        own_sizes: own_side.sizes,
        other_sizes: other_side.sizes,
        norms: own_side.norms,
        ..base
    };
    let bindings = [
        own_side.z(own_window),
        second(other_side.z(other_window)),
        own_side.sets(own_window),
        second(other_side.sets(other_window)),
    ];
    (params, bindings)
}

/// Rows and columns of a tile of pair gradients of at most `bytes`, in whole blocks.
fn tile_shape(rows: usize, cols: usize, block: (u32, u32), bytes: u64) -> (usize, usize) {
    let (block_rows, block_cols) = (block.0 as usize, block.1 as usize);
    let most = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let down = |n: usize, step: usize| (n / step * step).max(step);
    let all_rows = rows.max(1).next_multiple_of(block_rows);
    let all_cols = cols.max(1).next_multiple_of(block_cols);
    // As square as may be, and longer where the other side is short.
    let square = down(most.isqrt(), block_rows).min(all_rows);
    let wide = down(most / square, block_cols).min(all_cols);
    (down(most / wide, block_rows).min(all_rows), wide)
}

/// Plans a checked call and makes what it needs.
pub(super) fn build(
    cx: &Context,
    config: &Contrastive,
    inputs: &ContrastiveInputs<'_>,
    outputs: &ContrastiveOutputs<'_>,
) -> Result<Prepared, Error> {
    let caps = cx.caps();
    let workgroup = cx.variant().workgroup;
    let (row_lanes, col_lanes) = block_lanes(workgroup);
    let block = (4 * row_lanes, 4 * col_lanes);
    let (n, dims) = (inputs.embeddings.rows(), inputs.embeddings.cols());
    let m = inputs.keys.map_or(n, |keys| keys.embeddings.rows());
    let words = inputs.classes.div_ceil(32) as u64;
    word(words * 32, "labels")?;
    let by_label = matches!(config.weighting, Weighting::MulSupCon { .. });

    let mut scratch = Scratch::default();
    // The second half: the labels of the key that is the anchor.
    let halves = 1 + u64::from(by_label && inputs.self_index.is_some());
    let mut anchors = Side::new(
        false,
        Some(inputs.embeddings),
        (inputs.labels, inputs.classes),
        n,
        halves * words,
        caps,
        &mut scratch,
    )?;
    let mut own_keys = match &inputs.keys {
        None => None,
        Some(keys) => {
            let t = keys.embeddings;
            let side = Side::new(
                true,
                Some(t),
                (keys.labels, inputs.classes),
                m,
                words,
                caps,
                &mut scratch,
            )?;
            Some(side)
        }
    };

    // The small region.
    let small_at = scratch.words;
    let mut small_words = 0;
    let mut take = |count: u64| -> Result<u32, Error> {
        let at = word(small_words, "scratch")?;
        small_words += count;
        Ok(at)
    };
    anchors.sizes = take(n as u64)?;
    anchors.norms = take(n as u64)?;
    if let Some(keys) = &mut own_keys {
        keys.sizes = take(m as u64)?;
        keys.norms = take(m as u64)?;
    }
    let counts = take(if by_label { 32 * words } else { 0 })?;
    let record = take(RECORD_FIELDS * n as u64)?;
    let totals = take(1)?;
    scratch.take(true, small_words)?;
    let keys = own_keys.as_ref().unwrap_or(&anchors);
    let one_side = own_keys.is_none();

    // Half of a binding, since a tile shares one with the gradient to its rows.
    let room = (caps.max_binding / 2).min(u64::from(u32::MAX));

    // The forward pass: chunks of keys, the same for all anchors.
    let row_blocks = n.div_ceil(block.0 as usize) as u64;
    let wanted = (PAIR_GROUPS / row_blocks.max(1)).max(1);
    let mut chunks = Vec::new();
    let mut all_chunks = 0;
    for window in &keys.windows {
        let tiles = window.rows.div_ceil(block.1 as usize) as u64;
        let each = tiles.div_ceil(wanted);
        let count = tiles.div_ceil(each.max(1));
        chunks.push((all_chunks, count as u32, each as u32));
        all_chunks += count as u32;
    }
    // The anchors whose chunks' sums are there at a time.
    let anchor_bytes = 4 * SUM_FIELDS * u64::from(all_chunks.max(1));
    let products = (m as u64 * anchors.z_words).max(1);
    let sums = (room / anchor_bytes).min(DISPATCH_PRODUCTS / products);
    let sums = usize::try_from(sums).unwrap_or(usize::MAX);
    let sums = (sums / block.0 as usize).max(1) * block.0 as usize;
    let most_rows = anchors.windows.iter().map(|window| window.rows).max();
    let stride = most_rows.unwrap_or(0).min(sums).div_ceil(4) as u64;
    let partial_words = SUM_FIELDS * u64::from(all_chunks) * 4 * stride;

    // The backward pass: a tile and, behind it, the gradient to its own rows.
    let gradient_rows = room / (4 * anchors.z_words).max(1);
    let shape = |rows: usize, cols: usize| {
        let (tile_rows, tile_cols) = tile_shape(rows, cols, block, config.tile_bytes.min(room));
        let most = (gradient_rows as usize / block.0 as usize).max(1) * block.0 as usize;
        (tile_rows.min(most), tile_cols)
    };
    let mut work_words = partial_words;
    let sides = [
        outputs.grad_embeddings.map(|grad| {
            let both = if one_side { OTHER_ANCHORS } else { 0 };
            let name = "grad_embeddings";
            (name, grad, &anchors, keys, OWN_ANCHORS | both)
        }),
        outputs
            .grad_keys
            .map(|grad| ("grad_keys", grad, keys, &anchors, OTHER_ANCHORS)),
    ];
    for (_, _, own, other, _) in sides.iter().flatten() {
        let (rows, cols) = shape(own.rows, other.rows);
        let sums = rows.min(own.rows) as u64 * own.z_words;
        let words = rows as u64 * cols as u64 + sums;
        work_words = work_words.max(words);
    }
    let work_at = scratch.take(true, work_words)?;
    let scratch_region = |at: u64, words: u64| match words {
        0 => Bind::Nothing,
        words => Bind::Scratch {
            start: 4 * at,
            size: 4 * words,
        },
    };
    let work = scratch_region(u64::from(work_at), work_words);

    let (index, itself_at) = match &inputs.self_index {
        Some(t) => bind_all("self_index", t, caps)?,
        None => (Bind::Nothing, 0),
    };
    let base = PairParams {
        rows: n as u32,
        all_chunks,
        dims: dims as u32,
        depth: (anchors.z_words / 4) as u32,
        words: words as u32,
        stage: DEPTH as u32,
        four: 4,
        counts,
        record,
        record_stride: n as u32,
        totals,
        itself: match (one_side, inputs.self_index.is_some()) {
            (true, _) => SAME_NUMBER,
            (false, true) => FROM_INDEX,
            (false, false) => 0,
        },
        itself_at,
        partial_stride: word(stride, "scratch")?,
        weighting: weighting_code(config.weighting),
        divisor: divisor_code(config.weighting),
        threshold: match config.weighting {
            Weighting::Jaccard { threshold } => threshold - JACCARD_SLACK,
            _ => 0.0,
        },
        inv_temperature: 1.0 / config.temperature,
        normalize: u32::from(config.normalize),
        mean_active: u32::from(config.reduction == ContrastiveReduction::MeanActive),
        mean_labels: u32::from(config.reduction == ContrastiveReduction::MeanLabels),
        scale: match config.reduction {
            ContrastiveReduction::MeanAll => 1.0 / n.max(1) as f32,
            _ => 1.0,
        },
        own_sizes: anchors.sizes,
        nan: f32::NAN.to_bits(),
        ..PairParams::default()
    };
    let mut steps = Steps {
        cx,
        caps,
        workgroup,
        drafts: Vec::new(),
        small: scratch_region(small_at, small_words),
        index,
    };
    steps.pack(&anchors, base)?;
    if let Some(keys) = &own_keys {
        steps.pack(keys, base)?;
    }
    if by_label && n > 0 {
        steps.count(&anchors, keys, base)?;
    }
    let ends = Ends::new(config, inputs, outputs, base, [steps.small, work], caps)?;
    for own in &anchors.windows {
        for rows in pieces(own.first, own.rows, sums) {
            for (other, (first_chunk, count, each)) in keys.windows.iter().zip(&chunks) {
                let from = (&anchors, *own, rows);
                let (params, [z, z2, sets, sets2]) =
                    pair_of(from, (keys, *other, *other), one_side, base);
                let params = PairParams {
                    chunks: *count,
                    chunk_tiles: *each,
                    first_chunk: *first_chunk,
                    ..params
                };
                let blocks = rows.rows.div_ceil(block.0 as usize) as u64;
                let groups = blocks * u64::from(*count);
                let bindings = [z, z2, sets, sets2, steps.small, work, index];
                steps.push(ContrastivePart::Pairs, "pairs", groups, params, bindings)?;
            }
            let params = PairParams {
                rows: rows.rows as u32,
                first_row: rows.first as u32,
                ..ends.params
            };
            let groups = rows.rows.div_ceil(workgroup as usize) as u64;
            let part = ContrastivePart::Ends;
            steps.push(part, "merge", groups, params, ends.bindings)?;
        }
    }
    if ends.total {
        steps.push(
            ContrastivePart::Ends,
            "total",
            1,
            ends.params,
            ends.bindings,
        )?;
    }
    for (name, grad, own, other, direction) in sides.into_iter().flatten() {
        let (tile_rows, tile_cols) = shape(own.rows, other.rows);
        let base = PairParams {
            direction,
            tile_stride: (tile_rows / 4) as u32,
            sum_at: word(tile_rows as u64 / 4 * tile_cols as u64, "scratch")?,
            ..base
        };
        let grad_rows = rows_per_binding(name, &grad, caps)?;
        for own_window in &own.windows {
            for rows in pieces(own_window.first, own_window.rows, tile_rows) {
                let mut tiles: Vec<(Window, Window)> = Vec::new();
                for window in &other.windows {
                    let cols = pieces(window.first, window.rows, tile_cols);
                    tiles.extend(cols.map(|cols| (*window, cols)));
                }
                if tiles.is_empty() {
                    // Nothing to sum over: the gradient is 0.
                    let nothing = Window { first: 0, rows: 0 };
                    tiles.push((nothing, nothing));
                }
                let row_blocks = rows.rows.div_ceil(block.0 as usize) as u64;
                for (i, (window, cols)) in tiles.iter().enumerate() {
                    let (params, [z, z2, sets, sets2]) = pair_of(
                        (own, *own_window, rows),
                        (other, *window, *cols),
                        one_side,
                        base,
                    );
                    let params = PairParams {
                        row_blocks: row_blocks as u32,
                        add: u32::from(i > 0),
                        ..params
                    };
                    let bindings = [z, z2, sets, sets2, steps.small, work, index];
                    let part = ContrastivePart::Slopes;
                    let col_blocks = cols.rows.div_ceil(block.1 as usize) as u64;
                    if col_blocks > 0 {
                        let groups = row_blocks * col_blocks;
                        steps.push(part, "slopes", groups, params, bindings)?;
                    }
                    let dim_blocks = (own.z_words / 4).div_ceil(u64::from(col_lanes));
                    if dim_blocks > 0 {
                        let groups = row_blocks * dim_blocks;
                        steps.push(part, "spread", groups, params, bindings)?;
                    }
                }
                for part in pieces(rows.first, rows.rows, grad_rows) {
                    let (own_z, _) = own.before(*own_window, part.first);
                    let (grad_bind, grad_at) = bind_rows(&grad, part.first, part.rows, caps);
                    let params = PairParams {
                        first_row: part.first as u32,
                        own_z,
                        norms: own.norms,
                        sum_at: base.sum_at + (part.first - rows.first) as u32 * base.depth,
                        grad_at,
                        grad_stride: grad.stride() as u32,
                        ..base
                    };
                    let nothing = Bind::Nothing;
                    let bindings = [
                        own.z(*own_window),
                        nothing,
                        nothing,
                        nothing,
                        steps.small,
                        work,
                        grad_bind,
                    ];
                    if dims > 0 {
                        let groups = part.rows as u64;
                        steps.push(ContrastivePart::Ends, "project", groups, params, bindings)?;
                    }
                }
            }
        }
    }
    let windows = anchors.windows.len().max(1) * keys.windows.len().max(1);
    call::build(steps.cx, steps.drafts, scratch.words * 4, windows)
}

/// From the sums to each anchor's record, and from the records to the loss, the scale and the temperature's gradient.
struct Ends<'a> {
    params: PairParams,
    bindings: [Bind<'a>; STORAGE_BINDINGS],
    /// Whether anything needs more than each anchor's own loss.
    total: bool,
}

impl<'a> Ends<'a> {
    fn new(
        config: &Contrastive,
        inputs: &ContrastiveInputs<'a>,
        outputs: &ContrastiveOutputs<'a>,
        base: PairParams,
        [small, work]: [Bind<'a>; 2],
        caps: &Caps,
    ) -> Result<Self, Error> {
        let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
        let mut params = base;
        let per_anchor = config.reduction == ContrastiveReduction::None;
        if let Some(t) = &outputs.loss_rows {
            (bindings[1], params.each_at) = bind_all("loss_rows", t, caps)?;
            params.want_each = 1;
        }
        if let Some(t) = &outputs.loss {
            (bindings[2], params.loss_at) = bind_all("loss", t, caps)?;
            params.want_loss = if per_anchor { 2 } else { 1 };
        }
        if let Some(t) = &inputs.grad_loss {
            (bindings[3], params.upstream_at) = bind_all("grad_loss", t, caps)?;
            params.want_upstream = if per_anchor && t.cols() > 1 { 2 } else { 1 };
        }
        bindings[4] = small;
        bindings[5] = work;
        if let Some(t) = &outputs.grad_temperature {
            (bindings[6], params.grad_at) = bind_all("grad_temperature", t, caps)?;
            params.want_temperature = 1;
        }
        let reduced = outputs.loss.is_some() && !per_anchor;
        let gradient = outputs.grad_embeddings.is_some() || outputs.grad_keys.is_some();
        Ok(Ends {
            params,
            bindings,
            total: reduced || gradient || outputs.grad_temperature.is_some(),
        })
    }
}

/// As shaders/contrastive/params.wgsl has them.
fn weighting_code(weighting: Weighting) -> u32 {
    match weighting {
        Weighting::SimDis { placement, .. } => match placement {
            Placement::Outside => 0,
            Placement::Numerator => 1,
            Placement::Both => 2,
        },
        Weighting::Any => 3,
        Weighting::All => 4,
        Weighting::MulSupCon { .. } => 5,
        Weighting::Jaccard { .. } => 6,
        Weighting::Paired => 7,
    }
}

fn divisor_code(weighting: Weighting) -> u32 {
    match weighting {
        Weighting::SimDis {
            normalizer: Normalizer::KSum,
            ..
        } => 1,
        Weighting::MulSupCon { per_label: true } => 2,
        Weighting::MulSupCon { per_label: false } | Weighting::Paired => 3,
        Weighting::SimDis { .. } | Weighting::Any | Weighting::All | Weighting::Jaccard { .. } => 0,
    }
}

/// Plans a checked count of relations and makes what it needs.
pub(super) fn build_relations(
    cx: &Context,
    inputs: &RelationInputs<'_>,
    counts: &Tensor<'_>,
) -> Result<Prepared, Error> {
    let caps = cx.caps();
    let n = inputs.rows;
    let words = inputs.classes.div_ceil(32) as u64;
    word(words * 32, "labels")?;
    let mut scratch = Scratch::default();
    let mut anchors = Side::new(
        false,
        None,
        (inputs.labels, inputs.classes),
        n,
        words,
        caps,
        &mut scratch,
    )?;
    let mut own_keys = match inputs.keys {
        None => None,
        Some((m, sets)) => Some(Side::new(
            true,
            None,
            (sets, inputs.classes),
            m,
            words,
            caps,
            &mut scratch,
        )?),
    };
    let small_at = scratch.words;
    let m = own_keys.as_ref().map_or(0, |keys| keys.rows);
    // Sizes, and norms of no rows.
    let small_words = 2 * (n as u64 + m as u64);
    anchors.norms = word(n as u64, "labels")?;
    if let Some(keys) = &mut own_keys {
        keys.sizes = word(2 * n as u64, "labels")?;
        keys.norms = word(2 * n as u64 + m as u64, "labels")?;
    }
    scratch.take(true, small_words)?;
    let (index, itself_at) = match &inputs.self_index {
        Some(t) => bind_all("self_index", t, caps)?,
        None => (Bind::Nothing, 0),
    };
    let one_side = own_keys.is_none();
    let base = PairParams {
        words: words as u32,
        itself: match (one_side, inputs.self_index.is_some()) {
            (true, _) => SAME_NUMBER,
            (false, true) => FROM_INDEX,
            (false, false) => 0,
        },
        itself_at,
        ..PairParams::default()
    };
    let mut steps = Steps {
        cx,
        caps,
        workgroup: cx.variant().workgroup,
        drafts: Vec::new(),
        small: match small_words {
            0 => Bind::Nothing,
            words => Bind::Scratch {
                start: 4 * small_at,
                size: 4 * words,
            },
        },
        index,
    };
    steps.pack(&anchors, base)?;
    if let Some(keys) = &own_keys {
        steps.pack(keys, base)?;
    }
    let keys = own_keys.as_ref().unwrap_or(&anchors);
    let most = rows_per_binding("relations", counts, caps)?;
    let nothing = Window { first: 0, rows: 0 };
    let others = match keys.windows[..] {
        [] => vec![nothing],
        ref windows => windows.to_vec(),
    };
    for own in &anchors.windows {
        for (i, other) in others.iter().enumerate() {
            for rows in pieces(own.first, own.rows, most) {
                let (params, [_, _, sets, sets2]) = pair_of(
                    (&anchors, *own, rows),
                    (keys, *other, *other),
                    one_side,
                    base,
                );
                let (bind, grad_at) = bind_rows(counts, rows.first, rows.rows, caps);
                let params = PairParams {
                    grad_at,
                    grad_stride: counts.stride() as u32,
                    add: u32::from(i > 0),
                    ..params
                };
                let no = Bind::Nothing;
                let bindings = [no, no, sets, sets2, steps.small, bind, index];
                let groups = rows.rows as u64;
                steps.push(
                    ContrastivePart::Relations,
                    "relations",
                    groups,
                    params,
                    bindings,
                )?;
            }
        }
    }
    let windows = anchors.windows.len().max(1) * keys.windows.len().max(1);
    call::build(cx, steps.drafts, scratch.words * 4, windows)
}

#[cfg(test)]
mod tests {
    use super::{pieces, tile_shape};

    #[test]
    fn tiles_are_whole_blocks_within_their_bound() {
        for block in [(16, 32), (64, 64), (128, 128)] {
            for rows in [1, 63, 64, 65, 900, 40_000] {
                for cols in [1, 64, 1000, 40_000] {
                    for bytes in [1 << 20, 16 << 20, 64 << 20] {
                        let (r, c) = tile_shape(rows, cols, block, bytes);
                        assert!(r % block.0 as usize == 0 && c % block.1 as usize == 0);
                        assert!(4 * (r * c) as u64 <= bytes, "{r} x {c} in {bytes}");
                        // Room is not wasted: all pairs fit, or half of the bound is used.
                        let all = r >= rows && c >= cols;
                        assert!(all || 8 * (r * c) as u64 >= bytes, "{r} x {c} in {bytes}");
                    }
                    // At least a block, whatever is asked for.
                    assert_eq!(
                        tile_shape(rows, cols, block, 0),
                        (block.0 as usize, block.1 as usize)
                    );
                }
            }
        }
    }

    #[test]
    fn pieces_cover_rows_once() {
        let all: Vec<(usize, usize)> = pieces(5, 10, 4).map(|w| (w.first, w.rows)).collect();
        assert_eq!(all, [(5, 4), (9, 4), (13, 2)]);
        assert_eq!(pieces(0, 0, 4).count(), 0);
    }
}
