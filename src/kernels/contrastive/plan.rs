//! From a checked contrastive loss to its dispatches: blocks and chunks of pairs, tiles of slopes, what goes through
//! scratch, and the parameters of every step.
//!
//! `pack` brings rows into scratch: f32, divided by their norm, padded with zeros to 16 components; label sets as bits;
//! sizes. It is the only kernel that knows element types and label forms. `pairs` has blocks of anchors x keys, a lane
//! 4 x 4 products in registers; it sweeps a chunk of the keys and leaves the maximum and seven sums of each anchor, all
//! relative to the maximum; that for the temperature's gradient is among them. `merge` adds chunks in order, `total`
//! anchors. The backward pass has windows of own rows: for each tile of others `slopes` writes G (or `G + G^T` where the
//! anchors are the keys) and `project_slopes` multiplies it with the rows, onto the tiles before; `project` goes through
//! the normalisation. Tile and windows follow from `tile_bytes`. Normalisers (|P|, sum K, |S|) divide an anchor's sums
//! at the end; only the `1/|P_l(i)|` of MulSupCon is needed inside (`count_labels`, `leave_out`).

use crate::device::caps::block_lanes;
use crate::device::context::Context;
use crate::device::inspect::Inspection;
use crate::device::module::Program;
use crate::device::plan::{Binds, Dispatches, Draft, Region, Scratch, Target, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::contrastive::call::{ContrastiveInputs, ContrastiveOutputs};
use crate::kernels::contrastive::pack::{Places, Rows, Sides, Window};
use crate::kernels::contrastive::params::{
    DEPTH, FROM_INDEX, LANE_SIDE, OTHER_ANCHORS, OWN_ANCHORS, PairChunks, PairEnds, PairGrid,
    PairParams, PairRecord, PairRoles, PairRow, PairSettings, PairWork, RECORD_FIELDS, SUM_FIELDS,
    WANT_ONE, WANT_PER_ANCHOR, block,
};
use crate::kernels::contrastive::table::{
    COUNTS, CountBinds, ENDS, EndBinds, PAIRS, PairBinds, SLOPES,
};
use crate::losses::contrastive::{Contrastive, ContrastiveReduction, PairRule};

impl Contrastive {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let per_anchor = self.reduction == ContrastiveReduction::None;
        let mut tensors = Inspection::default();
        inputs.inspect(per_anchor, &mut tensors)?;
        self.check_pairs(inputs.self_index.is_some())?;
        outputs.inspect(per_anchor, inputs, &mut tensors)?;
        let bytes = tensors.finish()?;
        let draft = plan(cx.target(), self, inputs, outputs)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// Workgroups of the forward pass to aim for by sharing the keys of an anchor.
const PAIR_GROUPS: u64 = 1024;
/// Most products of components in one dispatch of the forward pass: drivers kill dispatches that run for seconds.
const DISPATCH_PRODUCTS: u64 = 1 << 36;

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    config: &Contrastive,
    inputs: &ContrastiveInputs<'a>,
    outputs: &ContrastiveOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
    call.sides
        .pack(&mut call.steps, call.small.bind(), call.base)?;
    call.count_labels()?;
    call.sum_pairs()?;
    call.total()?;
    for gradient in call.gradients.clone() {
        call.gradient(gradient)?;
    }
    let windows = call.sides.window_pairs();
    Ok(call.steps.draft(&call.scratch, windows))
}

/// How the forward pass goes over the pairs.
#[derive(Debug)]
struct Sweep {
    /// Windows of keys and the chunks in each, the same for all anchors.
    chunks: Vec<(Window, PairChunks)>,
    all_chunks: u32,
    /// The most anchors whose chunks' sums are there at a time.
    rows: usize,
    /// Vectors from one sum to the next.
    stride: u64,
}

impl Sweep {
    fn new(sides: &Sides<'_>, (block_rows, block_cols): (usize, usize), room: u64) -> Self {
        let (anchors, keys) = (&sides.anchors, sides.keys());
        let row_blocks = anchors.rows.count.div_ceil(block_rows) as u64;
        let wanted = (PAIR_GROUPS / row_blocks.max(1)).max(1);
        let mut chunks = Vec::new();
        let mut all_chunks = 0;
        for window in &keys.windows {
            let col_blocks = window.rows.div_ceil(block_cols) as u64;
            let blocks = col_blocks.div_ceil(wanted);
            let count = col_blocks.div_ceil(blocks.max(1)) as u32;
            let chunk = PairChunks {
                count,
                blocks: blocks as u32,
                first: all_chunks,
                all: 0,
            };
            chunks.push((*window, chunk));
            all_chunks += count;
        }
        let anchor_bytes = 4 * u64::from(SUM_FIELDS) * u64::from(all_chunks.max(1));
        let products = (keys.rows.count as u64 * anchors.z_words).max(1);
        let rows = (room / anchor_bytes).min(DISPATCH_PRODUCTS / products);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let rows = (rows / block_rows).max(1) * block_rows;
        let most = anchors.windows.iter().map(|window| window.rows).max();
        Sweep {
            chunks,
            all_chunks,
            rows,
            stride: most.unwrap_or(0).min(rows).div_ceil(4) as u64,
        }
    }

    /// Words of the sums.
    fn words(&self) -> u64 {
        u64::from(SUM_FIELDS) * u64::from(self.all_chunks) * 4 * self.stride
    }
}

/// A gradient to rows.
#[derive(Clone, Copy, Debug)]
struct Gradient<'a> {
    name: &'static str,
    tensor: Tensor<'a>,
    to_keys: bool,
    /// Who is the anchor of its pairs.
    direction: u32,
    /// Own and other rows of a tile of slopes.
    tile: (usize, usize),
}

