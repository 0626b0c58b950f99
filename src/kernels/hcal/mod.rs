//! HCAL.

pub(crate) mod call;
mod params;
mod plan;

pub(crate) use params::modules;
