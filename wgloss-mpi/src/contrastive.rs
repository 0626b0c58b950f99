//! A contrastive loss whose batch lies over the ranks.

mod gathered;
mod own;
mod round;

use crate::agree::Common;
use crate::device;
use crate::error::Error;
use crate::world::World;
use gathered::Gathered;
use own::{NUMBERS, Own, Shape};
use round::Round;
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::wgpu;
use wgloss::{Contrastive, ContrastiveReduction, DType, Error as LossError};

/// The name of the collective of both transports.
const TOTALS: &str = "the all-gather of losses";

/// How keys come from rank to rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// By the library's all-gather: the keys of all ranks and the gradient to them are on every rank.
    #[default]
    AllGather,
    /// Along a ring, from each rank to the next, twice: for the sums of the denominators, and for the gradients. A rank has its own
    /// keys, those of one other with their gradient, and 32 bytes for each sample of the batch. The next keys are on their way while
    /// a rank computes with those that it has. Not with [`Denominator::OnePositive`](wgloss::Denominator::OnePositive).
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
/// Loss and gradients are those of one rank with the whole batch. The collectives of a step, in this order: with
/// [`Transport::AllGather`] the all-gather of keys with their labels, and the reduce-scatter of the gradients to keys, whose parts
/// every rank adds up in the order of the ranks; with [`Transport::Ring`] the ring of keys, the second ring of keys, and on that, key
/// block by key block, the return of the gradient to the keys' rank, which adds the parts up in the order in which its keys go round
/// (before the rings with MulSupCon the all-gather of how many keys have each label). Then with both the all-gather of losses (four
/// numbers). With keys that need no gradient none is sent.
///
/// The reductions are those of [`ContrastiveReduction`] but `None`. What the caller says of pairs ([`Weighting::Given`]) is refused.
///
/// **A queue.** With [`ShardedContrastive::with_queue`] the keys of the last steps are keys, too, without a gradient. Each rank
/// has the same queue, of the keys that it was sent in any case, and nothing more is sent.
pub struct ShardedContrastive<'w> {
    world: &'w World,
    own: Own,
    transport: Transport,
    keys: AllKeys,
    /// Where gradients go.
    to_anchors: wgpu::Buffer,
    to_own_keys: Option<wgpu::Buffer>,
}

/// The keys of all ranks, as this rank meets them.
enum AllKeys {
    Gathered(Gathered),
    Round(Round),
}

impl AllKeys {
    fn new(transport: Transport, own: &Own, queue: usize) -> Result<AllKeys, LossError> {
        Ok(match transport {
            Transport::AllGather => AllKeys::Gathered(Gathered::new(own, queue)?),
            Transport::Ring => AllKeys::Round(Round::new(own, queue)?),
        })
    }
}

