//! From a checked last layer to its dispatches. The logits of some samples and labels at a time, a tile, are made in scratch,
//! the driver of the row losses goes over them there, and gradients take their place; from these come, by two more products,
//! what the tile adds to the gradients to its samples and to its labels.
//!
//! One tile for everything, and it is an unfused layer in its own scratch. Otherwise a loss that needs to know all of a row
//! for its gradient has two rounds: samples in windows, strip by strip of labels, leave the few numbers that a row comes to;
//! then, strip by strip, logits are made again, window by window. A loss that needs nothing of the row has one.
//!
//! `pack` brings rows that no product can read as they are (odd sizes and places, hidden states that want a component that is
//! 1, of which the gradient to the bias comes) into f32, weights strip by strip. `products` makes logits, `turn` a tile of
//! gradients with a row for each label, `spread` what a tile adds to gradients, which stay in f32 in scratch until `store`
//! brings them to the caller's tensors: those of hidden states at the end, those of a strip's labels behind the strip, where
//! `update` may take them for a step of the weights instead. `top` keeps the labels of the greatest logits, tile by tile.

use crate::device::live::Given;
use crate::device::plan::{
    ABSENT, Bind, Dispatches, Draft, Grid as Groups, Region, Scratch, Target,
};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{Gradient, stored};
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::kernels::linear::table::{
    LinearChunks, LinearParams, LinearRow, LinearSide, LinearWork, PackBinds, PackParams,
    ProductBinds, StoreBinds, StoreParams, TopBinds, TopParams, TurnBinds, UpdateBinds,
    UpdateParams, pack, products_of, store, top, turn, update as update_of,
};
use crate::kernels::products::{self, DEPTH, Sharing, TEAM_ROWS, rows_per_dispatch};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::count;
use crate::kernels::rows::driver::Among;
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::plan::record;
use crate::kernels::rows::shards::parts;
use crate::kernels::rows::tiles::{Grid, Tile, Tiles};
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

/// Rows as products read them.
enum Factor<'a> {
    /// Where the caller has them.
    There(Tensor<'a>),
    /// Packed, of so many vectors each.
    Packed { region: Region, depth: u64 },
}

/// What a product is told of rows: their binding, type, and place.
type Bound<'a> = (Bind<'a>, DType, LinearSide);

impl<'a> Factor<'a> {
    /// Whether products can read a tensor as it is.
    fn fits(tensor: &Tensor<'_>) -> bool {
        let whole = |elements: u64| elements.is_multiple_of(4);
        (tensor.cols() as u64).is_multiple_of(u64::from(DEPTH))
            && whole(tensor.offset())
            && (tensor.rows() <= 1 || whole(tensor.row_stride() as u64))
    }

