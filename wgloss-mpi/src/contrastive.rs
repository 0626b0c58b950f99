//! A contrastive loss whose batch lies over the ranks.

use crate::agree::Common;
use crate::device::{self, Staging};
use crate::error::Error;
use crate::ffi::Words;
use crate::world::World;
use std::sync::Arc;
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::wgpu;
use wgloss::{
    Contrastive, ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType, Denominator,
    Error as LossError, Gradient, Keys, Prepared, RelationInputs, RelationOutputs, Relations,
    Targets, Tensor,
};

/// Names of the collectives, in their order.
const GATHER: &str = "the all-gather of keys";
const TOTALS: &str = "the all-gather of losses";
const SCATTER: &str = "the reduce-scatter of gradients to keys";

/// How keys come from rank to rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// By the library's all-gather.
    #[default]
    AllGather,
    /// Along a ring, from each rank to the next: each block goes on to the device while the next is on its way. As many bytes,
    /// and as much memory.
    Ring,
}

/// A rank's part of the batch. Buffers have the usages `STORAGE`, `COPY_SRC` and `COPY_DST`, tensors begin at their beginning,
/// row after row.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many samples this rank has; any number, 0 too.
    pub rows: usize,
    /// Components of an embedding. Of 16 bits an even number.
    pub dims: usize,
    /// How many labels there are.
    pub classes: usize,
    /// Of embeddings and keys: f32, f16 or bf16.
    pub dtype: DType,
    /// `[rows, dims]`: the anchors, and the keys where there are no others.
    pub embeddings: &'a wgpu::Buffer,
    /// u32 `[rows, ceil(classes / 32)]`: the labels, a bit each. Without classes any buffer.
    pub labels: &'a wgpu::Buffer,
    /// f32 `[rows, dims]`: where the gradient to the embeddings goes.
    pub grad_embeddings: &'a wgpu::Buffer,
    /// Keys of their own, as another encoder makes them: key `i` belongs to anchor `i`.
    pub keys: Option<OwnKeys<'a>>,
}

/// Keys of their own, `[rows, dims]`.
#[derive(Clone, Copy, Debug)]
pub struct OwnKeys<'a> {
    /// Of the embeddings' type. They have the anchors' labels.
    pub embeddings: &'a wgpu::Buffer,
    /// f32: where the gradient to them goes; absent: nowhere, and nothing is sent for it.
    pub grad: Option<&'a wgpu::Buffer>,
}

/// What a step has come to: the same on all ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// The loss of the whole batch.
    pub loss: f32,
    /// The gradient of it to the temperature.
    pub grad_temperature: f32,
    /// The gradient of it to the bias, where there is one.
    pub grad_bias: f32,
    /// How many anchors there are.
    pub anchors: u64,
    /// How many of them are active; of reductions that do not ask, 0.
    pub active: u64,
}

/// A contrastive loss whose batch lies over the ranks: each rank has some of the anchors, and meets the keys of all.
///
/// Loss and gradients are those of one rank with the whole batch. A step calls three collectives, in this order: the all-gather
/// of keys with their labels (or the ring), the all-gather of losses (six numbers), and the reduce-scatter of the gradients to
/// keys, whose parts every rank adds up in the order of the ranks. With keys that need no gradient the last one is left out.
///
/// The reductions are those of [`ContrastiveReduction`] but `None`. The mean over active anchors needs their number, which is
/// counted from the label sets: of Jaccard's weighting, where it depends on the threshold, it is refused. What the
/// caller says of pairs ([`Weighting::Given`]) is refused, too.
///
/// **A queue.** With [`ShardedContrastive::with_queue`] the keys of the last steps are keys, too, without a gradient. Each rank
/// has the same queue, of the keys that it was sent in any case, and nothing more is sent.
pub struct ShardedContrastive<'w> {
    world: &'w World,
    gpu: Gpu,
    loss: Contrastive,
    transport: Transport,
    shape: Shape,
    rows: Vec<usize>,
    anchors: wgpu::Buffer,
    labels: wgpu::Buffer,
    to_anchors: wgpu::Buffer,
    own_keys: Option<(wgpu::Buffer, Option<wgpu::Buffer>)>,
    /// The keys of all ranks, then the queue, and their labels.
    keys: wgpu::Buffer,
    key_labels: wgpu::Buffer,
    queue: Queue,
    call: Option<Calls>,
    /// What is sent, and what the calls give.
    outgoing: Staging,
    own: Staging,
    to_keys: Staging,
    results: [wgpu::Buffer; 6],
}

