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
mod hcal;
pub mod hierarchy_bench;
mod mcm;
mod rows;

pub use contrastive::{
    Asked, ContrastiveBench, ContrastiveCase, Others, Points, contrastive_cases,
};
pub use hcal::{HcalCase, HcalMode, NoiseCase, hcal_cases};
pub use mcm::{Graph, McmCase, McmMode, mcm_cases};
pub use rows::{
    Data, Depth, Extras, Form, Layout, Mode, OrderCase, RowCase, ThresholdCase, WdlCase, row_cases,
};

use crate::device::caps::{Half, Reduce, Variant};
use crate::error::Error;
use crate::host::Gpu;
use std::fmt;

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

/// A case of any table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    /// A loss of rows.
    Row(RowCase),
    /// The constraint module.
    Mcm(McmCase),
    /// HCAL.
    Hcal(HcalCase),
    /// A contrastive loss.
    Contrastive(ContrastiveCase),
}

impl Case {
    /// What its test is called.
    pub fn name(&self) -> &'static str {
        match self {
            Case::Row(case) => case.name,
            Case::Mcm(_) => "mcm",
            Case::Hcal(_) => "hcal",
            Case::Contrastive(_) => "contrastive",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Row(case) => case.fmt(f),
            Case::Mcm(case) => case.fmt(f),
            Case::Hcal(case) => case.fmt(f),
            Case::Contrastive(case) => case.fmt(f),
        }
    }
}

/// The cases beside the losses of rows, for a variant. Their kernels know but one form of reduction and of f16: other
/// variants than the default have them once for each size of workgroup.
pub fn other_cases(depth: Depth, variant: Variant, default: Variant) -> Vec<Case> {
    let plain = variant.reduce == Reduce::Tree && variant.half == Half::Packed;
    if variant != default && !(plain && variant.workgroup != default.workgroup) {
        return Vec::new();
    }
    let mcm = mcm_cases(depth).into_iter().map(Case::Mcm);
    let hcal = hcal_cases(depth).into_iter().map(Case::Hcal);
    let contrastive = contrastive_cases(depth).into_iter().map(Case::Contrastive);
    mcm.chain(hcal).chain(contrastive).collect()
}

/// Runs a case of any table on a device, in the variant it is set to.
///
/// # Errors
/// Device errors and refused calls; a wrong result is an [`Outcome`].
pub fn run_case(gpu: &Gpu, case: &Case) -> Result<Outcome, Error> {
    match case {
        Case::Row(case) => rows::run(gpu, case),
        Case::Mcm(case) => mcm::run(gpu, case),
        Case::Hcal(case) => hcal::run(gpu, case),
        Case::Contrastive(case) => contrastive::run(gpu, case),
    }
}
