//! Means over what counts in the batch, where a mask, a weight of 0 or the targets decide about that: it is counted on the
//! device first, as a loss of rows would be, and the number goes into the parameters of what comes after.

use crate::device::live::{Becomes, Field};
use crate::device::module::{File, wgsl};
use crate::device::plan::{Dispatches, Region, Scratch};
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::driver::Among;
use crate::kernels::rows::loss::{Accumulator, Row, RowLoss, Stage, accumulator};
use crate::kernels::rows::params::{FinishJob, JOBS, RowParams};
use crate::kernels::rows::plan::record;
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;

static COUNT: Accumulator = accumulator!(
    1,
    1,
    "shared/count_shuffle.wgsl",
    &[wgsl!("shared/no_settings.wgsl"), wgsl!("shared/count.wgsl")]
);
const fn counting(name: &'static str, files: &'static [File]) -> RowLoss {
    RowLoss::new(name, TargetKind::Hard, &COUNT, files, &[]).with_stage(Stage::Count)
}
/// Elements that count.
static ELEMENTS: RowLoss = counting("count_elements", &[wgsl!("shared/count_elements.wgsl")]);
/// Rows with a positive that counts, where a logit of -inf leaves its label out.
static ACTIVE: RowLoss =
    counting("count_active", &[wgsl!("shared/count_active.wgsl")]).with_masked_logits();

/// What counts.
pub(crate) static COUNTS: &[&RowLoss] = &[&ELEMENTS, &ACTIVE];

/// The places of the reduction's scale: what gradients are multiplied by, and the sum of the rows' losses.
const SCALES: &[Field] = &[
    Field::of::<RowParams>(
        std::mem::offset_of!(RowParams, general.scale),
        Becomes::OverCount { times: 1.0 },
    ),
    Field::of::<[FinishJob; JOBS]>(
        std::mem::offset_of!(FinishJob, scale),
        Becomes::OverCount { times: 1.0 },
    ),
];

/// What a call has to count beforehand: nothing where its shape says it.
pub(crate) fn of(row: &Row, inputs: &RowInputs<'_>) -> Option<&'static RowLoss> {
    let masked =
        inputs.mask.is_some() || inputs.class_mask.is_some() || inputs.sample_weight.is_some();
    match row.reduction {
        Reduction::MeanElements if masked => Some(&ELEMENTS),
        Reduction::MeanActive => Some(&ACTIVE),
        _ => None,
    }
}

/// Adds the steps that count, where a call needs that, and gives the place of the number.
pub(crate) fn push<'a>(
    steps: &mut Dispatches<'a, '_>,
    scratch: &mut Scratch,
    row: &Row,
    inputs: &RowInputs<'a>,
) -> Result<Option<Region>, Error> {
    let count = row_of(row, inputs);
    let record = |count| record_of(steps, scratch, &count, inputs, Among::Here);
    count.map(record).transpose()
}

fn record_of<'a>(
    steps: &mut Dispatches<'a, '_>,
    scratch: &mut Scratch,
    row: &Row,
    inputs: &RowInputs<'a>,
    among: Among<'_, 'a>,
) -> Result<Region, Error> {
    let (inputs, outputs) = (inputs_of(inputs), RowOutputs::default());
    let counted = record(steps, scratch, row, &inputs, &outputs, among)?;
    Ok(counted.total)
}

/// What a call has to count beforehand, as a loss.
pub(crate) fn row_of(row: &Row, inputs: &RowInputs<'_>) -> Option<Row> {
    of(row, inputs).map(counting_row)
}

fn counting_row(loss: &'static RowLoss) -> Row {
    Row::new(loss, (), &[], Reduction::Sum)
}

/// What of a call's inputs is needed to count.
pub(crate) fn inputs_of<'a>(inputs: &RowInputs<'a>) -> RowInputs<'a> {
    RowInputs {
        weight: None,
        threshold: None,
        grad_loss: None,
        ..*inputs
    }
}

/// What counts in a batch whose labels lie on several devices: no one's shape says it.
pub(crate) fn among_shards(row: &Row) -> Option<Row> {
    let loss = match row.reduction {
        Reduction::MeanElements => &ELEMENTS,
        Reduction::MeanActive => &ACTIVE,
        _ => return None,
    };
    Some(counting_row(loss))
}

/// Counts over the shards, of which accumulators have been left: what comes after has the scale of it.
pub(crate) fn met<'a>(
    steps: &mut Dispatches<'a, '_>,
    scratch: &mut Scratch,
    row: &Row,
    inputs: &RowInputs<'a>,
    among: Among<'_, 'a>,
) -> Result<(), Error> {
    let total = record_of(steps, scratch, row, inputs, among)?;
    scale(steps, Some(total));
    Ok(())
}

/// Both: what comes after has the scale of what counts.
pub(crate) fn before<'a>(
    steps: &mut Dispatches<'a, '_>,
    scratch: &mut Scratch,
    row: &Row,
    inputs: &RowInputs<'a>,
) -> Result<(), Error> {
    let counted = push(steps, scratch, row, inputs)?;
    scale(steps, counted);
    Ok(())
}

/// Adds the steps that write the number into the parameters of those after.
pub(crate) fn scale(steps: &mut Dispatches<'_, '_>, counted: Option<Region>) {
    if let Some(total) = counted {
        steps.push_live((total.bind(), 0), SCALES);
    }
}
