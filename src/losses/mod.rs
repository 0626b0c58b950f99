//! The losses: configuration, checks and plans. How to call one is shown in the crate's documentation.

pub mod any;
pub mod bce;
pub mod per_label;
pub mod permutation;
mod row_steps;
pub mod rows;
pub mod wdl;
mod wdl_steps;
pub mod zlpr;
