//! How labels, and what belongs to them, are given: each idea is one enum, generic in what holds the numbers, tensors on
//! the device, slices on the host, or nothing where only the form matters.

/// Which labels each row has, or how much of each: the targets of logits, the label sets of embeddings.
///
/// `D` holds a value per row and label, `W` 32-bit words. All forms give equal results for equal labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Targets<D, W = D> {
    /// `[B, L]`: a flag, or a real number, for each row and label.
    Dense(D),
    /// `[B, ceil(L/32)]` words: label `l` is bit `l % 32` of word `l / 32`.
    Bits(W),
    /// The labels of row `r` are `indices[offsets[r]..offsets[r + 1]]`, in any order, repeats allowed.
    Sparse {
        /// `[B + 1]` words, from 0, not falling.
        offsets: W,
        /// `[number of labels of all rows]` words.
        indices: W,
    },
}

/// What errors and files call the tensors of [`Targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetNames {
    pub(crate) dense: &'static str,
    pub(crate) bits: &'static str,
    pub(crate) offsets: &'static str,
    pub(crate) indices: &'static str,
}

impl TargetNames {
    /// The targets of logits.
    pub(crate) const TARGETS: TargetNames = TargetNames {
        dense: "targets",
        bits: "target_bits",
        offsets: "target_offsets",
        indices: "target_indices",
    };
    /// The targets of losses that compare logits with other logits; there is a dense form alone.
    pub(crate) const OTHER: TargetNames = TargetNames {
        dense: "other",
        ..TargetNames::TARGETS
    };
    /// The label sets of embeddings.
    pub(crate) const LABELS: TargetNames = TargetNames {
        dense: "labels",
        bits: "label_bits",
        offsets: "label_offsets",
        indices: "label_indices",
    };
    /// The label sets of keys.
    pub(crate) const KEY_LABELS: TargetNames = TargetNames {
        dense: "key_labels",
        bits: "key_label_bits",
        offsets: "key_label_offsets",
        indices: "key_label_indices",
    };
}

impl<D, W> Targets<D, W> {
    /// What errors call the first of what holds the numbers.
    pub(crate) fn name(&self, names: TargetNames) -> &'static str {
        match self {
            Targets::Dense(_) => names.dense,
            Targets::Bits(_) => names.bits,
            Targets::Sparse { .. } => names.offsets,
        }
    }

    /// The same form, held by something else.
    pub fn map<E, V>(self, dense: impl FnOnce(D) -> E, words: impl Fn(W) -> V) -> Targets<E, V> {
        match self {
            Targets::Dense(values) => Targets::Dense(dense(values)),
            Targets::Bits(bits) => Targets::Bits(words(bits)),
            Targets::Sparse { offsets, indices } => Targets::Sparse {
                offsets: words(offsets),
                indices: words(indices),
            },
        }
    }
}

/// The threshold `s0` of TLPR: the loss is that of `s - s0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold<T> {
    /// One for the batch: `[1]`.
    Batch(T),
    /// One per row: `[B]`.
    Row(T),
    /// One per label: `[L]`.
    Label(T),
}

impl<T> Threshold<T> {
    /// What holds the numbers.
    pub fn values(self) -> T {
        match self {
            Threshold::Batch(values) | Threshold::Row(values) | Threshold::Label(values) => values,
        }
    }

    /// The same form, held by something else.
    pub fn map<U>(self, values: impl FnOnce(T) -> U) -> Threshold<U> {
        match self {
            Threshold::Batch(t) => Threshold::Batch(values(t)),
            Threshold::Row(t) => Threshold::Row(values(t)),
            Threshold::Label(t) => Threshold::Label(values(t)),
        }
    }

    /// How many values there are for `rows` rows of `cols` labels.
    pub fn len_of(&self, rows: usize, cols: usize) -> usize {
        match self {
            Threshold::Batch(_) => 1,
            Threshold::Row(_) => rows,
            Threshold::Label(_) => cols,
        }
    }

    /// Which of the values an element's is.
    pub fn index_of(&self, row: usize, col: usize) -> usize {
        match self {
            Threshold::Batch(_) => 0,
            Threshold::Row(_) => row,
            Threshold::Label(_) => col,
        }
    }
}

/// The order of the labels in the adjacent form of [WDL](crate::losses::wdl). `T` holds label numbers, `S` a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order<T, S = T> {
    /// `[L]`: one permutation of `0..L` for all rows.
    Batch(T),
    /// `[B, L]`: one for each row.
    PerRow(T),
    /// Made from a seed by [`reference::permutation`](crate::reference::permutation)'s algorithm.
    Seeded {
        /// The seed.
        seed: S,
        /// Whether each row has one of its own.
        scope: Scope,
    },
}

/// What shares a permutation that is made from a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All rows have that of row 0.
    #[default]
    Batch,
    /// Each row has its own, made with the row's number.
    Row,
}

/// The perturbation of the prototypes of [HCAL](crate::losses::hcal). `T` holds what is added, `S` a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noise<T, S = T> {
    /// For each level `[C_k, D]`: what is added to the unit prototypes.
    Given(T),
    /// Made from a seed by [`reference::perturbation`](crate::reference::perturbation)'s algorithm.
    Seeded(S),
}

/// A seed in memory that a call reads, and may move on: two 32-bit words, the low one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed<T> {
    /// What holds the two words.
    pub words: T,
    /// What the call does to them when it is done.
    pub after: AfterCall,
}

/// What a call does to the seed that it has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterCall {
    /// Nothing: the next call draws the same.
    #[default]
    Keep,
    /// Adds 1, so that the call draws anew each time that it is recorded, with nothing uploaded.
    Advance,
}

impl<T> Seed<T> {
    /// A seed that stays as it is.
    pub fn fixed(words: T) -> Self {
        Seed {
            words,
            after: AfterCall::Keep,
        }
    }

    /// A seed to which each call adds 1 when it is done.
    pub fn advancing(words: T) -> Self {
        Seed {
            words,
            after: AfterCall::Advance,
        }
    }
}