impl<'a> Gradient<'a> {
    /// Those that are wanted.
    fn wanted(
        outputs: &ContrastiveOutputs<'a>,
        sides: &Sides<'a>,
        (block_rows, block_cols): (usize, usize),
        tile_bytes: u64,
        room: u64,
    ) -> Vec<Self> {
        let both = if sides.are_one() { OTHER_ANCHORS } else { 0 };
        let embeddings = outputs.grad_embeddings.map(|tensor| (false, tensor));
        let keys = outputs.grad_keys.map(|tensor| (true, tensor));
        let all = embeddings.into_iter().chain(keys);
        let gradient = |(to_keys, tensor)| {
            let (own, other) = sides.own_and_other(to_keys);
            let (rows, cols) = tile_shape(
                own.rows.count,
                other.rows.count,
                (block_rows, block_cols),
                tile_bytes.min(room),
            );
            // The gradient to a tile's own rows needs room too.
            let fitting = (room / (4 * own.z_words).max(1)) as usize;
            let most = (fitting / block_rows).max(1) * block_rows;
            let (name, direction) = match to_keys {
                false => ("grad_embeddings", OWN_ANCHORS | both),
                true => ("grad_keys", OTHER_ANCHORS),
            };
            Gradient {
                name,
                tensor,
                to_keys,
                direction,
                tile: (rows.min(most), cols),
            }
        };
        all.map(gradient).collect()
    }

    /// Words of a tile and of the gradient to its own rows.
    fn words(&self, sides: &Sides<'a>) -> u64 {
        let (own, _) = sides.own_and_other(self.to_keys);
        let (rows, cols) = self.tile;
        rows as u64 * cols as u64 + rows.min(own.rows.count) as u64 * own.z_words
    }
}

