//! Work that is awaited instead of waited for, beside what blocks.

use crate::embed::Problem;
use crate::{Test, adapter_of};
use libtest_mimic::Failed;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use wgloss::check::{self, Depth};
use wgloss::host::{
    self, Dense, Embeddings, Engine, Gpu, HcalBatch, McmRows, MetricsRows, Rows, Values, Wanted,
};
use wgloss::{
    Balance, Contrastive, Error, ErrorKind, Hcal, Hierarchy, Levels, Mcm, Metrics, Targets, Zlpr,
    wgpu,
};

pub const TESTS: &[Test] = &[
    ("futures/give_what_blocking_calls_give", futures),
    ("futures/end_on_errors_and_on_lost_devices", lost_futures),
];

/// Polls a device on a thread of its own until it is dropped, as a program would that awaits futures.
struct Poller(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Poller {
    fn of(gpu: &Gpu) -> Poller {
        let (ended, device) = (Arc::<AtomicBool>::default(), gpu.context().device().clone());
        let flag = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let _ = device.poll(wgpu::PollType::Poll);
                thread::sleep(Duration::from_millis(1));
            }
        });
        Poller(ended, Some(thread))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Sleeps until the future is ready: without a wake it is not asked again, and the test hangs until it fails.
fn awaited<T>(future: impl Future<Output = T> + Send) -> Result<T, Failed> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let began = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(value);
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err("a future was not ready within 60 s".into());
        }
        thread::park_timeout(Duration::from_secs(60));
    }
}

/// The same by hand: polls the device whenever the future is not ready.
fn polled<T>(gpu: &Gpu, future: impl Future<Output = T>) -> Result<T, Failed> {
    let mut future = pin!(future);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Ok(value);
        }
        let _ = gpu.context().device().poll(wgpu::PollType::Poll);
    }
    Err("a future was not ready within 60 s".into())
}

fn same<T: PartialEq + Debug>(what: &str, blocking: T, future: T) -> Result<(), Failed> {
    match blocking == future {
        true => Ok(()),
        false => Err(format!("{what}: {blocking:?} blocking, {future:?} awaited").into()),
    }
}

/// Every future beside its blocking twin: the same bits.
fn futures(gpu: &Gpu) -> Result<(), Failed> {
    let problem = Problem::new(gpu, 33, 17, 11)?;
    let call = problem.prepare(gpu, Zlpr::hard())?;
    gpu.run(&[&call])?;
    let expected = problem.bytes(gpu)?;
    let other = Problem::new(gpu, 33, 17, 11)?;
    let call = other.prepare(gpu, Zlpr::hard())?;
    polled(gpu, gpu.run_async(&[&call]))??;
    let grad = 4 * 33 * 17;
    let mut found = polled(gpu, gpu.download_async(&other.loss, 4))??;
    found.extend(polled(gpu, gpu.download_async(&other.grad, grad))??);
    same("run and download", expected, found)?;
    let nothing = polled(gpu, gpu.download_async(&other.grad, 0))??;
    same("nothing", Vec::new(), nothing)?;

    let _poller = Poller::of(gpu);
    awaited(host::self_test_async(gpu))??;
    let variant = gpu.context().variant();
    for case in check::other_cases(Depth::Sample, variant, variant)
        .iter()
        .take(2)
    {
        let run = awaited(check::run_async(gpu, &**case))??;
        same(&case.to_string(), check::run(gpu, &**case)?, run)?;
    }

    let engine = Engine::on(gpu.clone());
    let numbers: Vec<f32> = (0..4 * 7)
        .map(|i| ((i * 37) % 19) as f32 / 5.0 - 2.0)
        .collect();
    let flags: Vec<u8> = (0..4 * 7).map(|i| u8::from(i % 3 == 0)).collect();
    let (values, wanted) = (Values::F32(&numbers), Wanted::Gradients);
    let targets = Targets::Dense(Dense::Flags(&flags));

    let (loss, rows) = (Zlpr::hard(), Rows::new(4, 7, values, targets));
    let found = awaited(engine.rows_async(&loss, &rows, wanted))??;
    same("rows", engine.rows(&loss, &rows, wanted)?, found)?;

    let (loss, labels) = (Contrastive::sim_dis(), Targets::Dense(&flags[..]));
    let batch = Embeddings::new(4, 7, 7, values, labels);
    let found = awaited(engine.contrastive_async(&loss, &batch, wanted))??;
    same(
        "contrastive",
        engine.contrastive(&loss, &batch, wanted)?,
        found,
    )?;
    let found = awaited(engine.relations_async(&batch))??;
    same("relations", engine.relations(&batch)?, found)?;

    let tree = Hierarchy::from_edges(7, &[[0, 1], [0, 2], [1, 3], [1, 4], [2, 5], [2, 6]])?;
    let (loss, rows) = (Mcm::default(), McmRows::new(4, values, targets));
    let found = awaited(engine.mcm_async(&loss, &tree, &rows, wanted))??;
    same("mcm", engine.mcm(&loss, &tree, &rows, wanted)?, found)?;

    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let prototypes = [Values::F32(&numbers[7..28]), Values::F32(&numbers[..14])];
    let labels = [0, 2, 1, 2, 0, 1, 0, 1];
    let loss = Hcal::default();
    let batch = HcalBatch {
        samples: 4,
        dim: 7,
        features: values,
        prototypes: &prototypes,
        labels: &labels,
        noise: None,
        balance: None,
        grad_loss: None,
    };
    let found = awaited(engine.hcal_async(&loss, &levels, &batch, wanted))??;
    same("hcal", engine.hcal(&loss, &levels, &batch, wanted)?, found)?;

    let losses = [1.0, 2.0, 0.5];
    let weighed = engine.balance(&Balance::default(), &losses, None, None)?;
    let found = awaited(engine.balance_async(&Balance::default(), &losses, None, None))??;
    same("balance", weighed, found)?;

    let (metrics, rows) = (Metrics::default(), MetricsRows::new(4, 7, values, targets));
    let found = awaited(engine.metrics_async(&metrics, &rows))??;
    same("metrics", engine.metrics(&metrics, &rows)?, found)
}

/// A refused command, a buffer that is too short and a lost device are errors of the future, and none is waited for forever.
fn lost_futures(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let lost = polled(gpu, Gpu::from_adapter_async(&adapter))??;
    let kind = |what: &str, expected: ErrorKind, found: Result<(), Error>| match found {
        Err(error) if error.kind() == expected => Ok(()),
        other => Err(Failed::from(format!("{what}: {other:?}"))),
    };
    let buffer = lost.zeros(8)?;
    let found = polled(&lost, lost.download_async(&buffer, 12))?;
    kind("too short", ErrorKind::Buffer, found.map(|_| ()))?;

    let gone = lost.zeros(8)?;
    gone.destroy();
    let device = lost.context().device();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(&gone, 0, &buffer, 0, 8);
    let found = polled(&lost, lost.finish_async(encoder))?;
    kind("a destroyed buffer", ErrorKind::Device, found)?;
    // That was the caller's fault and not the device's.
    polled(&lost, lost.download_async(&buffer, 8))??;

    let mut coming = pin!(lost.download_async(&buffer, 8));
    let first = coming
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    device.destroy();
    // What was submitted before may still come.
    if first.is_pending() {
        let _ = polled(&lost, coming)?;
    }
    let found = polled(&lost, lost.download_async(&buffer, 8))?;
    kind("a lost device", ErrorKind::Device, found.map(|_| ()))?;
    let found = polled(&lost, lost.run_async(&[]))?;
    kind("a lost device", ErrorKind::Device, found)
}