#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    dims: usize,
    classes: usize,
    dtype: DType,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    most: usize,
    filled: usize,
    next: usize,
}

/// What was prepared, for as many keys.
struct Calls {
    keys: usize,
    all: Vec<Prepared>,
}

impl Shape {
    fn words(&self) -> usize {
        self.classes.div_ceil(32)
    }

    /// Bytes of so many rows of embeddings, and of their labels.
    fn bytes(&self, rows: usize) -> (u64, u64) {
        let embeddings = (rows * self.dims) as u64 * self.dtype.size();
        (embeddings, 4 * (rows * self.words()) as u64)
    }

    fn floats(&self, rows: usize) -> u64 {
        4 * (rows * self.dims) as u64
    }
}

/// What becomes of the sums of all anchors.
fn factor(reduction: ContrastiveReduction, anchors: u64, active: u64, labels: u64) -> f64 {
    let share = |of: u64| if of == 0 { 0.0 } else { 1.0 / of as f64 };
    match reduction {
        ContrastiveReduction::MeanActive => share(active),
        ContrastiveReduction::MeanAll => share(anchors),
        ContrastiveReduction::MeanLabels => share(labels),
        ContrastiveReduction::Sum | ContrastiveReduction::None => 1.0,
    }
}

/// Whether an anchor is active whose keys have these relations to it: of R1 to R5, those that are positives, and, where they
/// are asked for, those that are not.
fn is_active(loss: &Contrastive, relations: &[u32]) -> bool {
    let all: u64 = relations.iter().map(|n| u64::from(*n)).sum();
    let positives: u64 = match loss.weighting {
        Weighting::All => u64::from(relations[1]),
        _ => all - u64::from(relations[0]),
    };
    match loss.denominator {
        Denominator::All | Denominator::OnePositive => positives > 0,
        Denominator::Negatives => positives > 0 && all > positives,
        Denominator::Sigmoid => all > 0,
    }
}

