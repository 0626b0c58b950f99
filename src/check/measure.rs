//! Measuring: a loss at a shape as a prepared call on the device and as its reference, and the clocks.
//!
//! Data are made once, from a seed, and a call is prepared once; what is timed is the call. Each family of losses brings
//! a [`Workload`] that makes a [`Work`] of itself, and everything else here takes any `Work`.

use crate::check::arena::Arena;
use crate::check::numbers::Numbers;
use crate::check::tensors::Tensors;
use crate::device::context::{self, Context};
use crate::device::plan::Plan;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use std::time::{Duration, Instant};

/// Bytes that go to the device at a time.
const BLOCK: usize = 1 << 24;
/// Most passes of a submission, and about how long it may take: drivers kill dispatches that run for seconds.
const PASSES: u32 = 64;
const SUBMISSION: Duration = Duration::from_millis(100);

/// A loss at a shape, with data from a seed, to be measured.
pub trait Workload {
    /// All settings of the loss, for the record.
    fn settings(&self) -> String;

    /// How much the reference has to do, in elements of a loss of rows.
    fn elements(&self) -> u64;

    /// Puts the data on the device and prepares the call.
    ///
    /// # Errors
    /// Bad settings or shapes, what the device cannot do, device errors.
    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error>;

    /// Makes the same data on the host.
    ///
    /// # Errors
    /// Bad settings or shapes.
    fn on_host(&self) -> Result<Reference, Error>;
}

/// Computes loss and all gradients in f64 and returns the loss, of the first row without a reduction.
pub type Reference = Box<dyn Fn() -> Result<f64, Error>>;

/// A prepared call with its data on the device.
#[derive(Debug)]
pub struct Work {
    pub(super) call: Prepared,
    pub(super) prepare: Duration,
    pub(super) loss: Option<wgpu::Buffer>,
    /// What an in-place call overwrites: from, to.
    pub(super) restore: Option<[wgpu::Buffer; 2]>,
}

/// Times a [`Work`].
#[derive(Debug)]
pub struct Timer<'a> {
    gpu: &'a Gpu,
    work: &'a Work,
    passes: u32,
    queries: Option<Queries>,
}

#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    ticks: wgpu::Buffer,
    nanoseconds: f64,
}

/// What many measurements came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them were faster.
    pub median: Duration,
    /// A fifth of them were faster.
    pub p20: Duration,
    /// A fifth of them were slower.
    pub p80: Duration,
    /// How many they were.
    pub samples: usize,
}

/// Whether a shape has elements that u32 can count.
pub(super) fn check_shape(rows: usize, cols: usize) -> Result<(), Error> {
    let all = rows.checked_mul(cols);
    if all.is_some_and(|all| all > 0 && u32::try_from(all).is_ok()) {
        return Ok(());
    }
    Err(Error::shape(
        "shape",
        "at least 1 and fewer than 2^32 elements",
        format!("{rows}x{cols}"),
    ))
}

impl Work {
    /// Brings numbers to the device, with zeros for the outputs, and prepares a call on them.
    pub(super) fn new(
        gpu: &Gpu,
        numbers: &Numbers,
        outputs: &[(impl AsRef<str>, (usize, usize))],
        prepare: impl FnOnce(&Context, &Tensors) -> Result<Prepared, Error>,
    ) -> Result<Self, Error> {
        let mut arena = Arena::new(false);
        for matrix in numbers.all() {
            arena.put(matrix);
        }
        for (name, (rows, cols)) in outputs {
            let zeros = std::iter::repeat_n(0.0, rows * cols);
            arena.put_values(name.as_ref(), DType::F32, (*rows, *cols), zeros);
        }
        let tensors = arena.upload(gpu)?;
        let began = Instant::now();
        let call = prepare(gpu.context(), &tensors)?;
        Ok(Work {
            call,
            prepare: began.elapsed(),
            loss: tensors.buffer("loss").cloned(),
            restore: None,
        })
    }

    /// The dispatches and the scratch size.
    pub fn plan(&self) -> &Plan {
        self.call.plan()
    }

    /// Bytes that one call has to move, by the formula of its plan.
    pub fn bytes(&self) -> u64 {
        self.call.plan().bytes
    }

    /// How long preparing took, with the compiling of kernels that the context did not have yet.
    pub fn prepare_time(&self) -> Duration {
        self.prepare
    }

