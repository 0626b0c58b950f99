//! From a checked last layer to its dispatches. The logits of some samples and labels at a time, a tile, are made in scratch,
//! the driver of the row losses goes over them there, and gradients take their place; from these come, by two more products,
//! what the tile adds to the gradients to its samples and to its labels.
//!
//! One tile for everything, and it is an unfused layer in its own scratch. Otherwise a loss that needs to know all of a row
//! for its gradient has two rounds: samples in windows, strip by strip of labels, leave the few numbers that a row comes to;
//! then, strip by strip, logits are made again, window by window. A loss that needs nothing of the row has one.
//!
//! `pack` brings rows that no product can read as they are (odd sizes and places, hidden states of 16 bits) into f32, weights
//! strip by strip. `products` makes logits, `turn` a tile of gradients with a row for each label, whose `sums` are the
//! gradient to the bias, `spread` what a tile adds to the others, which stay in f32 in scratch until `store` brings them to
//! the caller's tensors: those of hidden states at the end, those of a strip's labels behind the strip, where `update` may
//! take them for a step of the weights instead. `top` keeps the labels of the greatest logits, tile by tile.
//!
//! By cooperative matrices `products` and `spread` multiply f16: `factor` finds once, for each row, the power of two without
//! which that is its f16, made where the row is read; `scale` makes the gradients of a tile ready to be split in two.

use crate::device::caps::Teams;
use crate::device::live::Given;
use crate::device::plan::{
    ABSENT, Bind, Dispatches, Draft, Grid as Groups, REGION_WORDS, Region, Scratch, Target,
};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{Gradient, stored};
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::kernels::linear::table::{
    FactorBinds, FactorParams, LinearChunks, LinearParams, LinearRow, LinearSide, LinearWork,
    PackBinds, PackParams, ProductBinds, ScaleBinds, StoreBinds, StoreParams, TopBinds, TopParams,
    TurnBinds, UpdateBinds, UpdateParams, factor, pack, products_of, scale, store, top, turn,
    update as update_of,
};
use crate::kernels::products::{self, DEPTH, Sharing, TEAM_ROWS, rows_per_dispatch};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::count;
use crate::kernels::rows::driver::Among;
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::plan::record;
use crate::kernels::rows::shards::parts;
use crate::kernels::rows::tiles::{Grid, Tile, Tiles};
use crate::kernels::sums;
use crate::kernels::work::push_portions;
use crate::losses::labels::Targets;
use crate::losses::linear::{Linear, Update};
use std::ops::Range;

/// Samples of a window, where a batch has more: a strip of weights is read once for each window.
const WINDOW: usize = 1024;
/// Labels of a strip, at least, and what theirs are multiples of: whole words of bits.
const STRIP: usize = 32;

/// Plans a checked call of a loss of rows.
pub(crate) fn plan<'a>(
    target: Target<'_>,
    row: &Row,
    settings: &Linear<()>,
    inputs: &LinearInputs<'a>,
    outputs: &LinearOutputs<'a>,
    given: &Given<'a>,
    shards: Shards<'a>,
) -> Result<Draft<'a>, Error> {
    let mut scratch = Scratch::default();
    let mut steps = Dispatches::new(target);
    steps.push_settings(given)?;
    let layer = Layer::new(target, settings, inputs, outputs, &mut scratch)?;
    layer.find_factors(&mut steps)?;
    layer.pack_hidden(&mut steps)?;
    let grid = layer.grid;
    let one = grid.windows().count() <= 1 && grid.strips().count() <= 1;
    let (steps_of, scratch_of) = (&mut steps, &mut scratch);
    match shards {
        Shards::Leave(to) => layer.partial(steps_of, scratch_of, row, to)?,
        _ if !layer.learns() => layer.predicted(steps_of)?,
        Shards::Alone if one => layer.whole(steps_of, scratch_of, row)?,
        _ => layer.tiled(steps_of, scratch_of, row, shards)?,
    }
    layer.store_hidden(&mut steps)?;
    layer.store_top(&mut steps)?;
    Ok(steps.draft(&scratch, grid.windows().count().max(1)))
}

/// Whether labels are on other devices too.
#[derive(Clone, Copy)]
pub(crate) enum Shards<'a> {
    /// They are all here.
    Alone,
    /// Accumulators of these go here.
    Leave(Tensor<'a>),
    /// Those of all shards are here.
    Meet(Tensor<'a>),
}

/// Hidden states, or weights.
struct Rows<'a> {
    name: &'static str,
    /// Where the caller has them.
    given: Tensor<'a>,
    /// Where they are packed, if products cannot read them there.
    packed: Option<Region>,
    /// Their factors, where they are multiplied by cooperative matrices.
    factors: Region,
}

/// What a product is told of rows: their binding, type, and place, and the binding of their factors.
struct Bound<'a> {
    z: Bind<'a>,
    dtype: DType,
    side: LinearSide,
    small: Bind<'a>,
}

impl<'a> Rows<'a> {
    /// Whether products can read a tensor as it is.
    fn fits(tensor: &Tensor<'_>) -> bool {
        let whole = |elements: u64| elements.is_multiple_of(4);
        (tensor.cols() as u64).is_multiple_of(u64::from(DEPTH))
            && whole(tensor.offset())
            && (tensor.rows() <= 1 || whole(tensor.row_stride() as u64))
    }

