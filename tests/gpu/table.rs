//! The case table, one test per loss and variant.

use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::fmt::Display;
use wgloss::Error;
use wgloss::check::{self, ContrastiveCase, Depth, Outcome, RowCase};
use wgloss::host::Gpu;

/// The variant that users get sees every kernel; of the others, each sees every loss once, with the element types and
/// target forms taking turns (a software driver needs a second to compile a kernel; `wgloss check` runs them all).
/// The devices take turns too: a driver compiles for one device on one thread.
pub fn trials(devices: &[Gpu]) -> Vec<Trial> {
    let Some(gpu) = devices.first() else {
        return Vec::new();
    };
    let default = gpu.context().variant();
    let mut trials = Vec::new();
    for (i, variant) in gpu.context().caps().variants().into_iter().enumerate() {
        let cases = if variant == default {
            check::row_cases(Depth::Every)
        } else {
            let sample = check::row_cases(Depth::Sample);
            sample.into_iter().skip(i % 3).step_by(3).collect()
        };
        let contrastive = check::contrastive_cases(if variant == default {
            Depth::Every
        } else {
            Depth::Sample
        });
        let gpu = devices[i % devices.len()].clone();
        trials.push(Trial::test(format!("{variant}/contrastive"), move || {
            run_contrastive(&gpu.with_variant(variant)?, &contrastive)
        }));
        let mut by_loss: BTreeMap<&str, Vec<RowCase>> = BTreeMap::new();
        for case in cases {
            by_loss.entry(case.name).or_default().push(case);
        }
        for (loss, cases) in by_loss {
            let gpu = devices[trials.len() % devices.len()].clone();
            trials.push(Trial::test(format!("{variant}/{loss}"), move || {
                run(&gpu.with_variant(variant)?, &cases)
            }));
        }
    }
    trials
}

/// Runs all cases and names every one that fails.
pub fn run(gpu: &Gpu, cases: &[RowCase]) -> Result<(), Failed> {
    each(cases, |case| check::run(gpu, case))
}

/// The same with cases of the contrastive losses.
pub fn run_contrastive(gpu: &Gpu, cases: &[ContrastiveCase]) -> Result<(), Failed> {
    each(cases, |case| check::run_contrastive(gpu, case))
}

fn each<C: Display>(cases: &[C], run: impl Fn(&C) -> Result<Outcome, Error>) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for case in cases {
        match run(case) {
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

/// What the tests would be called on a device, before the variant.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = check::row_cases(Depth::Sample)
        .iter()
        .map(|case| format!("table/{}", case.name))
        .collect();
    names.dedup();
    names.push("table/contrastive".into());
    names
}
