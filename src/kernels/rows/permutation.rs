//! Seeded permutations of the labels, made on the device: no table, and nothing to upload from step to step.
//!
//! [`reference::permutation`](crate::reference::permutation) has the algorithm, and gives the same bit for bit.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Piece, Program, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Draft, Grid, Scratch, Target, bindings, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::losses::labels::{AfterCall, Seed};

/// Seeded permutations in a tensor of your own, to look at or to share between calls: row `r` of it becomes that of
/// `0..L` for the seed and `r`, by [`reference::permutation`](crate::reference::permutation())'s algorithm.
///
/// One dispatch for each window of rows that a binding reaches, and one to advance the seed. No scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permutations;

/// What [`Permutations`] reads.
#[derive(Clone, Copy, Debug)]
pub struct PermutationInputs<'a> {
    /// u32 `[2]`, the low word first.
    pub seed: Seed<Tensor<'a>>,
}

/// What [`Permutations`] writes.
#[derive(Clone, Copy, Debug)]
pub struct PermutationOutputs<'a> {
    /// u32 `[R, L]`.
    pub permutation: Tensor<'a>,
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
    mirrors: &[&[PermutationParams::MIRROR]],
};

impl Permutations {
    /// Checks the call and makes what it needs.
    ///
    /// # Errors
    /// Element types, shapes, buffers, overlap, limits of the device.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &PermutationInputs<'_>,
        outputs: &PermutationOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let (words, output) = (&[DType::U32], outputs.permutation);
        let shape = Shape::Matrix(output.rows(), output.cols());
        let mut all = Inspection::default();
        all.reads("seed", inputs.seed.words, words, Shape::Vector(2))?;
        all.writes("permutation", output, words, shape)?;
        let bytes = all.finish()?;
        let draft = plan(cx.target(), inputs.seed, output)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

fn plan<'a>(
    target: Target<'_>,
    seed: Seed<Tensor<'a>>,
    output: Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let mut steps = Dispatches::new(target);
    to_u32(output.rows() as u64, "permutation")?;
    let labels = to_u32(output.cols() as u64, "permutation")?;
    let window = target.rows_per_binding("permutation", &output)?;
    let rows = if labels == 0 { 0 } else { output.rows() };
    for first in (0..rows).step_by(window) {
        let count = window.min(rows - first);
        let (bind, at) = target.bind_rows(&output, first, count);
        let images = (bind, at, output.row_stride() as u32);
        make(
            &mut steps,
            seed.words,
            images,
            (first as u32, count as u32),
            labels,
        )?;
    }
    if seed.after == AfterCall::Advance {
        advance(&mut steps, seed.words)?;
    }
    Ok(steps.draft(&Scratch::default(), rows.div_ceil(window).max(1)))
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
