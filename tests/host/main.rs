//! The host layer on wgpu's noop device, which validates as any device does and computes nothing: checks, plans,
//! pipelines, recording. Needs no GPU.

mod bytes;
mod call;
mod calls;
mod context;
mod contrastive;
mod edges;
mod errors;
mod gradients;
mod hierarchy;
mod linear;
mod metrics;
mod overlap;
mod pipelines;
mod plans;
mod record;
mod refusals;
mod scopes;
mod settings;
mod sizes;
#[cfg(feature = "serde")]
mod text;
mod verify;
mod views;
mod wdl;
