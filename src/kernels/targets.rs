//! What all losses check of targets on the device, and how kernels read one label at a time.

use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Part, wgsl};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::losses::labels::{TargetNames, Targets};

/// The element types of dense labels that are 0 or not.
pub(crate) const FLAGS: &[DType] = &[DType::U8, DType::U32];

/// The element types of all dense labels.
pub(crate) const DENSE: &[DType] = &[DType::U8, DType::U32, DType::F32, DType::F16, DType::Bf16];

/// The forms in which kernels read targets one by one: bytes, bits, real numbers, integers.
pub(crate) static LABEL_FORMS: [Part; 4] = [
    Part::new("u8", &[wgsl!("shared/label_bytes.wgsl")]),
    Part::new("bits", &[wgsl!("shared/label_bits.wgsl")]),
    Part::new("reals", &[wgsl!("shared/label_reals.wgsl")]),
    Part::new("u32", &[wgsl!("shared/label_u32.wgsl")]),
];

/// The number of the form of these; of lists, which are made bits of, that of bits.
pub(crate) fn label_form(targets: &Targets<Tensor<'_>>) -> usize {
    match targets {
        Targets::Dense(t) if t.dtype() == DType::U8 => 0,
        Targets::Dense(t) if t.dtype() == DType::U32 => 3,
        Targets::Bits(_) | Targets::Sparse { .. } => 1,
        Targets::Dense(_) => 2,
    }
}

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