impl<'w> ShardedContrastive<'w> {
    /// Checks the part of the batch and makes what a step needs. Called by all ranks, which compare versions, settings and
    /// shapes first.
    ///
    /// # Errors
    /// A rank whose part was refused, ranks that differ, ranks that do not come.
    pub fn prepare(
        world: &'w World,
        gpu: &Gpu,
        loss: Contrastive,
        transport: Transport,
        batch: &Batch<'_>,
    ) -> Result<ShardedContrastive<'w>, Error> {
        let said = check(&loss, batch).map(|()| {
            let common = common(&loss, transport, batch);
            (common, vec![batch.rows as u64])
        });
        let rows: Vec<usize> = (world.agree("ShardedContrastive", said)?.iter())
            .map(|own| own[0] as usize)
            .collect();
        let made = make(gpu, batch, &rows);
        let said = match &made {
            Ok(_) => Ok((Vec::new(), Vec::new())),
            Err(error) => Err(error.clone()),
        };
        world.agree("ShardedContrastive's memory", said)?;
        let (keys, key_labels, [outgoing, own, to_keys], results) =
            made.or_else(|error| world.here(error))?;
        Ok(ShardedContrastive {
            world,
            gpu: gpu.clone(),
            loss,
            transport,
            shape: shape(batch),
            rows,
            anchors: batch.embeddings.clone(),
            labels: batch.labels.clone(),
            to_anchors: batch.grad_embeddings.clone(),
            own_keys: batch
                .keys
                .map(|keys| (keys.embeddings.clone(), keys.grad.cloned())),
            keys,
            key_labels,
            queue: Queue::default(),
            call: None,
            outgoing,
            own,
            to_keys,
            results,
        })
    }

    /// The same with a queue of the keys of the last steps: at most so many. Called by all ranks with the same number.
    ///
    /// # Errors
    /// Ranks that differ, a rank without memory for it.
    pub fn with_queue(mut self, most: usize) -> Result<Self, Error> {
        let total = self.rows.iter().sum::<usize>() + most;
        let (bytes, label_bytes) = self.shape.bytes(total);
        let made = (self.gpu.zeros(bytes)).and_then(|keys| {
            Ok((
                keys,
                self.gpu.zeros(label_bytes)?,
                grad_keys(&self.gpu, &self.shape, total)?,
            ))
        });
        let said = match &made {
            Ok(_) => Ok((vec![("queue", most.to_string())], Vec::new())),
            Err(error) => Err(error.clone()),
        };
        self.world.agree("ShardedContrastive's queue", said)?;
        (self.keys, self.key_labels, self.results[2]) =
            made.or_else(|error| self.world.here(error))?;
        self.queue = Queue {
            most,
            ..Queue::default()
        };
        self.call = None;
        Ok(self)
    }

    /// The same with other settings, as a temperature that is learnt. Called by all ranks.
    ///
    /// # Errors
    /// Settings that are refused, ranks that differ.
    pub fn with_loss(mut self, loss: Contrastive) -> Result<Self, Error> {
        let said = check_loss(&loss, self.own_keys.is_some());
        let said = said.map(|()| (vec![("loss", settings(&loss))], Vec::new()));
        self.world.agree("ShardedContrastive's settings", said)?;
        self.loss = loss;
        self.call = None;
        Ok(self)
    }

    /// How many keys the batch of all ranks has.
    fn total(&self) -> usize {
        self.rows.iter().sum()
    }

    /// Whether gradients go to keys.
    fn keys_learn(&self) -> bool {
        self.own_keys
            .as_ref()
            .is_none_or(|(_, grad)| grad.is_some())
    }

    /// Computes the loss of the whole batch and this rank's part of its gradients, of what the buffers hold. Called by all
    /// ranks.
    ///
    /// # Errors
    /// Ranks that do not come, a device that fails.
    pub fn step(&mut self) -> Result<Totals, Error> {
        self.gather()?;
        let world = self.world;
        if let Err(error) = self.prepare_calls() {
            return world.here(error);
        }
        let (own, to_keys) = self.compute()?;
        let (totals, factor) = self.totals(&own)?;
        let own_grad = own[3 + 5 * self.shape.rows..].iter();
        let mut to_anchors: Vec<f32> = own_grad.map(|word| f32::from_bits(*word)).collect();
        drop(own);
        self.own.unmap();
        if self.keys_learn() {
            let parts: Vec<usize> = self.rows.iter().map(|n| n * self.shape.dims).collect();
            let sums = world.reduce_scatter(SCATTER, to_keys, &parts)?;
            match &self.own_keys {
                None => {
                    for (to, sum) in to_anchors.iter_mut().zip(sums) {
                        *to += sum;
                    }
                }
                Some((_, Some(grad))) => self.write(grad, sums, factor),
                Some((_, None)) => {}
            }
        } else {
            drop(to_keys);
        }
        self.to_keys.unmap();
        self.write(&self.to_anchors, to_anchors, factor);
        self.enqueue();
        // What was written goes with the next submission, and faults of the device show here.
        if let Err(error) = self.gpu.finish(device::encoder(&self.gpu)) {
            return world.here(error);
        }
        Ok(totals)
    }

    fn write(&self, to: &wgpu::Buffer, mut values: Vec<f32>, factor: f64) {
        for value in &mut values {
            *value = (f64::from(*value) * factor) as f32;
        }
        if !values.is_empty() {
            let queue = self.gpu.queue();
            queue.write_buffer(to, 0, bytemuck::cast_slice(&values));
        }
    }

    /// Brings the keys of all ranks here.
    fn gather(&mut self) -> Result<(), Error> {
        let (world, shape) = (self.world, self.shape);
        let (bytes, label_bytes) = shape.bytes(shape.rows);
        let from = match &self.own_keys {
            Some((keys, _)) => keys,
            None => &self.anchors,
        };
        let mut encoder = device::encoder(&self.gpu);
        (self.outgoing).copy(&mut encoder, (from, 0), (0, bytes));
        (self.outgoing).copy(&mut encoder, (&self.labels, 0), (bytes, label_bytes));
        let mut words = device::read(world, &self.gpu, encoder, &[&self.outgoing])?;
        let mine = words.pop().unwrap_or(Words::Owned(Vec::new()));
        let lens: Vec<usize> = (self.rows.iter())
            .map(|n| {
                let (bytes, labels) = shape.bytes(*n);
                ((bytes + labels) / 4) as usize
            })
            .collect();
        match self.transport {
            Transport::AllGather => {
                let all = world.begin_all_gather(GATHER, mine, &lens)?.wait()?;
                let mut at = 0;
                for (rank, len) in lens.iter().enumerate() {
                    self.put(rank, &all[at..at + len]);
                    at += len;
                }
            }
            Transport::Ring => {
                let words = mine.to_vec();
                drop(mine);
                let mine = Arc::new(words);
                let mut ring = world.ring(GATHER, Arc::clone(&mine), lens)?;
                self.put(world.rank(), &mine);
                while let Some((rank, block)) = ring.next()? {
                    self.put(rank, &block);
                }
            }
        }
        self.outgoing.unmap();
        Ok(())
    }

    /// Writes a rank's keys and labels to their places.
    fn put(&self, rank: usize, words: &[u32]) {
        let (at, labels_at) = self.shape.bytes(self.rows[..rank].iter().sum());
        let (bytes, _) = self.shape.bytes(self.rows[rank]);
        let (embeddings, labels) = words.split_at((bytes / 4) as usize);
        for (buffer, at, words) in [
            (&self.keys, at, embeddings),
            (&self.key_labels, labels_at, labels),
        ] {
            if !words.is_empty() {
                let queue = self.gpu.queue();
                queue.write_buffer(buffer, at, bytemuck::cast_slice(words));
            }
        }
    }

    /// Prepares the calls, where there are more keys than the last time.
    fn prepare_calls(&mut self) -> Result<(), LossError> {
        let keys = self.total() + self.queue.filled;
        if self.shape.rows == 0 || self.call.as_ref().is_some_and(|call| call.keys == keys) {
            return Ok(());
        }
        let Shape {
            rows,
            dims,
            classes,
            dtype,
        } = self.shape;
        let words = self.shape.words();
        let sets = |buffer, rows| Targets::Bits(Tensor::matrix(buffer, DType::U32, rows, words));
        // Which key each anchor is, or whose pair it has; none where keys are another view.
        let before: usize = self.rows[..self.world.rank()].iter().sum();
        let pairs = self.loss.weighting == Weighting::Paired;
        let self_offset = (pairs || self.own_keys.is_none()).then_some(before as u32);
        let real = |i: usize, rows, cols| Tensor::matrix(&self.results[i], DType::F32, rows, cols);
        let inputs = ContrastiveInputs {
            keys: Some(Keys {
                embeddings: Tensor::matrix(&self.keys, dtype, keys, dims),
                labels: sets(&self.key_labels, keys),
            }),
            self_offset,
            ..ContrastiveInputs::new(
                Tensor::matrix(&self.anchors, dtype, rows, dims),
                classes,
                sets(&self.labels, rows),
            )
        };
        let outputs = ContrastiveOutputs {
            loss: Some(real(0, 1, 1)),
            grad_embeddings: Some(real(1, rows, dims).into()),
            grad_keys: (self.keys_learn()).then(|| real(2, keys, dims).into()),
            grad_temperature: Some(Gradient::To(real(3, 1, 1))),
            grad_bias: (self.loss.denominator == Denominator::Sigmoid)
                .then(|| real(4, 1, 1).into()),
            ..ContrastiveOutputs::default()
        };
        let sum = Contrastive {
            reduction: ContrastiveReduction::Sum,
            ..self.loss
        };
        let cx = self.gpu.context();
        let mut all = vec![sum.prepare(cx, &inputs, &outputs)?];
        if counts_active(&self.loss) {
            let index: Vec<u32> = (before as u32..).take(rows).collect();
            let index = self.gpu.upload(bytemuck::cast_slice(&index))?;
            let index = self_offset.map(|_| Tensor::vector(&index, DType::U32, rows));
            let inputs = RelationInputs {
                rows,
                classes,
                labels: sets(&self.labels, rows),
                keys: Some((keys, sets(&self.key_labels, keys))),
                self_index: index,
            };
            let outputs = RelationOutputs {
                relations: Tensor::matrix(&self.results[5], DType::U32, rows, 5),
            };
            all.push(Relations.prepare(cx, &inputs, &outputs)?);
        }
        self.call = Some(Calls { keys, all });
        Ok(())
    }

    /// Runs the calls. Gives this rank's results (loss, gradients to temperature and bias, relations, gradient to the
    /// anchors), and its part of the gradients to all keys of the batch.
    fn compute(&self) -> Result<(Words, Words), Error> {
        let Shape { rows, dims, .. } = self.shape;
        if rows == 0 {
            let nothing = vec![0; self.total() * dims];
            return Ok((Words::Owned(vec![0; 3]), Words::Owned(nothing)));
        }
        let mut encoder = device::encoder(&self.gpu);
        for call in self.call.iter().flat_map(|calls| &calls.all) {
            call.encode(&mut encoder);
        }
        let relations = 4 * 5 * rows as u64;
        let floats = self.shape.floats(rows);
        for (i, at, bytes) in [
            (0, 0, 4),
            (3, 4, 4),
            (4, 8, 4),
            (5, 12, relations),
            (1, 12 + relations, floats),
        ] {
            (self.own).copy(&mut encoder, (&self.results[i], 0), (at, bytes));
        }
        if self.keys_learn() {
            let bytes = self.shape.floats(self.total());
            (self.to_keys).copy(&mut encoder, (&self.results[2], 0), (0, bytes));
        }
        let stagings = [&self.own, &self.to_keys];
        let mut words = device::read(self.world, &self.gpu, encoder, &stagings)?;
        let to_keys = words.pop().unwrap_or(Words::Owned(Vec::new()));
        let own = words.pop().unwrap_or(Words::Owned(Vec::new()));
        Ok((own, to_keys))
    }

    /// Adds up what all ranks have, in their order. Gives the totals, and the factor of the reduction.
    fn totals(&self, own: &[u32]) -> Result<(Totals, f64), Error> {
        let Shape { rows, .. } = self.shape;
        let relations = &own[3..3 + 5 * rows];
        let active = match self.loss.weighting {
            _ if !matches!(self.loss.reduction, ContrastiveReduction::MeanActive) => 0,
            Weighting::Paired => rows,
            _ => {
                let each = relations.chunks_exact(5);
                each.filter(|counts| is_active(&self.loss, counts)).count()
            }
        };
        let labels = match self.loss.reduction {
            ContrastiveReduction::MeanLabels => self.labels_here()?,
            _ => 0,
        };
        let mine = [
            own[0],
            own[1],
            own[2],
            active as u32,
            labels as u32,
            (labels >> 32) as u32,
        ];
        let all = self.world.gather(TOTALS, &mine)?;
        let mut sums = [0.0_f64; 3];
        let (mut active, mut labels) = (0_u64, 0_u64);
        for rank in all.chunks_exact(mine.len()) {
            for (sum, word) in sums.iter_mut().zip(rank) {
                *sum += f64::from(f32::from_bits(*word));
            }
            active += u64::from(rank[3]);
            labels += u64::from(rank[4]) | u64::from(rank[5]) << 32;
        }
        let anchors = self.total() as u64;
        let factor = factor(self.loss.reduction, anchors, active, labels);
        let [loss, grad_temperature, grad_bias] = sums.map(|sum| (sum * factor) as f32);
        let totals = Totals {
            loss,
            grad_temperature,
            grad_bias,
            anchors,
            active,
        };
        Ok((totals, factor))
    }

    /// How many labels this rank's anchors have together.
    fn labels_here(&self) -> Result<u64, Error> {
        let (_, bytes) = self.shape.bytes(self.shape.rows);
        match self.gpu.download(&self.labels, bytes) {
            Ok(bytes) => Ok(bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()),
            Err(error) => self.world.here(error),
        }
    }

    /// Puts the keys of this step into the queue, in place of the oldest.
    fn enqueue(&mut self) {
        let (total, most) = (self.total(), self.queue.most);
        let count = total.min(most);
        if count == 0 {
            return;
        }
        let mut encoder = device::encoder(&self.gpu);
        let mut at = self.queue.next;
        // At most two pieces: up to the end of the queue, and from its beginning.
        let mut first = total - count;
        while first < total {
            let rows = (total - first).min(most - at);
            let piece = self.shape.bytes(rows);
            let from = self.shape.bytes(first);
            let to = self.shape.bytes(total + at);
            for (buffer, from, to, bytes) in [
                (&self.keys, from.0, to.0, piece.0),
                (&self.key_labels, from.1, to.1, piece.1),
            ] {
                if bytes > 0 {
                    self.copies(&mut encoder, buffer, (from, to, bytes));
                }
            }
            first += rows;
            at = (at + rows) % most;
        }
        self.queue.next = at;
        self.queue.filled = (self.queue.filled + count).min(most);
        self.gpu.queue().submit([encoder.finish()]);
    }

    /// Copies within a buffer, by way of one of its own: wgpu copies from a buffer to another one only.
    fn copies(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        buffer: &wgpu::Buffer,
        (from, to, bytes): (u64, u64, u64),
    ) {
        let device = self.gpu.context().device();
        let between = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgloss-mpi queue"),
            size: bytes,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(buffer, from, &between, 0, bytes);
        encoder.copy_buffer_to_buffer(&between, 0, buffer, to, bytes);
    }
}

