//! The losses on the GPU: from a checked call to its dispatches.

pub(crate) mod balance;
pub(crate) mod contrastive;
pub(crate) mod hcal;
pub(crate) mod mcm;
pub(crate) mod rows;
pub mod shader;
pub(crate) mod steps;
pub(crate) mod view;
