//! The convenience layer: opens a device, uploads, submits, waits, reads back. For callers who hold plain slices, for
//! the command line, for tests; an engine with a device of its own needs none of it.
//!
//! What waits for a device exists twice: by its name it blocks, and with `_async` behind it is a future, which on a machine
//! with threads is ready only where somebody polls the device ([`wgpu::Device::poll`]). In browsers there are the futures
//! alone, and the adapter is the one that the browser gives.

#[forbid(unsafe_code)]
mod balance;
#[forbid(unsafe_code)]
mod contrastive;
#[forbid(unsafe_code)]
mod engine;
#[cfg(not(target_arch = "wasm32"))]
mod experimental;
#[forbid(unsafe_code)]
mod gpu;
#[forbid(unsafe_code)]
mod hcal;
#[forbid(unsafe_code)]
mod linear;
#[forbid(unsafe_code)]
mod mcm;
#[forbid(unsafe_code)]
mod metrics;
#[forbid(unsafe_code)]
mod rows;
#[forbid(unsafe_code)]
mod self_test;
#[forbid(unsafe_code)]
mod signal;
#[forbid(unsafe_code)]
mod targets;
#[forbid(unsafe_code)]
mod values;

pub use balance::BalanceResult;
pub use contrastive::{ContrastiveResult, Embeddings, KeyEmbeddings, LabelSets};
pub use engine::Engine;
#[cfg(not(target_arch = "wasm32"))]
pub use gpu::adapters;
pub use gpu::{Gpu, adapters_async};
pub use hcal::{HcalBatch, HcalResult};
pub use linear::{LinearResult, LinearRows};
pub use mcm::{McmResult, McmRows};
pub use metrics::MetricsRows;
pub use rows::{Rows, RowsResult};
#[cfg(not(target_arch = "wasm32"))]
pub use self_test::self_test;
pub use self_test::self_test_async;
pub use values::{Counted, Dense, Values, Wanted};
