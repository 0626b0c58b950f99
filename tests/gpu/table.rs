//! The case table, one test per loss and variant.

use crate::Devices;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::sync::Arc;
use wgloss::check::{self, Case, Depth, Outcome};
use wgloss::host::Gpu;
use wgloss::{Half, Reduce, Variant};

/// The variant that users get sees every kernel; of the others, each sees every second loss of rows once, with the losses,
/// element types and target forms taking turns (a software driver needs a second to compile a kernel; `wgloss check`
/// runs them all).
pub fn trials(gpu: &Gpu, devices: &Arc<Devices>) -> Vec<Trial> {
    let default = gpu.context().variant();
    let mut trials = Vec::new();
    for (i, variant) in gpu.context().caps().variants().into_iter().enumerate() {
        let depth = if variant == default {
            Depth::Every
        } else {
            Depth::Sample
        };
        let rows = check::boxed(check::row_cases(depth)).into_iter();
        let (skip, step) = match depth {
            Depth::Sample => (i % 6, 6),
            Depth::Every | Depth::Full => (0, 1),
        };
        let cases = rows.skip(skip).step_by(step);
        let mut by_loss: BTreeMap<&str, Vec<Box<dyn Case>>> = BTreeMap::new();
        for case in cases.chain(check::other_cases(depth, variant, default)) {
            by_loss.entry(case.name()).or_default().push(case);
        }
        for (loss, cases) in by_loss {
            let devices = Arc::clone(devices);
            trials.push(Trial::test(format!("{variant}/{loss}"), move || {
                let cases = cases.iter().map(|case| &**case);
                devices.lend(|gpu| run_each(&gpu.with_variant(variant)?, cases))
            }));
        }
    }
    trials
}

/// Runs all cases and names every one that fails.
pub fn run(gpu: &Gpu, cases: &[impl Case]) -> Result<(), Failed> {
    run_each(gpu, cases.iter().map(|case| case as &dyn Case))
}

/// The same for cases of several kinds.
fn run_each<'a>(
    gpu: &Gpu,
    cases: impl ExactSizeIterator<Item = &'a dyn Case>,
) -> Result<(), Failed> {
    let mut failures = Vec::new();
    let count = cases.len();
    for case in cases {
        match check::run(gpu, case) {
            Ok(Outcome::Passed(_)) => {}
            Ok(Outcome::Failed(message)) => failures.push(format!("{case}: {message}")),
            Err(error) => failures.push(format!("{case}: {error}")),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} cases:\n{}",
        failures.len(),
        count,
        failures.join("\n")
    )
    .into())
}

/// What the tests would be called on a device, before the variant.
pub fn names() -> Vec<String> {
    let any = Variant {
        reduce: Reduce::Tree,
        workgroup: 64,
        half: Half::Packed,
    };
    let mut names: Vec<String> = check::cases(Depth::Sample, any, any)
        .into_iter()
        .map(|case| format!("table/{}", case.name()))
        .collect();
    names.dedup();
    names
}
