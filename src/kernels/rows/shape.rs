//! How rows are laid over lanes and workgroups: the regimes, and the numbers that separate them.
//!
//! - **Short and middle rows**: `rows`, one dispatch for loss and gradient. `width` lanes share a row, a power of two; the
//!   workgroup takes `WG/width` rows at a time. The first sweep finds the statistics and keeps logits in workgroup memory
//!   (about 1,500); the second reads those, and from the buffer what was not kept.
//! - **Long rows that are few**: `partial` (chunks of a row), `combine` (a row's chunks, in order), `gradient`.

use crate::device::caps::bit_words;

/// Upper bound on the workgroups of the one-pass kernel; each takes several blocks of rows where there are more, so
/// that its partial sums are few.
const MAX_ROW_GROUPS: u32 = 4096;
/// Gradient words that a lane of a short row handles, at least, before another lane joins.
const WORDS_PER_LANE: usize = 4;
/// From this length on a row is split over workgroups, where the rows alone are fewer than `SPLIT_GROUPS`.
const SPLIT_COLS: usize = 8192;
const SPLIT_GROUPS: usize = 1024;
/// Lower bound on the labels of a chunk of a split row.
const CHUNK_COLS: usize = 4096;
/// Most labels of a workgroup, whatever the number of rows: no lane's loop becomes very long.
const MOST_COLS: usize = 1 << 19;
/// Rows that one lane of the column sums adds up; with sparse targets it looks through each row's positives.
pub(crate) const COLUMN_ROWS_PER_LANE: u32 = 512;

/// How rows are laid over lanes and workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Lanes that share a row.
    pub(crate) width: u32,
    /// Workgroups that share a row; 1 unless the rows are long and few.
    pub(crate) chunks: u32,
    /// Gradient words that a lane handles of a row (or chunk).
    pub(crate) items: u32,
}

impl Shape {
    pub(crate) fn of(rows: usize, cols: usize, workgroup: u32, pack: u32) -> Shape {
        // A row may begin in the middle of a gradient word.
        let words = (cols + pack as usize - 1).div_ceil(pack as usize);
        let wanted = if cols >= SPLIT_COLS && rows < SPLIT_GROUPS {
            let groups = SPLIT_GROUPS.div_ceil(rows.max(1));
            groups.min(cols.div_ceil(CHUNK_COLS))
        } else {
            1
        };
        let wanted = wanted.max(cols.div_ceil(MOST_COLS));
        let width = if wanted > 1 {
            workgroup
        } else {
            let lanes = words.div_ceil(WORDS_PER_LANE).next_power_of_two();
            lanes.clamp(1, workgroup as usize) as u32
        };
        let all = words.div_ceil(width as usize) as u32;
        let items = all.div_ceil(wanted as u32);
        Shape {
            width,
            chunks: all.div_ceil(items.max(1)).max(1),
            items,
        }
    }

    /// The same chunks with all lanes of a workgroup on one row.
    pub(crate) fn whole_groups(&self, cols: usize, workgroup: u32, pack: u32) -> Shape {
        if self.chunks > 1 {
            return *self;
        }
        let words = (cols + pack as usize - 1).div_ceil(pack as usize);
        Shape {
            width: workgroup,
            chunks: 1,
            items: words.div_ceil(workgroup as usize) as u32,
        }
    }

    /// Items between two stagings of sparse targets.
    pub(crate) fn tile(&self, workgroup: u32, pack: u32, sparse: bool) -> u32 {
        if !sparse {
            return self.items.max(1);
        }
        let words = bit_words(workgroup) / (workgroup / self.width);
        (words * 32 / (self.width * pack)).clamp(1, self.items.max(1))
    }
}

/// Workgroups of the one-pass kernel, and the blocks of rows that each takes.
pub(crate) fn row_groups(rows: usize, per_group: u32) -> (u32, u32) {
    let blocks = (rows as u32).div_ceil(per_group);
    let each = blocks.div_ceil(MAX_ROW_GROUPS).max(1);
    (blocks.div_ceil(each), each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_of_every_row_has_a_lane() {
        for workgroup in [32, 64, 256, 1024] {
            for pack in [1, 2] {
                for rows in [1, 5, 1023, 1024, 100_000] {
                    for cols in [
                        0, 1, 2, 3, 5, 14, 64, 65, 257, 1000, 8191, 8192, 8193, 70_001, 4_000_000,
                    ] {
                        let shape = Shape::of(rows, cols, workgroup, pack);
                        let reach = u64::from(shape.width)
                            * u64::from(shape.chunks)
                            * u64::from(shape.items)
                            * u64::from(pack);
                        assert!(
                            reach >= cols as u64 + u64::from(pack) - 1 || cols == 0,
                            "{shape:?} of {rows} x {cols}"
                        );
                        assert!(shape.width.is_power_of_two() && shape.width <= workgroup);
                        let few = cols >= SPLIT_COLS && rows < SPLIT_GROUPS;
                        assert!(shape.chunks == 1 || few || cols > MOST_COLS);
                        // Debian 12's stock software driver cuts loops after about 65,535 iterations.
                        assert!(
                            shape.items * pack < 65_535 / 2,
                            "{shape:?} of {rows} x {cols}"
                        );
                        let tile = shape.tile(workgroup, pack, true);
                        assert!(
                            tile * shape.width * pack
                                <= 32 * bit_words(workgroup) / (workgroup / shape.width)
                        );
                    }
                }
            }
        }
    }
}
