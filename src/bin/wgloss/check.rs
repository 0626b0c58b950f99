//! `wgloss check`: every kernel and variant against the CPU reference.

use crate::report;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use wgloss::check::{self, Qualification, Tally};
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
    /// As many random calls in place of the table
    #[arg(long, value_name = "N", conflicts_with_all = ["quick", "cooperative"])]
    pub soak: Option<u64>,
    /// The seed of the first of these; each other's is the one before and 1
    #[arg(long, value_name = "N", default_value_t = 1, requires = "soak")]
    pub seed: u64,
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
        let default = match gpu.context().variant() {
            variant if variant.cooperative => gpu.context().caps().default_variant(),
            variant => variant,
        };
        let mut variants = gpu.context().caps().variants();
        variants.retain(sound);
        let table = match args.soak {
            Some(count) => Qualification::soak(variants, default, args.seed, count),
            None => Qualification::new(variants, default, args.quick),
        };
        good &= check_device(adapter, cooperative, &table)?;
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

/// Runs cases on one device, and prints what came out. True where everything is within tolerance.
fn check_device(
    adapter: &wgpu::Adapter,
    cooperative: bool,
    table: &Qualification,
) -> Result<bool, Error> {
    let variants = &table.variants;
    let bar = ProgressBar::new(table.cases().count() as u64).with_style(
        ProgressStyle::with_template("  {bar:40} {pos}/{len} cases, {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let tallies = Mutex::new(vec![Tally::default(); variants.len()]);
    let tallies_now = || tallies.lock().unwrap_or_else(PoisonError::into_inner);
    let next = AtomicUsize::new(0);
    // A device each: drivers compile the kernels of one device one after the other.
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    let result: Result<(), Error> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<(), Error> {
                    let mut gpu = open(adapter, cooperative)?;
                    let batch = || table.batches.get(next.fetch_add(1, Ordering::Relaxed));
                    for (i, case) in std::iter::from_fn(batch).flatten() {
                        let began = Instant::now();
                        let outcome = check::run(&gpu.with_variant(variants[*i])?, &**case);
                        // What is left of a device that did not answer fails all others.
                        if matches!(&outcome, Err(error) if error.kind() == ErrorKind::Device) {
                            gpu = open(adapter, cooperative)?;
                        }
                        tallies_now()[*i].note(&**case, outcome, began.elapsed());
                        bar.set_message(variants[*i].to_string());
                        bar.inc(1);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| {
                let done = bar.position();
                let reason = format!(
                    "stopped by a panic after {done} of {} cases",
                    table.cases().count()
                );
                Error::because(ErrorKind::Device, "check", reason)
            })??;
        }
        Ok(())
    });
    bar.finish_and_clear();
    result?;
    let tallies = tallies_now();
    report::print(&table.table(&tallies))?;
    Ok(tallies.iter().all(Tally::passed))
}
