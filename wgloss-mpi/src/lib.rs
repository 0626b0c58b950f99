#![doc = include_str!("../README.md")]

#[forbid(unsafe_code)]
mod agree;
#[forbid(unsafe_code)]
mod contrastive;
#[forbid(unsafe_code)]
mod device;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
mod exchange;
mod ffi;
#[forbid(unsafe_code)]
mod linear;
#[forbid(unsafe_code)]
mod rows;
#[forbid(unsafe_code)]
mod world;

pub use contrastive::{Batch, OwnKeys, ShardedContrastive, Totals, Transport};
pub use error::{Absence, Difference, Error};
pub use linear::ShardedLinear;
pub use rows::ShardedRows;
pub use wgloss;
pub use world::{Traffic, World};
