//! A rank's own part of a batch, on its device: what its calls read, and what they write for it.

use super::Batch;
use crate::device::{self, Staging};
use crate::error::Error;
use crate::ffi::Words;
use crate::world::World;
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::wgpu;
use wgloss::{
    Contrastive, ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType, Denominator,
    Error as LossError, Gradient, Keys, Setting, Targets, Tensor,
};

/// What a call finds beside gradients: the loss, the gradients to temperature and bias, what the mean is over.
pub(super) const NUMBERS: usize = 4;

/// What rows of this batch are like.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) dims: usize,
    pub(super) classes: usize,
    pub(super) dtype: DType,
}

impl Shape {
    pub(super) fn of(batch: &Batch<'_>) -> Shape {
        Shape {
            dims: batch.dims,
            classes: batch.classes,
            dtype: batch.dtype,
        }
    }

    fn words(&self) -> usize {
        self.classes.div_ceil(32)
    }

    /// Bytes of so many rows of embeddings, and of their labels.
    pub(super) fn bytes(&self, rows: usize) -> (u64, u64) {
        let embeddings = (rows * self.dims) as u64 * self.dtype.size();
        (embeddings, 4 * (rows * self.words()) as u64)
    }

    /// Bytes of their gradient.
    pub(super) fn floats(&self, rows: usize) -> u64 {
        4 * (rows * self.dims) as u64
    }

    /// Words of them, as they are sent.
    pub(super) fn sent(&self, rows: usize) -> usize {
        let (embeddings, labels) = self.bytes(rows);
        ((embeddings + labels) / 4) as usize
    }

    /// The labels of the first rows of a buffer.
    pub(super) fn labels<'a>(&self, buffer: &'a wgpu::Buffer, rows: usize) -> Targets<Tensor<'a>> {
        Targets::Bits(Tensor::matrix(buffer, DType::U32, rows, self.words()))
    }
}

/// Embeddings and labels of some keys, row after row.
pub(super) struct Held {
    pub(super) embeddings: wgpu::Buffer,
    pub(super) labels: wgpu::Buffer,
}

impl Held {
    pub(super) fn new(gpu: &Gpu, shape: &Shape, rows: usize) -> Result<Held, LossError> {
        let (embeddings, labels) = shape.bytes(rows);
        Ok(Held {
            embeddings: gpu.zeros(embeddings)?,
            labels: gpu.zeros(labels)?,
        })
    }

    /// The first rows, as a call takes them.
    pub(super) fn keys(&self, shape: &Shape, rows: usize) -> Keys<'_> {
        Keys {
            embeddings: Tensor::matrix(&self.embeddings, shape.dtype, rows, shape.dims),
            labels: shape.labels(&self.labels, rows),
        }
    }

    /// Writes rows that have come, from some of them on, to a place.
    pub(super) fn put(&self, gpu: &Gpu, shape: &Shape, words: &[u32], piece: Piece, of: usize) {
        let all = (shape.bytes(of).0 / 4) as usize;
        let (embeddings, labels) = words.split_at(all.min(words.len()));
        let (from, to) = (shape.bytes(piece.from), shape.bytes(piece.to));
        let len = shape.bytes(piece.rows);
        for (buffer, words, from, to, len) in [
            (&self.embeddings, embeddings, from.0, to.0, len.0),
            (&self.labels, labels, from.1, to.1, len.1),
        ] {
            if len > 0 {
                let bytes: &[u8] = bytemuck::cast_slice(words);
                let some = &bytes[from as usize..(from + len) as usize];
                gpu.queue().write_buffer(buffer, to, some);
            }
        }
    }
}

/// Rows on their way from one place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) rows: usize,
}

impl Piece {
    /// All rows of a block, to a place.
    pub(super) fn whole(rows: usize, to: usize) -> Piece {
        Piece { from: 0, to, rows }
    }
}

/// Where the keys of the last steps are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    pub(super) most: usize,
    pub(super) filled: usize,
    next: usize,
}

impl Queue {
    pub(super) fn new(most: usize) -> Queue {
        Queue {
            most,
            ..Queue::default()
        }
    }

    /// Where rows of a batch of `total` go, in place of the oldest: the last of the batch, as many as there is room for. In at most
    /// two pieces, up to the end of the queue and from its beginning; `from` counts from the first of these rows.
    pub(super) fn pieces(&self, total: usize, rows: std::ops::Range<usize>) -> Vec<Piece> {
        let count = total.min(self.most);
        let mut first = rows.start.max(total - count);
        let mut pieces = Vec::new();
        while first < rows.end {
            let to = (self.next + first - (total - count)) % self.most;
            let some = (rows.end - first).min(self.most - to);
            pieces.push(Piece {
                from: first - rows.start,
                to,
                rows: some,
            });
            first += some;
        }
        pieces
    }