fn counts_active(loss: &Contrastive) -> bool {
    loss.reduction == ContrastiveReduction::MeanActive && loss.weighting != Weighting::Paired
}

fn shape(batch: &Batch<'_>) -> Shape {
    Shape {
        rows: batch.rows,
        dims: batch.dims,
        classes: batch.classes,
        dtype: batch.dtype,
    }
}

/// The settings as text.
fn settings(loss: &Contrastive) -> String {
    serde_json::to_string(loss).unwrap_or_else(|error| error.to_string())
}

fn common(loss: &Contrastive, transport: Transport, batch: &Batch<'_>) -> Common {
    let keys = batch.keys.map(|keys| keys.grad.is_some());
    vec![
        ("loss", settings(loss)),
        ("transport", format!("{transport:?}")),
        ("dims", batch.dims.to_string()),
        ("classes", batch.classes.to_string()),
        ("dtype", batch.dtype.to_string()),
        ("keys", format!("{keys:?}")),
    ]
}

fn check_loss(loss: &Contrastive, keys: bool) -> Result<(), LossError> {
    loss.check()?;
    match (loss.weighting, loss.reduction) {
        (Weighting::Given, _) => Err(LossError::refused(
            "weighting",
            "positives that the caller names are not sent from rank to rank",
        )),
        (Weighting::Paired, _) if !keys => Err(LossError::refused(
            "keys",
            "this loss needs keys of their own, a pair for each anchor",
        )),
        (Weighting::Jaccard { .. }, ContrastiveReduction::MeanActive) => Err(LossError::refused(
            "reduction",
            "a mean over active anchors would need the number of those above Jaccard's threshold on all ranks: take MeanAll or Sum",
        )),
        (_, ContrastiveReduction::None) => Err(LossError::refused(
            "reduction",
            "a loss over ranks is one number: take a sum or a mean",
        )),
        _ => Ok(()),
    }
}

