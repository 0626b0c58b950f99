//! The convenience layer: opens a device, uploads, submits, waits, reads back. For callers who hold plain slices, for
//! the command line, for tests; an engine with a device of its own needs none of it.

mod balance;
mod contrastive;
mod engine;
mod gpu;
mod hcal;
mod mcm;
mod rows;
mod self_test;
mod values;

pub use balance::BalanceResult;
pub use contrastive::{ContrastiveResult, Embeddings, KeyEmbeddings, LabelSets};
pub use engine::Engine;
pub use gpu::{Gpu, adapters};
pub use hcal::{HcalBatch, HcalResult};
pub use mcm::{McmResult, McmRows};
pub use rows::{Rows, RowsResult};
pub use self_test::self_test;
pub use values::{Dense, Values, Wanted};
