//! The contrastive losses of label sets.

pub(crate) mod call;
mod pack;
mod params;
mod plan;
mod relations;
pub(crate) mod table;

pub(crate) use table::modules;
