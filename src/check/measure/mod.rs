//! Measuring: a loss at a shape as a prepared call on the device and as its reference, the clocks, and what the device
//! can do at most.
//!
//! Data are made once, from a seed, and a call is prepared once; what is timed is the call. Each family of losses brings
//! a [`Workload`] that makes a [`Work`] of itself, and everything else here takes any `Work`.

#[cfg(not(target_arch = "wasm32"))]
mod clock;
mod limits;
mod timed;
mod work;

#[cfg(not(target_arch = "wasm32"))]
pub use clock::{Clock, Timer};
pub use limits::{CopyKernel, MultiplyAdd};
pub use timed::{Quantiles, Timed, wall_async};
pub use work::{Reference, Work, Workload};
pub(super) use work::{check_shape, period, tile};
