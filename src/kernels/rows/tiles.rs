//! A loss of rows whose labels come tile by tile, from logits that are made in scratch and gone when the next tile's are.
//!
//! Statistics of a tile are chunks of split rows: `partial` leaves them beside those of the tiles before, `combine` makes
//! of all of them what the rows come to, and `gradient` takes that tile by tile, of logits that have been made again. A
//! loss whose gradient needs nothing of the row has both in one sweep, and its losses are added up. No kernel is new.

use crate::device::plan::{Bind, Dispatches, Region, Scratch, Target};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::driver::{Among, Driver, Kept, RowBindings, Sweep, Windows, push_losses};
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::params::RowParams;
use crate::kernels::rows::shape::Shape;
use crate::kernels::rows::sides::Sides;
use crate::losses::reduction::Reduction;

/// All rows and labels, and how many of each a tile has at most; labels in multiples of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) tile_rows: usize,
    pub(crate) tile_cols: usize,
}

/// Some rows and labels: the first of each, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) first_col: usize,
    pub(crate) cols: usize,
}

impl Grid {
    fn spans(all: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
        let most = most.max(1);
        (0..all)
            .step_by(most)
            .map(move |first| (first, most.min(all - first)))
    }

    /// Windows of rows: the first of each, and how many.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (usize, usize)> {
        Grid::spans(self.rows, self.tile_rows)
    }

    /// The same of labels.
    pub(crate) fn strips(&self) -> impl Iterator<Item = (usize, usize)> {
        Grid::spans(self.cols, self.tile_cols)
    }

    /// How many strips statistics come from: of no labels, one that has none.
    fn strips_met(&self) -> u32 {
        self.strips().count().max(1) as u32
    }

    /// The tile of a window and a strip.
    pub(crate) fn tile(
        (first_row, rows): (usize, usize),
        (first_col, cols): (usize, usize),
    ) -> Tile {
        Tile {
            first_row,
            rows,
            first_col,
            cols,
        }
    }
}

/// The loss, and what it keeps between tiles.
pub(crate) struct Tiles<'a> {
    row: Row,
    /// Whether labels are on other devices too.
    among: Among<'static, 'a>,
    grid: Grid,
    kept: Kept,
    /// The binding that reaches what is kept.
    bind: Bind<'a>,
    /// Losses of a tile.
    each: Region,
    /// What gradients are multiplied by, and the sum of the rows' losses.
    scale: f32,
    /// What a loss of its own is multiplied by, without a reduction.
    share: f32,
    /// Whether loss and gradient come of one sweep.
    pub(crate) once: bool,
}

impl<'a> Tiles<'a> {
    /// `counted`: a number that is counted on the device is the scale. `masked`: how many labels of a row count is not known
    /// beforehand.
    pub(crate) fn new(
        target: Target<'_>,
        row: &Row,
        grid: Grid,
        (counted, masked): (bool, bool),
        among: Among<'static, 'a>,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let accumulator = row.loss.accumulator;
        let here = matches!(among, Among::Here);
        let once = here && accumulator.once && !(row.row_mean && (counted || masked));
        let (row, share) = match once && row.row_mean {
            true => (
                Row {
                    row_mean: false,
                    ..*row
                },
                1.0 / grid.cols.max(1) as f32,
            ),
            false => (*row, 1.0),
        };
        let shape = Shape::of(
            grid.tile_rows.min(grid.rows),
            (grid.tile_cols.min(grid.cols), 0),
            4,
            target.variant,
            target.caps.subgroup_size,
        );
        scratch.set_apart()?;
        let rows = grid.rows as u64;
        let words = u64::from(accumulator.coef_words);
        let window = grid.tile_rows.min(grid.rows);
        let accumulators = match among {
            Among::Meets(held) => held.shards(),
            // Behind those of the tiles, what is left of them.
            Among::Leaves(_) => shape.chunks * grid.strips_met() + 1,
            Among::Here | Among::Tiles(_) => shape.chunks * grid.strips_met(),
        };
        let chunks = window as u64 * u64::from(accumulators) * u64::from(accumulator.acc_words);
        let kept = Kept {
            // Rows that lanes keep are whole.
            shape: Shape {
                short: shape.short && once,
                ..shape
            },
            loss: scratch.take(rows)?,
            coef: scratch.take_if(!once && !matches!(among, Among::Leaves(_)), rows * words)?,
            chunk: scratch.take_if(!once, chunks)?,
        };
        let each = scratch.take_if(once, window as u64)?;
        let count = match row.reduction {
            Reduction::MeanElements => grid.rows * grid.cols,
            _ => grid.rows,
        };
        Ok(Tiles {
            row,
            among,
            grid,
            kept,
            bind: scratch.bind(),
            each,
            scale: row.reduction.scale(count) as f32 * share,
            share,
            once,
        })
    }