/// Rows and columns of a tile of slopes of at most `bytes`, in whole blocks.
fn tile_shape(
    rows: usize,
    cols: usize,
    (block_rows, block_cols): (usize, usize),
    bytes: u64,
) -> (usize, usize) {
    let most = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    let down = |n: usize, step: usize| (n / step * step).max(step);
    let all_rows = rows.max(1).next_multiple_of(block_rows);
    let all_cols = cols.max(1).next_multiple_of(block_cols);
    // As square as may be, and longer where the other side is short.
    let square = down(most.isqrt(), block_rows).min(all_rows);
    let wide = down(most / square, block_cols).min(all_cols);
    (down(most / wide, block_rows).min(all_rows), wide)
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    steps: Dispatches<'a, 'c>,
    scratch: Scratch,
    sides: Sides<'a>,
    /// Rows and columns of a block of pairs.
    block: (usize, usize),
    sweep: Sweep,
    gradients: Vec<Gradient<'a>>,
    /// Sizes, norms, counts and records.
    small: Region,
    /// Sums of chunks, and after them tiles of slopes.
    work: Region,
    /// What every step is told.
    base: PairParams,
    ends: EndBinds<'a>,
    /// Whether anything needs more than each anchor's own loss.
    needs_total: bool,
}

impl<'a, 'c> Call<'a, 'c> {
    /// Lays out the scratch, and binds what is shared.
    fn new(
        target: Target<'c>,
        config: &Contrastive,
        inputs: &ContrastiveInputs<'a>,
        outputs: &ContrastiveOutputs<'a>,
    ) -> Result<Self, Error> {
        let words = inputs.classes.div_ceil(32) as u64;
        to_u32(words * 32, "labels")?;
        let by_label = config.weighting.rule().0 == PairRule::MulSupCon;
        let mut scratch = Scratch::default();
        let mut sides = sides(inputs, by_label, target, &mut scratch)?;
        let n = sides.anchors.rows.count;

        let mut places = Places::default();
        sides.place(&mut places)?;
        let record = PairRecord {
            counts: places.take(if by_label { 32 * words } else { 0 })?,
            at: places.take(u64::from(RECORD_FIELDS) * n as u64)?,
            stride: n as u32,
            unsound: places.take(1)?,
        };
        let small = scratch.take(places.words)?;

        let (block_rows, block_cols) = block(target.variant.workgroup);
        let block = (block_rows as usize, block_cols as usize);
        // Half of a binding, since a tile shares one with the gradient to its rows.
        let room = (target.caps.max_binding / 2).min(u64::from(u32::MAX));
        let sweep = Sweep::new(&sides, block, room);
        let gradients = Gradient::wanted(outputs, &sides, block, config.tile_bytes, room);
        let words_of = gradients.iter().map(|gradient| gradient.words(&sides));
        let work = scratch.take(words_of.fold(sweep.words(), u64::max))?;

        sides.identify(inputs.self_index, target)?;
        let base = PairParams {
            chunks: PairChunks {
                all: sweep.all_chunks,
                ..PairChunks::default()
            },
            own: sides.anchors.all(),
            row: PairRow {
                dims: inputs.embeddings.cols() as u32,
                depth: (sides.anchors.z_words / 4) as u32,
                words: words as u32,
                stage: DEPTH,
            },
            roles: PairRoles {
                side: LANE_SIDE,
                ..sides.roles
            },
            record,
            work: PairWork {
                sum_stride: to_u32(sweep.stride, "scratch")?,
                sum_fields: SUM_FIELDS,
                ..PairWork::default()
            },
            settings: settings(config, n),
            ..PairParams::default()
        };
        let mut call = Call {
            steps: Dispatches::new(target),
            scratch,
            sides,
            block,
            sweep,
            gradients,
            small,
            work,
            base,
            ends: EndBinds::default(),
            needs_total: false,
        };
        call.bind_ends(config, inputs, outputs)?;
        Ok(call)
    }

