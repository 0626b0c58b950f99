//! Measuring: data on the device, clocks, and the bytes a call moves. `wgloss bench` and `benches/losses.rs` share it.
//!
//! Data are made once, from a seed, and a call is prepared once; what is timed is the call. A family of losses brings a
//! type like [`RowBench`] that makes a [`Work`] of itself, and everything else here takes any `Work`.

use crate::check::arena::{encode, rounded};
use crate::check::data::Rng;
use crate::check::rows::{Form, Mode, ThresholdCase};
use crate::device::context;
use crate::device::plan::Plan;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use crate::kernels::rows::call::{Gradient, RowInputs, RowOutputs};
use crate::kernels::shader::cache_words;
use crate::losses::labels::{Order, Scope, Seed, Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;
use crate::reference;
use crate::rowwise::{AnyLoss, Rowwise};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Most positives of a row: a sample has a handful of labels, however many there are.
const POSITIVES: usize = 16;
/// Bytes that go to the device at a time.
const BLOCK: usize = 1 << 24;
/// Most passes of a submission, and about how long it may take: drivers stop what runs for seconds.
const PASSES: u32 = 64;
const SUBMISSION: Duration = Duration::from_millis(100);

/// A row loss at a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowBench {
    /// The loss, with its reduction.
    pub loss: AnyLoss,
    /// Its threshold.
    pub threshold: ThresholdCase,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: Form,
    /// What is computed.
    pub mode: Mode,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

/// A prepared call with its data on the device.
#[derive(Debug)]
pub struct Work {
    call: Prepared,
    bytes: u64,
    prepare: Duration,
    loss: Option<wgpu::Buffer>,
    /// What an in-place call overwrites: from, to.
    restore: Option<[wgpu::Buffer; 2]>,
}

/// The numbers of a row loss on the host, for the reference.
#[derive(Clone, Debug)]
pub struct RowReference {
    bench: RowBench,
    logits: Vec<f64>,
    targets: Vec<f64>,
    threshold: Vec<f64>,
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
pub struct Spread {
    /// Half of them were faster.
    pub median: Duration,
    /// A fifth of them were faster.
    pub p20: Duration,
    /// A fifth of them were slower.
    pub p80: Duration,
    /// How many they were.
    pub samples: usize,
}

impl RowBench {
    /// f32 logits, byte targets (other logits where the loss takes those), loss and gradient.
    pub fn plain(loss: AnyLoss, rows: usize, cols: usize) -> Self {
        RowBench {
            loss,
            threshold: ThresholdCase::None,
            dtype: DType::F32,
            form: match loss.target_kind() {
                TargetKind::Logits => Form::Float(DType::F32),
                TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => Form::U8,
            },
            mode: Mode::Both,
            rows,
            cols,
            seed: 1,
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.loss.check()?;
        let all = self.rows.checked_mul(self.cols);
        if all.is_some_and(|all| all > 0 && u32::try_from(all).is_ok()) {
            return Ok(());
        }
        Err(Error::shape(
            "shape",
            "at least 1 and fewer than 2^32 elements",
            format!("{}x{}", self.rows, self.cols),
        ))
    }

    /// Elements.
    fn all(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    /// Positives of each row; as many in all of them, so that the size of sparse targets is known beforehand.
    fn positives(&self) -> usize {
        (self.cols / 4).clamp(1, POSITIVES)
    }

    /// Passes the logits and targets of a row on, as they are after rounding to their element types. Every row has its
    /// own stream of numbers.
    fn row<E>(
        &self,
        row: usize,
        mut each: impl FnMut(usize, f64, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rng = Rng::new(self.seed.wrapping_add((row as u64) << 32));
        let kind = self.loss.target_kind();
        let (soft, target_type) = match self.form {
            Form::Float(dtype) => (
                matches!(kind, TargetKind::Soft | TargetKind::Proportions),
                dtype,
            ),
            Form::U8 | Form::Bits | Form::Csr => (false, DType::F32),
        };
        let positives = self.positives();
        // One positive in each of as many equal parts of the row.
        let mut part = 0;
        let mut next = 0;
        for col in 0..self.cols {
            if part < positives && col == part * self.cols / positives {
                let end = (part + 1) * self.cols / positives;
                next = (col + rng.uniform(0.0, (end - col) as f64) as usize).min(end - 1);
                part += 1;
            }
            let logit = 3.0 * rng.normal();
            let target = match kind {
                TargetKind::Logits => logit + 0.9 * rng.normal(),
                _ if soft && col == next => rng.uniform(0.5, 1.0),
                _ if soft => rng.uniform(0.0, 0.1),
                _ => f64::from(u8::from(col == next)),
            };
            each(
                col,
                rounded(self.dtype, logit),
                rounded(target_type, target),
            )?;
        }
        Ok(())
    }

    fn thresholds(&self) -> Vec<f64> {
        let mut rng = Rng::new(self.seed.wrapping_add(u64::MAX >> 1));
        let len = match self.threshold {
            ThresholdCase::None => 0,
            ThresholdCase::Batch => 1,
            ThresholdCase::Row => self.rows,
            ThresholdCase::Label => self.cols,
        };
        (0..len)
            .map(|_| rounded(DType::F32, rng.uniform(-1.0, 1.0)))
            .collect()
    }

    /// Bytes of the targets' tensors.
    fn target_bytes(&self) -> [u64; 2] {
        let rows = self.rows as u64;
        match self.form {
            Form::U8 => [self.all(), 0],
            Form::Float(dtype) => [self.all() * dtype.size(), 0],
            Form::Bits => [rows * self.cols.div_ceil(32) as u64 * 4, 0],
            Form::Csr => [4 * (rows + 1), 4 * rows * self.positives() as u64],
        }
    }

    /// Element type of the gradient, where there is one.
    fn gradient(&self) -> Option<DType> {
        match self.mode {
            Mode::Loss => None,
            Mode::Gradient | Mode::Both => Some(DType::F32),
            Mode::BothSame | Mode::InPlace => Some(self.dtype),
        }
    }

    fn loss_len(&self) -> usize {
        match self.loss.reduction() {
            Reduction::None => self.rows,
            Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
        }
    }

    /// Bytes that the call has to move: logits and targets once for each sweep, and what is written.
    ///
    /// The sweeps are those of the plan. The first reads everything. The gradient is a second one, less the logits of
    /// each row that the workgroup has kept (with the targets beside them, which the cache has); the gradient to a
    /// threshold per label is another. Scratch is small and left out, but for the planes of WDL, whose first and last
    /// stage both have these sweeps.
    fn traffic(&self, plan: &Plan, workgroup: u32) -> u64 {
        let has = |entry| plan.steps.iter().any(|step| step.kernel.entry == entry);
        let (rows, all) = (self.rows as u64, self.all());
        let kept = cache_words(workgroup) as usize;
        let again = match self.gradient() {
            None => 0,
            Some(_) if has("gradient") => all,
            Some(_) => rows * self.cols.saturating_sub(kept) as u64,
        };
        let (columns, stages, planes) = match self.loss.takes().theta {
            None if has("columns") => (all, 1, 0),
            None => (0, 1, 0),
            // e is written and read, c too and for the gradient to theta once more, h written and read twice.
            Some(theta) => {
                let (sets, len) = theta.of(self.cols);
                let gradient = u64::from(self.gradient().is_some());
                let weights = (self.rows * sets * len) as u64;
                let planes = all * (2 + 3 * gradient) + weights * (2 + gradient);
                (0, 2, 4 * planes)
            }
        };
        let read = stages * (all + again) + columns;
        let targets: u64 = self.target_bytes().iter().sum();
        let targets = u128::from(targets) * u128::from(read) / u128::from(all);
        let written = self.gradient().map_or(0, DType::size) * all
            + match self.mode {
                Mode::Gradient => 0,
                _ => 4 * self.loss_len() as u64,
            };
        read * self.dtype.size() + targets as u64 + written + planes
    }

    /// Prepares the call and brings the data to the device, in this order: what the device cannot do costs no data.
    ///
    /// # Errors
    /// As the loss's `prepare`; device errors.
    pub fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        self.check()?;
        let (rows, cols) = (self.rows, self.cols);
        let logits = gpu.zeros(self.all() * self.dtype.size())?;
        let [first, second] = self.target_bytes();
        let targets = [gpu.zeros(first)?, gpu.zeros(second)?];
        let thresholds = self.thresholds();
        let threshold = gpu.zeros(4 * thresholds.len() as u64)?;
        let loss = gpu.zeros(4 * self.loss_len() as u64)?;
        let separate = self.gradient().filter(|_| self.mode != Mode::InPlace);
        let gradient = match separate {
            Some(dtype) => Some((gpu.zeros(self.all() * dtype.size())?, dtype)),
            None => None,
        };
        let grad_threshold = gpu.zeros(4 * thresholds.len() as u64)?;
        // WDL: a seed of zeros and weights of 1 cost what all others do.
        let takes = self.loss.takes();
        let (sets, len) = takes.theta.map_or((0, 0), |shape| shape.of(cols));
        let seed = gpu.zeros(8)?;
        let theta = gpu.zeros(4 * (sets * len) as u64)?;
        let grad_theta = gpu.zeros(4 * (sets * len) as u64)?;

        let vector = |buffer, len| Tensor::vector(buffer, DType::F32, len);
        let inputs = RowInputs {
            threshold: match self.threshold {
                ThresholdCase::None => None,
                ThresholdCase::Batch => Some(Threshold::Batch(vector(&threshold, 1))),
                ThresholdCase::Row => Some(Threshold::Row(vector(&threshold, rows))),
                ThresholdCase::Label => Some(Threshold::Label(vector(&threshold, cols))),
            },
            permutation: takes.permutation.then(|| Order::Seeded {
                seed: Seed::fixed(Tensor::vector(&seed, DType::U32, 2)),
                scope: Scope::Batch,
            }),
            theta: takes
                .theta
                .map(|_| Tensor::matrix(&theta, DType::F32, sets, len)),
            ..RowInputs::new(
                Tensor::matrix(&logits, self.dtype, rows, cols),
                match self.form {
                    Form::U8 => Targets::Dense(Tensor::matrix(&targets[0], DType::U8, rows, cols)),
                    Form::Float(dtype) => {
                        Targets::Dense(Tensor::matrix(&targets[0], dtype, rows, cols))
                    }
                    Form::Bits => Targets::Bits(Tensor::matrix(
                        &targets[0],
                        DType::U32,
                        rows,
                        cols.div_ceil(32),
                    )),
                    Form::Csr => Targets::Sparse {
                        offsets: Tensor::vector(&targets[0], DType::U32, rows + 1),
                        indices: Tensor::vector(&targets[1], DType::U32, rows * self.positives()),
                    },
                },
            )
        };
        let outputs = RowOutputs {
            loss: (self.mode != Mode::Gradient).then(|| vector(&loss, self.loss_len())),
            grad_logits: match (&gradient, self.mode) {
                (_, Mode::InPlace) => Some(Gradient::InPlace),
                (Some((buffer, dtype)), _) => {
                    Some(Gradient::To(Tensor::matrix(buffer, *dtype, rows, cols)))
                }
                (None, _) => None,
            },
            grad_targets: None,
            grad_threshold: (self.mode != Mode::Loss && self.threshold != ThresholdCase::None)
                .then(|| vector(&grad_threshold, thresholds.len())),
            grad_theta: (self.mode != Mode::Loss && takes.theta.is_some())
                .then(|| Tensor::matrix(&grad_theta, DType::F32, sets, len)),
            grad_theta0: None,
        };
        let began = Instant::now();
        let call = self.loss.prepare(gpu.context(), &inputs, &outputs)?;
        let prepare = began.elapsed();
        let bytes = self.traffic(call.plan(), gpu.context().variant().workgroup);

        let restore = match self.mode {
            Mode::InPlace => Some([gpu.zeros(logits.size())?, logits.clone()]),
            _ => None,
        };
        let mut logits = Fill::new(gpu, restore.as_ref().map_or(&logits, |[from, _]| from));
        let mut dense = Fill::new(gpu, &targets[0]);
        let mut indices = Fill::new(gpu, &targets[1]);
        if self.form == Form::Csr {
            dense.put(&0_u32.to_le_bytes())?;
        }
        for row in 0..rows {
            let mut word: u32 = 0;
            self.row(row, |col, logit, target| {
                let size = self.dtype.size() as usize;
                logits.put(&encode(self.dtype, logit)[..size])?;
                match self.form {
                    Form::U8 => dense.put(&[u8::from(target > 0.5)]),
                    Form::Float(dtype) => {
                        dense.put(&encode(dtype, target)[..dtype.size() as usize])
                    }
                    Form::Bits => {
                        word |= u32::from(target > 0.5) << (col % 32);
                        if col % 32 < 31 && col + 1 < cols {
                            return Ok(());
                        }
                        dense.put(&std::mem::take(&mut word).to_le_bytes())
                    }
                    Form::Csr if target > 0.5 => indices.put(&(col as u32).to_le_bytes()),
                    Form::Csr => Ok(()),
                }
            })?;
            if self.form == Form::Csr {
                let offset = ((row + 1) * self.positives()) as u32;
                dense.put(&offset.to_le_bytes())?;
            }
        }
        logits.finish()?;
        dense.finish()?;
        indices.finish()?;
        let mut fill = Fill::new(gpu, &threshold);
        for value in &thresholds {
            fill.put(&encode(DType::F32, *value))?;
        }
        fill.finish()?;
        Ok(Work {
            call,
            bytes,
            prepare,
            loss: (self.mode != Mode::Gradient).then_some(loss),
            restore,
        })
    }

    /// Makes the same data on the host.
    ///
    /// # Errors
    /// Bad settings or an empty shape.
    pub fn on_host(&self) -> Result<RowReference, Error> {
        self.check()?;
        let mut made = RowReference {
            bench: *self,
            logits: Vec::with_capacity(self.rows * self.cols),
            targets: Vec::with_capacity(self.rows * self.cols),
            threshold: self.thresholds(),
        };
        for row in 0..self.rows {
            self.row(row, |_, logit, target| -> Result<(), Error> {
                made.logits.push(logit);
                made.targets.push(target);
                Ok(())
            })?;
        }
        Ok(made)
    }
}

impl RowReference {
    /// Computes loss and gradients in f64 and returns the loss (of the first row, without a reduction).
    ///
    /// # Errors
    /// As the loss's reference.
    pub fn run(&self) -> Result<f64, Error> {
        let out = self.bench.loss.reference(&reference::RowInputs::<f64> {
            rows: self.bench.rows,
            cols: self.bench.cols,
            logits: &self.logits,
            targets: &self.targets,
            threshold: match self.bench.threshold {
                ThresholdCase::None => None,
                ThresholdCase::Batch => Some(Threshold::Batch(&self.threshold[..])),
                ThresholdCase::Row => Some(Threshold::Row(&self.threshold[..])),
                ThresholdCase::Label => Some(Threshold::Label(&self.threshold[..])),
            },
            permutation: self
                .bench
                .loss
                .takes()
                .permutation
                .then_some(Order::Seeded {
                    seed: 0,
                    scope: Scope::Batch,
                }),
            ..reference::RowInputs::default()
        })?;
        Ok(black_box(out).loss[0])
    }
}

impl Work {
    /// A prepared call that moves `bytes` bytes and took `prepare` to make.
    pub(super) fn new(call: Prepared, bytes: u64, prepare: Duration, loss: wgpu::Buffer) -> Self {
        Work {
            call,
            bytes,
            prepare,
            loss: Some(loss),
            restore: None,
        }
    }

    /// The dispatches and the scratch size.
    pub fn plan(&self) -> &Plan {
        self.call.plan()
    }

    /// Bytes that one call has to move.
    pub fn bytes(&self) -> u64 {
        self.bytes
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

impl Spread {
    /// The spread of some times. Of none, all zeros.
    pub fn of(mut times: Vec<Duration>) -> Spread {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len().saturating_sub(1) * percent + 50) / 100;
            times.get(place).copied().unwrap_or_default()
        };
        Spread {
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
    ) -> Result<Spread, Error> {
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
        Ok(Spread::of(times))
    }
}

/// Fills a device buffer from front to back, a block at a time.
struct Fill<'a> {
    gpu: &'a Gpu,
    buffer: wgpu::Buffer,
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Fill<'a> {
    fn new(gpu: &'a Gpu, buffer: &wgpu::Buffer) -> Self {
        Fill {
            gpu,
            buffer: buffer.clone(),
            at: 0,
            bytes: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
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

    fn finish(mut self) -> Result<(), Error> {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::caps::Reduce;
    use crate::device::plan::Step;
    use crate::kernels::shader::{Kernel, Module, Program};
    use crate::losses::bce::Bce;
    use crate::losses::zlpr::Zlpr;

    fn plan(entries: &[&'static str]) -> Plan {
        let step = |entry: &&'static str| Step {
            kernel: Kernel {
                module: Module {
                    program: Program::Finish,
                    reduce: Reduce::Tree,
                    workgroup: 64,
                },
                entry,
            },
            groups: [1, 1, 1],
        };
        Plan {
            steps: entries.iter().map(step).collect(),
            scratch_bytes: 0,
            windows: 1,
        }
    }

    #[test]
    fn traffic_follows_the_plan() {
        let zlpr = AnyLoss::Zlpr(Zlpr::hard());
        let short = RowBench::plain(zlpr, 10, 100);
        let fused = plan(&["rows", "finish"]);
        // Logits, bytes, f32 gradient, the loss.
        assert_eq!(short.traffic(&fused, 64), 4000 + 1000 + 4000 + 4);
        let loss = RowBench {
            mode: Mode::Loss,
            ..short
        };
        assert_eq!(loss.traffic(&fused, 64), 4000 + 1000 + 4);
        let half = RowBench {
            dtype: DType::F16,
            mode: Mode::BothSame,
            form: Form::Bits,
            ..short
        };
        assert_eq!(half.traffic(&fused, 64), 2000 + 160 + 2000 + 4);
        // 1536 of 3072 labels are kept: one and a half sweeps.
        let long = RowBench::plain(zlpr, 10, 3072);
        assert_eq!(
            long.traffic(&fused, 64),
            (30720 + 15360) * 5 + 4 * 30720 + 4
        );
        let split = plan(&["partial", "combine", "gradient", "finish"]);
        assert_eq!(long.traffic(&split, 64), 2 * 30720 * 5 + 4 * 30720 + 4);
        let columns = plan(&["rows", "columns", "finish"]);
        assert_eq!(short.traffic(&columns, 64), 2 * 5000 + 4000 + 4);
        let gradient = RowBench {
            mode: Mode::Gradient,
            form: Form::Csr,
            ..short
        };
        // 11 offsets and 16 positives a row.
        assert_eq!(gradient.traffic(&fused, 64), 4000 + 4 * 171 + 4000);
    }

    #[test]
    fn rows_have_as_many_positives_as_promised_and_numbers_of_their_own() -> Result<(), Error> {
        for cols in [1, 2, 3, 14, 64, 65, 983] {
            let bench = RowBench::plain(AnyLoss::Bce(Bce::default()), 3, cols);
            let data = bench.on_host()?;
            assert_eq!(data.logits.len(), 3 * cols);
            for row in data.targets.chunks(cols) {
                let positives = row.iter().filter(|y| **y == 1.0).count();
                assert_eq!(positives, bench.positives(), "{cols} labels");
                assert!(row.iter().all(|y| *y == 0.0 || *y == 1.0));
            }
            assert_ne!(data.logits[..cols], data.logits[cols..2 * cols]);
        }
        Ok(())
    }

    #[test]
    fn soft_targets_are_soft_and_empty_shapes_refused() -> Result<(), Error> {
        let soft = RowBench {
            form: Form::Float(DType::F16),
            ..RowBench::plain(AnyLoss::Zlpr(Zlpr::soft()), 2, 50)
        };
        let data = soft.on_host()?;
        assert!(data.targets.iter().all(|t| (0.0..=1.0).contains(t)));
        assert!(data.targets.iter().any(|t| *t > 0.0 && *t < 0.1));
        assert!(data.run()? > 0.0);
        for (rows, cols) in [(0, 5), (5, 0), (1 << 20, 1 << 20), (usize::MAX, 2)] {
            assert!(RowBench { rows, cols, ..soft }.on_host().is_err());
        }
        Ok(())
    }

    #[test]
    fn spreads_are_of_the_sorted_times() -> Result<(), Error> {
        let ms = Duration::from_millis;
        let spread = Spread::of([5, 1, 4, 2, 3, 6, 11, 9, 8, 10, 7].map(ms).to_vec());
        assert_eq!(
            (spread.p20, spread.median, spread.p80, spread.samples),
            (ms(3), ms(6), ms(9), 11)
        );
        assert_eq!(Spread::of(vec![ms(2)]).p80, ms(2));
        assert_eq!(Spread::of(vec![]).samples, 0);
        let mut calls = 0;
        let spread = Spread::sample(Duration::ZERO, 5, || {
            calls += 1;
            Ok(vec![ms(calls), ms(calls)])
        })?;
        assert_eq!((spread.samples, spread.median), (6, ms(2)));
        assert!(Spread::sample(ms(1), 1, || Ok(vec![])).is_err());
        Ok(())
    }
}
