//! Every kernel in every form against the reference: the case table behind `wgloss check` and the GPU tests.
//!
//! The truth of a case is the reference in f64 on the inputs as they were rounded for the device; the tolerance follows
//! from the error of the same reference in f32. Outputs are filled with NaN before and surrounded by guard words, and
//! nothing but the outputs' elements may have changed afterwards.

mod arena;
pub mod bench;
mod compare;
mod contrastive;
mod data;
mod rows;

pub use contrastive::{
    Asked, ContrastiveBench, ContrastiveCase, Others, Points, contrastive_cases, run_contrastive,
};
pub use rows::{Data, Depth, Extras, Form, Layout, Mode, RowCase, ThresholdCase, row_cases};

use crate::Error;
use crate::host::Gpu;

/// What running a case found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Within tolerance; the largest error as a share of what was allowed.
    Passed(f64),
    /// Not within tolerance, or something was written that should not be: what, where, which values.
    Failed(String),
}

/// Runs a case of the table on a device, in the variant it is set to.
///
/// # Errors
/// Device errors and refused calls; a wrong result is an [`Outcome`].
pub fn run(gpu: &Gpu, case: &RowCase) -> Result<Outcome, Error> {
    rows::run(gpu, case)
}
