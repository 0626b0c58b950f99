//! The losses: settings, formulas, ranges. How to call one is shown in the crate's documentation.

pub mod balance;
pub mod bce;
pub mod bp_mll;
pub(crate) mod climb;
pub mod contrastive;
pub mod hcal;
pub(crate) mod hierarchy;
pub(crate) mod labels;
pub mod linear;
pub(crate) mod lists;
pub mod mcm;
pub mod metrics;
pub mod per_label;
pub(crate) mod reduction;
pub mod shards;
pub mod softmax_ce;
pub(crate) mod takes;
pub mod wdl;
pub mod zlpr;