    /// What the last call found (for the first row, without a reduction); none where the gradient alone is computed.
    ///
    /// # Errors
    /// Device errors.
    pub fn loss(&self, gpu: &Gpu) -> Result<Option<f32>, Error> {
        let Some(loss) = &self.loss else {
            return Ok(None);
        };
        let bytes = gpu.download(loss, 4)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes).first().copied())
    }

    /// Puts back what an in-place call has overwritten.
    fn restore(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some([from, to]) = &self.restore {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, to.size());
        }
    }
}

impl<'a> Timer<'a> {
    /// Warms up, at least by two calls: drivers compile at the first.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &'a Gpu, work: &'a Work, warm_up: Duration) -> Result<Self, Error> {
        let mut timer = Timer {
            gpu,
            work,
            passes: 1,
            queries: Queries::new(gpu)?,
        };
        let began = Instant::now();
        timer.wall()?;
        let mut wall = timer.wall()?;
        while began.elapsed() < warm_up {
            wall = timer.wall()?;
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
        let mut encoder = self.encoder();
        for i in 0..passes {
            self.work.restore(&mut encoder);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("wgloss bench"),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries.set,
                    beginning_of_pass_write_index: Some(2 * i),
                    end_of_pass_write_index: Some(2 * i + 1),
                }),
            });
            self.work.call.record(&mut pass);
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
        if self.work.restore.is_some() {
            let mut encoder = self.encoder();
            self.work.restore(&mut encoder);
            self.gpu.finish(encoder)?;
        }
        let began = Instant::now();
        let mut encoder = self.encoder();
        self.work.call.encode(&mut encoder);
        self.gpu.finish(encoder)?;
        Ok(began.elapsed())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.gpu
            .context()
            .device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
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

impl Quantiles {
    /// Those of some times. Of none, all zeros.
    pub fn of(mut times: Vec<Duration>) -> Quantiles {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len().saturating_sub(1) * percent + 50) / 100;
            times.get(place).copied().unwrap_or_default()
        };
        Quantiles {
            median: at(50),
            p20: at(20),
            p80: at(80),
            samples: times.len(),
        }
    }

    /// Measures until `budget` has passed and there are `least` times.
    ///
    /// # Errors
    /// Those of the measurement, which is expected to bring times; without any there is no end.
    pub fn sample(
        budget: Duration,
        least: usize,
        mut measure: impl FnMut() -> Result<Vec<Duration>, Error>,
    ) -> Result<Quantiles, Error> {
        let began = Instant::now();
        let mut times = Vec::new();
        while times.len() < least || began.elapsed() < budget {
            let more = measure()?;
            if more.is_empty() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "measurement",
                    "times",
                    "none",
                ));
            }
            times.extend(more);
        }
        Ok(Quantiles::of(times))
    }
}

/// Fills a device buffer from front to back, a block at a time.
pub(super) struct Fill<'a> {
    gpu: &'a Gpu,
    buffer: wgpu::Buffer,
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Fill<'a> {
    pub(super) fn new(gpu: &'a Gpu, buffer: &wgpu::Buffer) -> Self {
        Fill {
            gpu,
            buffer: buffer.clone(),
            at: 0,
            bytes: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(bytes);
        // Whole words: elements have 1, 2 or 4 bytes, and so this length is met.
        if self.bytes.len() == BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let device = self.gpu.context().device();
        let encoder = context::scoped(device, || {
            let queue = self.gpu.queue();
            queue.write_buffer(&self.buffer, self.at, &self.bytes);
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
        })?;
        // Waiting frees the block that wgpu has made of it.
        self.gpu.finish(encoder)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() -> Result<(), Error> {
        let ms = Duration::from_millis;
        let found = Quantiles::of([5, 1, 4, 2, 3, 6, 11, 9, 8, 10, 7].map(ms).to_vec());
        assert_eq!(
            (found.p20, found.median, found.p80, found.samples),
            (ms(3), ms(6), ms(9), 11)
        );
        assert_eq!(Quantiles::of(vec![ms(2)]).p80, ms(2));
        assert_eq!(Quantiles::of(vec![]).samples, 0);
        let mut calls = 0;
        let found = Quantiles::sample(Duration::ZERO, 5, || {
            calls += 1;
            Ok(vec![ms(calls), ms(calls)])
        })?;
        assert_eq!((found.samples, found.median), (6, ms(2)));
        assert!(Quantiles::sample(ms(1), 1, || Ok(vec![])).is_err());
        Ok(())
    }
}