    /// Rows `first` to `first + rows`. Packed ones lie from the first of `packed` on.
    fn bind(&self, target: Target<'_>, (first, rows): (usize, usize), packed: usize) -> Bound<'a> {
        let side = |z: u64, stride: u64| LinearSide {
            rows: rows as u32,
            z: z as u32,
            stride: stride as u32,
            pad: 0,
        };
        match self {
            Factor::There(tensor) => {
                let (bind, at) = target.bind_rows(tensor, first, rows);
                let side = side(u64::from(at) / 4, tensor.row_stride() as u64 / 4);
                (bind, tensor.dtype(), side)
            }
            Factor::Packed { region, depth } => {
                let row = 4 * depth;
                let from = (first - packed) as u64 * row;
                let bind = region.part(from, rows as u64 * row);
                (bind, DType::F32, side(0, *depth))
            }
        }
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
    hidden: Factor<'a>,
    weights: Factor<'a>,
    /// Vectors of a hidden state and of a row of weights in products.
    depth: u64,
    /// The same of the rows that gradients to labels are made in: those of hidden states.
    label_depth: u64,
    /// The tile, as the caller's logits would be.
    tile: Region,
    /// The tile of gradients turned.
    turned: Region,
    /// Sums for the gradient to hidden states: in each window, chunk by chunk.
    to_hidden: Region,
    chunks: u64,
    /// The same to a strip's labels.
    to_labels: Region,
    /// The labels that are chosen for each sample, and where they stand.
    best: Region,
}

/// Whether there is a gradient to what belongs to labels.
fn by_label(settings: &Linear<()>, outputs: &LinearOutputs<'_>) -> bool {
    settings.update.is_some() || outputs.grad_weights.is_some() || outputs.grad_bias.is_some()
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
    let tile_cols = fitting(words, high)
        .min(fitting(words, widest))
        .min(fitting(room, widest))
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
        let ones = u64::from(outputs.grad_bias.is_some());
        let vectors = |dims: u64| dims.next_multiple_of(u64::from(DEPTH)) / 4;
        let (depth, label_depth) = (vectors(dims), vectors(dims + ones));
        let grid = grid(target, settings.tile_bytes, inputs, 4 * label_depth)?;
        let (rows, cols) = (grid.rows as u64, grid.cols as u64);
        let high = grid.rows.min(grid.tile_rows);
        let wide = grid.cols.min(grid.tile_cols);
        let up = |count: usize| count.next_multiple_of(TEAM_ROWS) as u64;

        let f32_there = inputs.hidden.dtype() == DType::F32 && Factor::fits(&inputs.hidden);
        let hidden = match f32_there && ones == 0 {
            true => Factor::There(inputs.hidden),
            false => Factor::Packed {
                region: scratch.take(rows * 4 * label_depth)?,
                depth: label_depth,
            },
        };
        let weights = match Factor::fits(&inputs.weights) {
            true => Factor::There(inputs.weights),
            false => Factor::Packed {
                region: scratch.take(wide as u64 * 4 * depth)?,
                depth,
            },
        };
        let tile = scratch.take(up(high) * up(wide))?;
        let by_label = by_label(settings, outputs);
        let turned = scratch.take_if(by_label, up(high) * up(wide))?;
        let sharing = Sharing::of(target).pairing(high, wide);
        let chunks = match outputs.grad_hidden {
            Some(_) if sharing.near.is_none() && cols > 0 => {
                let (blocks, _) = sharing.blocks(high, depth, 2);
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
        let to_labels = scratch.take_if(by_label, wide as u64 * 4 * label_depth)?;
        let chosen = outputs.top_labels.map_or(0, |t| t.cols() as u64);
        let best = scratch.take_if(chosen > 0, 2 * rows * chosen)?;
        Ok(Layer {
            target,
            settings: *settings,
            inputs,
            outputs,
            grid,
            sharing,
            hidden,
            weights,
            depth,
            label_depth,
            tile,
            turned,
            to_hidden,
            chunks,
            to_labels,
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

    /// Labels of a row of the tile, with those that only fill it.
    fn stride(&self) -> usize {
        self.grid
            .cols
            .min(self.grid.tile_cols)
            .next_multiple_of(TEAM_ROWS)
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
            row_stride: 4 * self.label_depth as u32,
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
            sums: self.to_labels.bind(),
            state,
            weights: bind,
        };
        steps.push(module, "update", rows as u64, on, binds)
    }

    /// Packs the hidden states, where they have to be.
    fn pack_hidden(&self, steps: &mut Dispatches<'a, 'c>) -> Result<(), Error> {
        let ones = match self.outputs.grad_bias {
            Some(_) => self.inputs.hidden.cols() as u32,
            None => ABSENT,
        };
        for window in self.grid.windows() {
            self.pack(steps, &self.hidden, self.inputs.hidden, window, 0, ones)?;
        }
        Ok(())
    }

    /// Packs the weights of a strip, where they have to be.
    fn pack_weights(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        strip: (usize, usize),
    ) -> Result<(), Error> {
        self.pack(
            steps,
            &self.weights,
            self.inputs.weights,
            strip,
            strip.0,
            ABSENT,
        )
    }

    fn pack(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        factor: &Factor<'a>,
        tensor: Tensor<'a>,
        (first, rows): (usize, usize),
        packed: usize,
        ones: u32,
    ) -> Result<(), Error> {
        let Factor::Packed { depth, .. } = factor else {
            return Ok(());
        };
        let (into, _, _) = factor.bind(self.target, (first, rows), packed);
        let (source, view) = self.target.view_rows(tensor, first, rows);
        let params = |portion: Range<u64>, groups: Groups| PackParams {
            source: view,
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: groups.groups_x,
            cols: tensor.cols() as u32,
            depth: *depth as u32,
            ones,
        };
        let binds = PackBinds {
            source,
            packed: into,
        };
        let module = pack(self.target.variant.workgroup);
        let work = (rows as u64 * depth, 4);
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
        let module = products_of(self.sharing, dtype, self.inputs.bias.is_some());
        let most = rows_per_dispatch(others, work);
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let (mut params, binds) = piece(first, count);
            let (groups, row_blocks) = self.sharing.blocks(count, fours, 2);
            params.grid.row_blocks = row_blocks;
            steps.push(
                module,
                entry,
                groups * chunks,
                |grid| params.on(grid),
                binds,
            )?;
        }
        Ok(())
    }

    /// Makes the logits of a tile.
    fn logits(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        if tile.rows == 0 || tile.cols == 0 {
            return Ok(());
        }
        let (target, strip) = (self.target, (tile.first_col, tile.cols));
        let (z2, dtype, other) = self.weights.bind(target, strip, tile.first_col);
        let (bias, bias_at) = match self.inputs.bias {
            Some(bias) => {
                let bias = bias.of_cols(tile.first_col, tile.cols);
                target.bind_all("bias", &bias)?
            }
            None => (Bind::Nothing, 0),
        };
        let piece = |first: usize, count: usize| {
            let (z, _, own) = self.hidden.bind(target, (tile.first_row + first, count), 0);
            let params = LinearParams {
                own,
                other,
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
                z,
                z2,
                bias,
                work: self.tile.bind(),
                ..ProductBinds::default()
            };
            (params, binds)
        };
        let size = (tile.rows, tile.cols, 4 * self.depth);
        let fours = (tile.cols as u64).div_ceil(4);
        self.push(steps, (dtype, "products"), size, (fours, 1), piece)
    }

    /// Adds what a tile of gradients adds to those to its samples and to its labels.
    fn spread(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        if tile.rows == 0 || tile.cols == 0 {
            return Ok(());
        }
        if self.outputs.grad_hidden.is_some() {
            self.spread_hidden(steps, tile)?;
        }
        if by_label(&self.settings, self.outputs) {
            self.spread_labels(steps, tile)?;
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
        let (z2, dtype, other) = self.weights.bind(self.target, strip, tile.first_col);
        let (from, words) = self.hidden_sums(tile.first_row, tile.rows);
        let each = (tile.cols as u64).div_ceil(self.chunks).next_multiple_of(4);
        let mut params = LinearParams {
            chunks: LinearChunks {
                count: self.chunks as u32,
                rows: each as u32,
                stride: (tile.rows as u64 * self.depth) as u32,
                at: 0,
            },
            other,
            ..LinearParams::default()
        };
        params.grid.add = u32::from(tile.first_col > 0);
        params.row.depth = self.depth as u32;
        params.work.stride = self.stride() as u32 / 4;
        let binds = ProductBinds {
            z2,
            work: self.tile.bind(),
            sums: self.to_hidden.part(from, words),
            ..ProductBinds::default()
        };
        self.multiply(steps, dtype, (tile.rows, tile.cols), (params, binds))
    }

    /// The products of a tile of gradients with the other rows, in parts of so many own rows as a dispatch takes.
    fn multiply(
        &self,
        steps: &mut Dispatches<'a, 'c>,
        dtype: DType,
        (rows, others): (usize, usize),
        (mut params, binds): (LinearParams, ProductBinds<'a>),
    ) -> Result<(), Error> {
        params.row.stage = DEPTH;
        let depth = u64::from(params.row.depth);
        let piece = |first: usize, count: usize| {
            let mut params = params;
            params.chunks.at = (first as u64 * depth) as u32;
            params.own.rows = count as u32;
            params.work.row = first as u32;
            (params, binds)
        };
        let blocks = (depth, u64::from(params.chunks.count));
        let size = (rows, others, 4 * depth);
        self.push(steps, (dtype, "spread"), size, blocks, piece)
    }

    fn spread_labels(&self, steps: &mut Dispatches<'a, 'c>, tile: Tile) -> Result<(), Error> {
        let window = (tile.first_row, tile.rows);
        let (z2, dtype, other) = self.hidden.bind(self.target, window, 0);
        let height = tile.rows.next_multiple_of(TEAM_ROWS) as u64 / 4;
        let mut turning = LinearParams {
            own: other,
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
        let mut params = LinearParams {
            chunks: LinearChunks {
                count: 1,
                rows: tile.rows.next_multiple_of(4) as u32,
                ..LinearChunks::default()
            },
            other,
            ..LinearParams::default()
        };
        params.grid.add = u32::from(tile.first_row > 0);
        params.row.depth = self.label_depth as u32;
        params.work.stride = height as u32;
        let binds = ProductBinds {
            z2,
            work: self.turned.bind(),
            sums: self.to_labels.bind(),
            ..ProductBinds::default()
        };
        self.multiply(steps, dtype, (tile.cols, tile.rows), (params, binds))
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
        let sums = self.to_labels.bind();
        let row = 4 * self.label_depth as u32;
        let params = StoreParams {
            row_stride: row,
            col_stride: 1,
            chunks: u32::from(self.grid.rows > 0),
            ..StoreParams::default()
        };
        if let Some(gradient) = self.outputs.grad_weights {
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
                at: self.inputs.hidden.cols() as u32,
                row_stride: 0,
                col_stride: row,
                ..params
            };
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

    /// What a call at the size of AmazonTitles-3M has beside inputs and outputs: with logits of 5.8 GB, weights of 8.6.
    #[test]
    fn memory_is_that_of_hidden_states_and_tiles() -> Result<(), Error> {
        let (rows, cols, dims) = (512, 2_812_281, 768);
        let of = |dtype, rows, cols| Tensor::scratch(0, dtype, rows, cols);
        let inputs = LinearInputs {
            targets: Some(Targets::Sparse {
                offsets: of(DType::U32, 1, rows + 1),
                indices: of(DType::U32, 1, 5 * rows),
            }),
            ..LinearInputs::new(of(DType::F32, rows, dims), of(DType::F32, cols, dims))
        };
        let outputs = LinearOutputs {
            loss: Some(of(DType::F32, 1, 1)),
            grad_hidden: Some(Gradient::To(of(DType::F32, rows, dims))),
            ..LinearOutputs::default()
        };
        let caps = Caps::webgpu();
        let variant: Variant = "tree-256-packed".parse()?;
        let target = Target {
            caps: &caps,
            variant,
        };
        let settings = Linear::new(()).with_update(Update::sgd(0.1), 0);
        let row = Zlpr::hard().of_rows().ok_or_else(Linear::<()>::refused)?;
        let draft = plan(
            target,
            &row,
            &settings,
            &inputs,
            &outputs,
            &Given::default(),
            Shards::Alone,
        )?;
        let hidden = 4 * (rows * dims) as u64;
        let tile = settings.tile_bytes;
        let scratch = draft.scratch_bytes;
        // The gradient to hidden states may be summed in a few parts.
        assert!(scratch < 3 * tile + 8 * hidden, "{scratch} bytes");
        assert!(
            draft
                .dispatches
                .iter()
                .all(|d| d.step.groups.iter().all(|g| *g <= 65_535))
        );
        Ok(())
    }
}
