//! HCAL.

pub(crate) mod call;
mod params;
mod plan;
mod sums;

pub(crate) use params::modules;
