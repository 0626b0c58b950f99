//! The kernels on a device: the case table in every variant that the device allows, the borders of the regimes, and how
//! calls are embedded.
//!
//! Without an adapter all of them show as ignored; with `WGLOSS_REQUIRE_GPU=1` that is a failure instead.

mod contrastive;
mod embed;
mod hcal;
mod mcm;
mod per_label;
mod regimes;
mod table;
mod wdl;
mod zlpr;

use libtest_mimic::{Arguments, Failed, Trial};
use wgloss::host::{self, Gpu};
use wgloss::{Error, wgpu};

/// A test by hand: its name and what it does on a device.
pub type Test = (&'static str, fn(&Gpu) -> Result<(), Failed>);

/// The first adapter that passes the self-test, opened twice.
fn devices() -> Result<[Gpu; 2], Error> {
    let first = Gpu::open(None)?;
    let same = |adapter: &wgpu::Adapter| adapter.get_info() == *first.info();
    let second = match host::adapters().into_iter().find(same) {
        Some(adapter) => Gpu::from_adapter(&adapter)?,
        None => first.clone(),
    };
    Ok([first, second])
}

fn main() {
    let args = Arguments::from_args();
    let required = std::env::var("WGLOSS_REQUIRE_GPU").is_ok_and(|v| v == "1");
    let tests: Vec<Test> = [
        regimes::TESTS,
        embed::TESTS,
        zlpr::TESTS,
        per_label::TESTS,
        wdl::TESTS,
        contrastive::TESTS,
        mcm::TESTS,
        hcal::TESTS,
    ]
    .concat();
    let trials = match devices() {
        Ok(devices) => {
            let info = devices[0].info();
            eprintln!(
                "adapter: {} ({} {}), default variant {}",
                info.name,
                info.driver,
                info.driver_info,
                devices[0].context().variant()
            );
            let mut trials = table::trials(&devices);
            for (i, (name, test)) in tests.into_iter().enumerate() {
                let gpu = devices[i % 2].clone();
                trials.push(Trial::test(name, move || test(&gpu)));
            }
            trials
        }
        Err(error) if required => {
            let message = error.to_string();
            vec![Trial::test("adapter", move || Err(Failed::from(message)))]
        }
        Err(error) => {
            eprintln!("ignored: {error}");
            let names = tests.iter().map(|(name, _)| (*name).to_string());
            names
                .chain(table::names())
                .map(|name| Trial::test(name, || Err("no adapter".into())).with_ignored_flag(true))
                .collect()
        }
    };
    libtest_mimic::run(&args, trials).exit();
}
