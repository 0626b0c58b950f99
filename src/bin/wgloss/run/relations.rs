//! `wgloss run relations`: how often label sets stand in each of five relations.

use crate::engine::EngineArgs;
use crate::options::RelationsOptions;
use crate::report::Report;
use crate::run::sets::{self, Both, Sets};
use crate::tensors::{Numbers, Output, TensorFile};
use serde_json::{Value, json};
use wgloss::Error;
use wgloss::host::{Embeddings, KeyEmbeddings, Values};

/// For the help.
pub const TENSORS: &str = "\
Tensors that are read:
  labels          [N, L] flags
  label_bits      [N, ceil(L/32)] U32 instead: label l is bit l % 32 of word l / 32
  label_offsets   [N+1] indices instead, with
  label_indices   [n] indices: the labels, row by row
  key_labels      [M, L] flags, or key_label_bits, or key_label_offsets with key_label_indices; absent: the same sets
  self_index      [N] indices, with sets of keys: the key that is the anchor itself, -1 for none
Tensors that are written with -o, I64:
  counts          [5], or with --reduction none [N, 5]: pairs of an anchor and a key, itself left out, in the relations
                  R1 nothing shared, R2 equal, R3 neither within the other, R4 the key's within the anchor's, R5 the
                  anchor's within the key's
In the line of JSON loss is null; rows, keys, labels and counts stand in place of the sizes.";

/// Counts the relations of a file.
pub fn run(
    options: &RelationsOptions,
    file: &TensorFile,
    engine: &EngineArgs,
) -> Result<Report, Error> {
    let anchors = Sets::read(file, sets::OF_ANCHORS, None, None)?;
    let keys = match sets::OF_KEYS.iter().any(|name| file.has(name)) {
        true => Some(Sets::read(file, sets::OF_KEYS, None, None)?),
        false => None,
    };
    let (rows, of_keys) = (anchors.rows, keys.as_ref().map(|keys| keys.rows));
    let self_index = match file.has("self_index") {
        false => None,
        true => {
            file.expect("self_index", &[rows])?;
            Some(file.counted_signed("self_index", |_| true)?)
        }
    };
    let sets = Both::new(anchors, keys)?;
    let (classes, anchor_sets, key_sets) = sets.view();
    let nothing = Values::F32(&[]);
    let problem = Embeddings {
        keys: of_keys.map(|rows| KeyEmbeddings {
            rows,
            embeddings: nothing,
            labels: key_sets,
        }),
        self_index: self_index.as_deref(),
        ..Embeddings::new(rows, 0, classes, nothing, anchor_sets)
    };
    let (engine, counts) = engine.compute(|engine| engine.relations(&problem))?;
    let mut total = [0_i64; 5];
    for row in counts.chunks_exact(5) {
        for (total, count) in total.iter_mut().zip(row) {
            *total += i64::from(*count);
        }
    }
    let (shape, values) = match options.each() {
        true => (vec![rows, 5], counts.into_iter().map(i64::from).collect()),
        false => (vec![5], total.to_vec()),
    };
    Ok(Report {
        engine,
        loss: Value::Null,
        fields: vec![
            ("rows", json!(rows)),
            ("keys", json!(of_keys.unwrap_or(rows))),
            ("labels", json!(sets.labels)),
            ("counts", json!(total)),
            ("reduction", json!(options.reduction())),
        ],
        outputs: vec![Output {
            name: "counts".into(),
            shape,
            values: Numbers::I64(values),
        }],
    })
}
