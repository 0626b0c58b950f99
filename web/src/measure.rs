//! What takes a while: the qualification of a GPU, and the benchmark.

use js_sys::Function;
use std::time::Duration;
use wasm_bindgen::prelude::{JsError, JsValue};
use web_time::Instant;
use wgloss::check::{self, CopyKernel, Qualification, RowWorkload, Tally, Timed, Workload};
use wgloss::host::Gpu;
use wgloss::{Entry, Error};

/// What is measured: a few labels and many, and rows of text classification.
const LOSSES: [&str; 4] = ["zlpr", "bce", "softmax-ce", "wdl"];
const SHAPES: [(usize, usize); 3] = [(8192, 80), (1024, 983), (512, 8192)];
/// Bytes that a copy moves one way, to compare with.
const COPY: u64 = 32 << 20;
/// How long a submission is to take: browsers end those that run for seconds. And the most calls of one.
const SUBMISSION: Duration = Duration::from_millis(200);
const MOST_CALLS: u128 = 200;
/// Submissions that are timed, of which the median counts.
const TIMES: usize = 5;

fn thrown(error: Error) -> JsValue {
    JsError::from(error).into()
}

fn tell(progress: &Function, done: usize, all: usize) -> Result<(), JsValue> {
    let (done, all) = (JsValue::from(done as f64), JsValue::from(all as f64));
    progress.call2(&JsValue::NULL, &done, &all).map(|_| ())
}

/// The lines above a report.
fn head(gpu: &Gpu, what: &str, machine: &str) -> String {
    let (device, caps) = (gpu.context().device(), gpu.context().caps());
    let limits = device.limits();
    let features = device.features();
    let version = env!("CARGO_PKG_VERSION");
    let features: Vec<&str> = features.iter_names().map(|(name, _)| name).collect();
    let features = match features[..] {
        [] => "none".into(),
        _ => features.join(", "),
    };
    format!(
        "wgloss {version}, {what}, in a browser\n{}\nkernel variant: {}\nfeatures: {features}\nlimits: {} bytes a \
         buffer, {} bytes a binding, {} storage buffers, {} lanes and {} bytes of memory a workgroup",
        machine.trim_end(),
        gpu.context().variant(),
        limits.max_buffer_size,
        caps.max_binding,
        limits.max_storage_buffers_per_shader_stage,
        caps.max_workgroup,
        caps.max_workgroup_bytes,
    )
}

/// Runs the cases of `wgloss check --quick` and gives the table.
pub async fn qualify(gpu: &Gpu, machine: &str, progress: &Function) -> Result<String, JsValue> {
    let caps = gpu.context().caps();
    let table = Qualification::new(caps.variants(), caps.default_variant(), true);
    let mut tallies = vec![Tally::default(); table.variants.len()];
    let all = table.cases().count();
    for (done, (variant, case)) in table.cases().enumerate() {
        tell(progress, done, all)?;
        let began = Instant::now();
        let outcome = match gpu.with_variant(table.variants[*variant]) {
            Ok(gpu) => check::run_async(&gpu, &**case).await,
            Err(error) => Err(error),
        };
        tallies[*variant].note(&**case, outcome, began.elapsed());
    }
    tell(progress, all, all)?;
    let head = head(gpu, "check --quick", machine);
    let table = table.table(&tallies);
    Ok(format!("{head}\n  self-test passed\n{table}\n"))
}

/// Time of one call, by the wall: that of many in one submission.
async fn time(gpu: &Gpu, subject: &dyn Timed) -> Result<f64, Error> {
    // The first call compiles.
    check::wall_async(gpu, subject, 1).await?;
    let one = check::wall_async(gpu, subject, 1).await?;
    let calls = SUBMISSION.as_nanos() / one.as_nanos().max(1);
    let calls = calls.clamp(1, MOST_CALLS) as usize;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let all = check::wall_async(gpu, subject, calls).await?;
        times.push(all.as_secs_f64() / calls as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMES / 2])
}

/// A row of the benchmark.
fn line(name: &str, shape: &str, seconds: f64, bytes: u64) -> String {
    let (micros, rate) = (seconds * 1e6, bytes as f64 / seconds / 1e9);
    format!("  {name:<12} {shape:>10} {micros:>12.1} {rate:>9.2}\n")
}

/// Measures losses with their gradients beside a copy.
pub async fn benchmark(gpu: &Gpu, machine: &str, progress: &Function) -> Result<String, JsValue> {
    let all = 1 + LOSSES.len() * SHAPES.len();
    let mut text = head(gpu, "benchmark of loss and gradient", machine);
    text += &format!(
        "\nwall time of a call among many in one submission, recording included; median of {TIMES}; GB/s: bytes that the \
         formula has to move, f32 logits, byte labels\n  {:<12} {:>10} {:>12} {:>9}\n",
        "loss", "shape", "microseconds", "GB/s"
    );
    tell(progress, 0, all)?;
    let copy = CopyKernel::new(gpu, COPY, 2 * COPY).map_err(thrown)?;
    let seconds = time(gpu, &copy).await.map_err(thrown)?;
    let shape = format!("{} MiB", COPY >> 20);
    text += &line("copy", &shape, seconds, copy.moved());
    drop(copy);
    let mut done = 1;
    for (rows, cols) in SHAPES {
        for name in LOSSES {
            tell(progress, done, all)?;
            done += 1;
            let none = || thrown(Error::value("loss", "one of the catalogue", name));
            let loss = Entry::named(name).ok_or_else(none)?.loss();
            let work = RowWorkload::plain(loss, rows, cols)
                .on_gpu(gpu)
                .map_err(thrown)?;
            let seconds = time(gpu, &work).await.map_err(thrown)?;
            text += &line(name, &format!("{rows}x{cols}"), seconds, work.bytes());
        }
    }
    tell(progress, all, all)?;
    Ok(text)
}
