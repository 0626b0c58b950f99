//! Keys of all ranks on every rank.

use super::own::{Held, Own, Piece, Queue, Sums};
use crate::device::{self, Staging};
use crate::error::Error;
use crate::ffi::Words;
use crate::world::World;
use wgloss::host::Gpu;
use wgloss::wgpu;
use wgloss::{DType, Error as LossError, Prepared, Tensor};

/// Names of the collectives, in their order.
const GATHER: &str = "the all-gather of keys";
const SCATTER: &str = "the reduce-scatter of gradients to keys";

/// The keys of all ranks, then the queue, and their gradient.
pub(super) struct Gathered {
    keys: Held,
    to_keys: wgpu::Buffer,
    outgoing: Staging,
    queue: Queue,
    /// What was prepared, for as many keys.
    call: Option<(usize, Prepared)>,
}

impl Gathered {
    pub(super) fn new(own: &Own, queue: usize) -> Result<Gathered, LossError> {
        let (gpu, shape, total) = (&own.gpu, &own.shape, own.total());
        Ok(Gathered {
            keys: Held::new(gpu, shape, total + queue)?,
            to_keys: gpu.zeros(shape.floats(total + queue))?,
            outgoing: Staging::new(gpu, shape.floats(total))?,
            queue: Queue::new(queue),
            call: None,
        })
    }

    /// Other settings.
    pub(super) fn renew(&mut self) {
        self.call = None;
    }

    pub(super) fn sums(&mut self, world: &World, own: &Own) -> Result<Sums, Error> {
        self.gather(world, own)?;
        if let Err(error) = self.prepare(own) {
            return world.here(error);
        }
        let mut encoder = device::encoder(&own.gpu);
        if let Some((_, call)) = &self.call {
            call.encode(&mut encoder);
        }
        // What this rank's anchors have in the gradients to all keys of the batch.
        let beside = own.keys_learn.then_some(&self.outgoing);
        if let Some(staging) = beside.filter(|_| own.count() > 0) {
            let bytes = own.shape.floats(own.total());
            staging.copy(&mut encoder, (&self.to_keys, 0), (0, bytes));
        }
        let (numbers, to_anchors, mut part) = own.found(world, encoder, beside)?;
        let mut to_keys = Vec::new();
        if own.keys_learn {
            let parts: Vec<usize> = own.rows.iter().map(|n| n * own.shape.dims).collect();
            if own.count() == 0 {
                part = Words::Owned(vec![0; parts.iter().sum()]);
            }
            to_keys = world.reduce_scatter(SCATTER, part, &parts)?;
            self.outgoing.unmap();
        }
        self.enqueue(own);
        Ok(Sums {
            numbers,
            to_anchors,
            to_keys,
        })
    }

    /// Brings the keys of all ranks here.
    fn gather(&self, world: &World, own: &Own) -> Result<(), Error> {
        let mine = own.outgoing(world)?;
        let lens: Vec<usize> = own.rows.iter().map(|n| own.shape.sent(*n)).collect();
        let all = world.begin_all_gather(GATHER, mine, &lens)?.wait()?;
        let mut at = 0;
        for (rank, len) in lens.iter().enumerate() {
            let rows = own.rows[rank];
            let piece = Piece::whole(rows, own.before(rank));
            let words = &all[at..at + len];
            self.keys.put(&own.gpu, &own.shape, words, piece, rows);
            at += len;
        }
        own.sent();
        Ok(())
    }

    /// Prepares the call, where there are more keys than the last time.
    fn prepare(&mut self, own: &Own) -> Result<(), LossError> {
        let count = own.total() + self.queue.filled;
        if own.count() == 0 || self.call.as_ref().is_some_and(|(keys, _)| *keys == count) {
            return Ok(());
        }
        let settings = own.settings();
        let inputs = own.inputs(Some(self.keys.keys(&own.shape, count)), 0, &settings);
        let to_keys = Tensor::matrix(&self.to_keys, DType::F32, count, own.shape.dims);
        let outputs = own.outputs(true, own.keys_learn.then_some(to_keys));
        let call = own.loss.prepare(own.gpu.context(), &inputs, &outputs)?;
        self.call = Some((count, call));
        Ok(())
    }

    /// Puts the keys of this step into the queue, in place of the oldest.
    fn enqueue(&mut self, own: &Own) {
        let total = own.total();
        let mut encoder = device::encoder(&own.gpu);
        for piece in self.queue.pieces(total, 0..total) {
            let from = own.shape.bytes(piece.from);
            let to = own.shape.bytes(total + piece.to);
            let len = own.shape.bytes(piece.rows);
            for (buffer, from, to, bytes) in [
                (&self.keys.embeddings, from.0, to.0, len.0),
                (&self.keys.labels, from.1, to.1, len.1),
            ] {
                if bytes > 0 {
                    copies(&own.gpu, &mut encoder, buffer, (from, to, bytes));
                }
            }
        }
        self.queue.pass(total);
        own.gpu.queue().submit([encoder.finish()]);
    }
}

/// Copies within a buffer, by way of one of its own: wgpu copies from a buffer to another one only.
fn copies(
    gpu: &Gpu,
    encoder: &mut wgpu::CommandEncoder,
    buffer: &wgpu::Buffer,
    (from, to, bytes): (u64, u64, u64),
) {
    let device = gpu.context().device();
    let between = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgloss-mpi queue"),
        size: bytes,
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(buffer, from, &between, 0, bytes);
    encoder.copy_buffer_to_buffer(&between, 0, buffer, to, bytes);
}
