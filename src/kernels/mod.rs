//! The losses on the GPU: from a checked call to its dispatches.

pub(crate) mod balance;
pub(crate) mod contrastive;
pub(crate) mod gradient;
pub(crate) mod hcal;
pub(crate) mod linear;
pub(crate) mod mcm;
pub(crate) mod metrics;
pub(crate) mod on_device;
pub(crate) mod products;
pub(crate) mod rows;
pub(crate) mod sparse;
pub(crate) mod storage;
pub(crate) mod sums;
pub(crate) mod targets;
pub(crate) mod view;
pub(crate) mod work;

use crate::device::module::Module;
use crate::device::{live, verify};

/// Every module that a device with all features could be asked for, at one workgroup size.
pub fn modules(workgroup: u32) -> Vec<Module> {
    [
        rows::table::modules,
        contrastive::modules,
        linear::modules,
        mcm::modules,
        hcal::modules,
        balance::modules,
        gradient::modules,
        sparse::modules,
        metrics::modules,
        sums::modules,
        live::modules,
        verify::modules,
    ]
    .iter()
    .flat_map(|family| family(workgroup))
    .collect()
}
