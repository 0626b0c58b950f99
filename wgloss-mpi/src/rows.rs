//! A loss of rows whose labels lie over the ranks.

use crate::error::Error;
use crate::exchange::{self, Exchange, Space, of_targets, of_threshold, of_vector};
use crate::world::World;
use std::ops::Range;
use wgloss::host::Gpu;
use wgloss::{
    AnyLoss, Error as LossError, Mergeable, Prepared, RowInputs, RowOutputs, Rowwise, Tensor,
};

/// The name of the one collective of a step.
const GATHER: &str = "the all-gather of rows' accumulators";

/// A loss of rows whose labels lie over the ranks: each rank has the logits of some labels, of all rows.
///
/// Loss and gradients are those of one rank with all labels; every rank has the whole loss, and the gradient to its own logits.
/// A step makes an accumulator of a few numbers for each row on each rank, calls one collective, the all-gather of these, and
/// merges them in the order of the ranks, so that the loss has the same bits on all of them where the devices are alike.
/// [`wgloss::losses::shards`] says which losses have that, and what has to be the same on all ranks.
///
/// With more than one window the rows go in parts: while one part's accumulators are gathered, the device makes the next.
pub struct ShardedRows<'w> {
    world: &'w World,
    gpu: Gpu,
    exchange: Exchange,
    merged: Prepared,
}

/// Some of the rows.
fn window<'a>(all: &RowInputs<'a>, rows: &Range<usize>) -> Result<RowInputs<'a>, LossError> {
    let of = |t: Tensor<'a>| t.of_rows(rows.start, rows.len());
    Ok(RowInputs {
        logits: of(all.logits),
        targets: of_targets(all.targets, rows)?,
        mask: all.mask.map(of),
        weight: all.weight.map(of),
        sample_weight: of_vector(all.sample_weight, rows),
        threshold: all.threshold.map(|threshold| of_threshold(threshold, rows)),
        // What stands before the gradient is none of the first half's.
        grad_loss: None,
        ..*all
    })
}

impl<'w> ShardedRows<'w> {
    /// Checks the call and makes what its steps need. `inputs` and `outputs` are those of the rank's own labels, any number of
    /// them; indices of sparse targets count from the first of these. Called by all ranks, which compare versions,
    /// settings and shapes first.
    ///
    /// # Errors
    /// A rank whose call was refused, ranks that differ, ranks that do not come.
    pub fn prepare(
        world: &'w World,
        gpu: &Gpu,
        loss: impl Into<AnyLoss>,
        (inputs, outputs): (&RowInputs<'_>, &RowOutputs<'_>),
        windows: usize,
    ) -> Result<ShardedRows<'w>, Error> {
        let loss = loss.into();
        let made = made(world, gpu, loss, (inputs, outputs), windows);
        let said = made.as_ref().map_err(LossError::clone).and_then(|_| {
            let mut common = exchange::common(&loss.accumulator()?, inputs.logits.rows(), windows);
            let settings = serde_json::to_string(&loss);
            common.extend([
                ("loss", settings.unwrap_or_else(|error| error.to_string())),
                ("reduction", format!("{:?}", loss.reduction())),
                ("sample_weight", given(inputs.sample_weight)),
                ("grad_loss", given(inputs.grad_loss)),
            ]);
            Ok((common, vec![inputs.logits.cols() as u64]))
        });
        world.agree("ShardedRows", said)?;
        let (exchange, merged) = made.or_else(|error| world.here(error))?;
        Ok(ShardedRows {
            world,
            gpu: gpu.clone(),
            exchange,
            merged,
        })
    }

    /// Computes the loss of all labels and the gradients of this rank's, of what the buffers hold. Called by all ranks.
    ///
    /// # Errors
    /// Ranks that do not come, a device that fails.
    pub fn step(&self) -> Result<(), Error> {
        self.exchange.run(self.world, &self.gpu, GATHER)?;
        (self.gpu.run(&[&self.merged])).or_else(|error| self.world.here(error))
    }
}

/// Whether there is one.
pub(crate) fn given(tensor: Option<Tensor<'_>>) -> String {
    match tensor {
        Some(_) => "given".into(),
        None => "none".into(),
    }
}

fn made(
    world: &World,
    gpu: &Gpu,
    loss: AnyLoss,
    (inputs, outputs): (&RowInputs<'_>, &RowOutputs<'_>),
    windows: usize,
) -> Result<(Exchange, Prepared), LossError> {
    exchange::check_windows(windows)?;
    let (layout, cx) = (loss.accumulator()?, gpu.context());
    let space = Space::new(gpu, &layout, inputs.logits.rows(), world.size())?;
    // Refuses whatever is wrong with the tensors, before rows of them are taken.
    let merged = loss.prepare_merged(cx, inputs, space.gathered(), outputs)?;
    let exchange = space.exchange(gpu, windows, |rows, accumulators| {
        loss.prepare_partial(cx, &window(inputs, &rows)?, accumulators)
    })?;
    Ok((exchange, merged))
}
