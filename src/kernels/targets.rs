//! What all losses check of targets on the device.

use crate::device::inspect::{Inspection, Shape};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::losses::labels::{TargetNames, Targets};

/// Checks the targets of `rows` rows of `cols` labels; `dense` are the element types that a dense tensor may have.
pub(crate) fn inspect_targets<'a>(
    tensors: &mut Inspection<'a>,
    targets: &Targets<Tensor<'a>>,
    names: TargetNames,
    (rows, cols): (usize, usize),
    dense: &[DType],
) -> Result<(), Error> {
    let words = &[DType::U32];
    match *targets {
        Targets::Dense(t) => tensors.reads(names.dense, t, dense, Shape::Matrix(rows, cols)),
        Targets::Bits(t) => {
            let shape = Shape::Matrix(rows, cols.div_ceil(32));
            tensors.reads(names.bits, t, words, shape)
        }
        Targets::Sparse { offsets, indices } => {
            let len = Shape::Vector(rows.saturating_add(1));
            tensors.reads(names.offsets, offsets, words, len)?;
            let len = Shape::Vector(indices.cols());
            tensors.reads(names.indices, indices, words, len)
        }
    }
}
