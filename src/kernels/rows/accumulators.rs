//! Accumulators of rows in tensors of the caller's, on their way to other devices and from them.

use crate::device::module::{Module, Piece, Program, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Grid, Target, bindings};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::view::View;
use crate::kernels::work::push_portions;
use std::ops::Range;

uniform! {
    /// Parameters of what carries accumulators between scratch and a tensor.
    struct CarryParams {
        /// The tensor: of `bring` a row for each shard, of `leave` one for each row.
        held: View,
        /// The first word of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Rows.
        rows: u32,
        /// Words of an accumulator.
        words: u32,
        /// In the tensor, from a row's accumulator to the next row's.
        row_stride: u32,
        /// In scratch, the first word.
        place: u32,
        /// Accumulators that a row has there,
        shards: u32,
        /// and which of them is the first of this dispatch.
        first: u32,
    }
}

bindings! {
    /// Scratch and the tensor.
    struct CarryBinds {
        6: scratch,
        7: held,
    }
}

static CARRY: Program = Program {
    name: "carry",
    pieces: &[
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("shared/carry.wgsl")),
    ],
    entries: &["bring", "leave"],
    constants: &[],
    bindings: CarryBinds::NAMES,
    mirrors: &[&[View::MIRROR, CarryParams::MIRROR]],
};

/// The module that carries accumulators.
pub(crate) fn carry(workgroup: u32) -> Module {
    CARRY.module(workgroup)
}

/// Accumulators in a tensor of the caller's: `[B, words]` where they are left, `[shards, B * words]` where they are met.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) tensor: Tensor<'a>,
    /// Words of a row's accumulators.
    pub(crate) words: usize,
    /// Which of them is the first of this loss's.
    pub(crate) at: usize,
}

impl<'a> Held<'a> {
    /// How many shards.
    pub(crate) fn shards(&self) -> u32 {
        self.tensor.rows() as u32
    }

    /// Brings the accumulators of a window of rows into scratch, those of a row side by side.
    pub(crate) fn bring(
        &self,
        steps: &mut Dispatches<'a, '_>,
        words: u32,
        (first_row, rows): (u32, u32),
        (scratch, place): (Bind<'a>, u32),
    ) -> Result<(), Error> {
        let target = steps.target;
        let each = rows as usize * self.words;
        let of_rows = self.tensor.of_cols(first_row as usize * self.words, each);
        let most = target.rows_per_binding("accumulators", &of_rows)?;
        let shards = of_rows.rows();
        for first in (0..shards).step_by(most) {
            let count = most.min(shards - first);
            let (held, view) = target.view_rows(of_rows, first, count);
            let params = CarryParams {
                held: self.moved(view),
                rows,
                words,
                row_stride: self.words as u32,
                place,
                shards: shards as u32,
                first: first as u32,
                ..CarryParams::default()
            };
            let all = (count * rows as usize) as u64 * u64::from(words);
            push(steps, "bring", all, params, CarryBinds { scratch, held })?;
        }
        Ok(())
    }

    /// Leaves the accumulators of a window of rows.
    pub(crate) fn leave(
        &self,
        steps: &mut Dispatches<'a, '_>,
        words: u32,
        (first_row, rows): (u32, u32),
        (scratch, place): (Bind<'a>, u32),
    ) -> Result<(), Error> {
        let target = steps.target;
        let most = target.rows_per_binding("accumulators", &self.tensor)?;
        let rows = rows as usize;
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let from = first_row as usize + first;
            let (held, view) = target.view_rows(self.tensor, from, count);
            let params = CarryParams {
                held: self.moved(view),
                rows: count as u32,
                words,
                place: place + first as u32 * words,
                ..CarryParams::default()
            };
            let all = count as u64 * u64::from(words);
            push(steps, "leave", all, params, CarryBinds { scratch, held })?;
        }
        Ok(())
    }

    /// From the first accumulator of a row on to this loss's.
    fn moved(&self, view: View) -> View {
        View {
            offset: view.offset + self.at as u32,
            ..view
        }
    }
}

fn push<'a>(
    steps: &mut Dispatches<'a, '_>,
    entry: &'static str,
    words: u64,
    params: CarryParams,
    binds: CarryBinds<'a>,
) -> Result<(), Error> {
    let module = carry(steps.target.variant.workgroup);
    let of = |portion: Range<u64>, grid: Grid| CarryParams {
        begin: portion.start as u32,
        end: portion.end as u32,
        groups_x: grid.groups_x,
        ..params
    };
    let lanes = u64::from(module.workgroup);
    push_portions(steps, (module, entry), (words, 2), lanes, of, binds)
}

/// Rows of a window whose accumulators, so many words a row, are in scratch with what else is kept of a row.
pub(crate) fn most_rows(target: Target<'_>, words: u64) -> usize {
    let kept = 4 * (words + 8);
    usize::try_from(target.caps.max_binding / 8 * 7 / kept).map_or(usize::MAX, |rows| rows.max(1))
}
