//! The losses of rows of logits, which share the driver `shaders/shared/rows.wgsl`.

pub(crate) mod call;
pub(crate) mod permutation;
mod plan;
pub(crate) mod table;
mod wdl;
