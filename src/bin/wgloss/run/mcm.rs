//! `wgloss run mcm`: the constraint module.

use crate::engine::EngineArgs;
use crate::options::McmOptions;
use crate::report::{Report, json_number};
use crate::run::rows::{LABELS, SIDES, read_targets, target_form};
use crate::tensors::{Labels, Output, TensorFile};
use serde_json::{Value, json};
use wgloss::host::{Counted, McmRows, Wanted};
use wgloss::{Error, Hierarchy, Reduction, TargetKind};

const TARGETS: &str = "\
Tensors that are read:
  logits          [B, L] reals
  targets         [B, L] flags, or integers, 0 is false, or reals that are 0 or 1";

const OTHERS: &str = "
  edges           [E, 2] indices, child and parent
  grad_loss       [1], or with --reduction none [1] or [B]: the upstream gradient; absent: ones
Tensors that are written with -o, F32:
  loss            [], or with --reduction none [B]
  grad_logits     [B, L]
  probabilities   [B, L], the constrained ones
In the line of JSON edges, pairs (of a class and a descendant) and depth stand in place of targets.
What a mask takes out has no term, and takes part in the maxima of its ancestors; in those of positives only if its
target is a plain 1.";

/// For the help.
pub fn tensors() -> String {
    [TARGETS, LABELS, SIDES, OTHERS].concat()
}

/// Computes the loss of a file.
pub fn run(
    options: &McmOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let config = options.configure();
    let (rows, cols) = match *file.shape("logits")? {
        [rows, cols] => (rows, cols),
        ref shape => return Err(Error::shape("logits", "[B, L]", format!("{shape:?}"))),
    };
    let Classes { hierarchy, apart } = read_hierarchy(file, rows, cols)?;
    let logits = file.reals("logits")?;
    let form = target_form(file, TargetKind::Hard)?;
    let dense = || file.dense(form);
    let class_mask = file.flags_if_any("class_mask", &[cols])?;
    let mask = file.flags_if_any("mask", &[rows, cols])?;
    let sample_weight = file.floats_if_any("sample_weight", rows)?;
    let counted = Counted {
        cols,
        sample_weight: sample_weight.as_deref(),
        ..Counted::default()
    };
    let targets = read_targets(file, form, (rows, cols), &counted, dense)?;
    let class_weight = file.floats_if_any("class_weight", cols)?;
    let each = config.reduction == Reduction::None;
    let grad_loss = file.grad_loss(each.then_some(rows))?;
    let inputs = McmRows {
        class_mask: class_mask.as_deref(),
        mask: mask.as_deref(),
        sample_weight: sample_weight.as_deref(),
        class_weight: class_weight.as_deref(),
        grad_loss: grad_loss.as_deref(),
        ..McmRows::new(
            rows,
            logits.values(),
            targets.as_ref().map(Labels::view, Vec::as_slice),
        )
    };
    // Without rows the hierarchy may be that of a few classes.
    let (engine, result) =
        engine.compute(|engine| engine.mcm(&config, &hierarchy, &inputs, wanted))?;
    let (shape, loss) = match result.loss[..] {
        [loss] if !each => (vec![], json_number(loss)),
        _ => (vec![rows], Value::Null),
    };
    Ok(Report {
        engine,
        loss,
        fields: vec![
            ("rows", json!(rows)),
            ("cols", json!(cols)),
            ("dtype", json!(inputs.logits.dtype().to_string())),
            ("edges", json!(hierarchy.edges())),
            ("pairs", json!(hierarchy.pairs() + apart)),
            ("depth", json!(hierarchy.depth())),
            ("reduction", json!(options.reduction())),
        ],
        outputs: vec![
            Output::reals("loss", shape, result.loss),
            Output::reals("grad_logits", vec![rows, cols], result.grad_logits),
            Output::reals("probabilities", vec![rows, cols], result.probabilities),
        ],
    })
}

/// The classes of a file.
struct Classes {
    hierarchy: Hierarchy,
    /// Those that are not in it: each is its own and only descendant.
    apart: usize,
}

/// The hierarchy of `nodes` classes, by its edges. Where a batch has no rows, nothing in the file is as many as there
/// are classes: then only those that edges name are in it.
fn read_hierarchy(file: &TensorFile, rows: usize, nodes: usize) -> Result<Classes, Error> {
    match *file.shape("edges")? {
        [_, 2] => {}
        ref shape => {
            return Err(Error::shape(
                "edges",
                "[E, 2] (child, parent)",
                format!("{shape:?}"),
            ));
        }
    }
    let mut edges: Vec<[u32; 2]> = file
        .indices("edges")?
        .chunks_exact(2)
        .map(|edge| [edge[0], edge[1]])
        .collect();
    if rows > 0 || nodes <= file.most() || nodes >= 1 << 31 {
        // From 2^31 nodes on it refuses them before anything else.
        let hierarchy = Hierarchy::from_edges(nodes, &edges)?;
        return Ok(Classes {
            hierarchy,
            apart: 0,
        });
    }
    let mut named = edges.concat();
    named.sort_unstable();
    named.dedup();
    if let Some(found) = named.last().filter(|last| **last as usize >= nodes) {
        let expected = format!("nodes below {nodes}");
        return Err(Error::value("edges", expected, found));
    }
    for node in edges.iter_mut().flatten() {
        *node = named.partition_point(|other| other < node) as u32;
    }
    // One node at least, which may be any.
    let inside = named.len().max(1);
    let hierarchy = Hierarchy::from_edges(inside, &edges).map_err(|error| {
        let reason = format!("{error} (nodes counted among those that edges name)");
        Error::because(error.kind(), "edges", reason)
    })?;
    Ok(Classes {
        hierarchy,
        apart: nodes - inside,
    })
}