    /// Vectors of a row as products read it.
    fn depth(&self) -> u64 {
        (self.given.cols() as u64).next_multiple_of(u64::from(DEPTH)) / 4
    }

    /// Rows `first` to `first + rows`. Packed ones lie from the first of `packed` on.
    fn bind(&self, target: Target<'_>, (first, rows): (usize, usize), packed: usize) -> Bound<'a> {
        let (small, small_at) = self.factors(first, rows);
        let side = |z: u64, stride: u64| LinearSide {
            rows: rows as u32,
            z: z as u32,
            stride: stride as u32,
            small: small_at,
        };
        match self.packed {
            None => {
                let tensor = &self.given;
                let (z, at) = target.bind_rows(tensor, first, rows);
                Bound {
                    z,
                    dtype: tensor.dtype(),
                    side: side(u64::from(at) / 4, tensor.row_stride() as u64 / 4),
                    small,
                }
            }
            Some(region) => {
                let row = 4 * self.depth();
                let from = (first - packed) as u64 * row;
                Bound {
                    z: region.part(from, rows as u64 * row),
                    dtype: DType::F32,
                    side: side(0, self.depth()),
                    small,
                }
            }
        }
    }

    /// The binding that reaches the factors of some rows, and the first one's place in it.
    fn factors(&self, first: usize, rows: usize) -> (Bind<'a>, u32) {
        if self.factors == Region::ABSENT {
            return (Bind::Nothing, 0);
        }
        let at = first as u64 % REGION_WORDS;
        let bind = self.factors.part(first as u64 - at, at + rows as u64);
        (bind, at as u32)
    }
}

/// A last layer on its way to dispatches.
struct Layer<'a, 'c, 'i> {
    target: Target<'c>,
    settings: Linear<()>,
    inputs: &'i LinearInputs<'a>,
    outputs: &'i LinearOutputs<'a>,
    grid: Grid,
    sharing: Sharing,
    /// How products are computed by cooperative matrices, if they are.
    matrices: Option<Teams>,
    hidden: Rows<'a>,
    weights: Rows<'a>,
    /// Vectors of a hidden state and of a row of weights in products.
    depth: u64,
    /// The tile, as the caller's logits would be.
    tile: Region,
    /// The tile of gradients turned.
    turned: Region,
    /// Sums for the gradient to hidden states: in each window, chunk by chunk.
    to_hidden: Region,
    chunks: u64,
    /// The same to a strip's weights,
    to_weights: Region,
    /// and to its bias: window by window, and on the way there.
    to_bias: Region,
    between: Option<sums::Between>,
    /// What undoes the powers of two of a tile's gradients, by its samples or by its labels.
    powers: Region,
    /// The labels that are chosen for each sample, and where they stand.
    best: Region,
}

/// Whether there is a gradient to weights.
fn by_weights(settings: &Linear<()>, outputs: &LinearOutputs<'_>) -> bool {
    settings.update.is_some() || outputs.grad_weights.is_some()
}

/// Whether there is one to anything that belongs to labels.
fn by_label(settings: &Linear<()>, outputs: &LinearOutputs<'_>) -> bool {
    by_weights(settings, outputs) || outputs.grad_bias.is_some()
}

/// What follows from the room that there is.
fn grid(
    target: Target<'_>,
    tile_bytes: u64,
    inputs: &LinearInputs<'_>,
    widest: u64,
) -> Result<Grid, Error> {
    let (rows, cols) = (inputs.hidden.rows(), inputs.weights.rows());
    let room = target.caps.max_binding.min(u64::from(u32::MAX));
    let room = room.saturating_sub(target.caps.storage_align + 16) / 4;
    // The scratch, of up to four such pieces, is one buffer.
    let tile_bytes = tile_bytes.min(target.caps.max_buffer / 5);
    let words = (tile_bytes / 4).min(room);
    let fitting =
        |words: u64, each: u64| usize::try_from(words / each.max(1)).unwrap_or(usize::MAX);
    // Sums of several chunks have to fit, too.
    let tile_rows = WINDOW
        .min(target.rows_per_binding("hidden", &inputs.hidden)?)
        .min(fitting(room, widest));
    if tile_rows == 0 {
        return Err(Error::shape(
            "hidden",
            format!("at most {room} components on this device"),
            inputs.hidden.cols(),
        ));
    }
    let tile_rows = match tile_rows >= TEAM_ROWS {
        true => tile_rows / TEAM_ROWS * TEAM_ROWS,
        false => tile_rows,
    };
    let high = rows.min(tile_rows).next_multiple_of(TEAM_ROWS) as u64;
    // The gradient to the bias is summed window by window.
    let windows = rows.div_ceil(tile_rows) as u64;
    let tile_cols = fitting(words, high)
        .min(fitting(words, widest))
        .min(fitting(room, widest.max(windows)))
        .min(target.rows_per_binding("weights", &inputs.weights)?);
    let tile_cols = (tile_cols / STRIP * STRIP).max(STRIP);
    Ok(Grid {
        rows,
        cols,
        tile_rows,
        tile_cols,
    })
}

