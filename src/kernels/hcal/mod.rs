//! HCAL.

pub(crate) mod call;
mod plan;
