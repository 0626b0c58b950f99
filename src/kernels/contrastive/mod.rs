//! The contrastive losses of label sets.

mod accumulators;
pub(crate) mod call;
mod counts;
mod pack;
mod params;
mod plan;
mod relations;
mod shards;
pub(crate) mod table;

pub(crate) use table::modules;
