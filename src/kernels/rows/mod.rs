//! The losses of rows of logits, which share the driver `shaders/shared/rows.wgsl`.

pub(crate) mod accumulators;
pub(crate) mod call;
pub(crate) mod count;
pub(crate) mod driver;
pub(crate) mod halves;
pub(crate) mod loss;
pub(crate) mod params;
pub(crate) mod permutation;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod shape;
pub(crate) mod shards;
pub(crate) mod sides;
pub(crate) mod table;
pub(crate) mod tiles;
pub(crate) mod wdl;
pub(crate) mod weights;
