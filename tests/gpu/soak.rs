//! Random calls of every family against the reference, with settings from all over their ranges. `WGLOSS_SOAK` says how many
//! there are in each part, `WGLOSS_SOAK_SEED` where they begin; for hours of them there is `wgloss check --soak`.

use crate::{Test, table};
use libtest_mimic::Failed;
use wgloss::check::{self, Case};
use wgloss::host::Gpu;

pub const TESTS: &[Test] = &[
    ("soak/first", part::<0>),
    ("soak/second", part::<1>),
    ("soak/third", part::<2>),
    ("soak/fourth", part::<3>),
];

fn number(variable: &str, default: u64) -> Result<u64, Failed> {
    match std::env::var(variable) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

fn part<const PART: u64>(gpu: &Gpu) -> Result<(), Failed> {
    let count = number("WGLOSS_SOAK", 6 * check::ALIKE)?;
    let first = number("WGLOSS_SOAK_SEED", 0)? + PART * count;
    let cases: Vec<Box<dyn Case>> = (first..first + count).map(check::random_case).collect();
    table::run_each(gpu, cases.iter().map(|case| &**case))
}
