//! The losses: configuration, checks and plans. How to call one is shown in the crate's documentation.

pub mod bce;
mod row_steps;
pub mod rows;
pub mod zlpr;
