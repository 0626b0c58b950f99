//! How rows are laid over lanes and workgroups: the regimes, and the numbers that separate them.
//!
//! A lane takes vectors of four labels (of eight where they have 16 bits), and `width` lanes share a row, a power of two.
//!
//! - **Short rows**: two vectors of four labels a lane, kept in registers; read once, within a subgroup.
//! - **Near rows**: the lanes of a row lie in one subgroup, and no kernel has a barrier. Two sweeps, the second out of
//!   caches.
//! - **Wide rows**: a workgroup's lanes, which meet at a barrier.
//! - **Few long rows**: each is cut into chunks with lanes of their own, in three dispatches.

use crate::device::caps::{Reduce, Variant};

/// Where one regime ends and the next begins.
struct Regime {
    /// Lanes of the longest row that is kept in registers.
    short: u32,
    /// Labels of the longest row within a subgroup.
    near: usize,
    /// Rows are cut into chunks where they are fewer than this,
    few: usize,
    /// and have more labels than this.
    long: usize,
    /// Labels of a chunk, at least.
    chunk: usize,
    /// Rows longer than this are cut, whatever their number.
    most: usize,
}

/// For processors: workgroups of up to 128 lanes. A barrier makes any kernel three times slower there, and eight rows keep
/// two cores busy: on llvmpipe, [1024, 8192] takes 14 ms near and 43 ms wide, [8, 131072] is no faster in chunks.
const CPU: Regime = Regime {
    short: 2,
    near: usize::MAX,
    few: 8,
    long: 32_768,
    chunk: 8_192,
    // No lane's loop becomes very long.
    most: 1 << 19,
};
/// For GPUs: a subgroup has 32 lanes or more, each with a few vectors; above, a row needs more loads in flight than one
/// subgroup has. On an H100, [8192, 80] takes 15 us with rows in registers and 18 with a vector a lane; [1024, 983] 18 near
/// and 22 wide; [512, 8921] 33 whole and 48 in two chunks; [1024, 8192] 50 whole and 76 in chunks; [64, 65536] 40 in chunks
/// of 8,192 and 47 in chunks of 32,768. Rows too long for the caches are read twice from memory anyway.
const GPU: Regime = Regime {
    short: u32::MAX,
    near: 1024,
    few: 512,
    long: 8_192,
    chunk: 8_192,
    most: 65_536,
};

/// No shorter row is cut.
pub(crate) const LONG: usize = GPU.long;

/// Chunks of rows of so many labels, where there are many rows.
pub(crate) fn most_chunks(cols: usize) -> u64 {
    cols.div_ceil(GPU.most).max(1) as u64
}

/// Vectors that one accumulator adds up before it is merged with the others.
const BLOCK: u32 = 256;
/// Lanes of a short row, at least, and labels that each keeps.
const SHORT: (u32, usize) = (2, 8);
/// Without subgroups a row up to this length has one lane.
const ALONE: usize = 16;
/// Rows that one lane of the column sums adds up.
pub(crate) const COLUMN_ROWS_PER_LANE: u32 = 256;

/// How the lanes of a row come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Merge {
    /// There is one.
    Alone,
    /// By shuffles within a subgroup.
    Near,
    /// By shuffles, and workgroup memory between subgroups.
    Wide,
    /// By a tree in workgroup memory.
    Tree,
}

/// How rows are laid over lanes and workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Lanes that share a row (or chunk).
    pub(crate) width: u32,
    /// How they come together.
    pub(crate) merge: Merge,
    /// Whether they keep the row.
    pub(crate) short: bool,
    /// Chunks of a row, each with its own lanes; 1 unless the rows are long and few.
    pub(crate) chunks: u32,
    /// Steps of a chunk: vectors of its lanes together.
    pub(crate) steps: u32,
}

