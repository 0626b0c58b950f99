//! Anchors and keys as the pairs need them: windows of rows over bindings, their regions of scratch, and the dispatches
//! that bring them there.

use crate::device::caps::Caps;
use crate::device::plan::{Bind, Dispatches, Region, Scratch, Target, parts_per_dispatch, to_u32};
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::kernels::contrastive::params::{
    FORM_BITS, FORM_BYTES, FORM_INTEGERS, FORM_LISTS, FROM_INDEX, FROM_OFFSET, NO_KEY, PairGrid,
    PairParams, PairRoles, PairSide, PairSource, PairWork, SAME_NUMBER,
};
use crate::kernels::contrastive::table::{HalveBinds, LEAVE, LeaveBinds, PackBinds, Tiling};
use crate::kernels::products::{DEPTH, TEAM_ROWS};
use crate::losses::labels::{TargetNames, Targets};

/// Windows begin at multiples of this many rows: 256 bytes of any region, and whole blocks of pairs.
const WINDOW_ROWS: u64 = 128;
/// Words behind those of a label set: its size, and which key the row is itself.
const FACTS: u64 = 2;

/// Vectors of a list of the words of a set: its length, and two words to a vector.
pub(super) fn list_vectors(words: u64) -> u64 {
    1 + words.div_ceil(2)
}

/// Some rows, by their numbers among all of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Window {
    /// The same rows in pieces of `most`.
    pub(super) fn pieces(self, most: usize) -> impl Iterator<Item = Window> {
        let most = most.max(1);
        (0..self.rows).step_by(most).map(move |at| Window {
            first: self.first + at,
            rows: most.min(self.rows - at),
        })
    }
}

/// Anchors or keys as the caller gives them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) keys: bool,
    pub(super) count: usize,
    pub(super) embeddings: Option<Tensor<'a>>,
    /// How many labels there are.
    pub(super) classes: usize,
    pub(super) sets: Targets<Tensor<'a>>,
    /// Whether a row's set is followed by that of the key which is the row itself.
    pub(super) leaves_out: bool,
    /// A byte for each row, 0 where it does not count.
    pub(super) mask: Option<Tensor<'a>>,
}