    /// Binds what `merge` and `total` read and write.
    fn bind_ends(
        &mut self,
        config: &Contrastive,
        inputs: &ContrastiveInputs<'a>,
        outputs: &ContrastiveOutputs<'a>,
    ) -> Result<(), Error> {
        let target = self.steps.target;
        let per_anchor = config.reduction == ContrastiveReduction::None;
        let mut ends = PairEnds {
            nan: f32::NAN.to_bits(),
            ..PairEnds::default()
        };
        let mut binds = EndBinds {
            small: self.small.bind(),
            work: self.work.bind(),
            ..EndBinds::default()
        };
        let want = |each: bool| if each { WANT_PER_ANCHOR } else { WANT_ONE };
        if let Some(t) = &outputs.loss_rows {
            (binds.each, ends.each_at) = target.bind_all("loss_rows", t)?;
            ends.want_each = WANT_PER_ANCHOR;
        }
        if let Some(t) = &outputs.loss {
            (binds.loss, ends.loss_at) = target.bind_all("loss", t)?;
            ends.want_loss = want(per_anchor);
        }
        if let Some(t) = &inputs.grad_loss {
            (binds.upstream, ends.upstream_at) = target.bind_all("grad_loss", t)?;
            ends.want_upstream = want(per_anchor && t.cols() > 1);
        }
        if let Some(t) = &outputs.grad_temperature {
            (binds.grad, self.base.grad_at) = target.bind_all("grad_temperature", t)?;
            ends.want_temperature = WANT_ONE;
        }
        let reduced = ends.want_loss == WANT_ONE;
        let temperature = ends.want_temperature == WANT_ONE;
        self.needs_total = reduced || temperature || !self.gradients.is_empty();
        self.base.ends = ends;
        self.ends = binds;
        Ok(())
    }

    fn push(
        &mut self,
        program: &'static Program,
        entry: &'static str,
        groups: u64,
        params: PairParams,
        binds: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        let module = program.module(self.steps.target.variant.workgroup);
        let params = |grid| PairParams {
            grid: PairGrid {
                row_blocks: params.grid.row_blocks,
                add: params.grid.add,
                ..PairGrid::from(grid)
            },
            ..params
        };
        self.steps.push(module, entry, groups, params, binds)
    }

    /// What MulSupCon needs to know of the labels: keys with each, and which a key has that is the anchor.
    fn count_labels(&mut self) -> Result<(), Error> {
        let by_label = self.base.settings.weighting == PairRule::MulSupCon as u32;
        if !by_label || self.sides.anchors.rows.count == 0 {
            return Ok(());
        }
        let own_windows = self.sides.anchors.windows.clone();
        let other_windows = self.sides.keys().windows.clone();
        for (i, window) in other_windows.iter().enumerate() {
            let keys = self.sides.keys();
            let binds = CountBinds {
                sets: keys.sets(*window),
                small: self.small.bind(),
                ..CountBinds::default()
            };
            let mut params = self.base;
            params.own = keys.params(*window, *window);
            params.grid.add = u32::from(i > 0);
            let words = u64::from(params.row.words);
            self.push(&COUNTS, "count_labels", words, params, binds)?;
        }
        if self.base.roles.itself != FROM_INDEX {
            return Ok(());
        }
        for own in &own_windows {
            for other in &other_windows {
                let (anchors, keys) = (&self.sides.anchors, self.sides.keys());
                let binds = CountBinds {
                    sets: anchors.sets(*own),
                    sets2: keys.sets(*other),
                    itself_index: self.sides.index,
                    ..CountBinds::default()
                };
                let mut params = self.base;
                params.own = anchors.params(*own, *own);
                params.other = keys.params(*other, *other);
                self.push(&COUNTS, "leave_out", own.rows as u64, params, binds)?;
            }
        }
        Ok(())
    }

