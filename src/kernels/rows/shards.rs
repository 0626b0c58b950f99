//! Rows whose labels lie on several devices, a shard of them on each. What the chunks of a split row are to each other, the
//! shards of a row are between devices: `partial` makes of a shard's labels an accumulator for each row, which the caller
//! carries to the others; `combine` merges those of all shards, in their order, and `gradient` takes what comes of that for the
//! shard's own labels. Where a mean is over what counts in the batch, the accumulator of the count stands behind the loss's.

use crate::device::live::Given;
use crate::device::plan::{Dispatches, Draft, Scratch, Target};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::rows::accumulators::{Held, most_rows};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::count;
use crate::kernels::rows::driver::{Among, RowBindings, push_chunks};
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::params::{RowParams, RowPlaces, RowWindow};
use crate::kernels::rows::plan::{self, record};
use crate::kernels::rows::sides::SIDE_FORMS;
use crate::losses::shards::Accumulator;

/// How accumulators of a loss lie.
pub(crate) fn layout(row: &Row) -> Accumulator {
    let words = |row: &Row| row.loss.accumulator.acc_words as usize;
    Accumulator {
        loss: row.loss.part.name,
        version: row.loss.accumulator.version,
        words: words(row) + count::among_shards(row).as_ref().map_or(0, words),
    }
}

/// A loss, or what it counts, and where its accumulators are.
pub(crate) type Part<'a> = (Row, Held<'a>);

/// What a row's accumulators are: the loss's, and where a mean is over what counts that of the count.
pub(crate) fn parts<'a>(row: &Row, tensor: Tensor<'a>) -> (Part<'a>, Option<Part<'a>>) {
    let words = layout(row).words;
    let of = |row: Row, at: usize| (row, Held { tensor, words, at });
    let behind = row.loss.accumulator.acc_words as usize;
    let count = count::among_shards(row).map(|count| of(count, behind));
    (of(*row, 0), count)
}

/// Plans a checked call that leaves accumulators of a shard's labels.
pub(crate) fn partial<'a>(
    target: Target<'_>,
    row: &Row,
    inputs: &RowInputs<'a>,
    given: &Given<'a>,
    accumulators: Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let mut scratch = Scratch::default();
    let mut steps = Dispatches::new(target);
    steps.push_settings(given)?;
    let (mut windows, mut bytes) = (1, 0);
    let (of_loss, of_count) = parts(row, accumulators);
    let of_count = of_count.map(|part| (part, count::inputs_of(inputs)));
    for ((part, held), inputs) in std::iter::once((of_loss, *inputs)).chain(of_count) {
        let among = Among::Leaves(held);
        let outputs = RowOutputs::default();
        let recorded = record(&mut steps, &mut scratch, &part, &inputs, &outputs, among)?;
        windows = recorded.windows.max(windows);
        bytes += recorded.bytes;
    }
    Ok(steps.draft(&scratch, windows).moving(bytes))
}

/// Plans a checked call that takes the accumulators of all shards, rank by rank, and has loss and gradients of its own labels.
pub(crate) fn merged<'a>(
    target: Target<'_>,
    row: &Row,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
    given: &Given<'a>,
    accumulators: Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let ((row, held), of_count) = parts(row, accumulators);
    let among = Among::Meets(held);
    plan::plan(
        target,
        &row,
        inputs,
        outputs,
        given,
        among,
        |steps, scratch| match of_count {
            Some((count, held)) => count::met(steps, scratch, &count, inputs, Among::Meets(held)),
            None => Ok(()),
        },
    )
}

/// Plans a checked call that makes one accumulator of those of some shards.
pub(crate) fn folded<'a>(
    target: Target<'_>,
    row: &Row,
    accumulators: Tensor<'a>,
    to: Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let mut steps = Dispatches::new(target);
    let mut all = Scratch::default();
    let shards = accumulators.rows() as u32;
    let rows = to.rows();
    let mut windows = 1;
    let (from, to) = (parts(row, accumulators), parts(row, to));
    let counts = from.1.zip(to.1);
    for ((part, from), (_, to)) in std::iter::once((from.0, to.0)).chain(counts) {
        let words = part.loss.accumulator.acc_words;
        let each = u64::from(words) * (u64::from(shards) + 1);
        let most = most_rows(target, each).min(rows.max(1));
        windows = rows.div_ceil(most).max(windows);
        all.lend(|scratch| {
            scratch.set_apart()?;
            let met = scratch.take(most.min(rows) as u64 * each)?;
            let own = scratch.bind();
            for first in (0..rows).step_by(most) {
                let window = (first as u32, most.min(rows - first) as u32);
                from.bring(&mut steps, words, window, (own, met.at()))?;
                let left = met.at() + window.1 * shards * words;
                let params = RowParams {
                    window: RowWindow {
                        rows: window.1,
                        ..RowWindow::default()
                    },
                    places: RowPlaces {
                        chunk_at: met.at(),
                        coef_at: left,
                        ..RowPlaces::default()
                    },
                    own: part.own,
                    ..RowParams::default()
                };
                let reached = RowBindings {
                    scratch: own,
                    ..RowBindings::default()
                };
                let of = (part.loss, SIDE_FORMS[0], "merge");
                push_chunks(&mut steps, of, params, shards, reached)?;
                to.leave(&mut steps, words, window, (own, left))?;
            }
            Ok(())
        })?;
    }
    Ok(steps.draft(&all, windows))
}
