//! Every kernel in every form against the reference: the case table behind `wgloss check` and the GPU tests.
//!
//! The truth of a case is the reference in f64 on the inputs as they were rounded for the device; the tolerance follows
//! from the error of the same reference in f32. Outputs are filled before with what they should not hold, NaN mostly, and
//! surrounded by guard words, and nothing but the outputs' elements may have changed afterwards.
//!
//! To qualify a device, [`run`] each of the cases of a [`Qualification`] in its variant (or [`run_async`], where nothing may
//! block), and [`Tally::note`] what came of it. Everything else in this module serves the crate's own tests and measurements,
//! and may change in any release.

mod arena;
mod askew;
mod balance;
mod case;
mod compare;
mod contrastive;
mod devices;
mod golden;
mod hcal;
mod linear;
mod mcm;
mod measure;
mod metrics;
mod numbers;
mod qualify;
mod random;
mod rng;
mod rows;
mod shards;
mod tensors;

pub use askew::{Edit, run_askew};
pub use case::{Case, Data, Depth, Exported, Layout, Outcome, export, judge, run_async};
#[cfg(not(target_arch = "wasm32"))]
pub use case::{run, run_hostile, run_twice};
pub use contrastive::{
    Asked, ContrastiveCase, ContrastiveWorkload, Others, Points, contrastive_cases,
    cooperative_cases,
};
pub use devices::{Devices, ShardedHcal, sharded_hcal};
pub use golden::{GoldenCase, golden_cases};
pub use hcal::{HcalCase, HcalMode, HcalWorkload, hcal_cases};
pub use linear::{LinearCase, LinearMode, LinearWorkload, cooperative_linear_cases, linear_cases};
pub use mcm::{Graph, McmCase, McmMode, McmSides, McmWorkload, mcm_cases};
#[cfg(not(target_arch = "wasm32"))]
pub use measure::{Clock, Timer};
pub use measure::{
    CopyKernel, MultiplyAdd, Quantiles, Reference, Timed, Work, Workload, wall_async,
};
pub use metrics::{MetricsCase, MetricsWorkload, metrics_cases};
pub use numbers::{SPARSE, TargetForm};
pub use qualify::{Batch, Qualification, Tally};
pub use random::{ALIKE, random_case};
pub use rng::Rng;
pub use rows::{Extras, Mode, RowCase, RowWorkload, WdlCase, row_cases};
pub use shards::{
    Meeting, Sharded, ShardedContrastive, ShardedLinear, ShardedRows, sharded_contrastive,
    sharded_linear, sharded_rows,
};
pub use tensors::Tensors;

use crate::device::caps::{Half, Reduce, Variant};

/// The cases for a variant: those of the losses of rows, which know nothing of cooperative matrices, then [`other_cases`].
pub fn cases(depth: Depth, variant: Variant, default: Variant) -> Vec<Box<dyn Case>> {
    let mut all = match variant.cooperative {
        true => Vec::new(),
        false => boxed(row_cases(depth)),
    };
    all.extend(other_cases(depth, variant, default));
    all
}

/// The cases beside the losses of rows, for a variant. Their kernels know but one form of reduction and of f16: other
/// variants than the default have them once for each size of workgroup. With cooperative matrices, what uses them.
pub fn other_cases(depth: Depth, variant: Variant, default: Variant) -> Vec<Box<dyn Case>> {
    if variant.cooperative {
        let mut all = boxed(cooperative_cases(depth));
        all.extend(boxed(cooperative_linear_cases(depth)));
        return all;
    }
    let plain = variant.reduce == Reduce::Tree && variant.half == Half::Packed;
    if variant != default && !(plain && variant.workgroup != default.workgroup) {
        return Vec::new();
    }
    let mut all = boxed(golden_cases());
    all.extend(boxed(mcm_cases(depth)));
    all.extend(boxed(hcal_cases(depth)));
    all.extend(boxed(linear_cases(depth)));
    all.extend(boxed(metrics_cases(depth)));
    all.extend(boxed(contrastive_cases(depth)));
    all
}

/// The same cases for a table that has others too.
pub fn boxed<C: Case + 'static>(cases: Vec<C>) -> Vec<Box<dyn Case>> {
    let one = |case| -> Box<dyn Case> { Box::new(case) };
    cases.into_iter().map(one).collect()
}
