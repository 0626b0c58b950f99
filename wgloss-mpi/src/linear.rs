//! A last layer whose labels lie over the ranks.

use crate::device::{self, Staging};
use crate::error::Error;
use crate::exchange::{self, Exchange, Space, of_targets, of_vector};
use crate::rows::given;
use crate::world::World;
use std::ops::Range;
use wgloss::host::Gpu;
use wgloss::wgpu;
use wgloss::{
    AnyLoss, DType, Error as LossError, Linear, LinearInputs, LinearOutputs, Prepared, Tensor,
};

/// Names of the collectives, in their order.
const GATHER: &str = "the all-gather of rows' accumulators";
const SUM: &str = "the sum of gradients to hidden states";

/// A last layer with its loss whose labels lie over the ranks: each rank has weights, bias and targets of some labels, and the
/// hidden states of all rows.
///
/// Loss and gradients are those of one rank with all labels. A step calls two collectives, in this order: the all-gather of the
/// rows' accumulators, as [`ShardedRows`](crate::ShardedRows), and, where the gradient to the hidden states is wanted, the sum
/// of the ranks' parts of it: a reduce-scatter and an all-gather, added up in the order of the ranks, so that it has the same
/// bits on all of them. Weights, their state and their steps never leave their rank. A loss that is a sum over labels is made
/// twice here, for its accumulators and for its gradient, where one rank alone has both at once.
///
/// With more than one window the rows go in parts, as in [`ShardedRows`](crate::ShardedRows).
pub struct ShardedLinear<'w, 'a> {
    world: &'w World,
    gpu: Gpu,
    layer: Linear<AnyLoss>,
    inputs: LinearInputs<'a>,
    outputs: LinearOutputs<'a>,
    exchange: Exchange,
    merged: Prepared,
    hidden: Option<Hidden>,
}

/// The way of the gradient to the hidden states.
struct Hidden {
    /// This rank's part.
    part: wgpu::Buffer,
    staging: Staging,
    bytes: u64,
    /// The caller's buffer.
    to: wgpu::Buffer,
}

fn window<'a>(all: &LinearInputs<'a>, rows: &Range<usize>) -> Result<LinearInputs<'a>, LossError> {
    let targets = all.targets.map(|targets| of_targets(targets, rows));
    Ok(LinearInputs {
        hidden: all.hidden.of_rows(rows.start, rows.len()),
        targets: targets.transpose()?,
        sample_weight: of_vector(all.sample_weight, rows),
        grad_loss: None,
        ..*all
    })
}

impl<'w, 'a> ShardedLinear<'w, 'a> {
    /// Checks the call and makes what its steps need. `inputs` and `outputs` are those of the rank's own labels, any number of
    /// them; indices of sparse targets count from the first of these, and so do the labels that are chosen. The gradient to the
    /// hidden states goes into the first bytes of the buffer `grad_hidden`, f32 `[B, D]`, of usages `STORAGE`, `COPY_SRC` and `COPY_DST`, and not into `outputs`.
    /// Called by all ranks, which compare versions, settings and shapes first.
    ///
    /// # Errors
    /// A rank whose call was refused, ranks that differ, ranks that do not come.
    pub fn prepare<L: Copy + Into<AnyLoss>>(
        world: &'w World,
        gpu: &Gpu,
        layer: &Linear<L>,
        (inputs, outputs): (&LinearInputs<'a>, &LinearOutputs<'a>),
        grad_hidden: Option<&wgpu::Buffer>,
        windows: usize,
    ) -> Result<ShardedLinear<'w, 'a>, Error> {
        let layer = any(layer);
        let made = made(world, gpu, &layer, (inputs, outputs), grad_hidden, windows);
        let said = made.as_ref().map_err(LossError::clone).and_then(|_| {
            let (rows, dims) = (inputs.hidden.rows(), inputs.hidden.cols());
            let mut common = exchange::common(&layer.accumulator()?, rows, windows);
            let settings = serde_json::to_string(&(&layer.loss, &layer.update));
            common.extend([
                ("loss", settings.unwrap_or_else(|error| error.to_string())),
                ("dims", dims.to_string()),
                ("hidden", inputs.hidden.dtype().to_string()),
                ("sample_weight", given(inputs.sample_weight)),
                ("grad_loss", given(inputs.grad_loss)),
                ("grad_hidden", format!("{}", grad_hidden.is_some())),
            ]);
            Ok((common, vec![inputs.weights.rows() as u64]))
        });
        world.agree("ShardedLinear", said)?;
        let (exchange, hidden, merged) = made.or_else(|error| world.here(error))?;
        Ok(ShardedLinear {
            world,
            gpu: gpu.clone(),
            layer,
            inputs: *inputs,
            outputs: *outputs,
            exchange,
            merged,
            hidden,
        })
    }