fn check(loss: &Contrastive, batch: &Batch<'_>) -> Result<(), LossError> {
    check_loss(loss, batch.keys.is_some())?;
    if !matches!(batch.dtype, DType::F32 | DType::F16 | DType::Bf16) {
        let kind = wgloss::ErrorKind::DType;
        return Err(LossError::new(
            kind,
            "embeddings",
            "f32, f16 or bf16",
            batch.dtype,
        ));
    }
    if batch.dims == 0 || batch.dtype.size() == 2 && !batch.dims.is_multiple_of(2) {
        let expected = "at least one component, of 16 bits an even number";
        return Err(LossError::shape("embeddings", expected, batch.dims));
    }
    let shape = shape(batch);
    let ((bytes, label_bytes), floats) = (shape.bytes(batch.rows), shape.floats(batch.rows));
    device::check("embeddings", batch.embeddings, bytes)?;
    device::check("labels", batch.labels, label_bytes)?;
    device::check("grad_embeddings", batch.grad_embeddings, floats)?;
    if let Some(keys) = batch.keys {
        device::check("keys", keys.embeddings, bytes)?;
        if let Some(grad) = keys.grad {
            device::check("grad_keys", grad, floats)?;
        }
    }
    Ok(())
}

type Made = (wgpu::Buffer, wgpu::Buffer, [Staging; 3], [wgpu::Buffer; 6]);

