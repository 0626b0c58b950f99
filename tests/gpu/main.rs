//! The kernels on a device: the case table in every variant that the device allows, the borders of the regimes, and how
//! calls are embedded.
//!
//! Without an adapter all of them show as ignored; with `WGLOSS_REQUIRE_GPU=1` that is a failure instead.

mod added;
mod added_outputs;
mod contrastive;
mod cooperative;
mod corners;
mod embed;
mod faults;
mod futures;
mod hcal;
mod hostile;
mod linear;
mod mcm;
mod metrics;
mod per_label;
mod regimes;
mod settings;
mod shards;
mod soak;
mod table;
mod verify;
mod wdl;
mod zlpr;

use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::host::{self, Gpu};
use wgloss::wgpu;

/// A test by hand: its name and what it does on a device.
pub type Test = (&'static str, fn(&Gpu) -> Result<(), Failed>);

/// Devices that no test uses now. A driver compiles for one device on one thread, so each thread of tests has its own.
#[derive(Default)]
pub struct Devices {
    free: Mutex<Vec<Gpu>>,
    /// How many tests failed on one device alone.
    odd: AtomicUsize,
}

/// Most tests that may fail on one device alone. Mesa's llvmpipe (25.0.7) has given about one device in some hundred a kernel
/// that computes wrongly, always the same, where the next device had a right one; two threads were compiling then.
const ODD: usize = 2;

impl Devices {
    /// Runs a test on a device of its own, and keeps that for the next. On a software driver a test has failed that fails
    /// on a second device too.
    pub fn lend(&self, test: impl Fn(&Gpu) -> Result<(), Failed>) -> Result<(), Failed> {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = free().pop();
        let gpu = idle.map_or_else(open, Ok)?;
        let Err(failed) = test(&gpu) else {
            free().push(gpu);
            return Ok(());
        };
        let software = gpu.info().device_type == wgpu::DeviceType::Cpu;
        drop(gpu);
        if !software || test(&open()?).is_err() {
            return Err(failed);
        }
        let message = failed.message().unwrap_or_default();
        eprintln!("FAILED ON ONE DEVICE, passed on the next: {message}");
        match self.odd.fetch_add(1, Ordering::Relaxed) < ODD {
            true => Ok(()),
            false => Err(failed),
        }
    }
}

/// A device whose calls find their scratch full of NaN: what they read there they have written.
fn open() -> Result<Gpu, wgloss::Error> {
    let gpu = Gpu::open(None)?;
    gpu.context().dirty_scratch();
    Ok(gpu)
}

/// The adapter that a device was opened on.
pub fn adapter_of(gpu: &Gpu) -> Result<wgpu::Adapter, Failed> {
    let mut all = host::adapters().into_iter();
    let found = all.find(|adapter| adapter.get_info() == *gpu.info());
    found.ok_or_else(|| "the adapter has gone".into())
}

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var("WGLOSS_REQUIRE_GPU").is_ok_and(|v| v == "1");
    let tests: Vec<Test> = [
        regimes::TESTS,
        settings::TESTS,
        added::TESTS,
        added_outputs::TESTS,
        embed::TESTS,
        faults::TESTS,
        futures::TESTS,
        zlpr::TESTS,
        per_label::TESTS,
        wdl::TESTS,
        contrastive::TESTS,
        mcm::TESTS,
        corners::TESTS,
        metrics::TESTS,
        hcal::TESTS,
        hostile::TESTS,
        linear::TESTS,
        shards::TESTS,
        verify::TESTS,
        soak::TESTS,
    ]
    .concat();
    let trials = match open() {
        Ok(gpu) => {
            let info = gpu.info();
            eprintln!(
                "adapter: {} ({} {}), default variant {}",
                info.name,
                info.driver,
                info.driver_info,
                gpu.context().variant()
            );
            let devices = Arc::new(Devices {
                free: Mutex::new(vec![gpu.clone()]),
                ..Devices::default()
            });
            let mut trials = table::trials(&gpu, &devices);
            trials.extend(cooperative::trials(&gpu));
            for (name, test) in tests {
                let devices = Arc::clone(&devices);
                trials.push(Trial::test(name, move || devices.lend(test)));
            }
            trials
        }
        Err(error) if required => {
            // Not a test, which a filter would leave out.
            eprintln!("adapter: {error}");
            std::process::exit(101);
        }
        Err(error) => {
            eprintln!("ignored: {error}");
            let names = tests
                .iter()
                .chain(cooperative::TESTS)
                .map(|(name, _)| (*name).to_string());
            names
                .chain(table::names())
                .map(|name| Trial::test(name, || Err("no adapter".into())).with_ignored_flag(true))
                .collect()
        }
    };
    libtest_mimic::run(&args, trials).exit();
}
