//! Words that nobody has checked: whatever lies in the tensors that kernels follow, each call ends, and writes nothing but
//! its outputs.

use crate::Test;
use libtest_mimic::Failed;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use wgloss::DType;
use wgloss::check::{self, Case, Depth, Outcome, RowCase, SPARSE};
use wgloss::host::Gpu;

pub const TESTS: &[Test] = &[
    ("hostile/lists_and_permutations_of_rows", rows),
    ("hostile/contrastive", contrastive),
    ("hostile/hierarchies", hierarchies),
    ("hostile/levels_and_labels_of_hcal", levels),
    ("hostile/metrics", metrics),
];

/// How long a call may take, with its kernels still to be compiled.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs each case with words from a few seeds. A kernel that does not end cannot be stopped, so the whole process is.
fn run<C: Case + 'static>(gpu: &Gpu, cases: Vec<C>) -> Result<(), Failed> {
    let (done, wait) = channel();
    let watch = std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            match wait.recv_timeout(LIMIT) {
                Ok(next) => last = next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{last}: not done within {} s", LIMIT.as_secs());
                    std::process::exit(101);
                }
            }
        }
    });
    let mut failures = Vec::new();
    for case in &cases {
        for seed in 0..4 {
            let name = format!("{case}, words {seed}");
            done.send(name.clone())?;
            match check::run_hostile(gpu, case, seed)? {
                Outcome::Passed(_) => {}
                Outcome::Failed(message) => failures.push(format!("{name}: {message}")),
            }
        }
    }
    drop(done);
    watch.join().map_err(|_| "the watch has failed")?;
    match failures.is_empty() {
        true if cases.is_empty() => Err("there are no cases".into()),
        true => Ok(()),
        false => Err(failures.join("\n").into()),
    }
}

fn rows(gpu: &Gpu) -> Result<(), Failed> {
    let all = check::row_cases(Depth::Every).into_iter();
    let follows = |case: &RowCase| {
        case.dtype == DType::F32 && (case.form == SPARSE || case.name.starts_with("wdl"))
    };
    run(gpu, all.filter(follows).collect())
}

fn contrastive(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, check::contrastive_cases(Depth::Sample))
}

fn hierarchies(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, check::mcm_cases(Depth::Sample))
}

fn levels(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, check::hcal_cases(Depth::Sample))
}

fn metrics(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, check::metrics_cases(Depth::Sample))
}
