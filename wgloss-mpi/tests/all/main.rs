//! Jobs of several ranks. The program begins itself again by the launcher, with the name of a case, which each rank then runs.
//!
//! `WGLOSS_MPIRUN` is the launcher with its options, `mpirun` unless it is set.

mod contrastive;
mod faults;
mod hcal;
mod job;
mod rows;
mod schemes;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(job::CASE) {
        return rank(&case);
    }
    // Each job takes all cores that there are.
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    let mut trials: Vec<Trial> = faults::trials();
    trials.extend(schemes::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One rank's part in a case.
fn rank(case: &str) -> ExitCode {
    let failed = match case.split_once("fault-") {
        // Where there was a world, it has said what was wrong.
        Some((_, way)) => match faults::rank(way) {
            Ok(()) => false,
            Err(error) => {
                if matches!(error, wgloss_mpi::Error::Launch(_)) {
                    eprintln!("{error}");
                }
                true
            }
        },
        None => match schemes::rank(case) {
            Ok(()) => false,
            Err(schemes::Failure::Job(error)) => {
                eprintln!("{error}");
                true
            }
            Err(schemes::Failure::Numbers(text)) => {
                eprintln!("{text}");
                true
            }
        },
    };
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