    /// Adds what has to be done with a tile, whose logits `inputs` has with all that belongs to them.
    fn push(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        tile: Tile,
        (inputs, gradient): (&RowInputs<'a>, bool),
        then: impl Fn(&Sweep, &mut Dispatches<'a, '_>, RowParams, RowBindings<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let outputs = &RowOutputs {
            grad_logits: gradient.then_some(Gradient::InPlace),
            ..RowOutputs::default()
        };
        let target = steps.target;
        scratch.lend(|scratch| {
            scratch.set_apart()?;
            let windows = Windows::of(target, &self.row, inputs, outputs, usize::MAX, &[])?;
            let among = Among::Tiles(&self.kept);
            let driver = Driver::new(target, &self.row, inputs, outputs, &windows, among, scratch)?;
            let mut driver = driver.starting_at(tile.first_col);
            let sides = Sides::bind(target, inputs, driver.phases(), scratch)?;
            driver.take_copies(scratch, windows.first())?;
            // A tile fits every binding.
            for (params, bindings) in driver.windows(&windows, &sides, self.bind)? {
                sides.gather(steps);
                driver.before(steps, &params)?;
                let mut params = params;
                let accumulator = self.row.loss.accumulator;
                let chunks = self.kept.shape.chunks;
                let strip = (tile.first_col / self.grid.tile_cols.max(1)) as u32;
                params.general.scale = self.scale;
                params.grid.apart = chunks * self.grid.strips_met();
                params.places.loss_at += tile.first_row as u32;
                if !self.once {
                    let coefs = tile.first_row as u32 * accumulator.coef_words;
                    params.places.coef_at = params.places.coef_at.saturating_add(coefs);
                    params.places.chunk_at += strip * chunks * accumulator.acc_words;
                }
                then(&driver.sweep, steps, params, bindings)?;
            }
            Ok(())
        })
    }

    /// Adds what a tile has to say of its rows.
    pub(crate) fn statistics(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        tile: Tile,
        inputs: &RowInputs<'a>,
    ) -> Result<(), Error> {
        let last = tile.first_col + tile.cols == self.grid.cols;
        self.push(
            steps,
            scratch,
            tile,
            (inputs, false),
            |sweep, steps, params, bindings| {
                sweep.partial(steps, params, bindings)?;
                if !last {
                    return Ok(());
                }
                let mut params = params;
                params.places.chunk_at = self.kept.chunk.at();
                let Among::Leaves(held) = self.among else {
                    return sweep.combine(steps, params, params.grid.apart, bindings);
                };
                let window = (tile.first_row as u32, tile.rows as u32);
                let words = self.row.loss.accumulator.acc_words;
                let left = params.places.chunk_at + window.1 * params.grid.apart * words;
                params.places.coef_at = left;
                sweep.merge(steps, params, params.grid.apart, bindings)?;
                held.leave(steps, words, window, (self.bind, left))
            },
        )
    }

    /// Whether the statistics of rows come from accumulators.
    pub(crate) fn met(&self) -> bool {
        matches!(self.among, Among::Meets(_))
    }

    /// Adds what rows come to of which there are accumulators of all shards, those of a tile.
    pub(crate) fn meet(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        tile: Tile,
        inputs: &RowInputs<'a>,
    ) -> Result<(), Error> {
        let Among::Meets(held) = self.among else {
            return Ok(());
        };
        self.push(
            steps,
            scratch,
            tile,
            (inputs, false),
            |sweep, steps, params, bindings| {
                let mut params = params;
                params.places.chunk_at = self.kept.chunk.at();
                let window = (tile.first_row as u32, tile.rows as u32);
                let words = self.row.loss.accumulator.acc_words;
                let place = (self.bind, params.places.chunk_at);
                held.bring(steps, words, window, place)?;
                sweep.combine(steps, params, held.shards(), bindings)
            },
        )
    }

    /// Adds the gradient of a tile, over its logits.
    pub(crate) fn gradient(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        tile: Tile,
        inputs: &RowInputs<'a>,
    ) -> Result<(), Error> {
        self.push(
            steps,
            scratch,
            tile,
            (inputs, true),
            |sweep, steps, params, bindings| sweep.gradient(steps, params, bindings),
        )
    }

    /// Adds losses of a tile, and where it is wanted the gradient over its logits, of a loss that has both in one sweep.
    pub(crate) fn both(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        tile: Tile,
        (inputs, gradient): (&RowInputs<'a>, bool),
    ) -> Result<(), Error> {
        let first = tile.first_col == 0;
        self.push(
            steps,
            scratch,
            tile,
            (inputs, gradient),
            |sweep, steps, params, bindings| {
                let mut params = params;
                if !first {
                    params.places.loss_at = self.each.at();
                }
                sweep.rows(steps, params, bindings)
            },
        )?;
        match first {
            true => Ok(()),
            false => {
                let losses = |region: Region, first: usize| {
                    let at = region.first() + first as u64;
                    Tensor::scratch(at, DType::F32, 1, tile.rows)
                };
                let (made, all) = (losses(self.each, 0), losses(self.kept.loss, tile.first_row));
                gradient::push_sum(steps, made, all)
            }
        }
    }

    /// Adds what becomes of the rows' losses: their sum times the scale, or without a reduction themselves.
    pub(crate) fn finish(&self, steps: &mut Dispatches<'a, '_>, to: (Bind<'a>, u32)) {
        let sums = self.row.reduction != Reduction::None;
        let scale = if sums { self.scale } else { self.share };
        let losses = (self.bind, self.kept.loss.at(), self.grid.rows as u32);
        push_losses(steps, losses, (scale, sums), to);
    }
}
