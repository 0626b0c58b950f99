//! Seeded permutations of the labels, made on the device: no table, and nothing to upload from step to step.
//!
//! [`reference::permutation`](crate::reference::permutation) has the algorithm, and gives the same bit for bit.

use crate::device::caps::{Caps, Reduce};
use crate::device::context::{Context, STORAGE_BINDINGS};
use crate::device::plan::{Step, fold};
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Draft, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::shader::{Kernel, Module, Program};
use crate::kernels::steps::{bind_all, bind_rows, rows_per_binding, word};
use bytemuck::{Pod, Zeroable};

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
    check_seed(&seed)?;
    output.check("permutation", &[DType::U32])?;
    if seed.overlaps(&output) {
        return Err(Error::new(
            ErrorKind::Buffer,
            "permutation",
            "memory apart from seed",
            "an overlap",
        ));
    }
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
            seed,
            (bind, at, output.stride() as u32),
            (first as u32, count as u32),
            cols,
            caps,
        )?);
    }
    let windows = drafts.len().max(1);
    if advance_seed {
        drafts.push(advance(kernel("advance"), seed, caps)?);
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