    /// The bindings of pairs, with the scratch that all kernels of pairs reach.
    fn pair_binds(&self, binds: PairBinds<'a>) -> PairBinds<'a> {
        PairBinds {
            small: self.small.bind(),
            work: self.work.bind(),
            ..binds
        }
    }

    /// Sums over the keys of each anchor, from chunk to chunk, and makes each anchor's record of them.
    fn sum_pairs(&mut self) -> Result<(), Error> {
        let chunks = self.sweep.chunks.clone();
        for own in self.sides.anchors.windows.clone() {
            for rows in own.pieces(self.sweep.rows) {
                let blocks = rows.rows.div_ceil(self.block.0) as u64;
                for (other, chunks) in &chunks {
                    let own = (&self.sides.anchors, own, rows);
                    let other = (self.sides.keys(), *other, *other);
                    let (params, binds) = self.sides.pairs(own, other, self.base);
                    let params = PairParams {
                        chunks: *chunks,
                        ..params
                    };
                    let groups = blocks * u64::from(chunks.count);
                    self.push(&PAIRS, "pairs", groups, params, self.pair_binds(binds))?;
                }
                let params = PairParams {
                    own: self.sides.anchors.params(own, rows),
                    ..self.base
                };
                let lanes = self.steps.target.variant.workgroup as usize;
                let groups = rows.rows.div_ceil(lanes) as u64;
                self.push(&ENDS, "merge", groups, params, self.ends)?;
            }
        }
        Ok(())
    }

    /// From the records to the loss, the scale and the temperature's gradient.
    fn total(&mut self) -> Result<(), Error> {
        match self.needs_total {
            true => self.push(&ENDS, "total", 1, self.base, self.ends),
            false => Ok(()),
        }
    }

    /// A gradient to rows, over tiles of own rows.
    fn gradient(&mut self, gradient: Gradient<'a>) -> Result<(), Error> {
        let (tile_rows, tile_cols) = gradient.tile;
        let mut base = self.base;
        base.roles.direction = gradient.direction;
        base.work.tile_stride = (tile_rows / 4) as u32;
        base.work.rows_at = to_u32(tile_rows as u64 / 4 * tile_cols as u64, "scratch")?;
        let (own, other) = self.sides.own_and_other(gradient.to_keys);
        let own_windows = own.windows.clone();
        let mut tiles: Vec<(Window, Window)> = Vec::new();
        for window in &other.windows {
            tiles.extend(window.pieces(tile_cols).map(|cols| (*window, cols)));
        }
        if tiles.is_empty() {
            // Nothing to sum over: the gradient is 0.
            tiles.push((Window::default(), Window::default()));
        }
        let per_binding = self
            .steps
            .target
            .rows_per_binding(gradient.name, &gradient.tensor)?;
        for window in own_windows {
            for rows in window.pieces(tile_rows) {
                for (i, tile) in tiles.iter().enumerate() {
                    base.grid.add = u32::from(i > 0);
                    self.slopes(&gradient, base, (window, rows), *tile)?;
                }
                base.grid.add = 0;
                for part in rows.pieces(per_binding) {
                    self.project(&gradient, base, (window, rows), part)?;
                }
            }
        }
        Ok(())
    }

    /// The slopes of a tile, and what they add to the gradient to its own rows.
    fn slopes(
        &mut self,
        gradient: &Gradient<'a>,
        base: PairParams,
        (own_window, rows): (Window, Window),
        (other_window, cols): (Window, Window),
    ) -> Result<(), Error> {
        let (own, other) = self.sides.own_and_other(gradient.to_keys);
        let vectors = own.z_words / 4;
        let (mut params, binds) =
            self.sides
                .pairs((own, own_window, rows), (other, other_window, cols), base);
        let binds = self.pair_binds(binds);
        let row_blocks = rows.rows.div_ceil(self.block.0);
        params.grid.row_blocks = row_blocks as u32;
        let col_blocks = cols.rows.div_ceil(self.block.1);
        if col_blocks > 0 {
            let groups = row_blocks as u64 * col_blocks as u64;
            self.push(&SLOPES, "slopes", groups, params, binds)?;
        }
        let (_, col_lanes) = block_lanes(self.steps.target.variant.workgroup);
        let dim_blocks = vectors.div_ceil(u64::from(col_lanes));
        if dim_blocks > 0 {
            let groups = row_blocks as u64 * dim_blocks;
            self.push(&SLOPES, "project_slopes", groups, params, binds)?;
        }
        Ok(())
    }

    /// The gradient to some of a tile's rows as they were given.
    fn project(
        &mut self,
        gradient: &Gradient<'a>,
        base: PairParams,
        (window, rows): (Window, Window),
        part: Window,
    ) -> Result<(), Error> {
        if base.row.dims == 0 {
            return Ok(());
        }
        let target = self.steps.target;
        let (own, _) = self.sides.own_and_other(gradient.to_keys);
        let (grad, grad_at) = target.bind_rows(&gradient.tensor, part.first, part.rows);
        let before = (part.first - rows.first) as u32 * base.row.depth;
        let params = PairParams {
            own: own.params(window, part),
            work: PairWork {
                rows_at: base.work.rows_at + before,
                ..base.work
            },
            grad_at,
            grad_stride: gradient.tensor.row_stride() as u32,
            ..base
        };
        let binds = EndBinds {
            z: own.z(window),
            small: self.small.bind(),
            work: self.work.bind(),
            grad,
            ..EndBinds::default()
        };
        self.push(&ENDS, "project", part.rows as u64, params, binds)
    }
}

/// Finds room for the anchors and the keys of a call.
fn sides<'a>(
    inputs: &ContrastiveInputs<'a>,
    by_label: bool,
    target: Target<'_>,
    scratch: &mut Scratch,
) -> Result<Sides<'a>, Error> {
    let anchors = Rows {
        keys: false,
        count: inputs.embeddings.rows(),
        embeddings: Some(inputs.embeddings),
        classes: inputs.classes,
        sets: inputs.labels,
        // The second half: the labels of the key that is the anchor.
        halves: 1 + u64::from(by_label && inputs.self_index.is_some()),
    };
    let keys = inputs.keys.map(|keys| Rows {
        keys: true,
        count: keys.embeddings.rows(),
        embeddings: Some(keys.embeddings),
        classes: inputs.classes,
        sets: keys.labels,
        halves: 1,
    });
    Sides::new(anchors, keys, target.caps, scratch)
}

