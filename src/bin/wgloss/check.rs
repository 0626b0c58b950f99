//! `wgloss check`: every kernel and variant against the CPU reference.

use crate::report;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wgloss::check::{self, Case, Depth, Outcome};
use wgloss::host::{self, Gpu};
use wgloss::{Context, Error, ErrorKind, Fault, Variant, wgpu};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Part of an adapter's name
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// Every adapter of this machine
    #[arg(long)]
    pub all: bool,
    /// A sample of the cases, in under a minute. The whole table compiles thousands of kernels, which takes a software
    /// driver the better part of an hour
    #[arg(long)]
    pub quick: bool,
    /// Cooperative matrices too, where the adapter offers them: an experimental feature of wgpu, which may have bugs
    #[arg(long)]
    pub cooperative: bool,
}

/// What a variant's cases came to.
#[derive(Default)]
struct Tally {
    cases: usize,
    worst: f64,
    seconds: f64,
    failures: Vec<String>,
}

pub fn check(args: &CheckArgs) -> Result<ExitCode, Error> {
    let wanted = args.adapter.as_deref().unwrap_or("").to_lowercase();
    let adapters: Vec<wgpu::Adapter> = host::adapters()
        .into_iter()
        .filter(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted))
        .collect();
    if adapters.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "adapter",
            match &args.adapter {
                Some(name) => format!("one whose name contains {name:?}"),
                None => {
                    "a GPU or a software driver for one (scripts/driver.sh installs one)".into()
                }
            },
            "none",
        ));
    }
    let mut good = true;
    let mut one_done = false;
    for adapter in &adapters {
        if one_done && !args.all {
            break;
        }
        let info = adapter.get_info();
        report::print(&format!(
            "{} ({:?}, {} {})",
            info.name, info.backend, info.driver, info.driver_info
        ))?;
        let offered = Context::cooperative_matrices(adapter);
        let cooperative = args.cooperative && offered.is_some();
        let (gpu, faults) = match open(adapter, cooperative).and_then(|gpu| gpu.qualified()) {
            Ok(tested) => tested,
            Err(error) => {
                report::print(&format!("  self-test FAILED: {error}"))?;
                good = false;
                continue;
            }
        };
        for fault in &faults {
            report::print(&format!("  self-test FAILED, used without: {fault}"))?;
            good = false;
        }
        if faults.is_empty() {
            report::print("  self-test passed")?;
        }
        let told = match (offered, args.cooperative) {
            (Some(side), false) => Some(format!(
                "it offers cooperative matrices of {side}x{side}: --cooperative checks them too"
            )),
            (None, true) => {
                Some("it offers no cooperative matrices that there are kernels for".into())
            }
            _ => None,
        };
        if let Some(told) = told {
            report::print(&format!("  {told}"))?;
        }
        one_done = true;
        let sound = |variant: &Variant| {
            let same = |fault: &Fault| variant.without(fault.probe) == Some(*variant);
            faults.iter().all(same)
        };
        good &= check_device(adapter, &gpu, sound, args.quick, cooperative)?;
    }
    Ok(if good && one_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Opens an adapter, with cooperative matrices or without.
fn open(adapter: &wgpu::Adapter, cooperative: bool) -> Result<Gpu, Error> {
    match cooperative {
        true => Gpu::cooperative(adapter, adapter.limits()),
        false => Gpu::from_adapter(adapter),
    }
}

/// Runs the table on one device, in the variants that are sound there, and prints what came out. True where everything is
/// within tolerance.
fn check_device(
    adapter: &wgpu::Adapter,
    gpu: &Gpu,
    sound: impl Fn(&Variant) -> bool,
    quick: bool,
    cooperative: bool,
) -> Result<bool, Error> {
    let default = match gpu.context().variant() {
        variant if variant.cooperative => gpu.context().caps().default_variant(),
        variant => variant,
    };
    let mut variants = gpu.context().caps().variants();
    variants.retain(sound);
    let mut work: Vec<(usize, Box<dyn Case>)> = Vec::new();
    for (i, variant) in variants.iter().enumerate() {
        let depth = match (quick, *variant == default) {
            (false, true) => Depth::Full,
            (false, false) => Depth::Every,
            (true, _) => Depth::Sample,
        };
        let cases = match (quick, *variant == default) {
            // Losses of rows know nothing of them.
            _ if variant.cooperative => Vec::new(),
            (false, true) => check::row_cases(Depth::Full),
            (false, false) => check::row_cases(Depth::Every),
            // Every loss once; with each of the other variants one or two, in turn.
            (true, true) => {
                let mut cases = check::row_cases(Depth::Sample);
                cases.dedup_by_key(|case| case.name);
                cases
            }
            (true, false) => {
                let cases = check::row_cases(Depth::Sample).into_iter();
                cases.skip(7 * i % 36).step_by(36).collect()
            }
        };
        let others = match quick && *variant != default && !variant.cooperative {
            true => Vec::new(),
            false => check::other_cases(depth, *variant, default),
        };
        work.extend(
            check::boxed(cases)
                .into_iter()
                .chain(others)
                .map(|case| (i, case)),
        );
    }
    let bar = ProgressBar::new(work.len() as u64).with_style(
        ProgressStyle::with_template("  {bar:40} {pos}/{len} cases, {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let tallies: Vec<Mutex<Tally>> = variants.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    // A device each: drivers compile the kernels of one device one after the other.
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    let result: Result<(), Error> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<(), Error> {
                    let gpu = open(adapter, cooperative)?;
                    while let Some((i, case)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = Instant::now();
                        let outcome = check::run(&gpu.with_variant(variants[*i])?, &**case);
                        note(&tallies[*i], &**case, outcome, began.elapsed());
                        bar.set_message(variants[*i].to_string());
                        bar.inc(1);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| {
                let (done, all) = (bar.position(), work.len());
                let reason = format!("stopped by a panic after {done} of {all} cases");
                Error::because(ErrorKind::Device, "check", reason)
            })??;
        }
        Ok(())
    });
    bar.finish_and_clear();
    result?;
    print_tallies(&variants, default, tallies)
}

fn note(tally: &Mutex<Tally>, case: &dyn Case, outcome: Result<Outcome, Error>, took: Duration) {
    let mut tally = tally
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    tally.cases += 1;
    tally.seconds += took.as_secs_f64();
    match outcome {
        Ok(Outcome::Passed(share)) => tally.worst = tally.worst.max(share),
        Ok(Outcome::Failed(message)) => tally.failures.push(format!("{case}: {message}")),
        Err(error) => tally.failures.push(format!("{case}: {error}")),
    }
}

fn print_tallies(
    variants: &[Variant],
    default: Variant,
    tallies: Vec<Mutex<Tally>>,
) -> Result<bool, Error> {
    report::print(&format!(
        "  {:<32} {:>6} {:>7} {:>22} {:>8}",
        "variant", "cases", "failed", "worst error/tolerance", "seconds"
    ))?;
    let mut failures = Vec::new();
    let mut cases = 0;
    for (variant, tally) in variants.iter().zip(tallies) {
        let tally = tally
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mark = if *variant == default {
            " (default)"
        } else {
            ""
        };
        report::print(&format!(
            "  {:<32} {:>6} {:>7} {:>22.3} {:>8.1}",
            format!("{variant}{mark}"),
            tally.cases,
            tally.failures.len(),
            tally.worst,
            tally.seconds
        ))?;
        cases += tally.cases;
        failures.extend(
            tally
                .failures
                .into_iter()
                .map(|failure| format!("{variant} {failure}")),
        );
    }
    for failure in &failures {
        report::print(&format!("  FAILED {failure}"))?;
    }
    report::print(&match failures.len() {
        0 => format!("  all {cases} cases within tolerance of the CPU reference"),
        n => format!("  {n} of {cases} cases FAILED"),
    })?;
    Ok(failures.is_empty())
}
