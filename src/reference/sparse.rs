//! Labels as bits and as lists, to one flag per element.

use crate::error::{Error, check_len};
use crate::losses::labels::TargetNames;

/// `rows * cols`, where all three fit in 32 bits.
pub(super) fn elements(rows: usize, cols: usize) -> Result<usize, Error> {
    let fits = |n: &usize| u32::try_from(*n).is_ok();
    match rows.checked_mul(cols).filter(fits) {
        Some(elements) if fits(&rows) && fits(&cols) => Ok(elements),
        _ => Err(Error::shape(
            "shape",
            "rows, cols and their product below 2^32",
            format!("{rows} rows, {cols} cols"),
        )),
    }
}

/// Packed bits to one value per element: label `l` is bit `l % 32` of word `l / 32` of its row.
///
/// `words` has `ceil(cols / 32)` words for each row; the bits beyond `cols` are not looked at.
pub fn dense_from_bits(rows: usize, cols: usize, words: &[u32]) -> Result<Vec<bool>, Error> {
    let mut dense = vec![false; elements(rows, cols)?];
    let words_per_row = cols.div_ceil(32);
    check_len(
        "target_bits",
        rows.saturating_mul(words_per_row),
        words.len(),
    )?;
    for (at, value) in dense.iter_mut().enumerate() {
        let (row, col) = (at / cols, at % cols);
        *value = words[row * words_per_row + col / 32] >> (col % 32) & 1 == 1;
    }
    Ok(dense)
}

/// Gives the labels of lists the numbers 0, 1, 2, .. in their order, in all lists the same, and returns how many labels
/// occur. What looks at all labels of a set costs by how many there can be, a contrastive loss among them: where few of
/// very many occur in a batch, it does the same in a fraction of the time, since which labels they are makes no difference
/// to it.
///
/// ```
/// use wgloss::reference::renumber;
///
/// let (mut anchors, mut keys) = ([995_000, 7], [7, 12, 7]);
/// assert_eq!(renumber(&mut [&mut anchors, &mut keys]), 3);
/// assert_eq!((anchors, keys), ([2, 0], [0, 1, 0]));
/// ```
pub fn renumber(lists: &mut [&mut [u32]]) -> usize {
    let mut numbers: Vec<u32> = lists.iter().flat_map(|list| list.iter().copied()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for label in lists.iter_mut().flat_map(|list| list.iter_mut()) {
        // Each is among them.
        *label = numbers.partition_point(|number| number < label) as u32;
    }
    numbers.len()
}

/// Checks lists of positive labels: `offsets` has `rows + 1` values, starts at 0, never falls and ends at the length of
/// `indices`, whose values are below `cols`. Errors call them `target_offsets` and `target_indices`.
pub fn check_sparse(
    rows: usize,
    cols: usize,
    offsets: &[u32],
    indices: &[u32],
) -> Result<(), Error> {
    let names = TargetNames::TARGETS;
    check_offsets(names, rows, offsets, indices.len())?;
    check_listed(names, cols, indices, |_| true)
}

/// The offsets of `entries` indices alone.
pub(crate) fn check_offsets(
    names: TargetNames,
    rows: usize,
    offsets: &[u32],
    entries: usize,
) -> Result<(), Error> {
    check_len(names.offsets, rows.saturating_add(1), offsets.len())?;
    let bad = |at: usize, expected: String| {
        let found = format!("{} at [{at}]", offsets[at]);
        Err(Error::value(names.offsets, expected, found))
    };
    if offsets[0] != 0 {
        return bad(0, "0 as the first value".into());
    }
    if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        let before = offsets[at];
        return bad(at + 1, format!("values that do not fall ({before} before)"));
    }
    if offsets[rows] as usize != entries {
        let all = names.indices;
        return bad(rows, format!("{entries} (all {all}) as the last value"));
    }
    Ok(())
}

/// The indices alone, as far as they count.
pub(crate) fn check_listed(
    names: TargetNames,
    cols: usize,
    indices: &[u32],
    counts: impl Fn(usize) -> bool,
) -> Result<(), Error> {
    let mut labels = indices.iter().enumerate();
    match labels.find(|(at, label)| **label as usize >= cols && counts(*at)) {
        None => Ok(()),
        Some((at, label)) => Err(Error::value(
            names.indices,
            format!("labels below {cols}"),
            format!("{label} at [{at}]"),
        )),
    }
}

/// Lists of positive labels to one value per element: row `r` has the labels
/// `indices[offsets[r]..offsets[r + 1]]`, in any order; one named twice is one label. They must pass [`check_sparse`].
pub fn dense_from_sparse(
    rows: usize,
    cols: usize,
    offsets: &[u32],
    indices: &[u32],
) -> Result<Vec<bool>, Error> {
    let mut dense = vec![false; elements(rows, cols)?];
    check_sparse(rows, cols, offsets, indices)?;
    for row in 0..rows {
        for &label in &indices[offsets[row] as usize..offsets[row + 1] as usize] {
            dense[row * cols + label as usize] = true;
        }
    }
    Ok(dense)
}
