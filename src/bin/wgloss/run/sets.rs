//! Label sets in a file, of anchors and of keys: what contrastive losses and the relations read.

use crate::tensors::{TensorFile, row_of};
use wgloss::host::LabelSets;
use wgloss::reference::renumber;
use wgloss::{Error, Targets};

/// Most labels of sets that are lists of indices.
const MOST_LABELS: u32 = 1 << 24;

/// Most rows of which the file has nothing: each is compared with each.
pub const MOST_EMPTY: usize = 1 << 12;

/// The names that the sets of keys have.
pub const OF_KEYS: [&str; 4] = [
    "key_labels",
    "key_label_bits",
    "key_label_offsets",
    "key_label_indices",
];
/// The names that the sets of anchors have.
pub const OF_ANCHORS: [&str; 4] = ["labels", "label_bits", "label_offsets", "label_indices"];

/// Label sets, as the file has them.
pub struct Sets {
    labels: Targets<Vec<u8>, Vec<u32>>,
    pub rows: usize,
    /// Columns of flags, or of words; of lists one more than the largest label that counts.
    width: usize,
}

/// Whether a mask, if there is one, leaves a row in.
pub fn has(mask: Option<&[u8]>, row: usize) -> bool {
    mask.and_then(|mask| mask.get(row))
        .is_none_or(|flag| *flag != 0)
}

impl Sets {
    /// Reads the sets of the given number of rows, or of as many as there are, from the one form that there is. Labels of
    /// rows that a mask leaves out are not looked at.
    pub fn read(
        file: &TensorFile,
        names: [&str; 4],
        given: Option<usize>,
        mask: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let [dense, bits, offsets, indices] = names;
        let lists = file.has(offsets) || file.has(indices);
        let forms = [
            (dense, file.has(dense)),
            (bits, file.has(bits)),
            (offsets, lists),
        ];
        let there = forms
            .iter()
            .filter(|(_, there)| *there)
            .map(|(form, _)| *form);
        let form = match there.collect::<Vec<_>>()[..] {
            [] => {
                let expected = format!("one of {dense}, {bits}, {offsets} with {indices}");
                return Err(Error::shape(dense, expected, "none of them"));
            }
            [form] => form,
            [first, second, ..] => {
                let reason = format!("a second form of label sets beside {first}");
                return Err(Error::refused(second, reason));
            }
        };
        if form == offsets {
            return Sets::read_lists(file, names, given, mask);
        }
        let (rows, width) = match *file.shape(form)? {
            [n, width] if given.is_none_or(|rows| n == rows) => (n, width),
            ref shape => {
                let rows = given.map_or("N".into(), |rows| rows.to_string());
                let width = if form == dense { "L" } else { "ceil(L/32)" };
                let expected = format!("[{rows}, {width}]");
                return Err(Error::shape(form, expected, format!("{shape:?}")));
            }
        };
        // Rows without labels, or labels without rows, are not bounded by what is in the file.
        let most = match (given, width) {
            (None, 0) => MOST_EMPTY,
            _ => file.most(),
        };
        if rows.min(width) == 0 && rows.max(width) > most {
            let expected = format!("at most {most} rows or columns where there is nothing in them");
            return Err(Error::shape(form, expected, format!("[{rows}, {width}]")));
        }
        let labels = match form == dense {
            true => Targets::Dense(file.flags(form)?),
            false => Targets::Bits(file.words(form)?),
        };
        Ok(Sets {
            labels,
            rows,
            width,
        })
    }

