//! A loss at a shape, with data from a seed: prepared on the device, any number of times over, and on the host.

use crate::check::arena::{Arena, Layout};
#[cfg(not(target_arch = "wasm32"))]
use crate::check::measure::clock::wall;
use crate::check::measure::timed::{Timed, encoder};
use crate::check::numbers::Numbers;
use crate::check::tensors::Tensors;
use crate::device::call::Call;
use crate::device::context::{self, Context};
use crate::device::plan::Plan;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use std::time::Duration;
use web_time::Instant;

/// Most sets of tensors: more would be nothing but the making of small buffers.
const MOST_SETS: usize = 256;
/// Numbers that are made before they begin again. A host needs seconds for a hundred million, and no time depends on
/// which they are.
const FRESH: usize = 1 << 20;

/// A loss at a shape, with data from a seed, to be measured.
pub trait Workload {
    /// All settings of the loss, for the record.
    fn settings(&self) -> String;

    /// How much the reference has to do, in elements of a loss of rows.
    fn elements(&self) -> u64;

    /// Bytes of the input that has a gradient as large as itself: logits, embeddings, features.
    fn input_bytes(&self) -> u64;

    /// Operations of the products that a call has to compute, by formula; none where memory limits the loss.
    fn flops(&self) -> Option<u64> {
        None
    }

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

type Prepare = Box<dyn Fn(&Context, &Tensors) -> Result<Prepared, Error>>;

/// A prepared call with its data on the device; after [`Work::rotate`] several of them, which take turns.
pub struct Work {
    prepare: Prepare,
    took: Duration,
    sets: Vec<Set>,
    /// What calls overwrite, as it was before.
    original: Option<wgpu::Buffer>,
}

struct Set {
    tensors: Tensors,
    call: Prepared,
}

/// Whether a shape has elements that u32 can count.
pub(in crate::check) fn check_shape(rows: usize, cols: usize) -> Result<(), Error> {
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

/// After how many rows their numbers begin again: whole words, whatever the elements' type.
pub(in crate::check) fn period(rows: usize, cols: usize) -> usize {
    let fresh = (FRESH / cols.max(1)).max(1).next_multiple_of(4);
    fresh.min(rows)
}

/// Fills a buffer with a block, over and over.
pub(in crate::check) fn tile(gpu: &Gpu, block: &[u8], buffer: &wgpu::Buffer) -> Result<(), Error> {
    if block.is_empty() {
        return Ok(());
    }
    let from = gpu.upload(block)?;
    let encoder = context::scoped(gpu.context().device(), || {
        let mut encoder = encoder(gpu);
        let mut at = 0;
        while at < buffer.size() {
            let size = from.size().min(buffer.size() - at);
            encoder.copy_buffer_to_buffer(&from, 0, buffer, at, size);
            at += size;
        }
        encoder
    })?;
    gpu.submit(encoder)
}

fn copy_of(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<wgpu::Buffer, Error> {
    let copy = gpu.zeros(buffer.size())?;
    let mut encoder = encoder(gpu);
    encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, copy.size());
    gpu.submit(encoder)?;
    Ok(copy)
}

impl Work {
    /// Prepares a call on tensors that are on the device.
    pub(in crate::check) fn on(
        gpu: &Gpu,
        tensors: Tensors,
        prepare: impl Fn(&Context, &Tensors) -> Result<Prepared, Error> + 'static,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let call = prepare(gpu.context(), &tensors)?;
        Ok(Work {
            took: began.elapsed(),
            prepare: Box::new(prepare),
            sets: vec![Set { tensors, call }],
            original: None,
        })
    }

    /// Brings numbers to the device, with zeros for the outputs, and prepares a call on them.
    pub(in crate::check) fn new(
        gpu: &Gpu,
        numbers: &Numbers,
        outputs: &[(impl AsRef<str>, (usize, usize))],
        prepare: impl Fn(&Context, &Tensors) -> Result<Prepared, Error> + 'static,
    ) -> Result<Self, Error> {
        let mut arena = Arena::new(Layout::Apart);
        for matrix in numbers.all() {
            arena.put(matrix);
        }
        for (name, (rows, cols)) in outputs {
            let zeros = std::iter::repeat_n(0.0, rows * cols);
            arena.put_values(name.as_ref(), DType::F32, (*rows, *cols), zeros);
        }
        Work::on(gpu, arena.upload(gpu)?, prepare)
    }

    /// Says that the call overwrites its logits, which are put back from here before each call.
    pub(in crate::check) fn overwrites(&mut self, original: wgpu::Buffer) {
        self.original = Some(original);
    }

    /// The tensors of the call.
    pub fn tensors(&self) -> &Tensors {
        &self.sets[0].tensors
    }

    /// Makes copies of all tensors, each with a call prepared on it, until they have `bytes` together, so that those of
    /// a call are no longer in a cache when its turn comes again. Fewer, where there are 256 or the memory is full.
    ///
    /// # Errors
    /// Device errors.
    pub fn rotate(&mut self, gpu: &Gpu, bytes: u64) -> Result<(), Error> {
        let set = self.set_bytes().max(1);
        let wanted = usize::try_from(bytes.div_ceil(set)).unwrap_or(MOST_SETS);
        while self.sets.len() < wanted.min(MOST_SETS) {
            let tensors = self.tensors().copied(|buffer| copy_of(gpu, buffer));
            let made = tensors.and_then(|tensors| {
                let call = (self.prepare)(gpu.context(), &tensors)?;
                Ok(Set { tensors, call })
            });
            match made {
                Ok(set) => self.sets.push(set),
                Err(error) if error.kind() == ErrorKind::OutOfMemory => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many sets of tensors take turns.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Bytes of the tensors of one set.
    pub fn set_bytes(&self) -> u64 {
        self.tensors().bytes()
    }

    /// The dispatches and the scratch size.
    pub fn plan(&self) -> &Plan {
        self.sets[0].call.plan()
    }

    /// The call as data, where the context keeps that ([`Context::keep_calls`]).
    pub fn call(&self) -> Option<&Call> {
        self.sets[0].call.call()
    }

    /// Bytes that one call has to move, by the formula of its plan.
    pub fn bytes(&self) -> u64 {
        self.plan().bytes
    }

    /// How long preparing took, with the compiling of kernels that the context did not have yet.
    pub fn prepare_time(&self) -> Duration {
        self.took
    }

    /// How long preparing takes once more.
    ///
    /// # Errors
    /// Device errors.
    pub fn prepare_again(&self, gpu: &Gpu) -> Result<Duration, Error> {
        let began = Instant::now();
        let call = (self.prepare)(gpu.context(), self.tensors())?;
        let took = began.elapsed();
        drop(call);
        Ok(took)
    }

    /// Wall time of one call, recorded, submitted and waited for.
    ///
    /// # Errors
    /// Device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, gpu: &Gpu) -> Result<Duration, Error> {
        wall(gpu, self, 0)
    }

    /// What the last call of the first set found (for the first row, without a reduction); none where the gradient alone
    /// is computed.
    ///
    /// # Errors
    /// Device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn loss(&self, gpu: &Gpu) -> Result<Option<f32>, Error> {
        let Some(loss) = self.tensors().buffer("loss") else {
            return Ok(None);
        };
        let bytes = gpu.download(loss, 4)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes).first().copied())
    }
}

impl Timed for Work {
    fn rounds(&self) -> usize {
        self.sets.len()
    }

    fn restored(&self, round: usize) -> Option<[&wgpu::Buffer; 2]> {
        let to = self.sets[round].tensors.buffer("logits")?;
        Some([self.original.as_ref()?, to])
    }

    fn record(&self, round: usize, pass: &mut wgpu::ComputePass<'_>) {
        self.sets[round].call.record(pass);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_whole_words_or_all_rows() {
        assert_eq!(period(1_000_000, 14), (FRESH / 14).next_multiple_of(4));
        assert_eq!(period(256, 670_091), 4);
        assert_eq!(period(3, 670_091), 3);
        assert_eq!(period(64, 14), 64);
        assert_eq!(period(1, 1 << 24), 1);
    }
}