impl<'a> Rows<'a> {
    /// What errors call the embeddings.
    fn name(&self) -> &'static str {
        if self.keys { "keys" } else { "embeddings" }
    }

    /// What errors call the mask.
    fn mask_name(&self) -> &'static str {
        if self.keys { "key_mask" } else { "row_mask" }
    }

    /// What errors call the label sets.
    fn set_names(&self) -> TargetNames {
        match self.keys {
            true => TargetNames::KEY_LABELS,
            false => TargetNames::LABELS,
        }
    }

    /// Words of a row's set as bits.
    pub(super) fn words(&self) -> u64 {
        self.classes.div_ceil(32) as u64
    }

    /// Labels of a row, as far as the host knows: of sets that are not lists, a guess.
    fn labels(&self) -> u64 {
        match &self.sets {
            Targets::Sparse { indices, .. } => (indices.cols() / self.count.max(1)) as u64,
            Targets::Dense(_) | Targets::Bits(_) => 4,
        }
    }

    /// Whether pairs are better looked at by lists of the words that are not empty than by all words. On a software
    /// driver a word of a list costs four times what a word of eight rows together does for each of them.
    pub(super) fn listed(&self) -> bool {
        self.words() > 3 + 4 * self.labels()
    }

    /// How much work it is to bring a row into scratch.
    fn work(&self, workgroup: u32) -> u64 {
        let labels = match &self.sets {
            Targets::Dense(t) | Targets::Bits(t) => t.cols() as u64,
            // Every lane goes through the whole list.
            Targets::Sparse { .. } => u64::from(workgroup) * self.labels(),
        };
        8 * (self.embeddings.map_or(0, |t| t.cols()) as u64 + labels + self.words())
    }

    /// How many rows one dispatch can bring into scratch.
    fn per_dispatch(&self, target: Target<'_>) -> Result<usize, Error> {
        let sets_name = self.sets.name(self.set_names());
        let embeddings = match &self.embeddings {
            Some(t) => target.rows_per_binding(self.name(), t)?,
            None => self.count,
        };
        let sets = match &self.sets {
            Targets::Dense(t) | Targets::Bits(t) => target.rows_per_binding(sets_name, t)?,
            Targets::Sparse { .. } => {
                let caps = target.caps;
                let words = caps.max_binding.saturating_sub(caps.storage_align) / 4;
                words.saturating_sub(2) as usize
            }
        };
        let work = parts_per_dispatch(self.work(target.variant.workgroup));
        Ok(embeddings.min(sets).min(work))
    }

    /// What the kernel is told of some of the rows, and the bindings that reach them.
    fn source(
        &self,
        rows: Window,
        target: Target<'_>,
    ) -> Result<(PairSource, PackBinds<'a>), Error> {
        let mut source = PairSource::default();
        let mut binds = PackBinds::default();
        if let Some(t) = &self.embeddings {
            (binds.source, source.offset) = target.bind_rows(t, rows.first, rows.rows);
            source.stride = t.row_stride() as u32;
        }
        match &self.sets {
            Targets::Dense(t) | Targets::Bits(t) => {
                (binds.labels, source.labels_offset) = target.bind_rows(t, rows.first, rows.rows);
                source.labels_stride = t.row_stride() as u32;
                source.labels = t.cols() as u32;
                source.form = match (&self.sets, t.dtype()) {
                    (Targets::Dense(_), DType::U8) => FORM_BYTES,
                    (Targets::Dense(_), _) => FORM_INTEGERS,
                    _ => FORM_BITS,
                };
            }
            Targets::Sparse { offsets, indices } => {
                // The offsets of the rows and the one behind.
                let from = offsets.bytes(0, 1).0 + 4 * rows.first as u64;
                let end = from + 4 * (rows.rows as u64 + 1);
                let indices_name = self.set_names().indices;
                source.form = FORM_LISTS;
                source.labels = to_u32(self.classes as u64, "labels")?;
                (binds.labels, source.labels_offset) = target.bind_bytes(offsets, from, end);
                (binds.indices, source.indices_offset) = target.bind_all(indices_name, indices)?;
                source.indices_len = indices.cols() as u32;
            }
        }
        Ok((source, binds))
    }
}

/// Anchors or keys, and where they are in scratch.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub(super) rows: Rows<'a>,
    /// Words of a row in `z`, and in `sets` with what stands behind its labels.
    pub(super) z_words: u64,
    set_words: u64,
    z: Region,
    /// The rows of `z` in f16, for cooperative matrices.
    halves: Region,
    sets: Region,
    /// The gradient to unit rows, where one is wanted, in so many chunks.
    sums: Region,
    pub(super) chunks: u64,
    /// In `small`.
    pub(super) sizes: u32,
    norms: u32,
    /// Rows that one binding of scratch reaches.
    pub(super) windows: Vec<Window>,
}