/// The settings as the kernels have them.
fn settings(config: &Contrastive, anchors: usize) -> PairSettings {
    let (rule, divisor) = config.weighting.rule();
    PairSettings {
        weighting: rule as u32,
        divisor: divisor as u32,
        threshold: config.weighting.least(),
        inv_temperature: 1.0 / config.temperature,
        normalize: u32::from(config.normalize),
        mean_active: u32::from(config.reduction == ContrastiveReduction::MeanActive),
        mean_labels: u32::from(config.reduction == ContrastiveReduction::MeanLabels),
        scale: match config.reduction {
            ContrastiveReduction::MeanAll => 1.0 / anchors.max(1) as f32,
            _ => 1.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::tile_shape;

    #[test]
    fn tiles_are_whole_blocks_within_their_bound() {
        for block in [(16, 32), (64, 64), (128, 128)] {
            for rows in [1, 63, 64, 65, 900, 40_000] {
                for cols in [1, 64, 1000, 40_000] {
                    for bytes in [1 << 20, 16 << 20, 64 << 20] {
                        let (r, c) = tile_shape(rows, cols, block, bytes);
                        assert!(r % block.0 == 0 && c % block.1 == 0);
                        assert!(4 * (r * c) as u64 <= bytes, "{r} x {c} in {bytes}");
                        // Room is not wasted: all pairs fit, or half of the bound is used.
                        let all = r >= rows && c >= cols;
                        assert!(all || 8 * (r * c) as u64 >= bytes, "{r} x {c} in {bytes}");
                    }
                    // At least a block, whatever is asked for.
                    assert_eq!(tile_shape(rows, cols, block, 0), block);
                }
            }
        }
    }
}