impl<'a, 'c, 'i> Layer<'a, 'c, 'i> {
    /// Lays out the scratch.
    fn new(
        target: Target<'c>,
        settings: &Linear<()>,
        inputs: &'i LinearInputs<'a>,
        outputs: &'i LinearOutputs<'a>,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let dims = inputs.hidden.cols() as u64;
        let depth = dims.next_multiple_of(u64::from(DEPTH)) / 4;
        let grid = grid(target, settings.tile_bytes, inputs, 4 * depth)?;
        let (rows, cols) = (grid.rows as u64, grid.cols as u64);
        let high = grid.rows.min(grid.tile_rows);
        let wide = grid.cols.min(grid.tile_cols);
        let up = |count: usize| count.next_multiple_of(TEAM_ROWS) as u64;

        let matrices = products::teams(target, [inputs.hidden.dtype(), inputs.weights.dtype()]);
        let mut packed = |there: bool, rows: u64| {
            let region = (!there).then(|| scratch.take(rows * 4 * depth));
            region.transpose()
        };
        let f32_there = inputs.hidden.dtype() == DType::F32 && Rows::fits(&inputs.hidden);
        let packed_hidden = packed(f32_there, rows)?;
        let packed_weights = packed(Rows::fits(&inputs.weights), wide as u64)?;
        let mut small = |count: u64| scratch.take_if(matrices.is_some(), count);
        let hidden = Rows {
            name: "hidden",
            given: inputs.hidden,
            packed: packed_hidden,
            factors: small(rows)?,
        };
        let weights = Rows {
            name: "weights",
            given: inputs.weights,
            packed: packed_weights,
            factors: small(cols)?,
        };
        let powers = small(up(high.max(wide)))?;
        let tile = scratch.take(up(high) * up(wide))?;
        let by_label = by_label(settings, outputs);
        let turned = scratch.take_if(by_label, up(high) * up(wide))?;
        let sharing = Sharing::of(target).pairing(high, wide);
        let chunks = match outputs.grad_hidden {
            Some(_) if cols > 0 && (sharing.near.is_none() || matrices.is_some()) => {
                let (blocks, _) = products::blocks(sharing, matrices, (high, depth), true);
                let room = target.caps.max_binding.min(u64::from(u32::MAX));
                products::chunks(
                    wide as u64,
                    blocks,
                    room / (16 * depth * high.max(1) as u64),
                )
            }
            _ => 1,
        };
        let wanted = outputs.grad_hidden.is_some();
        let to_hidden = scratch.take_if(wanted, rows * chunks * 4 * depth)?;
        let to_weights = scratch.take_if(by_weights(settings, outputs), wide as u64 * 4 * depth)?;
        let windows = grid.windows().count() as u64;
        let biased = outputs.grad_bias.is_some();
        let to_bias = scratch.take_if(biased, windows * wide as u64)?;
        let between = biased.then(|| sums::Between::take(scratch, wide as u64, up(high)));
        let chosen = outputs.top_labels.map_or(0, |t| t.cols() as u64);
        let best = scratch.take_if(chosen > 0, 2 * rows * chosen)?;
        Ok(Layer {
            target,
            settings: *settings,
            inputs,
            outputs,
            grid,
            sharing,
            matrices,
            hidden,
            weights,
            depth,
            tile,
            turned,
            to_hidden,
            chunks,
            to_weights,
            to_bias,
            between: between.transpose()?,
            powers,
            best,
        })
    }

    /// Whether there is a gradient.
    fn backward(&self) -> bool {
        self.outputs.grad_hidden.is_some() || by_label(&self.settings, self.outputs)
    }

    /// Whether there is anything but predictions.
    fn learns(&self) -> bool {
        self.outputs.loss.is_some() || self.backward()
    }

    /// Labels of a tile, at most.
    fn wide(&self) -> usize {
        self.grid.cols.min(self.grid.tile_cols)
    }

    /// Labels of a row of the tile, with those that only fill it.
    fn stride(&self) -> usize {
        self.wide().next_multiple_of(TEAM_ROWS)
    }

