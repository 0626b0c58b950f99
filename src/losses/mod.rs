//! The losses: configuration, checks and plans. How to call one is shown in the crate's documentation.

pub mod any;
pub mod balance;
mod balance_steps;
pub mod bce;
pub mod contrastive;
mod contrastive_steps;
pub mod hcal;
mod hcal_steps;
pub mod mcm;
mod mcm_steps;
pub mod per_label;
pub mod permutation;
mod row_steps;
pub mod rows;
mod steps;
pub mod wdl;
mod wdl_steps;
pub mod zlpr;