    /// A batch has been put in.
    pub(super) fn pass(&mut self, total: usize) {
        let count = total.min(self.most);
        if count > 0 {
            self.next = (self.next + count) % self.most;
            self.filled = (self.filled + count).min(self.most);
        }
    }
}

/// What a rank has in the sums of all: of loss and gradients, before they are means.
pub(super) struct Sums {
    pub(super) numbers: [f32; NUMBERS],
    pub(super) to_anchors: Vec<f32>,
    /// To its own keys, of all ranks' anchors; where the anchors are the keys, what the others have.
    pub(super) to_keys: Vec<f32>,
}

/// A rank's part of the batch.
pub(super) struct Own {
    pub(super) gpu: Gpu,
    pub(super) loss: Contrastive,
    pub(super) shape: Shape,
    /// Rows of each rank.
    pub(super) rows: Vec<usize>,
    pub(super) rank: usize,
    anchors: wgpu::Buffer,
    pub(super) labels: wgpu::Buffer,
    pub(super) own_keys: Option<wgpu::Buffer>,
    /// Whether gradients go to keys.
    pub(super) keys_learn: bool,
    numbers: wgpu::Buffer,
    to_anchors: wgpu::Buffer,
    /// What a mean is over, so that it is a sum.
    one: wgpu::Buffer,
    outgoing: Staging,
    incoming: Staging,
}

impl Own {
    pub(super) fn new(
        gpu: &Gpu,
        loss: Contrastive,
        batch: &Batch<'_>,
        (rank, rows): (usize, &[usize]),
    ) -> Result<Own, LossError> {
        let shape = Shape::of(batch);
        let floats = shape.floats(batch.rows);
        let numbers = 4 * NUMBERS as u64;
        Ok(Own {
            gpu: gpu.clone(),
            loss,
            shape,
            rows: rows.to_vec(),
            rank,
            anchors: batch.embeddings.clone(),
            labels: batch.labels.clone(),
            own_keys: batch.keys.map(|keys| keys.embeddings.clone()),
            keys_learn: batch.keys.is_none_or(|keys| keys.grad.is_some()),
            numbers: gpu.zeros(numbers)?,
            to_anchors: gpu.zeros(floats)?,
            one: gpu.upload(bytemuck::bytes_of(&1.0_f32))?,
            outgoing: Staging::new(gpu, 4 * shape.sent(batch.rows) as u64)?,
            incoming: Staging::new(gpu, numbers + floats)?,
        })
    }

    /// How many anchors this rank has.
    pub(super) fn count(&self) -> usize {
        self.rows[self.rank]
    }

    /// How many the batch has.
    pub(super) fn total(&self) -> usize {
        self.rows.iter().sum()
    }

    /// How many are before those of a rank.
    pub(super) fn before(&self, rank: usize) -> usize {
        self.rows[..rank].iter().sum()
    }

    /// The keys of this rank, as they are sent: embeddings, then labels.
    pub(super) fn outgoing(&self, world: &World) -> Result<Words, Error> {
        let (bytes, label_bytes) = self.shape.bytes(self.count());
        let from = self.own_keys.as_ref().unwrap_or(&self.anchors);
        let mut encoder = device::encoder(&self.gpu);
        (self.outgoing).copy(&mut encoder, (from, 0), (0, bytes));
        (self.outgoing).copy(&mut encoder, (&self.labels, 0), (bytes, label_bytes));
        device::read_one(world, &self.gpu, encoder, &self.outgoing)
    }

    /// What was sent has been sent.
    pub(super) fn sent(&self) {
        self.outgoing.unmap();
    }