impl<'a> Side<'a> {
    /// Finds room for the rows.
    fn new(rows: Rows<'a>, caps: &Caps, scratch: &mut Scratch) -> Result<Self, Error> {
        let (name, count) = (rows.name(), rows.count as u64);
        to_u32(count, name)?;
        let dims = rows.embeddings.map_or(0, |t| t.cols()) as u64;
        to_u32(dims, name)?;
        let z_words = match rows.embeddings {
            Some(_) => dims.max(1).next_multiple_of(u64::from(DEPTH)),
            None => 0,
        };
        let set_words = FACTS + rows.words() * (1 + u64::from(rows.leaves_out));
        // A list of the words of a set is longer than the set.
        let widest = 4 * z_words.max(set_words).max(4 * list_vectors(rows.words()));
        let fitting = caps.max_binding.min(u64::from(u32::MAX)) / widest;
        let padded = count.next_multiple_of(TEAM_ROWS as u64);
        let most = match fitting >= padded {
            true => count,
            false => fitting / WINDOW_ROWS * WINDOW_ROWS,
        };
        if most == 0 && count > 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                name,
                format!(
                    "rows of at most {} bytes in f32 and as label bits",
                    caps.max_binding / WINDOW_ROWS
                ),
                format!("{widest} bytes"),
            ));
        }
        let all = Window {
            first: 0,
            rows: rows.count,
        };
        Ok(Side {
            rows,
            z_words,
            set_words,
            z: scratch.take(count * z_words)?,
            halves: Region::ABSENT,
            sets: scratch.take(padded * set_words)?,
            sums: Region::ABSENT,
            chunks: 1,
            sizes: 0,
            norms: 0,
            windows: all.pieces(most as usize).collect(),
        })
    }

    /// The binding that reaches a window of `z`.
    pub(super) fn z(&self, window: Window) -> Bind<'a> {
        let words = self.z_words;
        self.z
            .part(window.first as u64 * words, window.rows as u64 * words)
    }

    /// The binding that reaches a window of the rows in f16, which lie in vectors of four components as those of `z` do.
    pub(super) fn halves(&self, window: Window) -> Bind<'a> {
        let words = self.z_words / 2;
        self.halves
            .part(window.first as u64 * words, window.rows as u64 * words)
    }

    /// The binding that reaches a window of `sets`.
    pub(super) fn sets(&self, window: Window) -> Bind<'a> {
        let rows = window.rows.next_multiple_of(TEAM_ROWS) as u64;
        let words = self.set_words;
        self.sets.part(window.first as u64 * words, rows * words)
    }

    /// Finds room for the gradient to the rows, in chunks that are added up at the end.
    pub(super) fn sum(&mut self, chunks: u64, scratch: &mut Scratch) -> Result<(), Error> {
        self.chunks = chunks;
        self.sums = scratch.take(self.rows.count as u64 * self.z_words * chunks)?;
        Ok(())
    }

    /// The binding that reaches a window of the gradient to the rows.
    pub(super) fn sums(&self, window: Window) -> Bind<'a> {
        let words = self.z_words * self.chunks;
        self.sums
            .part(window.first as u64 * words, window.rows as u64 * words)
    }

    /// What kernels are told of some rows of a window, which begin at a multiple of 8.
    pub(super) fn params(&self, window: Window, rows: Window) -> PairSide {
        let before = (rows.first - window.first) as u64;
        PairSide {
            // A binding has fewer than 2^32 bytes.
            sets: (before / 4) as u32,
            ..self.params_from(window, rows)
        }
    }

    /// The same of rows that begin anywhere; `sets` is that of the window's first.
    pub(super) fn params_from(&self, window: Window, rows: Window) -> PairSide {
        let before = (rows.first - window.first) as u64;
        PairSide {
            rows: rows.rows as u32,
            first: rows.first as u32,
            z: (before * self.z_words / 4) as u32,
            sets: 0,
            stride: (window.rows.next_multiple_of(TEAM_ROWS) / 4) as u32,
            sizes: self.sizes,
            norms: self.norms,
            lists: 0,
        }
    }

    /// What kernels are told of all rows, where they look at none of `z` and `sets`.
    pub(super) fn all(&self) -> PairSide {
        PairSide {
            rows: self.rows.count as u32,
            sizes: self.sizes,
            norms: self.norms,
            ..PairSide::default()
        }
    }
}

/// Places in the region `small`, in words.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) words: u64,
}

impl Places {
    pub(super) fn take(&mut self, words: u64) -> Result<u32, Error> {
        let at = to_u32(self.words, "scratch")?;
        self.words += words;
        Ok(at)
    }
}

