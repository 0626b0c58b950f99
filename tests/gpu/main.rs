//! The kernels on a device: the case table in every variant that the device allows, and how calls are embedded.
//!
//! Without an adapter all of them show as ignored; with `WGLOSS_REQUIRE_GPU=1` that is a failure instead.

mod table;

use libtest_mimic::{Arguments, Failed, Trial};
use wgloss::host::Gpu;

fn main() {
    let args = Arguments::from_args();
    let gpu = Gpu::open(None);
    let required = std::env::var("WGLOSS_REQUIRE_GPU").is_ok_and(|v| v == "1");
    let trials = match gpu {
        Ok(gpu) => {
            let info = gpu.info();
            eprintln!(
                "adapter: {} ({} {}), default variant {}",
                info.name,
                info.driver,
                info.driver_info,
                gpu.context().variant()
            );
            table::trials(&gpu)
        }
        Err(error) if required => {
            let message = error.to_string();
            vec![Trial::test("adapter", move || Err(Failed::from(message)))]
        }
        Err(error) => {
            eprintln!("ignored: {error}");
            vec![Trial::test("adapter", || Ok(())).with_ignored_flag(true)]
        }
    };
    libtest_mimic::run(&args, trials).exit();
}
