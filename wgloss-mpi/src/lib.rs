//! The losses of [`wgloss`] over the processes of an MPI job, one process a GPU.
//!
//! [`World`] is the job: collectives that end in a set time, and errors that name the rank and the collective.
//! [`ShardedContrastive`] has the batch over the ranks.

#[forbid(unsafe_code)]
mod agree;
#[forbid(unsafe_code)]
mod contrastive;
#[forbid(unsafe_code)]
mod device;
#[forbid(unsafe_code)]
mod error;
mod ffi;
#[forbid(unsafe_code)]
mod world;

pub use contrastive::{Batch, OwnKeys, ShardedContrastive, Totals, Transport};
pub use error::Error;
pub use wgloss;
pub use world::{Traffic, World};