/// Both sides of all pairs.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub(super) anchors: Side<'a>,
    /// Absent: the anchors are the keys.
    own_keys: Option<Side<'a>>,
    /// Which key each anchor is, where it is a tensor.
    pub(super) index: Bind<'a>,
    pub(super) roles: PairRoles,
}

impl<'a> Sides<'a> {
    /// Finds room for the rows of both sides.
    pub(super) fn new(
        anchors: Rows<'a>,
        keys: Option<Rows<'a>>,
        caps: &Caps,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        Ok(Sides {
            anchors: Side::new(anchors, caps, scratch)?,
            own_keys: keys
                .map(|keys| Side::new(keys, caps, scratch))
                .transpose()?,
            index: Bind::Nothing,
            roles: PairRoles::default(),
        })
    }

    /// Finds room for sizes and norms.
    pub(super) fn place(&mut self, small: &mut Places) -> Result<(), Error> {
        for side in std::iter::once(&mut self.anchors).chain(&mut self.own_keys) {
            side.sizes = small.take(side.rows.count as u64)?;
        }
        for side in std::iter::once(&mut self.anchors).chain(&mut self.own_keys) {
            side.norms = small.take(side.rows.count as u64)?;
        }
        Ok(())
    }

    /// Finds room for the rows in f16, and behind the norms for their factors and powers of two. Returns how far it is from
    /// the norm of a row to its factor, and from that to its power of two.
    pub(super) fn place_halves(
        &mut self,
        small: &mut Places,
        scratch: &mut Scratch,
    ) -> Result<u32, Error> {
        let mut rows = 0;
        for side in std::iter::once(&mut self.anchors).chain(&mut self.own_keys) {
            let count = side.rows.count as u64;
            side.halves = scratch.take(count * side.z_words / 2)?;
            rows += count;
        }
        small.take(2 * rows)?;
        to_u32(rows, "scratch")
    }

    /// Notes which key each anchor is.
    pub(super) fn identify(
        &mut self,
        self_index: Option<Tensor<'a>>,
        self_offset: Option<u32>,
        target: Target<'_>,
    ) -> Result<(), Error> {
        self.roles.itself = match &self.own_keys {
            None => SAME_NUMBER,
            Some(_) => NO_KEY,
        };
        if let Some((bind, at)) = target.bind_any("self_index", self_index)? {
            self.index = bind;
            self.roles.itself = FROM_INDEX;
            self.roles.itself_at = at;
        } else if let Some(offset) = self_offset {
            self.roles.itself = FROM_OFFSET;
            self.roles.itself_at = offset;
        }
        Ok(())
    }

