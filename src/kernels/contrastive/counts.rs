//! Keys with each label.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::plan::{
    Bind, Dispatches, Draft, Region, Scratch, Target, parts_per_dispatch, to_u32,
};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::call::{LabelCountInputs, LabelCountOutputs, LabelCounts};
use crate::kernels::contrastive::pack::{Places, Rows, Side, Sides, Window};
use crate::kernels::contrastive::params::{PairGrid, PairParams, PairRecord, PairRow, PairSource};
use crate::kernels::contrastive::table::{COUNTS, CountBinds, NUMBERS, NumberBinds};
use crate::kernels::targets::{FLAGS, inspect_targets};
use crate::losses::labels::TargetNames;

impl LabelCounts {
    /// Checks the call and makes what it needs.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`](crate::Contrastive::prepare).
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &LabelCountInputs<'_>,
        outputs: &LabelCountOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let shape = (inputs.rows, inputs.classes);
        let mut tensors = Inspection::default();
        inspect_targets(
            &mut tensors,
            &inputs.labels,
            TargetNames::LABELS,
            shape,
            FLAGS,
        )?;
        let mask = Shape::Vector(inputs.rows);
        tensors.reads("row_mask", inputs.row_mask, &[DType::U8], mask)?;
        let counts = Shape::Vector(inputs.classes);
        tensors.writes("counts", outputs.counts, &[DType::U32], counts)?;
        let bytes = tensors.finish()?;
        let draft = plan(cx.target(), inputs, outputs.counts)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    inputs: &LabelCountInputs<'a>,
    counts: Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let words = inputs.classes.div_ceil(32) as u64;
    to_u32(words * 32, "labels")?;
    let rows = Rows {
        keys: false,
        count: inputs.rows,
        embeddings: None,
        classes: inputs.classes,
        sets: inputs.labels,
        leaves_out: false,
        mask: inputs.row_mask,
    };
    let mut scratch = Scratch::default();
    let mut sides = Sides::new(rows, None, target.caps, &mut scratch)?;
    let mut places = Places::default();
    sides.place(&mut places)?;
    let at = places.take(32 * words)?;
    let small = scratch.take(places.words)?;
    let base = PairParams {
        row: PairRow {
            words: words as u32,
            ..PairRow::default()
        },
        record: PairRecord {
            counts: at,
            ..PairRecord::default()
        },
        ..PairParams::default()
    };
    let mut steps = Dispatches::new(target);
    sides.pack(&mut steps, small.bind(), base)?;
    sides.leave(&mut steps, small.bind(), base)?;
    count(&mut steps, &sides.anchors, small, base)?;
    let of = ("counts", counts);
    carry(&mut steps, "give", of, (small.bind(), at), base)?;
    Ok(steps.draft(&scratch, sides.window_pairs()))
}

/// Counts keys with each label.
pub(super) fn count<'a>(
    steps: &mut Dispatches<'a, '_>,
    keys: &Side<'a>,
    small: Region,
    base: PairParams,
) -> Result<(), Error> {
    let module = COUNTS.module(steps.target.variant.workgroup);
    let none = [Window::default()];
    // Of no keys the counts are 0.
    let windows = match keys.windows.is_empty() {
        true => &none[..],
        false => &keys.windows,
    };
    for (i, window) in windows.iter().enumerate() {
        let most = parts_per_dispatch(32 * window.rows as u64);
        let all = Window {
            first: 0,
            rows: base.row.words as usize,
        };
        for some in all.pieces(most) {
            let binds = CountBinds {
                sets: keys.sets(*window),
                small: small.bind(),
                ..CountBinds::default()
            };
            let mut own = keys.params(*window, *window);
            own.sets += some.first as u32 * own.stride;
            let record = PairRecord {
                counts: base.record.counts + 32 * some.first as u32,
                ..base.record
            };
            let params = |grid| PairParams {
                grid: PairGrid {
                    add: u32::from(i > 0),
                    ..PairGrid::from(grid)
                },
                own,
                record,
                ..base
            };
            steps.push(module, "count_labels", some.rows as u64, params, binds)?;
        }
    }
    Ok(())
}

/// Takes numbers from a tensor to a place in `small`, or gives them.
pub(super) fn carry<'a>(
    steps: &mut Dispatches<'a, '_>,
    entry: &'static str,
    (name, tensor): (&str, Tensor<'a>),
    (small, at): (Bind<'a>, u32),
    base: PairParams,
) -> Result<(), Error> {
    let module = NUMBERS.module(steps.target.variant.workgroup);
    let lanes = u64::from(module.workgroup);
    let (numbers, offset) = steps.target.bind_all(name, &tensor)?;
    let params = |grid| PairParams {
        grid: PairGrid::from(grid),
        record: PairRecord {
            counts: at,
            ..base.record
        },
        source: PairSource {
            offset,
            labels: tensor.cols() as u32,
            ..PairSource::default()
        },
        ..base
    };
    let groups = (tensor.cols() as u64).div_ceil(lanes);
    if groups == 0 {
        return Ok(());
    }
    steps.push(
        module,
        entry,
        groups,
        params,
        NumberBinds { small, numbers },
    )
}
