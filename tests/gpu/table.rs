//! The case table, one test per loss and variant.

use crate::Devices;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::sync::Arc;
use wgloss::check::{self, Case, Depth, Outcome, RowCase};
use wgloss::host::Gpu;
use wgloss::{Half, Reduce, Variant};

/// Losses of rows that meet every element type with every form of targets.
const THOROUGH: &[&str] = &["zlpr", "zlpr-soft", "bce", "softmax-ce", "wdl-pairs"];

/// The variant that users get sees every loss with every element type and every form of targets, a few with all pairs of
/// these, which have nothing to do with a loss; of the others, each sees every second loss of rows once, with the losses,
/// element types and target forms taking turns, and of the cases beside these the sizes of workgroups share one set (a
/// software driver needs a second to compile a kernel; `wgloss check` runs them all).
pub fn trials(gpu: &Gpu, devices: &Arc<Devices>) -> Vec<Trial> {
    let default = gpu.context().variant();
    let mut trials = Vec::new();
    // Sizes of workgroups so far that have the cases beside the losses of rows.
    let mut sizes = 0;
    for (i, variant) in gpu.context().caps().variants().into_iter().enumerate() {
        let depth = if variant == default {
            Depth::Every
        } else {
            Depth::Sample
        };
        let all = check::row_cases(depth);
        let rows: Vec<RowCase> = match depth {
            _ if variant.cooperative => Vec::new(),
            Depth::Sample => all.into_iter().skip(i % 6).step_by(6).collect(),
            Depth::Every | Depth::Full => pairs_in_turn(all),
        };
        let others = check::other_cases(depth, variant, default).into_iter();
        let others: Vec<Box<dyn Case>> = match others.len() {
            0 => Vec::new(),
            _ if depth == Depth::Sample => {
                sizes += 1;
                others.skip(sizes % 3).step_by(3).collect()
            }
            _ => others.collect(),
        };
        let cases = check::boxed(rows).into_iter();
        let mut by_loss: BTreeMap<&str, Vec<Box<dyn Case>>> = BTreeMap::new();
        for case in cases.chain(others) {
            by_loss.entry(case.name()).or_default().push(case);
        }
        for (loss, cases) in by_loss {
            let devices = Arc::clone(devices);
            trials.push(Trial::test(format!("{variant}/{loss}"), move || {
                let cases = cases.iter().map(|case| &**case);
                devices.lend(|gpu| run_each(&gpu.with_variant(variant)?, cases.clone()))
            }));
        }
    }
    trials
}

/// Of a loss's cases, which go through its element types and for each through the forms of targets, one for each form, the
/// element types taking turns.
fn pairs_in_turn(cases: Vec<RowCase>) -> Vec<RowCase> {
    let mut kept = Vec::new();
    let losses = cases.chunk_by(|a, b| a.name == b.name);
    for (i, of_loss) in losses.enumerate() {
        let forms = of_loss.chunk_by(|a, b| a.dtype == b.dtype);
        for (d, of_dtype) in forms.enumerate() {
            let all = of_dtype.len() == 1 || THOROUGH.contains(&of_dtype[0].name);
            let turn = |f: usize| all || (i + d + f).is_multiple_of(3);
            let mine = of_dtype.iter().enumerate().filter(|(f, _)| turn(*f));
            kept.extend(mine.map(|(_, case)| *case));
        }
    }
    kept
}

/// Runs all cases and names every one that fails.
pub fn run(gpu: &Gpu, cases: &[impl Case]) -> Result<(), Failed> {
    run_each(gpu, cases.iter().map(|case| case as &dyn Case))
}

/// The same for cases of several kinds.
pub fn run_each<'a>(
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
        cooperative: false,
    };
    let mut names: Vec<String> = check::cases(Depth::Sample, any, any)
        .into_iter()
        .map(|case| format!("table/{}", case.name()))
        .collect();
    names.dedup();
    names
}