impl Shape {
    /// For rows of `cols` labels in vectors of `step`, the first of which begins up to `phase` labels before the row.
    pub(crate) fn of(
        rows: usize,
        (cols, phase): (usize, u32),
        step: u32,
        variant: Variant,
        subgroup: u32,
    ) -> Shape {
        let workgroup = variant.workgroup;
        let cpu = workgroup <= 128;
        let regime = if cpu { CPU } else { GPU };
        let subgroups = variant.reduce == Reduce::Subgroup;
        let labels = cols + phase as usize;
        let all = labels.div_ceil(step as usize).max(1);
        let (fewest, most) = match subgroups {
            true => (SHORT.0, regime.short.min(subgroup).min(workgroup)),
            false => (1, 1),
        };
        let lanes = labels.div_ceil(SHORT.1).next_power_of_two() as u32;
        let lanes = lanes.max(fewest);
        if lanes <= most {
            return Shape {
                width: lanes,
                merge: if subgroups { Merge::Near } else { Merge::Alone },
                short: true,
                chunks: 1,
                steps: all.next_multiple_of(lanes as usize) as u32,
            };
        }
        let near = subgroups && cols <= regime.near;
        let most = match (subgroups, cpu) {
            (true, _) if near => subgroup.min(workgroup),
            (false, true) => 1,
            (false, false) if cols <= ALONE => 1,
            _ => workgroup,
        };
        let width = (all.next_power_of_two() as u32).min(most);
        let merge = match (subgroups, width) {
            (false, 1) => Merge::Alone,
            (false, _) => Merge::Tree,
            (true, width) if width <= subgroup => Merge::Near,
            (true, _) => Merge::Wide,
        };
        let wanted = match cols > regime.long && rows < regime.few {
            true => (regime.few.div_ceil(rows.max(1))).min(cols.div_ceil(regime.chunk)),
            false => 1,
        };
        let wanted = wanted.max(cols.div_ceil(regime.most));
        let steps = all.div_ceil(wanted).next_multiple_of(width as usize);
        Shape {
            width,
            merge,
            short: false,
            chunks: all.div_ceil(steps) as u32,
            steps: steps as u32,
        }
    }

    /// Words of the accumulators of `rows` rows' chunks, of `words` each.
    pub(crate) fn chunk_words(&self, words: u32, rows: usize) -> u64 {
        rows as u64 * u64::from(self.chunks) * u64::from(words)
    }

    /// Steps of a block.
    pub(crate) fn block(&self, step: u32) -> u32 {
        self.width * BLOCK * 4 / step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::caps::Half;

    #[test]
    fn every_label_of_every_row_has_a_lane() {
        for workgroup in [32, 64, 256, 1024] {
            for (reduce, subgroup) in [
                (Reduce::Tree, 0),
                (Reduce::Subgroup, 4),
                (Reduce::Subgroup, 64),
            ] {
                for (step, phase) in [(4, 0), (4, 3), (8, 7)] {
                    for rows in [1, 5, 1023, 1024, 100_000] {
                        for cols in [
                            0, 1, 2, 3, 5, 13, 14, 16, 17, 64, 65, 257, 1000, 8191, 8192, 8193,
                            70_001, 4_000_000,
                        ] {
                            let variant = Variant {
                                reduce,
                                workgroup,
                                half: Half::Packed,
                                cooperative: false,
                            };
                            let shape = Shape::of(rows, (cols, phase), step, variant, subgroup);
                            let name = format!("{shape:?} of {rows} x {cols}");
                            let reach = u64::from(shape.chunks) * u64::from(shape.steps);
                            let labels = cols as u64 + u64::from(phase);
                            assert!(reach * u64::from(step) >= labels, "{name}");
                            assert!(shape.width.is_power_of_two() && shape.width <= workgroup);
                            assert!(shape.merge != Merge::Near || shape.width <= subgroup);
                            assert!(shape.merge != Merge::Alone || shape.width == 1);
                            assert_eq!(shape.steps % shape.width, 0, "{name}");
                            // A lane that has no vector meets one beyond the row: chunks are whole.
                            assert_eq!(shape.block(step) % shape.width, 0, "{name}");
                            // Debian 12's stock software driver cuts loops after about 65,535 iterations.
                            let loops = shape.steps.div_ceil(shape.width);
                            assert!(loops < 65_535 * 8, "{name}");
                            assert!(!shape.short || shape.chunks == 1, "{name}");
                        }
                    }
                }
            }
        }
    }
}
