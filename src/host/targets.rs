//! Targets on their way from plain slices to a device.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::gpu::Gpu;
use crate::host::values::Dense;
use crate::losses::labels::{TargetNames, Targets};
use crate::reference;

/// Checks lists, but for what stands in those of rows that do not count.
pub(super) fn check_lists(
    names: TargetNames,
    (rows, cols): (usize, usize),
    offsets: &[u32],
    indices: &[u32],
    counts: impl Fn(usize) -> bool,
) -> Result<(), Error> {
    reference::check_offsets(names, rows, offsets, indices.len())?;
    let row = |at: usize| offsets.partition_point(|end| *end as usize <= at) - 1;
    reference::check_listed(names, cols, indices, |at| counts(row(at)))
}

/// Lists without those of the rows that do not count. Their offsets have been checked.
pub(super) fn counted_lists(
    offsets: &[u32],
    indices: &[u32],
    counts: impl Fn(usize) -> bool,
) -> (Vec<u32>, Vec<u32>) {
    let (mut ends, mut all) = (vec![0], Vec::new());
    for (row, ends_of) in offsets.windows(2).enumerate() {
        if counts(row) {
            all.extend(&indices[ends_of[0] as usize..ends_of[1] as usize]);
        }
        ends.push(all.len() as u32);
    }
    (ends, all)
}

/// Targets on a device.
pub(super) struct TargetBuffers<'a> {
    given: Targets<Dense<'a>, &'a [u32]>,
    buffers: [wgpu::Buffer; 2],
}

impl<'a> TargetBuffers<'a> {
    /// Uploads them.
    pub(super) fn upload(gpu: &Gpu, given: Targets<Dense<'a>, &'a [u32]>) -> Result<Self, Error> {
        let words = |words: &'a [u32]| -> &'a [u8] { bytemuck::cast_slice(words) };
        let (first, second) = match given {
            Targets::Dense(Dense::Values(values)) => (values.bytes(), &[][..]),
            Targets::Dense(Dense::Flags(flags)) => (flags, &[][..]),
            Targets::Dense(Dense::Integers(integers)) => (words(integers), &[][..]),
            Targets::Bits(bits) => (words(bits), &[][..]),
            Targets::Sparse { offsets, indices } => (words(offsets), words(indices)),
        };
        let buffers = [gpu.upload(first)?, gpu.upload(second)?];
        Ok(TargetBuffers { given, buffers })
    }

    /// The tensors, of `rows` rows of `cols` labels.
    pub(super) fn tensors(&self, rows: usize, cols: usize) -> Targets<Tensor<'_>> {
        let [first, second] = &self.buffers;
        let dense = |dtype| Targets::Dense(Tensor::matrix(first, dtype, rows, cols));
        match self.given {
            Targets::Dense(Dense::Values(values)) => dense(values.dtype()),
            Targets::Dense(Dense::Flags(_)) => dense(DType::U8),
            Targets::Dense(Dense::Integers(_)) => dense(DType::U32),
            Targets::Bits(_) => {
                Targets::Bits(Tensor::matrix(first, DType::U32, rows, cols.div_ceil(32)))
            }
            Targets::Sparse { offsets, indices } => Targets::Sparse {
                offsets: Tensor::vector(first, DType::U32, offsets.len()),
                indices: Tensor::vector(second, DType::U32, indices.len()),
            },
        }
    }
}
