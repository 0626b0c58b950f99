//! Measuring a subject: on the device with every clock, and as the reference.

use super::progress::Progress;
use crate::subject::Subject;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wgloss::Error;
use wgloss::check::{Clock, CopyKernel, MultiplyAdd, Quantiles, Timer};
use wgloss::host::Gpu;

/// Bytes of tensors that lie between two uses of the same: more than any cache.
const ROTATED: u64 = 256 << 20;
/// How often and how long a call is prepared once more: some of the slow ones, and many of those that take no time.
const WARM: [(usize, Duration); 2] = [
    (9, Duration::from_millis(200)),
    (2000, Duration::from_millis(20)),
];

/// How much is to be spent.
#[derive(Clone, Copy)]
pub struct Effort {
    pub warm_up: Duration,
    /// Of each clock.
    pub budget: Duration,
    /// Least samples of each clock.
    pub least: usize,
    /// Sets of tensors; none for as many as exceed the caches.
    pub sets: Option<u64>,
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    pub device: Option<OnDevice>,
    pub reference: Option<Quantiles>,
    /// Why nothing was.
    pub skipped: Option<String>,
}

pub struct OnDevice {
    /// The clock of `gpu` and of the limit.
    pub clock: Clock,
    /// Making a context, preparing with nothing compiled, the first run.
    pub start: [Duration; 3],
    /// Preparing with everything compiled.
    pub warm: Duration,
    pub gpu: Option<Quantiles>,
    pub wall: Quantiles,
    pub dispatches: usize,
    pub scratch: u64,
    pub bytes: u64,
    pub sets: usize,
    pub set_bytes: u64,
    pub limit: Limit,
}

/// What the device could do at most.
#[derive(Clone, Copy)]
pub enum Limit {
    /// A copy of the input: how long it takes, and the bytes that it reads and writes.
    Copy { time: Duration, bytes: u64 },
    /// Operations of the call's products, and operations a second that multiply-adds in registers reach.
    Peak { flops: u64, per_second: f64 },
}

/// The limits of a device, each measured once.
#[derive(Default)]
pub struct Limits {
    copies: BTreeMap<u64, Limit>,
    peak: Option<f64>,
}

impl OnDevice {
    /// The time of a call, by the better clock.
    pub fn time(&self) -> Quantiles {
        self.gpu.unwrap_or(self.wall)
    }

    /// From nothing to the first loss.
    pub fn first(&self) -> Duration {
        self.start.iter().sum()
    }
}

impl Limit {
    /// The speed of the limit, a second: bytes or operations.
    pub fn speed(&self) -> f64 {
        match *self {
            Limit::Copy { time, bytes } => bytes as f64 / time.as_secs_f64(),
            Limit::Peak { per_second, .. } => per_second,
        }
    }
}

impl Limits {
    fn of(&mut self, gpu: &Gpu, subject: &Subject, effort: Effort) -> Result<Limit, Error> {
        match subject.workload.flops() {
            Some(flops) => Ok(Limit::Peak {
                flops,
                per_second: self.peak(gpu, effort)?,
            }),
            None => self.copy(gpu, subject.workload.input_bytes(), effort),
        }
    }

    fn copy(&mut self, gpu: &Gpu, input: u64, effort: Effort) -> Result<Limit, Error> {
        if let Some(limit) = self.copies.get(&input) {
            return Ok(*limit);
        }
        let rotated = match effort.sets {
            Some(sets) => sets.saturating_mul(2 * input),
            None => ROTATED,
        };
        let kernel = CopyKernel::new(gpu, input, rotated)?;
        let timer = Timer::new(gpu, &kernel, effort.warm_up / 2)?;
        let limit = Limit::Copy {
            time: timer.sample(effort.budget / 2, effort.least)?.median,
            bytes: kernel.moved(),
        };
        self.copies.insert(input, limit);
        Ok(limit)
    }

    fn peak(&mut self, gpu: &Gpu, effort: Effort) -> Result<f64, Error> {
        if let Some(peak) = self.peak {
            return Ok(peak);
        }
        let kernel = MultiplyAdd::new(gpu)?;
        let timer = Timer::new(gpu, &kernel, effort.warm_up)?;
        let time = timer.sample(effort.budget, 5)?.median;
        let peak = kernel.flops() as f64 / time.as_secs_f64();
        self.peak = Some(peak);
        Ok(peak)
    }
}

/// Prepares a subject in a context of its own and measures it.
pub fn on_device(
    gpu: &Gpu,
    subject: &Subject,
    effort: Effort,
    limits: &mut Limits,
    progress: &Progress,
) -> Result<OnDevice, Error> {
    progress.say("data and kernels");
    let began = Instant::now();
    let gpu = &gpu.with_new_context()?;
    let context = began.elapsed();
    let mut work = subject.workload.on_gpu(gpu)?;
    let first = work.run(gpu)?;
    let began = Instant::now();
    let mut again = Vec::new();
    let is_little = |done: usize| {
        let (took, mut efforts) = (began.elapsed(), WARM.iter());
        efforts.any(|(count, time)| done < *count && took < *time)
    };
    while again.is_empty() || is_little(again.len()) {
        again.push(work.prepare_again(gpu)?);
    }
    let sets = effort
        .sets
        .map(|sets| sets.saturating_mul(work.set_bytes()));
    work.rotate(gpu, sets.unwrap_or(ROTATED))?;
    progress.say("warm-up");
    let timer = Timer::new(gpu, &work, effort.warm_up)?;
    progress.say("gpu");
    let time = match timer.clock() {
        Clock::Timestamps => Some(timer.sample(effort.budget, effort.least)?),
        Clock::SubmitAndWait => None,
    };
    progress.say("wall");
    let wall = Quantiles::sample(effort.budget, effort.least, || Ok(vec![timer.wall()?]))?;
    progress.say("limit");
    let limit = limits.of(gpu, subject, effort)?;
    Ok(OnDevice {
        clock: timer.clock(),
        start: [context, work.prepare_time(), first],
        warm: Quantiles::of(again).median,
        gpu: time,
        wall,
        dispatches: work.plan().steps.len(),
        scratch: work.plan().scratch_bytes,
        bytes: work.bytes(),
        sets: work.sets(),
        set_bytes: work.set_bytes(),
        limit,
    })
}

/// Measures the reference.
pub fn on_host(
    subject: &Subject,
    budget: Duration,
    progress: &Progress,
) -> Result<Quantiles, Error> {
    progress.say("reference");
    let work = subject.workload.on_host()?;
    work()?;
    Quantiles::sample(budget, 3, || {
        progress.say("reference");
        let began = Instant::now();
        work()?;
        Ok(vec![began.elapsed()])
    })
}