    /// A call's settings: a mean is over one, and made of the sum later.
    pub(super) fn settings(&self) -> Vec<Setting<'_>> {
        let value = Tensor::vector(&self.one, DType::F32, 1);
        let name = "count";
        match self.is_mean() {
            true => vec![Setting { name, value }],
            false => Vec::new(),
        }
    }

    fn is_mean(&self) -> bool {
        !matches!(self.loss.reduction, ContrastiveReduction::Sum)
    }

    /// This rank's anchors with some keys, of which the first is number `first` of all; without keys, the anchors among themselves.
    pub(super) fn inputs<'a>(
        &'a self,
        keys: Option<Keys<'a>>,
        first: usize,
        settings: &'a [Setting<'a>],
    ) -> ContrastiveInputs<'a> {
        let (rows, shape) = (self.count(), &self.shape);
        // Which key each anchor is, or whose pair it has; none where keys are another view.
        let named = self.loss.weighting == Weighting::Paired || self.own_keys.is_none();
        let offset = (self.before(self.rank) as u32).wrapping_sub(first as u32);
        ContrastiveInputs {
            self_offset: (named && keys.is_some()).then_some(offset),
            keys,
            settings,
            ..ContrastiveInputs::new(
                Tensor::matrix(&self.anchors, shape.dtype, rows, shape.dims),
                shape.classes,
                shape.labels(&self.labels, rows),
            )
        }
    }

    /// The first call for all anchors writes; what others find is added.
    pub(super) fn outputs<'a>(
        &'a self,
        first: bool,
        to_keys: Option<Tensor<'a>>,
    ) -> ContrastiveOutputs<'a> {
        let to = Tensor::matrix(&self.to_anchors, DType::F32, self.count(), self.shape.dims);
        let number = |i| Tensor::vector(&self.numbers, DType::F32, 1).with_offset(i);
        let all = ContrastiveOutputs {
            grad_embeddings: Some(Gradient::AddTo(to)),
            grad_keys: to_keys.map(Gradient::To),
            ..ContrastiveOutputs::default()
        };
        if !first {
            return all;
        }
        ContrastiveOutputs {
            loss: Some(number(0)),
            grad_embeddings: Some(Gradient::To(to)),
            grad_temperature: Some(number(1).into()),
            grad_bias: (self.loss.denominator == Denominator::Sigmoid).then(|| number(2).into()),
            count: self.is_mean().then(|| number(3)),
            ..all
        }
    }

    /// Reads what the calls have found for this rank, behind what the encoder has, and what that has brought to a staging.
    /// Zeros and nothing where it has no anchors.
    pub(super) fn found(
        &self,
        world: &World,
        mut encoder: wgpu::CommandEncoder,
        beside: Option<&Staging>,
    ) -> Result<([f32; NUMBERS], Vec<f32>, Words), Error> {
        let nothing = Words::Owned(Vec::new());
        if self.count() == 0 {
            if let Err(error) = self.gpu.finish(encoder) {
                return world.here(error);
            }
            return Ok(([0.0; NUMBERS], Vec::new(), nothing));
        }
        let numbers = 4 * NUMBERS as u64;
        let floats = self.shape.floats(self.count());
        (self.incoming).copy(&mut encoder, (&self.numbers, 0), (0, numbers));
        (self.incoming).copy(&mut encoder, (&self.to_anchors, 0), (numbers, floats));
        let stagings: Vec<&Staging> = std::iter::once(&self.incoming).chain(beside).collect();
        let mut all = device::read(world, &self.gpu, encoder, &stagings)?.into_iter();
        let (words, beside) = (all.next(), all.next());
        let words = words.unwrap_or(Words::Owned(Vec::new()));
        let float = |word: &u32| f32::from_bits(*word);
        let mut found = [0.0; NUMBERS];
        for (to, word) in found.iter_mut().zip(words.iter()) {
            *to = float(word);
        }
        let to_anchors = words.iter().skip(NUMBERS).map(float).collect();
        drop(words);
        self.incoming.unmap();
        Ok((found, to_anchors, beside.unwrap_or(nothing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches in blocks go where whole ones go, and the newest stay.
    #[test]
    fn a_queue_keeps_the_newest() {
        for (most, batches) in [
            (0, vec![3]),
            (5, vec![3, 3, 3]),
            (5, vec![7, 1, 12]),
            (4, vec![4, 4]),
        ] {
            let (mut queue, mut slots) = (Queue::new(most), vec![None; most]);
            let mut newest = Vec::new();
            let mut number = 0;
            for total in batches {
                for block in [0..total / 3, total / 3..total / 3, total / 3..total] {
                    for piece in queue.pieces(total, block.clone()) {
                        for i in 0..piece.rows {
                            slots[piece.to + i] = Some(number + block.start + piece.from + i);
                        }
                    }
                }
                queue.pass(total);
                newest.extend(number..number + total);
                number += total;
                let mut held: Vec<usize> = slots.iter().copied().flatten().collect();
                held.sort_unstable();
                let kept = newest.len().min(most);
                assert_eq!(held, newest[newest.len() - kept..], "{most}");
                assert_eq!(queue.filled, kept);
            }
        }
    }
}