    /// Changes the seed by which updated weights of 16 bits are rounded, which should be another one each step and on each rank.
    ///
    /// # Errors
    /// A device that fails.
    pub fn reseed(&mut self, seed: u64) -> Result<(), Error> {
        self.layer.seed = seed;
        let part = self.hidden.as_ref().map(|hidden| &hidden.part);
        let gathered = self.exchange.gathered();
        let made = merged(
            &self.gpu,
            &self.layer,
            (&self.inputs, &self.outputs),
            part,
            gathered,
        );
        self.merged = made.or_else(|error| self.world.here(error))?;
        Ok(())
    }

    /// Computes the loss of all labels, and the gradients and the step of the weights of this rank's, of what the buffers hold.
    /// Called by all ranks.
    ///
    /// # Errors
    /// Ranks that do not come, a device that fails.
    pub fn step(&self) -> Result<(), Error> {
        let (world, gpu) = (self.world, &self.gpu);
        self.exchange.run(world, gpu, GATHER)?;
        let Some(hidden) = &self.hidden else {
            return gpu.run(&[&self.merged]).or_else(|error| world.here(error));
        };
        let mut encoder = device::encoder(gpu);
        self.merged.encode(&mut encoder);
        (hidden.staging).copy(&mut encoder, (&hidden.part, 0), (0, hidden.bytes));
        let read = device::read(world, gpu, encoder, &[&hidden.staging])?;
        for part in read {
            let sums = world.all_reduce(SUM, part)?;
            hidden.staging.unmap();
            if !sums.is_empty() {
                let queue = gpu.queue();
                queue.write_buffer(&hidden.to, 0, bytemuck::cast_slice(&sums));
            }
        }
        Ok(())
    }
}

fn any<L: Copy + Into<AnyLoss>>(layer: &Linear<L>) -> Linear<AnyLoss> {
    Linear {
        loss: layer.loss.into(),
        tile_bytes: layer.tile_bytes,
        update: layer.update,
        seed: layer.seed,
    }
}

/// The second half, with the gradient to the hidden states in a buffer of ours.
fn merged(
    gpu: &Gpu,
    layer: &Linear<AnyLoss>,
    (inputs, outputs): (&LinearInputs<'_>, &LinearOutputs<'_>),
    part: Option<&wgpu::Buffer>,
    gathered: Tensor<'_>,
) -> Result<Prepared, LossError> {
    let (rows, dims) = (inputs.hidden.rows(), inputs.hidden.cols());
    let to = part.map(|part| Tensor::matrix(part, DType::F32, rows, dims).into());
    let outputs = LinearOutputs {
        grad_hidden: to,
        ..*outputs
    };
    layer.prepare_merged(gpu.context(), inputs, gathered, &outputs)
}

fn made(
    world: &World,
    gpu: &Gpu,
    layer: &Linear<AnyLoss>,
    (inputs, outputs): (&LinearInputs<'_>, &LinearOutputs<'_>),
    grad_hidden: Option<&wgpu::Buffer>,
    windows: usize,
) -> Result<(Exchange, Option<Hidden>, Prepared), LossError> {
    exchange::check_windows(windows)?;
    if outputs.grad_hidden.is_some() {
        let reason = "is a sum over ranks here, which goes into a buffer of its own argument";
        return Err(LossError::refused("grad_hidden", reason));
    }
    let (rows, dims) = (inputs.hidden.rows(), inputs.hidden.cols());
    let hidden = match grad_hidden {
        None => None,
        Some(to) => {
            let bytes = 4 * (rows * dims) as u64;
            device::check("grad_hidden", to, bytes)?;
            Some(Hidden {
                part: gpu.zeros(bytes)?,
                staging: Staging::new(gpu, bytes)?,
                bytes,
                to: to.clone(),
            })
        }
    };
    let space = Space::new(gpu, &layer.accumulator()?, rows, world.size())?;
    let part = hidden.as_ref().map(|hidden| &hidden.part);
    // Refuses whatever is wrong with the tensors, before rows of them are taken.
    let merged = merged(gpu, layer, (inputs, outputs), part, space.gathered())?;
    let exchange = space.exchange(gpu, windows, |rows, accumulators| {
        layer.prepare_partial(gpu.context(), &window(inputs, &rows)?, accumulators)
    })?;
    Ok((exchange, hidden, merged))
}
