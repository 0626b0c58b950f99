//! What all losses check of targets on the device.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::losses::labels::{TargetNames, Targets};

/// Checks element types and shapes of the targets of `rows` rows of `cols` labels; `dense` are the types that a dense
/// tensor may have.
pub(crate) fn check_targets(
    targets: &Targets<Tensor<'_>>,
    names: TargetNames,
    (rows, cols): (usize, usize),
    dense: &[DType],
) -> Result<(), Error> {
    match targets {
        Targets::Dense(t) => {
            t.check(names.dense, dense)?;
            t.check_shape(names.dense, rows, cols)
        }
        Targets::Bits(t) => {
            t.check(names.bits, &[DType::U32])?;
            t.check_shape(names.bits, rows, cols.div_ceil(32))
        }
        Targets::Sparse { offsets, indices } => {
            offsets.check(names.offsets, &[DType::U32])?;
            offsets.check_len(names.offsets, rows.saturating_add(1))?;
            indices.check(names.indices, &[DType::U32])?;
            indices.check_len(names.indices, indices.cols())
        }
    }
}
