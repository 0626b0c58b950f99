//! Seeded permutations of the labels, made on the device: no table, and nothing to upload from step to step.
//!
//! [`reference::permutation`](crate::reference::permutation) has the algorithm, and gives the same bit for bit.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Piece, Program, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Grid, Scratch, bindings, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;

/// The order of the labels in the adjacent form of [WDL](crate::losses::wdl).
#[derive(Clone, Copy, Debug)]
pub enum Permutation<'a> {
    /// u32 `[L]`: one permutation of `0..L` for all rows. The values lie on the device and are not checked: one that is
    /// no label is in no difference; with repeats the result means nothing, but nothing else is read or written.
    Batch(Tensor<'a>),
    /// u32 `[B, L]`: one for each row.
    PerRow(Tensor<'a>),
    /// Made on the device, by [`reference::permutation`](crate::reference::permutation)'s algorithm.
    Seeded {
        /// u32 `[2]`: low and high word of the seed.
        seed: Tensor<'a>,
        /// One for each row, made with the row's number; else that of row 0 for all.
        per_row: bool,
        /// Adds 1 to the seed when the call is done, so that the next time it is recorded it has other permutations,
        /// with nothing uploaded.
        advance: bool,
    },
}

uniform! {
    /// As shaders/wdl/permutation.wgsl has it.
    struct PermutationParams {
        rows: u32,
        cols: u32,
        groups: u32,
        groups_x: u32,
        chunks: u32,
        seed_offset: u32,
        offset: u32,
        stride: u32,
        first_row: u32,
        pad0: u32,
        pad1: u32,
        pad2: u32,
    }
}

bindings! {
    /// What the kernels reach.
    struct PermutationBindings {
        1: seed,
        7: images,
    }
}

/// Seeded permutations of the labels.
pub(crate) static PERMUTATION: Program = Program {
    name: "permutation",
    pieces: &[Piece::File(wgsl!("wdl/permutation.wgsl"))],
    entries: &["permutation", "advance"],
    constants: &[],
    bindings: PermutationBindings::NAMES,
    mirrors: &[PermutationParams::MIRROR],
};

/// Prepares a call that writes seeded permutations: row `r` of `output`, u32 `[R, L]`, becomes that of `0..L` for
/// `seed` (u32 `[2]`, low word first) and `r`. With `advance` it adds 1 to the seed afterwards.
///
/// One dispatch for each window of rows that a binding reaches, and one to advance. No scratch.
///
/// # Errors
/// Element types, shapes, buffers, overlap, limits of the device.
pub fn permutation(
    cx: &Context,
    seed: Tensor<'_>,
    output: Tensor<'_>,
    advance_seed: bool,
) -> Result<Prepared, Error> {
    let (words, rows, cols) = (&[DType::U32], output.rows(), output.cols());
    let mut all = Inspection::default();
    all.reads("seed", seed, words, Shape::Vector(2))?;
    all.writes("permutation", output, words, Shape::Matrix(rows, cols))?;
    all.finish()?;
    let target = cx.target();
    let mut steps = Dispatches::new(target);
    to_u32(rows as u64, "permutation")?;
    let labels = to_u32(cols as u64, "permutation")?;
    let window = target.rows_per_binding("permutation", &output)?;
    let rows = if labels == 0 { 0 } else { rows };
    for first in (0..rows).step_by(window) {
        let count = window.min(rows - first);
        let (bind, at) = target.bind_rows(&output, first, count);
        let images = (bind, at, output.stride() as u32);
        make(
            &mut steps,
            seed,
            images,
            (first as u32, count as u32),
            labels,
        )?;
    }
    if advance_seed {
        advance(&mut steps, seed)?;
    }
    let windows = rows.div_ceil(window).max(1);
    prepared::build(cx, steps.draft(&Scratch::default(), windows))
}

/// Adds the dispatch that writes the permutations of `(first, count)` rows: where they go, from which element on, row
/// stride.
pub(crate) fn make<'a>(
    steps: &mut Dispatches<'a, '_>,
    seed: Tensor<'a>,
    (images, offset, stride): (Bind<'a>, u32, u32),
    (first_row, rows): (u32, u32),
    cols: u32,
) -> Result<(), Error> {
    let module = PERMUTATION.module(steps.target.variant.workgroup);
    let (seed, seed_offset) = steps.target.bind_all("seed", &seed)?;
    let chunks = cols.div_ceil(module.workgroup);
    let params = |grid: Grid| PermutationParams {
        rows,
        cols,
        groups: grid.groups,
        groups_x: grid.groups_x,
        chunks,
        seed_offset,
        offset,
        stride,
        first_row,
        ..PermutationParams::default()
    };
    let groups = u64::from(rows) * u64::from(chunks);
    let bindings = PermutationBindings { seed, images };
    steps.push(module, "permutation", groups, params, bindings)
}

/// Adds the dispatch that adds 1 to the seed.
pub(crate) fn advance<'a>(steps: &mut Dispatches<'a, '_>, seed: Tensor<'a>) -> Result<(), Error> {
    let module = PERMUTATION.module(steps.target.variant.workgroup);
    let (seed, seed_offset) = steps.target.bind_all("seed", &seed)?;
    let params = PermutationParams {
        seed_offset,
        ..PermutationParams::default()
    };
    let bindings = PermutationBindings {
        seed,
        images: Bind::Nothing,
    };
    steps.push(module, "advance", 1, |_| params, bindings)
}