    pub(super) fn keys(&self) -> &Side<'a> {
        self.own_keys.as_ref().unwrap_or(&self.anchors)
    }

    /// The anchors, or the keys.
    pub(super) fn side(&self, keys: bool) -> &Side<'a> {
        match keys {
            false => &self.anchors,
            true => self.keys(),
        }
    }

    pub(super) fn side_mut(&mut self, keys: bool) -> &mut Side<'a> {
        match (&mut self.own_keys, keys) {
            (Some(side), true) => side,
            _ => &mut self.anchors,
        }
    }

    /// Whether the anchors are the keys.
    pub(super) fn are_one(&self) -> bool {
        self.own_keys.is_none()
    }

    /// Pairs of windows.
    pub(super) fn window_pairs(&self) -> usize {
        self.anchors.windows.len().max(1) * self.keys().windows.len().max(1)
    }

    /// Whether a mask leaves any row out.
    pub(super) fn masked(&self) -> bool {
        let mut sides = std::iter::once(&self.anchors).chain(&self.own_keys);
        sides.any(|side| side.rows.mask.is_some())
    }

    /// Whether own and other rows lie in the same memory, which is bound once.
    pub(super) fn share(&self, own: Window, other: Window) -> bool {
        self.are_one() && own == other
    }

    /// Brings the rows into scratch in f16, from what they were and what `pack` has made of them.
    pub(super) fn halve(
        &self,
        steps: &mut Dispatches<'a, '_>,
        small: Bind<'a>,
        base: PairParams,
    ) -> Result<(), Error> {
        let tiling = Tiling::of(steps.target);
        for side in std::iter::once(&self.anchors).chain(&self.own_keys) {
            let dtype = side.rows.embeddings.map_or(DType::F16, |t| t.dtype());
            let most = side.rows.per_dispatch(steps.target)?;
            for window in &side.windows {
                for rows in window.pieces(most) {
                    let (source, binds) = side.rows.source(rows, steps.target)?;
                    let params = |grid| PairParams {
                        grid: PairGrid::from(grid),
                        own: side.params_from(*window, rows),
                        source,
                        ..base
                    };
                    let binds = HalveBinds {
                        source: binds.source,
                        z: side.z(*window),
                        halves: side.halves(*window),
                        small,
                    };
                    let groups = rows.rows as u64;
                    steps.push(tiling.halve(dtype), "halve", groups, params, binds)?;
                }
            }
        }
        Ok(())
    }

    /// Takes rows out of scratch that a mask leaves out.
    pub(super) fn leave(
        &self,
        steps: &mut Dispatches<'a, '_>,
        small: Bind<'a>,
        base: PairParams,
    ) -> Result<(), Error> {
        for side in std::iter::once(&self.anchors).chain(&self.own_keys) {
            let name = side.rows.mask_name();
            let Some((mask, offset)) = steps.target.bind_any(name, side.rows.mask)? else {
                continue;
            };
            let module = LEAVE.module(steps.target.variant.workgroup);
            for window in &side.windows {
                for rows in window.pieces(parts_per_dispatch(side.z_words + side.set_words)) {
                    let params = |grid| PairParams {
                        grid: PairGrid::from(grid),
                        own: side.params_from(*window, rows),
                        work: PairWork {
                            row: (rows.first - window.first) as u32,
                            ..PairWork::default()
                        },
                        source: PairSource {
                            offset,
                            ..PairSource::default()
                        },
                        ..base
                    };
                    let binds = LeaveBinds {
                        mask,
                        z: side.z(*window),
                        sets: side.sets(*window),
                        small,
                    };
                    steps.push(module, "leave", rows.rows as u64, params, binds)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the rows into scratch.
    pub(super) fn pack(
        &self,
        steps: &mut Dispatches<'a, '_>,
        small: Bind<'a>,
        base: PairParams,
    ) -> Result<(), Error> {
        for side in std::iter::once(&self.anchors).chain(&self.own_keys) {
            let target = steps.target;
            let dtype = side.rows.embeddings.map_or(DType::F32, |t| t.dtype());
            let tiling = Tiling::of(target);
            let module = tiling.pack(dtype);
            let most = side.rows.per_dispatch(target)?;
            for window in &side.windows {
                for rows in window.pieces(most) {
                    let (source, binds) = side.rows.source(rows, target)?;
                    let params = |grid| PairParams {
                        grid: PairGrid::from(grid),
                        own: side.params_from(*window, rows),
                        work: PairWork {
                            row: (rows.first - window.first) as u32,
                            ..PairWork::default()
                        },
                        roles: match side.rows.keys {
                            false => self.roles,
                            true => PairRoles::default(),
                        },
                        source,
                        ..base
                    };
                    let binds = PackBinds {
                        z: side.z(*window),
                        sets: side.sets(*window),
                        small,
                        itself_index: match side.rows.keys {
                            false => self.index,
                            true => Bind::Nothing,
                        },
                        ..binds
                    };
                    steps.push(module, "pack", tiling.teams(rows.rows), params, binds)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_rows_once() {
        let all: Vec<Window> = Window { first: 5, rows: 10 }.pieces(4).collect();
        let expected = [(5, 4), (9, 4), (13, 2)].map(|(first, rows)| Window { first, rows });
        assert_eq!(all, expected);
        assert_eq!(Window::default().pieces(4).count(), 0);
    }
}
