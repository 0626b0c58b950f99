//! Measuring: a loss at a shape as a prepared call on the device and as its reference, the clocks, and what the device
//! can do at most.
//!
//! Data are made once, from a seed, and a call is prepared once; what is timed is the call. Each family of losses brings
//! a [`Workload`] that makes a [`Work`] of itself, and everything else here takes any `Work`.

mod clock;
mod limits;
mod work;

pub use clock::{Clock, Quantiles, Timed, Timer};
pub use limits::{CopyKernel, MultiplyAdd};
pub use work::{Reference, Work, Workload};
pub(super) use work::{check_shape, period, tile};
