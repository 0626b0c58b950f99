//! The losses of rows: their cases, the table of them, and how they are measured.

pub(super) mod case;
mod table;
mod workload;

pub use case::{Extras, Mode, RowCase, WdlCase};
pub use table::row_cases;
pub use workload::RowWorkload;
