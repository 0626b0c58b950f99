//! Sparse targets, which kernels read as bits in scratch.

use crate::device::module::{Module, Piece, Program, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Grid, Region, Scratch, bindings, to_u32};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::losses::labels::Targets;

uniform! {
    /// As shaders/shared/sparse.wgsl has it.
    struct SparseParams {
        rows: u32,
        cols: u32,
        words: u32,
        width: u32,
        groups_x: u32,
        offsets_offset: u32,
        indices_offset: u32,
        indices_len: u32,
        first: u32,
    }
}

bindings! {
    struct SparseBindings {
        2: offsets,
        3: indices,
        6: bits,
    }
}

/// The bits of a window's rows.
static SPARSE: Program = Program {
    name: "sparse",
    pieces: &[Piece::File(wgsl!("shared/sparse.wgsl"))],
    entries: &["clear", "mark"],
    constants: &[],
    bindings: SparseBindings::NAMES,
    mirrors: &[&[SparseParams::MIRROR]],
};

/// Every module of sparse targets.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![SPARSE.module(workgroup)]
}

/// Positives that a lane sets, on average, before another lane joins it.
const PER_LANE: usize = 8;
/// Words that a lane clears.
const CLEARED: u64 = 4;

/// The bits of sparse targets in scratch, for one window of rows at a time.
pub(crate) struct Bits<'a> {
    offsets: Tensor<'a>,
    indices: Tensor<'a>,
    cols: usize,
    first_label: usize,
    rows: usize,
    region: Region,
}

impl<'a> Bits<'a> {
    /// Those of a call whose targets, of so many rows and labels, are sparse. Their place comes later.
    pub(crate) fn of(targets: &Targets<Tensor<'a>>, (rows, cols): (usize, usize)) -> Option<Self> {
        match *targets {
            Targets::Sparse { offsets, indices } => Some(Bits {
                offsets,
                indices,
                cols,
                first_label: 0,
                rows,
                region: Region::ABSENT,
            }),
            _ => None,
        }
    }

    /// The same of labels from one on, as many as there are.
    pub(crate) fn starting_at(self, first_label: usize) -> Self {
        Bits {
            first_label,
            ..self
        }
    }

    /// Words of a row of so many labels.
    pub(crate) fn words(cols: usize) -> u64 {
        cols.div_ceil(32) as u64
    }

    /// Takes room for a window of `rows` rows.
    pub(crate) fn take(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        self.region = scratch.take(rows as u64 * Bits::words(self.cols))?;
        Ok(())
    }

    /// Their binding, first word and words of a row.
    pub(crate) fn bind(&self) -> (Bind<'a>, u32, u32) {
        (self.region.bind(), 0, Bits::words(self.cols) as u32)
    }

    /// Adds the dispatches that make those of a window.
    pub(crate) fn make(
        &self,
        steps: &mut Dispatches<'a, '_>,
        first: usize,
        rows: usize,
    ) -> Result<(), Error> {
        let words = Bits::words(self.cols);
        let all = rows as u64 * words;
        if all == 0 {
            return Ok(());
        }
        let target = steps.target;
        let (start, _) = self.offsets.bytes(0, 1);
        let from = start + 4 * first as u64;
        let end = from + 4 * (rows as u64 + 1);
        let (offsets, offsets_offset) = target.bind_bytes(&self.offsets, from, end);
        let (indices, indices_offset) = target.bind_all("target_indices", &self.indices)?;
        let module = SPARSE.module(target.variant.workgroup);
        let each = self.indices.cols() / self.rows.max(1);
        let lanes = each.div_ceil(PER_LANE).next_power_of_two();
        let width = lanes.clamp(1, module.workgroup as usize) as u32;
        let params = SparseParams {
            rows: rows as u32,
            cols: self.cols as u32,
            words: to_u32(words, "target_indices")?,
            width,
            groups_x: 0,
            offsets_offset,
            indices_offset,
            indices_len: self.indices.cols() as u32,
            first: to_u32(self.first_label as u64, "target_indices")?,
        };
        let on = |grid: Grid| SparseParams {
            groups_x: grid.groups_x,
            ..params
        };
        let bindings = SparseBindings {
            offsets,
            indices,
            bits: self.region.bind(),
        };
        let cleared = CLEARED * u64::from(module.workgroup);
        steps.push(module, "clear", all.div_ceil(cleared), on, bindings)?;
        let per_group = module.workgroup / width;
        let groups = (rows as u64).div_ceil(u64::from(per_group));
        steps.push(module, "mark", groups, on, bindings)
    }
}
