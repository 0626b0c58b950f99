//! Where rows begin within vectors: a row's first vector begins at a multiple of its size, up to so many labels before the
//! row, its phase. Tensors whose rows have the same phase are read together vector by vector.

use crate::device::plan::vector_end;
use crate::device::tensor::Tensor;

/// The phase of every row of a tensor: where it begins, modulo the labels of a vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    offset: u64,
    stride: u64,
    /// Labels of a vector: a power of two up to 8.
    step: u64,
}

/// Rows after which phases repeat, whatever the vector.
const PERIOD: u64 = 8;

impl Phases {
    /// Every row begins with a vector of its own.
    pub(crate) const NONE: Phases = Phases {
        offset: 0,
        stride: 0,
        step: 1,
    };

    /// Of a tensor in vectors of `step` elements.
    pub(crate) fn of(tensor: &Tensor<'_>, step: u32) -> Phases {
        let (offset, stride) = starts(tensor);
        Phases {
            offset,
            stride,
            step: u64::from(step),
        }
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        let of = *self;
        (0..PERIOD).map(move |row| (of.offset + row * of.stride) % of.step)
    }

    /// That of a row.
    pub(crate) fn at(&self, row: usize) -> u32 {
        ((self.offset + row as u64 % PERIOD * self.stride) % self.step) as u32
    }

    /// The largest.
    pub(crate) fn most(&self) -> u32 {
        self.all().max().unwrap_or(0) as u32
    }

    /// Whether every row begins with whole vectors of four.
    pub(crate) fn fours(&self) -> bool {
        self.all().all(|phase| phase % 4 == 0)
    }

    /// Whether rows from an offset on, by a stride, are at these phases in vectors of `unit` elements.
    pub(crate) fn congruent(&self, (offset, stride): (u64, u64), unit: u64) -> bool {
        let at = |row: u64| (offset + row * stride + PERIOD) % unit;
        let mut phases = self.all().enumerate();
        phases.all(|(row, phase)| (at(row as u64) + PERIOD - phase).is_multiple_of(unit))
    }

    /// Whether a tensor's rows begin where these do, four elements by four.
    pub(crate) fn begin_alike(&self, tensor: &Tensor<'_>) -> bool {
        self.congruent(starts(tensor), 4)
    }

    /// The same, and vectors of four reach to its end.
    pub(crate) fn vectors(&self, tensor: &Tensor<'_>) -> bool {
        self.begin_alike(tensor) && reaches_vectors(tensor)
    }

    /// Whether a tensor's rows begin where these do, vector by vector.
    pub(crate) fn same(&self, tensor: &Tensor<'_>) -> bool {
        self.congruent(starts(tensor), self.step)
    }
}

/// Where a tensor's rows begin and the elements between; of one row, none.
fn starts(tensor: &Tensor<'_>) -> (u64, u64) {
    let stride = match tensor.rows() {
        0 | 1 => 0,
        _ => tensor.row_stride() as u64 % PERIOD,
    };
    (tensor.offset() % PERIOD, stride)
}

/// Whether an array of vectors over the tensor's buffer reaches the tensor's last element.
pub(crate) fn reaches_vectors(tensor: &Tensor<'_>) -> bool {
    let (_, end) = tensor.bytes(0, tensor.rows());
    vector_end(tensor.memory(), end).is_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_those_of_the_rows() {
        let phases = |offset, stride, step| Phases {
            offset,
            stride,
            step,
        };
        assert_eq!(phases(0, 8, 4).most(), 0);
        assert_eq!(phases(1, 8, 4).most(), 1);
        assert_eq!(phases(0, 6, 4).most(), 2);
        assert_eq!(phases(0, 7, 8).most(), 7);
        assert!(phases(3, 7, 4).congruent((7, 3), 4));
        assert!(!phases(3, 7, 4).congruent((6, 7), 4));
        assert!(!phases(3, 7, 4).congruent((3, 6), 4));
        assert!(Phases::NONE.congruent((4, 8), 4) && !Phases::NONE.congruent((4, 6), 4));
        // Four by four, though the vectors have eight.
        assert!(phases(4, 8, 8).congruent((0, 4), 4) && !phases(4, 8, 8).congruent((0, 8), 8));
    }
}
