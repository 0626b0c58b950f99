//! Keys that go round, of which a rank has its own and those of one other rank at a time.

use super::own::{Held, Own, Piece, Queue, Sums};
use crate::device::{self, Staging};
use crate::error::Error;
use crate::ffi::Words;
use crate::world::World;
use std::sync::Arc;
use wgloss::losses::contrastive::Weighting;
use wgloss::wgpu;
use wgloss::{
    ContrastiveInputs, DType, Error as LossError, Keys, LabelCountInputs, LabelCountOutputs,
    LabelCounts, Prepared, Tensor,
};

/// Names of the collectives, in their order.
const COUNTS: &str = "the all-gather of label counts";
const ONCE: &str = "the ring of keys";
const AGAIN: &str = "the second ring of keys";
const BACK: &str = "the return of gradients to keys";

/// One block of keys, and for each anchor the sums over each block.
pub(super) struct Round {
    block: Held,
    to_block: wgpu::Buffer,
    to_own_keys: wgpu::Buffer,
    /// Of the blocks of all ranks and of the queue.
    accumulators: wgpu::Buffer,
    /// Where labels are counted: this rank's keys with each, and all.
    own_counts: wgpu::Buffer,
    all_counts: wgpu::Buffer,
    outgoing: Staging,
    counted: Staging,
    held: Held,
    queue: Queue,
}

/// Some keys that a rank's anchors meet.
#[derive(Clone, Copy)]
enum Met {
    /// Its own.
    Own,
    /// Those of a rank, which have come.
    Of(usize),
    /// Those of the steps before.
    Old,
}

impl Round {
    pub(super) fn new(own: &Own, queue: usize) -> Result<Round, LossError> {
        let (gpu, shape) = (&own.gpu, &own.shape);
        let most = own.rows.iter().copied().max().unwrap_or(0);
        let words = own.loss.accumulator()?.words;
        let blocks = own.rows.len() + usize::from(queue > 0);
        let counts = 4 * shape.classes as u64;
        Ok(Round {
            block: Held::new(gpu, shape, most)?,
            to_block: gpu.zeros(shape.floats(most))?,
            to_own_keys: gpu.zeros(shape.floats(own.count()))?,
            accumulators: gpu.zeros(4 * (blocks * own.count() * words) as u64)?,
            own_counts: gpu.zeros(counts)?,
            all_counts: gpu.zeros(counts)?,
            outgoing: Staging::new(gpu, shape.floats(most))?,
            counted: Staging::new(gpu, counts)?,
            held: Held::new(gpu, shape, queue)?,
            queue: Queue::new(queue),
        })
    }

    pub(super) fn sums(&mut self, world: &World, own: &Own) -> Result<Sums, Error> {
        let mine = own.outgoing(world)?;
        let words = mine.to_vec();
        drop(mine);
        own.sent();
        let mine = Arc::new(words);
        if by_label(own) {
            self.count(world, own)?;
        }
        let lens: Vec<usize> = own.rows.iter().map(|n| own.shape.sent(*n)).collect();
        let old = (self.queue.filled > 0).then_some(Met::Old);

        let mut ring = world.ring(ONCE, Arc::clone(&mine), lens.clone())?;
        for met in std::iter::once(Met::Own).chain(old) {
            self.run(world, own, self.first(own, met))?;
        }
        while let Some((rank, words)) = ring.next()? {
            self.put(own, rank, &words);
            self.run(world, own, self.first(own, Met::Of(rank)))?;
        }

        let mut ring = world.ring(AGAIN, Arc::clone(&mine), lens)?;
        for met in std::iter::once(Met::Own).chain(old) {
            self.run(world, own, self.second(own, met))?;
        }
        // The old keys have been met.
        self.enqueue(own, world.rank(), &mine);
        let mut others = vec![0.0; own.count() * own.shape.dims];
        while let Some((rank, words)) = ring.next()? {
            self.put(own, rank, &words);
            self.run(world, own, self.second(own, Met::Of(rank)))?;
            self.enqueue(own, rank, &words);
            if own.keys_learn {
                self.give_back(world, own, rank, &mut others)?;
            }
        }
        self.queue.pass(own.total());
        let mut encoder = device::encoder(&own.gpu);
        let apart = own.keys_learn && own.own_keys.is_some() && own.count() > 0;
        let beside = apart.then_some(&self.outgoing);
        if let Some(staging) = beside {
            let bytes = own.shape.floats(own.count());
            staging.copy(&mut encoder, (&self.to_own_keys, 0), (0, bytes));
        }
        let (numbers, to_anchors, mine) = own.found(world, encoder, beside)?;
        add(&mut others, &mine);
        drop(mine);
        self.outgoing.unmap();
        Ok(Sums {
            numbers,
            to_anchors,
            to_keys: others,
        })
    }

