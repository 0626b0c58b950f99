//! The clocks.

use crate::check::measure::timed::{Quantiles, Timed, encoder, record, restore};
use crate::device::context;
use crate::error::Error;
use crate::host::Gpu;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Most passes of a submission, and about how long it may take: drivers kill dispatches that run for seconds.
const PASSES: u32 = 64;
const SUBMISSION: Duration = Duration::from_millis(100);
/// A call of this length needs no second one to warm up.
const LONG: Duration = Duration::from_secs(1);

/// Which clock gave a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps of the device before and after.
    Timestamps,
    /// The host's clock, from recording to the end of waiting.
    SubmitAndWait,
}

/// Times something, its rounds in turn.
pub struct Timer<'a> {
    gpu: &'a Gpu,
    subject: &'a dyn Timed,
    passes: u32,
    queries: Option<Queries>,
    next: Cell<usize>,
}

#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    ticks: wgpu::Buffer,
    nanoseconds: f64,
}

/// Wall time of recording a round, submitting it and waiting for it.
pub(super) fn wall(gpu: &Gpu, subject: &dyn Timed, round: usize) -> Result<Duration, Error> {
    let mut before = encoder(gpu);
    if restore(subject, round, &mut before) {
        gpu.finish(before)?;
    }
    let began = Instant::now();
    let mut encoder = encoder(gpu);
    record(subject, round, &mut encoder, None);
    gpu.finish(encoder)?;
    Ok(began.elapsed())
}

impl<'a> Timer<'a> {
    /// Warms up: every round once, and two calls at least (drivers compile at the first), unless one is long. The time of
    /// the warm-up begins behind the first call: while a driver compiles a card turns its clocks down.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &'a Gpu, subject: &'a dyn Timed, warm_up: Duration) -> Result<Self, Error> {
        let mut timer = Timer {
            gpu,
            subject,
            passes: 1,
            queries: Queries::new(gpu)?,
            next: Cell::new(0),
        };
        let least = subject.rounds().max(2);
        let mut wall = timer.wall()?;
        let mut calls = 1;
        let began = Instant::now();
        while calls < subject.rounds()
            || (wall < LONG && (calls < least || began.elapsed() < warm_up))
        {
            wall = timer.wall()?;
            calls += 1;
        }
        let passes = SUBMISSION.as_nanos() / wall.as_nanos().max(1);
        timer.passes = (passes as u32).clamp(1, PASSES);
        // Some drivers have timestamps that stand still or count something else.
        let began = Instant::now();
        let sane = match timer.queries {
            Some(_) => {
                let times = timer.gpu(u64::from(timer.passes))?;
                let sum: Duration = times.iter().sum();
                !sum.is_zero() && sum <= began.elapsed()
            }
            None => false,
        };
        timer.queries = timer.queries.filter(|_| sane);
        Ok(timer)
    }

    /// Whether [`Timer::gpu`] works: the device has timestamps, and they agree with the clock on the wall.
    pub fn has_timestamps(&self) -> bool {
        self.queries.is_some()
    }

    /// The better of the two clocks that there are.
    pub fn clock(&self) -> Clock {
        match self.has_timestamps() {
            true => Clock::Timestamps,
            false => Clock::SubmitAndWait,
        }
    }

    /// GPU times of up to `most` calls, each in a pass of its own between two timestamps, all in one submission that is
    /// kept short. An empty list where there are no timestamps.
    ///
    /// # Errors
    /// Device errors.
    pub fn gpu(&self, most: u64) -> Result<Vec<Duration>, Error> {
        let Some(queries) = &self.queries else {
            return Ok(Vec::new());
        };
        let passes = most.clamp(1, u64::from(self.passes)) as u32;
        let mut encoder = encoder(self.gpu);
        for i in 0..passes {
            let round = self.turn();
            restore(self.subject, round, &mut encoder);
            let writes = wgpu::ComputePassTimestampWrites {
                query_set: &queries.set,
                beginning_of_pass_write_index: Some(2 * i),
                end_of_pass_write_index: Some(2 * i + 1),
            };
            record(self.subject, round, &mut encoder, Some(writes));
        }
        encoder.resolve_query_set(&queries.set, 0..2 * passes, &queries.ticks, 0);
        self.gpu.finish(encoder)?;
        let bytes = self.gpu.download(&queries.ticks, 16 * u64::from(passes))?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let time = |pair: &[u64]| {
            let ticks = pair[1].saturating_sub(pair[0]);
            Duration::from_nanos((ticks as f64 * queries.nanoseconds) as u64)
        };
        Ok(ticks.chunks_exact(2).map(time).collect())
    }

    /// Wall time of recording one call, submitting it and waiting for it.
    ///
    /// # Errors
    /// Device errors.
    pub fn wall(&self) -> Result<Duration, Error> {
        wall(self.gpu, self.subject, self.turn())
    }

    /// Measures by [`Timer::clock`] until `budget` has passed and there are `least` times.
    ///
    /// # Errors
    /// Device errors.
    pub fn sample(&self, budget: Duration, least: usize) -> Result<Quantiles, Error> {
        Quantiles::sample(budget, least, || match self.clock() {
            Clock::Timestamps => self.gpu(u64::MAX),
            Clock::SubmitAndWait => Ok(vec![self.wall()?]),
        })
    }

    /// Whose turn it is.
    fn turn(&self) -> usize {
        let round = self.next.get();
        self.next.set((round + 1) % self.subject.rounds().max(1));
        round
    }
}

impl Queries {
    fn new(gpu: &Gpu) -> Result<Option<Self>, Error> {
        let device = gpu.context().device();
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        context::scoped(device, || {
            Some(Queries {
                set: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("wgloss bench"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * PASSES,
                }),
                ticks: device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgloss bench"),
                    size: 16 * u64::from(PASSES),
                    usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                }),
                nanoseconds: f64::from(gpu.queue().get_timestamp_period()),
            })
        })
    }
}
