//! The losses on burn's wgpu device by our kernels, and on another of burn's backends by tensor operations, against wgloss's
//! reference in f64 and against each other.

mod common;
mod contrastive;
mod graph;
mod hierarchy;
mod rows;
mod wgpu;
