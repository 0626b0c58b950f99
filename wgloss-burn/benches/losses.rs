//! Loss and gradient by our kernels beside burn's tensor operations, on one adapter and in one run.
//!
//!     cargo bench
//!
//! Of each shape: the time until the gradient is there (and how long the calls themselves keep the host), the median of rounds
//! in which both take turns. `WGLOSS_BENCH_SMOKE=1` makes one short round, as a test.

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, Int, Tensor};
use std::hint::black_box;
use std::time::{Duration, Instant};
use wgloss_burn::{ContrastiveLossConfig, ZlprLossConfig, forget, share};

/// What is measured: a step from leaves to their gradient.
type Step = Box<dyn Fn() -> Tensor<2>>;

/// Makes the step of a shape.
type Make = fn(usize, usize, &Device) -> Step;

fn numbers(count: usize, seed: u32) -> impl Iterator<Item = u32> {
    let mut x = seed;
    (0..count).map(move |_| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x >> 8
    })
}

fn reals(rows: usize, cols: usize, device: &Device) -> Tensor<2> {
    let all: Vec<f32> = numbers(rows * cols, 1)
        .map(|x| x as f32 / (1 << 22) as f32 - 2.0)
        .collect();
    Tensor::<1>::from_floats(all.as_slice(), device)
        .reshape([rows, cols])
        .require_grad()
}

/// One label in `of`, at least in the mean.
fn flags(rows: usize, cols: usize, of: u32, device: &Device) -> Tensor<2, Int> {
    let all: Vec<i32> = numbers(rows * cols, 2)
        .map(|x| i32::from(x % of == 0))
        .collect();
    Tensor::<1, Int>::from_ints(all.as_slice(), device).reshape([rows, cols])
}

fn zlpr(rows: usize, cols: usize, device: &Device) -> Step {
    let (logits, targets) = (reals(rows, cols, device), flags(rows, cols, 50, device));
    let loss = ZlprLossConfig::new().init(device);
    Box::new(move || {
        let grads = loss.forward(logits.clone(), targets.clone()).backward();
        logits.grad(&grads).expect("a gradient")
    })
}

fn sim_dis(rows: usize, dims: usize, device: &Device) -> Step {
    let (embeddings, labels) = (reals(rows, dims, device), flags(rows, 20, 7, device));
    let loss = ContrastiveLossConfig::new().init(device);
    Box::new(move || {
        let grads = loss.forward(embeddings.clone(), labels.clone()).backward();
        embeddings.grad(&grads).expect("a gradient")
    })
}

/// How long until the gradient is there, and until the host is free.
fn time(step: &Step, device: &Device) -> (Duration, Duration) {
    let began = Instant::now();
    let gradient = black_box(step());
    let free = began.elapsed();
    device.sync().expect("a device that works");
    let done = began.elapsed();
    drop(gradient);
    (done, free)
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    let smoke = std::env::var_os("WGLOSS_BENCH_SMOKE").is_some();
    // `cargo test` runs benchmarks too, to see that they build and run.
    let smoke = smoke || !std::env::args().any(|argument| argument == "--bench");
    let (plain, setup) = match Device::wgpu_options().init_with_setup() {
        Ok(made) => made,
        Err(error) => {
            println!("no adapter, so nothing is measured: {error}");
            return;
        }
    };
    let info = setup.adapter.get_info();
    println!(
        "adapter {} ({} {})",
        info.name, info.driver, info.driver_info
    );
    println!("fusion {}", cfg!(feature = "fusion"));
    let device = plain.clone().autodiff();
    let shapes: [(&str, Make, usize, usize); 3] = [
        ("zlpr", zlpr, 64, 1000),
        ("zlpr", zlpr, 1024, 8192),
        ("simdis", sim_dis, 1024, 128),
    ];
    let rounds = if smoke { 1 } else { 15 };
    println!(
        "\n{:<24}{:>14}{:>14}{:>8}{:>16}{:>16}",
        "ms, loss and gradient",
        "kernels",
        "operations",
        "ratio",
        "host, kernels",
        "host, operations"
    );
    for (name, make, rows, cols) in shapes {
        if smoke && rows * cols > 1 << 20 {
            continue;
        }
        let step = make(rows, cols, &device);
        let way = |kernels: bool, setup: &WgpuSetup| match kernels {
            true => share(&plain, setup.clone()).expect("a device that wgloss can use"),
            false => forget(&plain),
        };
        let mut all = [
            (true, Vec::new(), Vec::new()),
            (false, Vec::new(), Vec::new()),
        ];
        for round in 0..rounds {
            for (kernels, done, free) in &mut all {
                way(*kernels, &setup);
                // Forgetting lets what was prepared go, and the first steps compile; they do not count.
                for _ in 0..if round == 0 { 3 } else { 2 } {
                    time(&step, &plain);
                }
                for _ in 0..if smoke { 1 } else { 3 } {
                    let (until_done, until_free) = time(&step, &plain);
                    done.push(until_done);
                    free.push(until_free);
                }
            }
        }
        let [kernels, operations] = all.map(|(_, done, free)| (median(done), median(free)));
        println!(
            "{:<24}{:>14.3}{:>14.3}{:>8.2}{:>16.3}{:>16.3}",
            format!("{name} [{rows}, {cols}]"),
            kernels.0,
            operations.0,
            operations.0 / kernels.0,
            kernels.1,
            operations.1
        );
    }
}
