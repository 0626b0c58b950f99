//! Targets on their way from plain slices to a device.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::gpu::Gpu;
use crate::host::values::Dense;
use crate::losses::labels::Targets;

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