    fn read_lists(
        file: &TensorFile,
        [.., offsets, indices]: [&str; 4],
        rows: Option<usize>,
        mask: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let rows = match (file.shape(offsets)?, rows) {
            (&[len], None) if len > 0 => len - 1,
            (&[len], Some(rows)) if len.checked_sub(1) == Some(rows) => rows,
            (shape, rows) => {
                let expected = rows.map_or("[N+1]".into(), |rows| {
                    format!("[{}]", rows.saturating_add(1))
                });
                return Err(Error::shape(offsets, expected, format!("{shape:?}")));
            }
        };
        let ends = file.indices(offsets)?;
        // The offsets are checked where the sets are used.
        let counts = |at: usize| has(mask, row_of(&ends, at));
        let lists = match *file.shape(indices)? {
            [_] => file.counted_indices(indices, counts)?,
            ref shape => {
                return Err(Error::shape(indices, "one dimension", format!("{shape:?}")));
            }
        };
        if let Some(at) = lists.iter().position(|label| *label >= MOST_LABELS) {
            return Err(Error::value(
                indices,
                format!("labels below {MOST_LABELS}"),
                format!("{} at [{at}]", lists[at]),
            ));
        }
        let places = (0..lists.len()).filter(|at| counts(*at));
        let width = places.map(|at| lists[at] as usize + 1).max().unwrap_or(0);
        let labels = Targets::Sparse {
            offsets: ends,
            indices: lists,
        };
        Ok(Sets {
            labels,
            rows,
            width,
        })
    }

    fn lists(&mut self) -> Option<&mut [u32]> {
        match &mut self.labels {
            Targets::Sparse { indices, .. } => Some(indices),
            _ => None,
        }
    }
}

/// The sets of a file.
#[derive(Default)]
pub struct Both {
    pub anchors: Option<Sets>,
    pub keys: Option<Sets>,
    /// How many labels there are: what a tensor of flags says, else what there are bits for, else what indices need.
    pub labels: usize,
    /// How many of them are looked at.
    classes: usize,
}

impl Both {
    /// Puts sets together. Where all are lists, only the labels that occur are looked at: the largest number may be far
    /// beyond what is in the file, and which labels they are makes no difference.
    pub fn new(mut anchors: Sets, mut keys: Option<Sets>) -> Result<Self, Error> {
        let labels = count_labels(&anchors, keys.as_ref())?;
        let mut classes = labels;
        let of_keys = keys.as_mut().map_or(Some(&mut [][..]), Sets::lists);
        if let (Some(first), Some(second)) = (anchors.lists(), of_keys) {
            classes = renumber(&mut [first, second]);
        }
        Ok(Both {
            anchors: Some(anchors),
            keys,
            labels,
            classes,
        })
    }

    /// The labels that are looked at, the sets of anchors and those of keys; nothing where there are none.
    pub fn view(&self) -> (usize, LabelSets<'_>, LabelSets<'_>) {
        fn view(sets: Option<&Sets>) -> LabelSets<'_> {
            match sets {
                Some(sets) => sets.labels.as_ref().map(Vec::as_slice, Vec::as_slice),
                None => LabelSets::Dense(&[]),
            }
        }
        let (anchors, keys) = (self.anchors.as_ref(), self.keys.as_ref());
        (self.classes, view(anchors), view(keys))
    }
}

fn count_labels(sets: &Sets, keys: Option<&Sets>) -> Result<usize, Error> {
    let (mut dense, mut packed, mut most) = (Vec::new(), Vec::new(), 0);
    for sets in [Some(sets), keys].into_iter().flatten() {
        match &sets.labels {
            Targets::Dense(_) => dense.push(sets.width),
            Targets::Bits(_) => packed.push(sets.width),
            Targets::Sparse { .. } => most = most.max(sets.width),
            _ => {}
        }
    }
    let count = match (&dense[..], &packed[..]) {
        ([first, second], _) if first != second => {
            let expected = format!("{first} labels, as many as labels has");
            return Err(Error::shape("key_labels", expected, second));
        }
        (_, [first, second]) if first != second => {
            let expected = format!("{first} words a row, as many as label_bits has");
            return Err(Error::shape("key_label_bits", expected, second));
        }
        ([labels, ..], [words, ..]) if labels.div_ceil(32) != *words => {
            let named = if matches!(sets.labels, Targets::Bits(_)) {
                "label_bits"
            } else {
                "key_label_bits"
            };
            let expected = format!("{} words a row for {labels} labels", labels.div_ceil(32));
            return Err(Error::shape(named, expected, words));
        }
        ([labels, ..], _) => *labels,
        ([], [words, ..]) => words.saturating_mul(32),
        ([], []) => most,
    };
    Ok(count)
}
