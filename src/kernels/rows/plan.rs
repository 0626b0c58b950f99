//! From a checked row loss to its dispatches: one driver over windows of rows.

use crate::device::live::Given;
use crate::device::plan::{Dispatches, Draft, Region, Scratch, Target};
use crate::error::Error;
use crate::kernels::gradient::Adds;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::driver::{Among, Driver, Windows};
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::sides::Sides;
use crate::losses::reduction::Reduction;

/// What was recorded.
pub(crate) struct Recorded {
    pub(crate) windows: usize,
    /// Bytes that it moves.
    pub(crate) bytes: u64,
    /// Of what only counts, where the number is.
    pub(crate) total: Region,
}

/// Plans a checked call of any row loss but WDL; `before` adds what it needs to know of the batch first.
pub(crate) fn plan<'a>(
    target: Target<'_>,
    row: &Row,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
    settings: &Given<'a>,
    among: Among<'_, 'a>,
    before: impl FnOnce(&mut Dispatches<'a, '_>, &mut Scratch) -> Result<(), Error>,
) -> Result<Draft<'a>, Error> {
    let mut scratch = Scratch::default();
    let mut steps = Dispatches::new(target);
    steps.push_settings(settings)?;
    before(&mut steps, &mut scratch)?;
    let mut adds = Adds::default();
    let to_threshold = outputs.grad_threshold;
    let outputs = &RowOutputs {
        grad_threshold: adds.place(&mut scratch, "grad_threshold", to_threshold)?,
        ..*outputs
    };
    let recorded = record(&mut steps, &mut scratch, row, inputs, outputs, among)?;
    adds.push(&mut steps)?;
    Ok(steps
        .draft(&scratch, recorded.windows)
        .moving(recorded.bytes))
}

/// Adds the dispatches of a loss.
pub(crate) fn record<'a>(
    steps: &mut Dispatches<'a, '_>,
    scratch: &mut Scratch,
    row: &Row,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
    among: Among<'_, 'a>,
) -> Result<Recorded, Error> {
    // What is in scratch so far is no place of this loss's.
    scratch.set_apart()?;
    let target = steps.target;
    let windows = match among.most_rows(target, row, inputs.logits.cols()) {
        None => Windows::of(target, row, inputs, outputs, usize::MAX, &[])?,
        // Rows that have no labels here are met all the same.
        Some(most) => {
            let each = Row {
                reduction: Reduction::None,
                ..*row
            };
            Windows::of(target, &each, inputs, outputs, most, &[])?
        }
    };
    let mut driver = Driver::new(target, row, inputs, outputs, &windows, among, scratch)?;
    let own = scratch.bind();
    let sides = Sides::bind(target, inputs, driver.phases(), scratch)?;
    driver.take_copies(scratch, windows.first())?;
    for (i, (params, bindings)) in driver
        .windows(&windows, &sides, own)?
        .into_iter()
        .enumerate()
    {
        if i == 0 {
            sides.gather(steps);
        }
        driver.before(steps, &params)?;
        driver.record(steps, among, (params, bindings), own)?;
    }
    if !matches!(among, Among::Leaves(_)) {
        driver.finish(steps, own)?;
    }
    Ok(Recorded {
        windows: windows.count(),
        bytes: driver.bytes(1),
        total: driver.total(),
    })
}
