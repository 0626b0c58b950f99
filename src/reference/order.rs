//! Whether an order of labels is one.

use crate::error::{Error, check_len};
use crate::losses::labels::Order;

/// Refuses what is not a permutation of the labels, for each row or for all.
pub(crate) fn check_order(
    rows: usize,
    cols: usize,
    order: Order<&[u32], u64>,
) -> Result<(), Error> {
    let (values, len) = match order {
        Order::Seeded { .. } => return Ok(()),
        Order::Batch(values) => (values, cols),
        Order::PerRow(values) => (values, rows.saturating_mul(cols)),
    };
    check_len("permutation", len, values.len())?;
    for (row, labels) in values.chunks(cols.max(1)).enumerate() {
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