    /// Brings a rank's keys to the device.
    fn put(&self, own: &Own, rank: usize, words: &[u32]) {
        let rows = own.rows[rank];
        let piece = Piece::whole(rows, 0);
        self.block.put(&own.gpu, &own.shape, words, piece, rows);
    }

    /// Puts what of a rank's keys stays for the next steps into the queue.
    fn enqueue(&self, own: &Own, rank: usize, words: &[u32]) {
        let first = own.before(rank);
        let rows = first..first + own.rows[rank];
        for piece in self.queue.pieces(own.total(), rows) {
            let of = own.rows[rank];
            self.held.put(&own.gpu, &own.shape, words, piece, of);
        }
    }

    /// Some keys; none where the anchors are the keys. The number of the first among all.
    fn keys<'a>(&'a self, own: &'a Own, met: Met) -> (Option<Keys<'a>>, usize) {
        let (shape, rows) = (&own.shape, own.count());
        match met {
            Met::Own => {
                let keys = own.own_keys.as_ref().map(|embeddings| Keys {
                    embeddings: Tensor::matrix(embeddings, shape.dtype, rows, shape.dims),
                    labels: shape.labels(&own.labels, rows),
                });
                (keys, own.before(own.rank))
            }
            Met::Of(rank) => (
                Some(self.block.keys(shape, own.rows[rank])),
                own.before(rank),
            ),
            Met::Old => (Some(self.held.keys(shape, self.queue.filled)), own.total()),
        }
    }

    fn inputs<'a>(&'a self, own: &'a Own, met: Met) -> ContrastiveInputs<'a> {
        let (keys, first) = self.keys(own, met);
        let counts = || Tensor::vector(&self.all_counts, DType::U32, own.shape.classes);
        ContrastiveInputs {
            label_counts: by_label(own).then(counts),
            ..own.inputs(keys, first, &[])
        }
    }

    /// The sums of the anchors over some keys.
    fn first(&self, own: &Own, met: Met) -> Result<Prepared, LossError> {
        let words = own.loss.accumulator()?.words;
        let block = match met {
            Met::Own => own.rank,
            Met::Of(rank) => rank,
            Met::Old => own.rows.len(),
        };
        let to = Tensor::matrix(&self.accumulators, DType::F32, own.count(), words)
            .with_offset((block * own.count() * words) as u64);
        let inputs = self.inputs(own, met);
        (own.loss).prepare_partial(own.gpu.context(), &inputs, to)
    }

    /// The gradients by some keys and to them, and with the first of all the loss.
    fn second(&self, own: &Own, met: Met) -> Result<Prepared, LossError> {
        let words = own.loss.accumulator()?.words;
        let blocks = own.rows.len() + usize::from(self.queue.filled > 0);
        let all = Tensor::matrix(&self.accumulators, DType::F32, blocks, own.count() * words);
        let settings = own.settings();
        let inputs = ContrastiveInputs {
            settings: &settings,
            ..self.inputs(own, met)
        };
        let matrix = |buffer, rows| Tensor::matrix(buffer, DType::F32, rows, own.shape.dims);
        let to_keys = match met {
            Met::Own => (own.own_keys.is_some()).then(|| matrix(&self.to_own_keys, own.count())),
            Met::Of(rank) => Some(matrix(&self.to_block, own.rows[rank])),
            Met::Old => None,
        };
        let first = matches!(met, Met::Own);
        let outputs = own.outputs(first, to_keys.filter(|_| own.keys_learn));
        (own.loss).prepare_merged(own.gpu.context(), &inputs, all, &outputs)
    }

    /// Submits a call.
    fn run(
        &self,
        world: &World,
        own: &Own,
        call: Result<Prepared, LossError>,
    ) -> Result<(), Error> {
        if own.count() == 0 {
            return Ok(());
        }
        let call = call.or_else(|error| world.here(error))?;
        let mut encoder = device::encoder(&own.gpu);
        call.encode(&mut encoder);
        own.gpu.queue().submit([encoder.finish()]);
        // What is done gives its memory back.
        let _ = own.gpu.context().device().poll(wgpu::PollType::Poll);
        Ok(())
    }

    /// Sends a rank what this one's anchors have in the gradient to its keys, and adds what has come for one's own.
    fn give_back(
        &self,
        world: &World,
        own: &Own,
        rank: usize,
        sums: &mut [f32],
    ) -> Result<(), Error> {
        let len = own.rows[rank] * own.shape.dims;
        let part = match own.count() {
            0 => vec![0; len],
            _ => {
                let mut encoder = device::encoder(&own.gpu);
                let bytes = own.shape.floats(own.rows[rank]);
                (self.outgoing).copy(&mut encoder, (&self.to_block, 0), (0, bytes));
                let words = device::read_one(world, &own.gpu, encoder, &self.outgoing)?;
                let part = words[..len].to_vec();
                drop(words);
                self.outgoing.unmap();
                part
            }
        };
        // As many steps behind this one as that rank is ahead, somebody has this one's keys.
        let size = own.rows.len();
        let from = (2 * own.rank + size - rank) % size;
        let come = world.exchange(BACK, Words::Owned(part), rank, (from, sums.len()))?;
        add(sums, &come);
        Ok(())
    }

    /// Counts the keys of all ranks, and of the queue, with each label.
    fn count(&self, world: &World, own: &Own) -> Result<(), Error> {
        let classes = own.shape.classes;
        let of_keys = |labels, rows| -> Result<Vec<u32>, Error> {
            let inputs = LabelCountInputs {
                rows,
                classes,
                labels: own.shape.labels(labels, rows),
                row_mask: None,
            };
            let outputs = LabelCountOutputs {
                counts: Tensor::vector(&self.own_counts, DType::U32, classes),
            };
            let call = LabelCounts.prepare(own.gpu.context(), &inputs, &outputs);
            let call = call.or_else(|error| world.here(error))?;
            let mut encoder = device::encoder(&own.gpu);
            call.encode(&mut encoder);
            let bytes = 4 * classes as u64;
            (self.counted).copy(&mut encoder, (&self.own_counts, 0), (0, bytes));
            let words = device::read_one(world, &own.gpu, encoder, &self.counted)?;
            let counts = words.to_vec();
            drop(words);
            self.counted.unmap();
            Ok(counts)
        };
        let mine = of_keys(&own.labels, own.count())?;
        let mut sums = of_keys(&self.held.labels, self.queue.filled)?;
        let all = world.gather(COUNTS, &mine)?;
        for rank in all.chunks_exact(classes.max(1)) {
            for (sum, count) in sums.iter_mut().zip(rank) {
                *sum = sum.saturating_add(*count);
            }
        }
        let queue = own.gpu.queue();
        queue.write_buffer(&self.all_counts, 0, bytemuck::cast_slice(&sums));
        Ok(())
    }
}

fn by_label(own: &Own) -> bool {
    matches!(own.loss.weighting, Weighting::MulSupCon { .. })
}

fn add(sums: &mut [f32], words: &[u32]) {
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum += f32::from_bits(*word);
    }
}