    /// What the loss reads of a tile, in the place of all logits.
    fn row_inputs(&self, tile: Tile) -> RowInputs<'a> {
        let inputs = self.inputs;
        let logits = Tensor::scratch(self.tile.first(), DType::F32, tile.rows, tile.cols);
        // A call without them is none of a loss.
        let nothing = Tensor::scratch(0, DType::U32, 0, 0);
        let targets = match inputs.targets.unwrap_or(Targets::Bits(nothing)) {
            Targets::Bits(bits) => {
                let words = tile.cols.div_ceil(32);
                let bits = bits.of_rows(tile.first_row, tile.rows);
                Targets::Bits(bits.of_cols(tile.first_col / 32, words))
            }
            Targets::Sparse { offsets, indices } => Targets::Sparse {
                offsets: offsets.of_cols(tile.first_row, tile.rows + 1),
                indices,
            },
            dense @ Targets::Dense(_) => dense,
        };
        let by_label = |t: Option<Tensor<'a>>| t.map(|t| t.of_cols(tile.first_col, tile.cols));
        let by_row = |t: Option<Tensor<'a>>| t.map(|t| t.of_cols(tile.first_row, tile.rows));
        RowInputs {
            class_mask: by_label(inputs.class_mask),
            class_weight: by_label(inputs.class_weight),
            sample_weight: by_row(inputs.sample_weight),
            grad_loss: match inputs.grad_loss {
                Some(one) if one.cols() == 1 => Some(one),
                each => by_row(each),
            },
            ..RowInputs::new(logits.with_row_stride(self.stride()), targets)
        }
    }

    /// Everything in one tile.
    fn whole(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        scratch: &mut Scratch,
        row: &Row,
    ) -> Result<(), Error> {
        let strip = (0, self.grid.cols);
        let tile = Grid::tile((0, self.grid.rows), strip);
        self.pack_weights(steps, strip)?;
        self.logits(steps, tile)?;
        self.top(steps, tile)?;
        let inputs = self.row_inputs(tile);
        let outputs = RowOutputs {
            loss: self.outputs.loss,
            grad_logits: self.backward().then_some(Gradient::InPlace),
            ..RowOutputs::default()
        };
        count::before(steps, scratch, row, &inputs)?;
        record(steps, scratch, row, &inputs, &outputs, Among::Here)?;
        self.spread(steps, tile)?;
        self.store_labels(steps, strip)
    }

    /// Tile by tile.
    fn tiled(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        scratch: &mut Scratch,
        row: &Row,
        shards: Shards<'a>,
    ) -> Result<(), Error> {
        let grid = self.grid;
        let (among, counts) = match shards {
            Shards::Meet(accumulators) => {
                let ((_, held), of_count) = parts(row, accumulators);
                let counts = of_count.map(|(count, held)| (count, Among::Meets(held)));
                (Among::Meets(held), counts)
            }
            Shards::Alone | Shards::Leave(_) => {
                let all = self.row_inputs(Grid::tile((0, grid.rows), (0, grid.cols)));
                (
                    Among::Here,
                    count::row_of(row, &all).map(|count| (count, Among::Here)),
                )
            }
        };
        let counted = counts.is_some();
        if let Some((count, among)) = counts {
            let known = (false, false);
            let tiles = Tiles::new(self.target, &count, grid, known, among, scratch)?;
            self.statistics(steps, scratch, &tiles, true)?;
            let total = scratch.take(1)?;
            tiles.finish(steps, (total.bind(), 0));
            count::scale(steps, Some(total));
        }
        let masked = self.inputs.class_mask.is_some();
        let known = (counted, masked);
        let tiles = Tiles::new(self.target, row, grid, known, among, scratch)?;
        // Labels are chosen in the first round that makes logits.
        if !tiles.once {
            self.statistics(steps, scratch, &tiles, !counted)?;
        }
        let first = tiles.met() || tiles.once && !counted;
        if tiles.once || self.backward() || tiles.met() && self.outputs.top_labels.is_some() {
            for strip in grid.strips() {
                self.pack_weights(steps, strip)?;
                for window in grid.windows() {
                    let tile = Grid::tile(window, strip);
                    let inputs = self.row_inputs(tile);
                    self.logits(steps, tile)?;
                    if first {
                        self.top(steps, tile)?;
                    }
                    match (tiles.once, self.backward()) {
                        (true, backward) => {
                            tiles.both(steps, scratch, tile, (&inputs, backward))?;
                        }
                        (false, true) => tiles.gradient(steps, scratch, tile, &inputs)?,
                        (false, false) => {}
                    }
                    self.spread(steps, tile)?;
                }
                self.store_labels(steps, strip)?;
            }
        }
        if let Some(loss) = self.outputs.loss {
            tiles.finish(steps, self.target.bind_all("loss", &loss)?);
        }
        Ok(())
    }

    /// Leaves accumulators of the rows.
    fn partial(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        scratch: &mut Scratch,
        row: &Row,
        accumulators: Tensor<'a>,
    ) -> Result<(), Error> {
        let (of_loss, of_count) = parts(row, accumulators);
        for (row, held) in std::iter::once(of_loss).chain(of_count) {
            let (known, among) = ((false, false), Among::Leaves(held));
            let tiles = Tiles::new(self.target, &row, self.grid, known, among, scratch)?;
            self.statistics(steps, scratch, &tiles, false)?;
        }
        Ok(())
    }

    /// Adds what the rows come to, window by window.
    fn statistics(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        scratch: &mut Scratch,
        tiles: &Tiles<'a>,
        chooses: bool,
    ) -> Result<(), Error> {
        for window in self.grid.windows() {
            let mut strips: Vec<(usize, usize)> = self.grid.strips().collect();
            if strips.is_empty() || tiles.met() {
                strips.truncate(1);
                let tile = Grid::tile(window, strips.pop().unwrap_or_default());
                let inputs = self.row_inputs(tile);
                match tiles.met() {
                    true => tiles.meet(steps, scratch, tile, &inputs)?,
                    false => tiles.statistics(steps, scratch, tile, &inputs)?,
                }
            }
            for strip in strips {
                let tile = Grid::tile(window, strip);
                self.pack_weights(steps, strip)?;
                self.logits(steps, tile)?;
                if chooses {
                    self.top(steps, tile)?;
                }
                tiles.statistics(steps, scratch, tile, &self.row_inputs(tile))?;
            }
        }
        Ok(())
    }

    /// Labels are chosen, and nothing else is done.
    fn predicted(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        for strip in self.grid.strips() {
            self.pack_weights(steps, strip)?;
            for window in self.grid.windows() {
                let tile = Grid::tile(window, strip);
                self.logits(steps, tile)?;
                self.top(steps, tile)?;
            }
        }
        Ok(())
    }

    /// Chooses labels of a tile, where that is wanted.
    fn top(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        let Some(labels) = self.outputs.top_labels else {
            return Ok(());
        };
        let (class_mask, mask_at) = match self.inputs.class_mask {
            Some(mask) => {
                let mask = mask.of_cols(tile.first_col, tile.cols);
                self.target.bind_all("class_mask", &mask)?
            }
            None => (Bind::Nothing, ABSENT),
        };
        let params = TopParams {
            rows: tile.rows as u32,
            cols: tile.cols as u32,
            stride: self.stride() as u32,
            count: labels.cols() as u32,
            first_label: tile.first_col as u32,
            mask_at,
            nan: f32::NAN.to_bits(),
            ..TopParams::default()
        };
        let binds = TopBinds {
            class_mask,
            work: self.tile.bind(),
            best: self.chosen((tile.first_row, tile.rows), labels.cols()),
            ..TopBinds::default()
        };
        let module = top(self.target.variant.workgroup);
        let on = |groups: Groups| TopParams {
            groups_x: groups.groups_x,
            ..params
        };
        steps.push(module, "top", tile.rows as u64, on, binds)
    }

    /// What has been chosen for the samples of a window.
    fn chosen(&self, (first, rows): (usize, usize), count: usize) -> Bind<'a> {
        let words = |rows: usize| 2 * (rows * count) as u64;
        self.best.part(words(first), words(rows))
    }

    /// Brings the chosen labels to the caller's tensors.
    fn store_top(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        let (Some(labels), Some(scores)) = (self.outputs.top_labels, self.outputs.top_scores)
        else {
            return Ok(());
        };
        let target = self.target;
        let module = top(target.variant.workgroup);
        for (first, rows) in self.grid.windows() {
            let (labels_bind, labels_at) = target.bind_rows(&labels, first, rows);
            let (scores_bind, scores_at) = target.bind_rows(&scores, first, rows);
            let on = |groups: Groups| TopParams {
                rows: rows as u32,
                groups_x: groups.groups_x,
                count: labels.cols() as u32,
                labels_at,
                labels_stride: labels.row_stride() as u32,
                scores_at,
                scores_stride: scores.row_stride() as u32,
                nan: f32::NAN.to_bits(),
                ..TopParams::default()
            };
            let binds = TopBinds {
                labels: labels_bind,
                scores: scores_bind,
                best: self.chosen((first, rows), labels.cols()),
                ..TopBinds::default()
            };
            let lanes = (rows * labels.cols()) as u64;
            let groups = lanes.div_ceil(u64::from(module.workgroup));
            steps.push(module, "top_out", groups, on, binds)?;
        }
        Ok(())
    }

    /// Takes a step of the weights of a strip, where that is wanted.
    fn update(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        (first, rows): (usize, usize),
    ) -> Result<(), Error> {
        let Some(update) = self.settings.update.filter(|_| self.grid.rows > 0) else {
            return Ok(());
        };
        let target = self.target;
        let weights = self.inputs.weights;
        let (rate, epsilon) = match update {
            Update::Sgd { rate } => (rate, 0.0),
            Update::Adagrad { rate, epsilon } => (rate, epsilon),
        };
        let (state, state_at) = match self.inputs.state {
            Some(state) => target.bind_all("state", &state.of_cols(first, rows))?,
            None => (Bind::Nothing, 0),
        };
        let (bind, view) = target.view_rows(weights, first, rows);
        let on = |groups: Groups| UpdateParams {
            weights: view,
            rows: rows as u32,
            cols: weights.cols() as u32,
            groups_x: groups.groups_x,
            row_stride: 4 * self.depth as u32,
            first: first as u32,
            rate,
            epsilon,
            state_at,
            seed_low: self.settings.seed as u32,
            seed_high: (self.settings.seed >> 32) as u32,
        };
        let module = update_of(
            weights.dtype(),
            update.has_state(),
            target.variant.workgroup,
        );
        let binds = UpdateBinds {
            sums: self.to_weights.bind(),
            state,
            weights: bind,
        };
        steps.push(module, "update", rows as u64, on, binds)
    }

    /// Finds the factors of all rows, where cooperative matrices multiply them.
    fn find_factors(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        if self.matrices.is_none() {
            return Ok(());
        }
        let target = self.target;
        let module = factor(target.variant.workgroup);
        for side in [&self.hidden, &self.weights] {
            let tensor = side.given;
            let most = target.rows_per_binding(side.name, &tensor)?;
            for first in (0..tensor.rows()).step_by(most) {
                let rows = most.min(tensor.rows() - first);
                let (source, view) = target.view_rows(tensor, first, rows);
                let (factors, at) = side.factors(first, rows);
                let params = |portion: Range<u64>, groups: Groups| FactorParams {
                    source: view,
                    begin: portion.start as u32,
                    end: portion.end as u32,
                    groups_x: groups.groups_x,
                    cols: tensor.cols() as u32,
                    at,
                };
                let binds = FactorBinds { source, factors };
                let work = (rows as u64, tensor.cols() as u64);
                push_portions(steps, (module, "factor"), work, 1, params, binds)?;
            }
        }
        Ok(())
    }

    /// Packs the hidden states, where they have to be.
    fn pack_hidden(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        for window in self.grid.windows() {
            self.pack(steps, &self.hidden, window, 0)?;
        }
        Ok(())
    }

    /// Packs the weights of a strip, where they have to be.
    fn pack_weights(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        strip: (usize, usize),
    ) -> Result<(), Error> {
        self.pack(steps, &self.weights, strip, strip.0)
    }

    fn pack(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        side: &Rows<'a>,
        (first, rows): (usize, usize),
        packed: usize,
    ) -> Result<(), Error> {
        if side.packed.is_none() {
            return Ok(());
        }
        let (source, view) = self.target.view_rows(side.given, first, rows);
        let params = |portion: Range<u64>, groups: Groups| PackParams {
            source: view,
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: groups.groups_x,
            cols: side.given.cols() as u32,
            depth: self.depth as u32,
        };
        let binds = PackBinds {
            source,
            packed: side.bind(self.target, (first, rows), packed).z,
        };
        let module = pack(self.target.variant.workgroup);
        let work = (rows as u64 * self.depth, 4);
        let lanes = u64::from(module.workgroup);
        push_portions(steps, (module, "pack"), work, lanes, params, binds)
    }

    /// A product's dispatches over own rows, in pieces whose work one may have: the parameters of a piece, and its bindings,
    /// from its first row and how many it has.
    fn push(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        (dtype, entry): (DType, &'static str),
        (rows, others, work): (usize, usize, u64),
        (fours, chunks): (u64, u64),
        piece: impl Fn(usize, usize) -> (LinearParams, ProductBinds<'a>),
    ) -> Result<(), Error> {
        let biased = self.inputs.bias.is_some();
        let module = products_of(self.sharing, self.matrices, dtype, biased);
        let of_slopes = entry == "spread";
        let most = rows_per_dispatch(others, work);
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let (mut params, binds) = piece(first, count);
            if of_slopes && self.matrices.is_some() {
                let scaled = ScaleBinds {
                    small: binds.small,
                    small2: binds.small2,
                    work: binds.work,
                };
                let module = scale(self.target.variant.workgroup);
                let on = |grid| params.on(grid);
                steps.push(module, "scale", count as u64, on, scaled)?;
            }
            let size = (count, fours);
            let (groups, row_blocks) =
                products::blocks(self.sharing, self.matrices, size, of_slopes);
            params.grid.row_blocks = row_blocks;
            let on = |grid| params.on(grid);
            steps.push(module, entry, groups * chunks, on, binds)?;
        }
        Ok(())
    }

    /// Makes the logits of a tile.
    fn logits(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        if tile.rows == 0 || tile.cols == 0 {
            return Ok(());
        }
        let (target, strip) = (self.target, (tile.first_col, tile.cols));
        let other = self.weights.bind(target, strip, tile.first_col);
        let (bias, bias_at) = match self.inputs.bias {
            Some(bias) => {
                let bias = bias.of_cols(tile.first_col, tile.cols);
                target.bind_all("bias", &bias)?
            }
            None => (Bind::Nothing, 0),
        };
        let piece = |first: usize, count: usize| {
            let own = self.hidden.bind(target, (tile.first_row + first, count), 0);
            let params = LinearParams {
                own: own.side,
                other: other.side,
                row: LinearRow {
                    depth: self.depth as u32,
                    stage: DEPTH,
                    bias_at,
                    pad: 0,
                },
                work: LinearWork {
                    stride: self.stride() as u32 / 4,
                    row: first as u32,
                    ..LinearWork::default()
                },
                ..LinearParams::default()
            };
            let binds = ProductBinds {
                z: own.z,
                z2: other.z,
                bias,
                small: own.small,
                small2: other.small,
                work: self.tile.bind(),
                ..ProductBinds::default()
            };
            (params, binds)
        };
        let size = (tile.rows, tile.cols, 4 * self.depth);
        let fours = (tile.cols as u64).div_ceil(4);
        self.push(steps, (other.dtype, "products"), size, (fours, 1), piece)
    }

    /// Adds what a tile of gradients adds to those to its samples and to its labels.
    fn spread(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        if tile.rows == 0 || tile.cols == 0 {
            return Ok(());
        }
        // The tile is turned before `scale` changes it.
        if by_label(&self.settings, self.outputs) {
            self.spread_labels(steps, tile)?;
        }
        if self.outputs.grad_hidden.is_some() {
            self.spread_hidden(steps, tile)?;
        }
        Ok(())
    }

    /// The sums of a window's hidden states: first word, and how many words.
    fn hidden_sums(&self, first_row: usize, rows: usize) -> (u64, u64) {
        let words = self.chunks * 4 * self.depth;
        (first_row as u64 * words, rows as u64 * words)
    }

    fn spread_hidden(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        let strip = (tile.first_col, tile.cols);
        let other = self.weights.bind(self.target, strip, tile.first_col);
        let (from, words) = self.hidden_sums(tile.first_row, tile.rows);
        let each = (tile.cols as u64).div_ceil(self.chunks).next_multiple_of(4);
        let mut params = LinearParams {
            chunks: LinearChunks {
                count: self.chunks as u32,
                rows: each as u32,
                stride: (tile.rows as u64 * self.depth) as u32,
                at: 0,
            },
            other: other.side,
            ..LinearParams::default()
        };
        params.grid.add = u32::from(tile.first_col > 0);
        params.work.stride = self.stride() as u32 / 4;
        let binds = ProductBinds {
            z2: other.z,
            small2: other.small,
            work: self.tile.bind(),
            sums: self.to_hidden.part(from, words),
            ..ProductBinds::default()
        };
        self.multiply(steps, other.dtype, (tile.rows, tile.cols), (params, binds))
    }

    /// The products of a tile of gradients with the other rows, in parts of so many own rows as a dispatch takes.
    fn multiply(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        dtype: DType,
        (rows, others): (usize, usize),
        (mut params, mut binds): (LinearParams, ProductBinds<'a>),
    ) -> Result<(), Error> {
        params.row.depth = self.depth as u32;
        params.row.stage = DEPTH;
        if self.matrices.is_some() {
            binds.small = self.powers.bind();
        }
        let piece = |first: usize, count: usize| {
            let mut params = params;
            params.chunks.at = (first as u64 * self.depth) as u32;
            params.own.rows = count as u32;
            params.own.small = first as u32;
            params.work.row = first as u32;
            (params, binds)
        };
        let blocks = (self.depth, u64::from(params.chunks.count));
        let size = (rows, others, 4 * self.depth);
        self.push(steps, (dtype, "spread"), size, blocks, piece)
    }

    fn spread_labels(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        let window = (tile.first_row, tile.rows);
        let other = self.hidden.bind(self.target, window, 0);
        let height = tile.rows.next_multiple_of(TEAM_ROWS) as u64 / 4;
        let mut turning = LinearParams {
            own: other.side,
            other: LinearSide {
                rows: tile.cols as u32,
                ..LinearSide::default()
            },
            ..LinearParams::default()
        };
        turning.row.depth = height as u32;
        turning.work.stride = self.stride() as u32 / 4;
        let module = turn(self.target.variant.workgroup);
        let lanes = height * (tile.cols as u64).div_ceil(4);
        let groups = lanes.div_ceil(u64::from(module.workgroup));
        let binds = TurnBinds {
            work: self.tile.bind(),
            sums: self.turned.bind(),
        };
        steps.push(module, "turn", groups, |grid| turning.on(grid), binds)?;
        self.sum_bias(steps, tile)?;
        if !by_weights(&self.settings, self.outputs) {
            return Ok(());
        }
        let mut params = LinearParams {
            chunks: LinearChunks {
                count: 1,
                rows: tile.rows.next_multiple_of(4) as u32,
                ..LinearChunks::default()
            },
            other: other.side,
            ..LinearParams::default()
        };
        params.grid.add = u32::from(tile.first_row > 0);
        params.work.stride = height as u32;
        let binds = ProductBinds {
            z2: other.z,
            small2: other.small,
            work: self.turned.bind(),
            sums: self.to_weights.bind(),
            ..ProductBinds::default()
        };
        self.multiply(steps, other.dtype, (tile.cols, tile.rows), (params, binds))
    }

    /// Sums up the turned tile for the gradient to the bias, where that is wanted.
    fn sum_bias(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        let Some(between) = &self.between else {
            return Ok(());
        };
        let turned = sums::Rows {
            addends: self.turned,
            rows: tile.cols as u64,
            len: tile.rows.next_multiple_of(TEAM_ROWS) as u64,
        };
        let window = tile.first_row / self.grid.tile_rows;
        let to = sums::To {
            results: self.to_bias.bind(),
            at: (window * self.wide()) as u32,
            scale: 1.0,
        };
        sums::push(steps, turned, between, to)
    }

    /// Brings sums to a gradient: rows of it, `params` with the places of the sums.
    fn store(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        (name, gradient): (&'static str, Gradient<'a>),
        rows: (usize, usize),
        sums: Bind<'a>,
        params: StoreParams,
    ) -> Result<(), Error> {
        let Some(tensor) = gradient.tensor() else {
            return Ok(());
        };
        let target = self.target;
        let most = target.rows_per_binding(name, &tensor)?;
        let module = store(tensor.dtype(), gradient.adds(), target.variant.workgroup);
        let lanes = u64::from(module.workgroup);
        let (first, count) = rows;
        for begin in (0..count).step_by(most) {
            let rows = most.min(count - begin);
            let (grad, view) = target.view_rows(tensor, first + begin, rows);
            let at = params.at + begin as u32 * params.row_stride;
            let params = |portion: Range<u64>, groups: Groups| StoreParams {
                grad: view,
                begin: portion.start as u32,
                end: portion.end as u32,
                groups_x: groups.groups_x,
                cols: tensor.cols() as u32,
                at,
                ..params
            };
            let all = rows as u64 * stored(tensor.dtype(), tensor.cols());
            let work = (all, u64::from(params(0..0, Groups::default()).chunks) + 2);
            let binds = StoreBinds { sums, grad };
            push_portions(steps, (module, "gradient"), work, lanes, params, binds)?;
        }
        Ok(())
    }

    /// Stores the gradient to the hidden states.
    fn store_hidden(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        let Some(gradient) = self.outputs.grad_hidden else {
            return Ok(());
        };
        for window in self.grid.windows() {
            let (from, words) = self.hidden_sums(window.0, window.1);
            let params = StoreParams {
                row_stride: 4 * self.depth as u32,
                col_stride: 1,
                chunks: match self.grid.cols {
                    0 => 0,
                    _ => self.chunks as u32,
                },
                chunk_stride: (window.1 as u64 * 4 * self.depth) as u32,
                ..StoreParams::default()
            };
            let sums = self.to_hidden.part(from, words);
            self.store(steps, ("grad_hidden", gradient), window, sums, params)?;
        }
        Ok(())
    }

    /// Stores the gradients to a strip's labels.
    fn store_labels(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        strip: (usize, usize),
    ) -> Result<(), Error> {
        if let Some(gradient) = self.outputs.grad_weights {
            let params = StoreParams {
                row_stride: 4 * self.depth as u32,
                col_stride: 1,
                chunks: u32::from(self.grid.rows > 0),
                ..StoreParams::default()
            };
            let sums = self.to_weights.bind();
            self.store(steps, ("grad_weights", gradient), strip, sums, params)?;
        }
        if let Some(gradient) = self.outputs.grad_bias {
            let of_strip = |t: Tensor<'a>| t.of_cols(strip.0, strip.1);
            let gradient = match gradient {
                Gradient::To(t) => Gradient::To(of_strip(t)),
                Gradient::AddTo(t) => Gradient::AddTo(of_strip(t)),
                Gradient::InPlace => gradient,
            };
            let params = StoreParams {
                col_stride: 1,
                chunks: self.grid.windows().count() as u32,
                chunk_stride: self.wide() as u32,
                ..StoreParams::default()
            };
            let sums = self.to_bias.bind();
            self.store(steps, ("grad_bias", gradient), (0, 1), sums, params)?;
        }
        self.update(steps, strip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::caps::{Caps, Variant};
    use crate::losses::zlpr::Zlpr;

    /// What a call at the size of AmazonTitles-3M has beside inputs and outputs: with logits of 5.8 GB, weights of 8.6, or in 16
    /// bits of 4.3.
    #[test]
    fn memory_is_that_of_hidden_states_and_tiles() -> Result<(), Error> {
        for (dtype, variant) in [
            (DType::F32, "tree-256-packed"),
            (DType::Bf16, "subgroup-256-native-cooperative"),
        ] {
            let draft = of_many_labels(dtype, variant.parse()?)?;
            let hidden = 4 * (ROWS * DIMS) as u64;
            let tile = Linear::new(()).tile_bytes;
            let cooperative = dtype == DType::Bf16;
            // The gradient to hidden states may be summed in a few parts. Cooperative matrices want a factor of each row.
            let factors = u64::from(cooperative) * 4 * (ROWS + COLS) as u64;
            let scratch = draft.scratch_bytes;
            assert!(scratch < 3 * tile + 8 * hidden + factors, "{scratch} bytes");
            let mut used = false;
            for dispatch in &draft.dispatches {
                used |= dispatch.step.kernel.to_string().contains("cooperative");
                assert!(dispatch.step.groups.iter().all(|g| *g <= 65_535));
            }
            assert_eq!(used, cooperative, "{dtype}");
        }
        Ok(())
    }

    const ROWS: usize = 512;
    const COLS: usize = 2_812_281;
    const DIMS: usize = 768;

    fn of_many_labels(dtype: DType, variant: Variant) -> Result<Draft<'static>, Error> {
        let of = |dtype, rows, cols| Tensor::scratch(0, dtype, rows, cols);
        let inputs = LinearInputs {
            targets: Some(Targets::Sparse {
                offsets: of(DType::U32, 1, ROWS + 1),
                indices: of(DType::U32, 1, 5 * ROWS),
            }),
            ..LinearInputs::new(of(dtype, ROWS, DIMS), of(dtype, COLS, DIMS))
        };
        let outputs = LinearOutputs {
            loss: Some(of(DType::F32, 1, 1)),
            grad_hidden: Some(Gradient::To(of(DType::F32, ROWS, DIMS))),
            ..LinearOutputs::default()
        };
        let caps = Caps {
            cooperative: 16,
            subgroup_size: 32,
            ..Caps::webgpu()
        };
        let target = Target {
            caps: &caps,
            variant,
        };
        let settings = Linear::new(()).with_update(Update::sgd(0.1), 0);
        let row = Zlpr::hard().of_rows().ok_or_else(Linear::<()>::refused)?;
        plan(
            target,
            &row,
            &settings,
            &inputs,
            &outputs,
            &Given::default(),
            Shards::Alone,
        )
    }
}