fn grad_keys(gpu: &Gpu, shape: &Shape, keys: usize) -> Result<wgpu::Buffer, LossError> {
    gpu.zeros(shape.floats(keys))
}

/// Buffers of a step: keys and their labels, stagings, results.
fn make(gpu: &Gpu, batch: &Batch<'_>, rows: &[usize]) -> Result<Made, LossError> {
    let (shape, total) = (shape(batch), rows.iter().sum());
    let (own, labels) = shape.bytes(batch.rows);
    let (all, all_labels) = shape.bytes(total);
    let relations = 4 * 5 * batch.rows as u64;
    let results = [
        gpu.zeros(4)?,
        gpu.zeros(shape.floats(batch.rows))?,
        grad_keys(gpu, &shape, total)?,
        gpu.zeros(4)?,
        gpu.zeros(4)?,
        gpu.zeros(relations)?,
    ];
    let stagings = [
        Staging::new(gpu, own + labels)?,
        Staging::new(gpu, 12 + relations + shape.floats(batch.rows))?,
        Staging::new(gpu, shape.floats(total))?,
    ];
    Ok((gpu.zeros(all)?, gpu.zeros(all_labels)?, stagings, results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_means() {
        use ContrastiveReduction::{MeanActive, MeanAll, MeanLabels, Sum};
        let of = |reduction| factor(reduction, 8, 4, 16);
        assert_eq!(
            [MeanActive, MeanAll, MeanLabels, Sum].map(of),
            [0.25, 0.125, 0.0625, 1.0]
        );
        assert_eq!(factor(MeanActive, 8, 0, 16), 0.0);
    }

    #[test]
    fn an_anchor_is_active_where_it_has_positives_and_what_they_are_compared_with() {
        let with = |weighting, denominator| Contrastive {
            denominator,
            ..Contrastive::new(weighting, 0.1)
        };
        let active = |weighting, denominator, relations: [u32; 5]| {
            is_active(&with(weighting, denominator), &relations)
        };
        assert!(active(Weighting::Any, Denominator::All, [0, 0, 0, 0, 1]));
        assert!(!active(Weighting::Any, Denominator::All, [3, 0, 0, 0, 0]));
        assert!(!active(Weighting::All, Denominator::All, [3, 0, 1, 1, 1]));
        assert!(active(Weighting::All, Denominator::All, [0, 1, 0, 0, 0]));
        assert!(!active(
            Weighting::Any,
            Denominator::Negatives,
            [0, 1, 0, 0, 0]
        ));
        assert!(active(
            Weighting::Any,
            Denominator::Negatives,
            [1, 1, 0, 0, 0]
        ));
        assert!(active(
            Weighting::Any,
            Denominator::Sigmoid,
            [1, 0, 0, 0, 0]
        ));
    }
}
