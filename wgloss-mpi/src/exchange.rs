//! Accumulators of a shard's labels on their way to all ranks: what the losses of rows and the last layer share.

use crate::device::{self, Mapped, Staging};
use crate::error::Error;
use crate::world::{Gathering, World};
use std::ops::Range;
use wgloss::host::Gpu;
use wgloss::wgpu;
use wgloss::{Accumulator, DType, Error as LossError, Prepared, Targets, Tensor, Threshold};

/// Rows in windows: each window's accumulators are gathered while the next window's are made.
pub(crate) struct Exchange {
    windows: Vec<Window>,
    space: Space,
}

struct Window {
    rows: Range<usize>,
    /// Makes the accumulators.
    call: Prepared,
    staging: Staging,
}

/// Buffers, before the calls are prepared.
pub(crate) struct Space {
    accumulators: wgpu::Buffer,
    gathered: wgpu::Buffer,
    rows: usize,
    words: usize,
    ranks: usize,
}

impl Space {
    pub(crate) fn new(
        gpu: &Gpu,
        layout: &Accumulator,
        rows: usize,
        ranks: usize,
    ) -> Result<Space, LossError> {
        let bytes = 4 * (rows * layout.words) as u64;
        Ok(Space {
            accumulators: gpu.zeros(bytes)?,
            gathered: gpu.zeros(bytes * ranks as u64)?,
            rows,
            words: layout.words,
            ranks,
        })
    }

    /// The accumulators of all ranks, one rank's behind the other's.
    pub(crate) fn gathered(&self) -> Tensor<'_> {
        let each = self.rows * self.words;
        Tensor::matrix(&self.gathered, DType::F32, self.ranks, each)
    }

    /// Prepares the first half of some windows of rows by `partial`.
    pub(crate) fn exchange(
        self,
        gpu: &Gpu,
        windows: usize,
        partial: impl Fn(Range<usize>, Tensor<'_>) -> Result<Prepared, LossError>,
    ) -> Result<Exchange, LossError> {
        let mut all = Vec::new();
        for i in 0..windows {
            let rows = self.rows * i / windows..self.rows * (i + 1) / windows;
            let of = Tensor::matrix(&self.accumulators, DType::F32, rows.len(), self.words);
            let first = (rows.start * self.words) as u64;
            all.push(Window {
                call: partial(rows.clone(), of.with_offset(first))?,
                staging: Staging::new(gpu, 4 * (rows.len() * self.words) as u64)?,
                rows,
            });
        }
        Ok(Exchange {
            windows: all,
            space: self,
        })
    }
}

impl Exchange {
    /// The accumulators of all ranks.
    pub(crate) fn gathered(&self) -> Tensor<'_> {
        self.space.gathered()
    }

    /// Makes the accumulators and brings those of all ranks here.
    pub(crate) fn run(&self, world: &World, gpu: &Gpu, what: &str) -> Result<(), Error> {
        let Space { rows, words, .. } = self.space;
        // The device has all windows before it, and the host sends one while the next is at work.
        let mut made: Vec<Mapped> = Vec::new();
        for window in &self.windows {
            let mut encoder = device::encoder(gpu);
            window.call.encode(&mut encoder);
            let first = 4 * (window.rows.start * words) as u64;
            let bytes = 4 * (window.rows.len() * words) as u64;
            let from = (&self.space.accumulators, first);
            window.staging.copy(&mut encoder, from, (0, bytes));
            gpu.queue().submit([encoder.finish()]);
            made.push(window.staging.map());
        }
        let mut under_way: Vec<Gathering<'_>> = Vec::new();
        for (window, mapped) in self.windows.iter().zip(&made) {
            device::wait(world, gpu, mapped, || {
                under_way.iter_mut().try_for_each(Gathering::nudge)
            })?;
            let mine = window.staging.words().or_else(|error| world.here(error))?;
            let each = vec![window.rows.len() * words; world.size()];
            under_way.push(world.begin_all_gather(what, mine, &each)?);
        }
        for (window, gathering) in self.windows.iter().zip(under_way) {
            let all = gathering.wait()?;
            window.staging.unmap();
            let len = window.rows.len() * words;
            for (rank, part) in all.chunks_exact(len.max(1)).enumerate() {
                let at = 4 * ((rank * rows + window.rows.start) * words) as u64;
                let queue = gpu.queue();
                queue.write_buffer(&self.space.gathered, at, bytemuck::cast_slice(part));
            }
        }
        Ok(())
    }
}

/// Of a vector by row, some of its rows.
pub(crate) fn of_vector<'a>(vector: Option<Tensor<'a>>, rows: &Range<usize>) -> Option<Tensor<'a>> {
    vector.map(|vector| vector.of_cols(rows.start, rows.len()))
}

/// Targets of some rows.
pub(crate) fn of_targets<'a>(
    targets: Targets<Tensor<'a>>,
    rows: &Range<usize>,
) -> Result<Targets<Tensor<'a>>, LossError> {
    let (first, len) = (rows.start, rows.len());
    match targets {
        Targets::Dense(all) => Ok(Targets::Dense(all.of_rows(first, len))),
        Targets::Bits(all) => Ok(Targets::Bits(all.of_rows(first, len))),
        Targets::Sparse { offsets, indices } => Ok(Targets::Sparse {
            offsets: offsets.of_cols(first, len + 1),
            indices,
        }),
        _ => Err(LossError::refused(
            "targets",
            "have a form of which rows cannot be taken",
        )),
    }
}

/// Thresholds of some rows.
pub(crate) fn of_threshold<'a>(
    threshold: Threshold<Tensor<'a>>,
    rows: &Range<usize>,
) -> Threshold<Tensor<'a>> {
    match threshold {
        Threshold::Row(all) => Threshold::Row(all.of_cols(rows.start, rows.len())),
        other => other,
    }
}

/// What has to agree of accumulators.
pub(crate) fn common(layout: &Accumulator, rows: usize, windows: usize) -> crate::agree::Common {
    vec![
        ("accumulator", layout.loss.to_owned()),
        ("accumulator version", layout.version.to_string()),
        ("accumulator words", layout.words.to_string()),
        ("rows", rows.to_string()),
        ("windows", windows.to_string()),
    ]
}

/// Refuses no windows at all.
pub(crate) fn check_windows(windows: usize) -> Result<(), LossError> {
    match windows {
        0 => Err(LossError::value("windows", "at least one", 0)),
        _ => Ok(()),
    }
}
