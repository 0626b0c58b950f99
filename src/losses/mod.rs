//! The losses: configuration, checks and plans. How to call one is shown in the crate's documentation.

pub mod any;
pub mod bce;
pub mod contrastive;
mod contrastive_steps;
pub mod per_label;
mod row_steps;
pub mod rows;
pub mod wdl;
pub mod zlpr;
