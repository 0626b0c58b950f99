//! From a checked row loss to its dispatches: one driver over windows of rows.

use crate::device::plan::{Dispatches, Draft, Scratch, Target};
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::driver::{Driver, Windows};
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::sides::Sides;

/// Plans a checked call of any row loss but WDL.
pub(crate) fn plan<'a>(
    target: Target<'_>,
    row: &Row,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let windows = Windows::of(target, row, inputs, outputs, usize::MAX, &[])?;
    let mut scratch = Scratch::default();
    let mut driver = Driver::new(target, row, inputs, outputs, &windows, &mut scratch)?;
    let own = scratch.bind();
    let sides = Sides::bind(target, inputs, driver.phases(), &mut scratch)?;
    driver.take_copies(&mut scratch, windows.first())?;
    let mut steps = Dispatches::new(target);
    for (i, (params, bindings)) in driver
        .windows(&windows, &sides, own)?
        .into_iter()
        .enumerate()
    {
        if i == 0 {
            sides.gather(&mut steps);
        }
        driver.before(&mut steps, &params)?;
        driver.sweep.record(&mut steps, params, bindings)?;
        driver.after(&mut steps, &params, own);
    }
    driver.finish(&mut steps, own)?;
    Ok(steps
        .draft(&scratch, windows.count())
        .moving(driver.bytes(1)))
}