/// What becomes of the sums of all anchors: `count` is what a mean is over.
fn factor(reduction: ContrastiveReduction, count: f64) -> f64 {
    match reduction {
        ContrastiveReduction::Sum | ContrastiveReduction::None => 1.0,
        _ if count > 0.0 => 1.0 / count,
        _ => 0.0,
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
        let said = check(&loss, transport, batch).map(|()| {
            let common = common(&loss, transport, batch);
            (common, vec![batch.rows as u64])
        });
        let rows: Vec<usize> = (world.agree("ShardedContrastive", said)?.iter())
            .map(|own| own[0] as usize)
            .collect();
        let made = Own::new(gpu, loss, batch, (world.rank(), &rows)).and_then(|own| {
            let keys = AllKeys::new(transport, &own, 0)?;
            Ok((own, keys))
        });
        let (own, keys) = agreed(world, "ShardedContrastive's memory", made, Vec::new())?;
        Ok(ShardedContrastive {
            world,
            own,
            transport,
            keys,
            to_anchors: batch.grad_embeddings.clone(),
            to_own_keys: batch.keys.and_then(|keys| keys.grad.cloned()),
        })
    }

    /// The same with a queue of the keys of the last steps: at most so many. Called by all ranks with the same number.
    ///
    /// # Errors
    /// Ranks that differ, a rank without memory for it.
    pub fn with_queue(mut self, most: usize) -> Result<Self, Error> {
        let made = AllKeys::new(self.transport, &self.own, most);
        let common = vec![("queue", most.to_string())];
        self.keys = agreed(self.world, "ShardedContrastive's queue", made, common)?;
        Ok(self)
    }

    /// The same with other settings, as a temperature that is learnt. Called by all ranks.
    ///
    /// # Errors
    /// Settings that are refused, ranks that differ.
    pub fn with_loss(mut self, loss: Contrastive) -> Result<Self, Error> {
        let said = check_loss(&loss, self.transport, self.own.own_keys.is_some());
        let said = said.map(|()| (vec![("loss", settings(&loss))], Vec::new()));
        self.world.agree("ShardedContrastive's settings", said)?;
        self.own.loss = loss;
        if let AllKeys::Gathered(keys) = &mut self.keys {
            keys.renew();
        }
        Ok(self)
    }

    /// Computes the loss of the whole batch and this rank's part of its gradients, of what the buffers hold. Called by all
    /// ranks.
    ///
    /// # Errors
    /// Ranks that do not come, a device that fails.
    pub fn step(&mut self) -> Result<Totals, Error> {
        let mut sums = match &mut self.keys {
            AllKeys::Gathered(keys) => keys.sums(self.world, &self.own)?,
            AllKeys::Round(keys) => keys.sums(self.world, &self.own)?,
        };
        let (totals, factor) = self.totals(&sums.numbers)?;
        if self.own.keys_learn && self.own.own_keys.is_none() {
            for (to, sum) in sums.to_anchors.iter_mut().zip(&sums.to_keys) {
                *to += sum;
            }
        }
        if let Some(grad) = &self.to_own_keys {
            self.write(grad, sums.to_keys, factor);
        }
        self.write(&self.to_anchors, sums.to_anchors, factor);
        // What was written goes with the next submission, and faults of the device show here.
        let gpu = &self.own.gpu;
        if let Err(error) = gpu.finish(device::encoder(gpu)) {
            return self.world.here(error);
        }
        Ok(totals)
    }

    fn write(&self, to: &wgpu::Buffer, mut values: Vec<f32>, factor: f64) {
        for value in &mut values {
            *value = (f64::from(*value) * factor) as f32;
        }
        if !values.is_empty() {
            let queue = self.own.gpu.queue();
            queue.write_buffer(to, 0, bytemuck::cast_slice(&values));
        }
    }

    /// Adds up what all ranks have, in their order. Gives the totals, and the factor of the reduction.
    fn totals(&self, mine: &[f32; NUMBERS]) -> Result<(Totals, f64), Error> {
        let all = self.world.gather(TOTALS, &mine.map(f32::to_bits))?;
        let mut sums = [0.0_f64; NUMBERS];
        for rank in all.chunks_exact(NUMBERS) {
            for (sum, word) in sums.iter_mut().zip(rank) {
                *sum += f64::from(f32::from_bits(*word));
            }
        }
        let [loss, grad_temperature, grad_bias, count] = sums;
        let reduction = self.own.loss.reduction;
        let factor = factor(reduction, count);
        let [loss, grad_temperature, grad_bias] =
            [loss, grad_temperature, grad_bias].map(|sum| (sum * factor) as f32);
        let totals = Totals {
            loss,
            grad_temperature,
            grad_bias,
            anchors: self.own.total() as u64,
            active: match reduction {
                ContrastiveReduction::MeanActive => count as u64,
                _ => 0,
            },
        };
        Ok((totals, factor))
    }
}

/// What this rank has made, once all have.
fn agreed<T>(
    world: &World,
    what: &str,
    made: Result<T, LossError>,
    common: Common,
) -> Result<T, Error> {
    let said = match &made {
        Ok(_) => Ok((common, Vec::new())),
        Err(error) => Err(error.clone()),
    };
    world.agree(what, said)?;
    made.or_else(|error| world.here(error))
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

fn check_loss(loss: &Contrastive, transport: Transport, keys: bool) -> Result<(), LossError> {
    loss.check()?;
    if transport == Transport::Ring {
        // What has no accumulators says so.
        loss.accumulator()?;
    }
    match (loss.weighting, loss.reduction) {
        (Weighting::Given, _) => Err(LossError::refused(
            "weighting",
            "positives that the caller names are not sent from rank to rank",
        )),
        (Weighting::Paired, _) if !keys => Err(LossError::refused(
            "keys",
            "this loss needs keys of their own, a pair for each anchor",
        )),
        (_, ContrastiveReduction::None) => Err(LossError::refused(
            "reduction",
            "a loss over ranks is one number: take a sum or a mean",
        )),
        _ => Ok(()),
    }
}

fn check(loss: &Contrastive, transport: Transport, batch: &Batch<'_>) -> Result<(), LossError> {
    check_loss(loss, transport, batch.keys.is_some())?;
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
    let shape = Shape::of(batch);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_means() {
        use ContrastiveReduction::{MeanActive, MeanAll, MeanLabels, Sum};
        let of = |reduction| factor(reduction, 8.0);
        assert_eq!(
            [MeanActive, MeanAll, MeanLabels, Sum].map(of),
            [0.125, 0.125, 0.125, 1.0]
        );
        assert_eq!(factor(MeanActive, 0.0), 0.0);
    }
}
