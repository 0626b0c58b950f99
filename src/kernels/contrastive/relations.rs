//! From a checked count of relations to its dispatches.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::plan::{Dispatches, Draft, Scratch, Target, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::call::{
    RelationInputs, RelationOutputs, Relations, inspect_index,
};
use crate::kernels::contrastive::pack::{Places, Rows, Sides, Window};
use crate::kernels::contrastive::params::{PairGrid, PairParams, PairRow, RELATION_KINDS};
use crate::kernels::contrastive::table::{RELATIONS, RelationBinds};
use crate::kernels::targets::inspect_targets;
use crate::losses::labels::TargetNames;

impl Relations {
    /// Checks the call and makes what it needs.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`](crate::Contrastive::prepare).
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RelationInputs<'_>,
        outputs: &RelationOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let (rows, classes) = (inputs.rows, inputs.classes);
        let flags = &[DType::U8];
        let mut tensors = Inspection::default();
        let names = TargetNames::LABELS;
        inspect_targets(&mut tensors, &inputs.labels, names, (rows, classes), flags)?;
        if let Some((rows, labels)) = &inputs.keys {
            let names = TargetNames::KEY_LABELS;
            inspect_targets(&mut tensors, labels, names, (*rows, classes), flags)?;
        }
        inspect_index(inputs.self_index, inputs.keys.is_some(), rows, &mut tensors)?;
        let counts = outputs.relations;
        let shape = Shape::Matrix(rows, RELATION_KINDS as usize);
        tensors.writes("relations", counts, &[DType::U32], shape)?;
        let bytes = tensors.finish()?;
        let draft = plan(cx.target(), inputs, &counts)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// Plans a checked call.
fn plan<'a>(
    target: Target<'_>,
    inputs: &RelationInputs<'a>,
    counts: &Tensor<'a>,
) -> Result<Draft<'a>, Error> {
    let words = inputs.classes.div_ceil(32) as u64;
    to_u32(words * 32, "labels")?;
    let rows = |keys, count, sets| Rows {
        keys,
        count,
        embeddings: None,
        classes: inputs.classes,
        sets,
        halves: 1,
    };
    let anchors = rows(false, inputs.rows, inputs.labels);
    let keys = inputs.keys.map(|(count, sets)| rows(true, count, sets));
    let mut scratch = Scratch::default();
    let mut sides = Sides::new(anchors, keys, target.caps, &mut scratch)?;
    let mut places = Places::default();
    sides.place(&mut places)?;
    let small = scratch.take(places.words)?;
    sides.identify(inputs.self_index, target)?;
    let base = PairParams {
        row: PairRow {
            words: words as u32,
            ..PairRow::default()
        },
        roles: sides.roles,
        ..PairParams::default()
    };
    let mut steps = Dispatches::new(target);
    sides.pack(&mut steps, small.bind(), base)?;

    let module = RELATIONS.module(target.variant.workgroup);
    let most = target.rows_per_binding("relations", counts)?;
    let others = match sides.keys().windows[..] {
        // Nothing to count: the counts are 0.
        [] => vec![Window::default()],
        ref windows => windows.to_vec(),
    };
    for own in &sides.anchors.windows {
        for (i, other) in others.iter().enumerate() {
            for rows in own.pieces(most) {
                let (params, pairs) = sides.pairs(
                    (&sides.anchors, *own, rows),
                    (sides.keys(), *other, *other),
                    base,
                );
                let (relation_counts, grad_at) = target.bind_rows(counts, rows.first, rows.rows);
                let params = |grid| PairParams {
                    grid: PairGrid {
                        add: u32::from(i > 0),
                        ..PairGrid::from(grid)
                    },
                    grad_at,
                    grad_stride: counts.row_stride() as u32,
                    ..params
                };
                let binds = RelationBinds {
                    sets: pairs.sets,
                    sets2: pairs.sets2,
                    small: small.bind(),
                    relation_counts,
                    itself_index: pairs.itself_index,
                };
                steps.push(module, "relations", rows.rows as u64, params, binds)?;
            }
        }
    }
    let windows = sides.window_pairs();
    Ok(steps.draft(&scratch, windows))
}
