//! Whether an order of labels is one.

use crate::error::{Error, check_len};
use crate::losses::labels::Order;

/// Refuses what is not a permutation of the labels, for all or for each row that `counts`.
pub(crate) fn check_order(
    rows: usize,
    cols: usize,
    order: Order<&[u32], u64>,
    counts: impl Fn(usize) -> bool,
) -> Result<(), Error> {
    let (values, len, each) = match order {
        Order::Seeded { .. } => return Ok(()),
        Order::Batch(values) => (values, cols, false),
        Order::PerRow(values) => (values, rows.saturating_mul(cols), true),
    };
    check_len("permutation", len, values.len())?;
    let lists = values.chunks(cols.max(1)).enumerate();
    for (row, labels) in lists.filter(|(row, _)| !each || counts(*row)) {
        let mut seen = vec![false; cols];
        for &label in labels {
            let found = match seen.get(label as usize) {
                Some(false) => {
                    seen[label as usize] = true;
                    continue;
                }
                Some(true) => format!("{label} twice in row {row}"),
                None => format!("{label} in row {row}"),
            };
            let expected = format!("each label below {cols} once");
            return Err(Error::value("permutation", expected, found));
        }
    }
    Ok(())
}
