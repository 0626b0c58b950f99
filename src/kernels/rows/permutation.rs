//! Seeded permutations of the labels, made on the device: no table, and nothing to upload from step to step.
//!
//! [`reference::permutation`](crate::reference::permutation) has the algorithm, and gives the same bit for bit.

use crate::device::caps::{Caps, Reduce};
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::plan::{Step, fold};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Draft, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::shader::{Kernel, Module, Program};
use crate::kernels::steps::{bind_all, bind_rows, check_apart, rows_per_binding, word};
use crate::losses::labels::{AfterCall, Seed};
use bytemuck::{Pod, Zeroable};

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

/// Mirror of `PermutationParams` in shaders/wdl/permutation.wgsl.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
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
        check_seed(&inputs.seed.words)?;
        outputs.permutation.check("permutation", &[DType::U32])?;
        check_apart(
            &[("permutation", outputs.permutation)],
            &[("seed", inputs.seed.words)],
        )?;
        build(cx, inputs.seed, outputs.permutation)
    }
}

fn build(cx: &Context, seed: Seed<Tensor<'_>>, output: Tensor<'_>) -> Result<Prepared, Error> {
    let caps = cx.caps();
    let kernel = |entry| Kernel {
        module: Module {
            program: Program::Permutation,
            reduce: Reduce::Tree,
            workgroup: cx.variant().workgroup,
        },
        entry,
    };
    let cols = word(output.cols() as u64, "permutation")?;
    word(output.rows() as u64, "permutation")?;
    let mut drafts = Vec::new();
    let window = rows_per_binding("permutation", &output, caps)?;
    let rows = if cols == 0 { 0 } else { output.rows() };
    for first in (0..rows).step_by(window) {
        let count = window.min(rows - first);
        let (bind, at) = bind_rows(&output, first, count, caps);
        drafts.push(draft(
            kernel("permutation"),
            seed.words,
            (bind, at, output.row_stride() as u32),
            (first as u32, count as u32),
            cols,
            caps,
        )?);
    }
    let windows = drafts.len().max(1);
    if seed.after == AfterCall::Advance {
        drafts.push(advance(kernel("advance"), seed.words, caps)?);
    }
    call::build(cx, drafts, 0, windows)
}

pub(crate) fn check_seed(seed: &Tensor<'_>) -> Result<(), Error> {
    seed.check("seed", &[DType::U32])?;
    seed.check_len("seed", 2)
}

/// The step that writes the permutations of `(first, count)` rows: where they go, from which element on, row stride.
pub(crate) fn draft<'a>(
    kernel: Kernel,
    seed: Tensor<'a>,
    (images, offset, stride): (Bind<'a>, u32, u32),
    (first_row, rows): (u32, u32),
    cols: u32,
    caps: &Caps,
) -> Result<Draft<'a>, Error> {
    let chunks = cols.div_ceil(kernel.module.workgroup);
    let groups = word(u64::from(rows) * u64::from(chunks), "permutation")?;
    let (x, y) = fold(groups, caps.max_groups);
    let params = PermutationParams {
        rows,
        cols,
        groups,
        groups_x: x,
        chunks,
        offset,
        stride,
        first_row,
        ..PermutationParams::default()
    };
    seeded(kernel, params, images, [x, y, 1], seed, caps)
}

/// The step that adds 1 to the seed.
pub(crate) fn advance<'a>(
    kernel: Kernel,
    seed: Tensor<'a>,
    caps: &Caps,
) -> Result<Draft<'a>, Error> {
    let params = PermutationParams::default();
    seeded(kernel, params, Bind::Nothing, [1, 1, 1], seed, caps)
}

fn seeded<'a>(
    kernel: Kernel,
    mut params: PermutationParams,
    images: Bind<'a>,
    groups: [u32; 3],
    seed: Tensor<'a>,
    caps: &Caps,
) -> Result<Draft<'a>, Error> {
    let mut bindings = [Bind::Nothing; STORAGE_BINDINGS];
    (bindings[0], params.seed_offset) = bind_all("seed", &seed, caps)?;
    bindings[6] = images;
    Ok(Draft {
        step: Step { kernel, groups },
        params: bytemuck::bytes_of(&params).to_vec(),
        bindings,
    })
}
