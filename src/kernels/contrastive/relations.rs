//! From a checked count of relations to its dispatches.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::plan::{Bind, Dispatches, Draft, Scratch, Target, parts_per_dispatch, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::call::{
    RelationInputs, RelationOutputs, Relations, inspect_index,
};
use crate::kernels::contrastive::pack::{Places, Rows, Sides, Window};
use crate::kernels::contrastive::params::{
    PairGrid, PairParams, PairRow, PairWork, RELATION_KINDS,
};
use crate::kernels::contrastive::table::{self, RelationBinds};
use crate::kernels::products::TEAM_ROWS;
use crate::kernels::targets::{FLAGS, inspect_targets};
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
        let mut tensors = Inspection::default();
        let names = TargetNames::LABELS;
        inspect_targets(&mut tensors, &inputs.labels, names, (rows, classes), FLAGS)?;
        if let Some((rows, labels)) = &inputs.keys {
            let names = TargetNames::KEY_LABELS;
            inspect_targets(&mut tensors, labels, names, (*rows, classes), FLAGS)?;
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
        leaves_out: false,
        mask: None,
    };
    let anchors = rows(false, inputs.rows, inputs.labels);
    let keys = inputs.keys.map(|(count, sets)| rows(true, count, sets));
    let mut scratch = Scratch::default();
    let mut sides = Sides::new(anchors, keys, target.caps, &mut scratch)?;
    let mut places = Places::default();
    sides.place(&mut places)?;
    let small = scratch.take(places.words)?;
    sides.identify(inputs.self_index, None, target)?;
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

    // A word of two sets costs about as much as four products.
    let at_once = parts_per_dispatch(4 * (words + 4));
    let fitting = target.rows_per_binding("relations", counts)?;
    let mut others: Vec<(Window, Window)> = Vec::new();
    for window in &sides.keys().windows {
        let pieces = window.pieces(at_once.next_multiple_of(TEAM_ROWS));
        others.extend(pieces.map(|keys| (*window, keys)));
    }
    if others.is_empty() {
        // Nothing to count: the counts are 0.
        others.push((Window::default(), Window::default()));
    }
    for own in &sides.anchors.windows {
        for (i, (window, other)) in others.iter().enumerate() {
            let two = !sides.share(*own, *window);
            let module = table::relations(two, target.variant.workgroup);
            for rows in own.pieces(fitting.min(at_once / other.rows.max(1))) {
                let (relation_counts, grad_at) = target.bind_rows(counts, rows.first, rows.rows);
                let params = |grid| PairParams {
                    grid: PairGrid {
                        add: u32::from(i > 0),
                        ..PairGrid::from(grid)
                    },
                    own: sides.anchors.params_from(*own, rows),
                    other: sides.keys().params(*window, *other),
                    work: PairWork {
                        row: (rows.first - own.first) as u32,
                        ..PairWork::default()
                    },
                    grad_at,
                    grad_stride: counts.row_stride() as u32,
                    ..base
                };
                let binds = RelationBinds {
                    sets: sides.anchors.sets(*own),
                    sets2: match two {
                        true => sides.keys().sets(*window),
                        false => Bind::Nothing,
                    },
                    relation_counts,
                };
                steps.push(module, "relations", rows.rows as u64, params, binds)?;
            }
        }
    }
    let windows = sides.window_pairs();
    Ok(steps.draft(&scratch, windows))
}
