//! The case table, one test per loss and variant.

use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use wgloss::check::{self, Depth, Outcome, RowCase};
use wgloss::host::Gpu;

pub fn trials(gpu: &Gpu) -> Vec<Trial> {
    let default = gpu.context().variant();
    let mut trials = Vec::new();
    for variant in gpu.context().caps().variants() {
        // The variant that users get sees every kernel; a software driver needs a second to compile one.
        let depth = if variant == default {
            Depth::Every
        } else {
            Depth::Sample
        };
        let mut by_loss: BTreeMap<&str, Vec<RowCase>> = BTreeMap::new();
        for case in check::row_cases(depth) {
            by_loss.entry(case.loss_name()).or_default().push(case);
        }
        for (loss, cases) in by_loss {
            let gpu = gpu.clone();
            trials.push(Trial::test(format!("{variant}/{loss}"), move || {
                run(&gpu.with_variant(variant)?, &cases)
            }));
        }
    }
    trials
}

/// Runs all cases and names every one that fails.
pub fn run(gpu: &Gpu, cases: &[RowCase]) -> Result<(), Failed> {
    let mut failures = Vec::new();
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
        cases.len(),
        failures.join("\n")
    )
    .into())
}
