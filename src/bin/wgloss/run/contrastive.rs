//! `wgloss run contrastive`: what the contrastive losses read from a file, and what they write.

use crate::engine::EngineArgs;
use crate::options::ContrastiveOptions;
use crate::report::{Report, json_number};
use crate::run::sets::{self, Both, MOST_EMPTY, Sets, has};
use crate::tensors::{Output, TensorFile};
use serde_json::{Value, json};
use wgloss::host::{Embeddings, KeyEmbeddings, Wanted};
use wgloss::losses::contrastive::Weighting;
use wgloss::{ContrastiveReduction, Error};

/// For the help.
pub const TENSORS: &str = "\
Tensors that are read:
  embeddings      [N, D] reals
  labels          [N, L] flags; none with --weighting infonce
  label_bits      [N, ceil(L/32)] U32 instead: label l is bit l % 32 of word l / 32
  label_offsets   [N+1] indices instead, with
  label_indices   [n] indices: the labels, row by row
  keys            [M, D] reals; absent: the embeddings are the keys
  key_labels      [M, L] flags, or key_label_bits, or key_label_offsets with key_label_indices
  self_index      [N] indices, with keys: the key that is the anchor itself, -1 for none; infonce: its pair
  row_mask        [N] flags, 0 where a sample is left out whatever it holds, as a key too where there are no keys
  key_mask        [M] flags, with keys: 0 where one is left out
  temperature     [1] F32, in place of the option
  grad_loss       [1], or with --reduction none [1] or [N]: the upstream gradient; absent: ones
Tensors that are written with -o, F32:
  loss            [], or with --reduction none [N]
  loss_rows       [N]: each anchor's own, 0 where it has no positive
  grad_embeddings [N, D]
  grad_keys       [M, D], where there are keys
  grad_temperature  [1]
In the line of JSON rows, keys, dims and labels stand in place of rows, cols and targets.";

/// Rows and dimensions of a tensor.
fn matrix(file: &TensorFile, tensor: &str, shape: &str) -> Result<(usize, usize), Error> {
    match *file.shape(tensor)? {
        [rows, 0] if rows > MOST_EMPTY => {
            let expected = format!("at most {MOST_EMPTY} rows without dimensions");
            Err(Error::shape(tensor, expected, rows))
        }
        [rows, cols] => Ok((rows, cols)),
        ref found => Err(Error::shape(tensor, shape, format!("{found:?}"))),
    }
}

/// Computes the loss of a file.
pub fn run(
    options: &ContrastiveOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let mut config = options.configure()?;
    if file.has("temperature") {
        if options.temperature.is_some() {
            return Err(Error::refused("temperature", "--temperature is given too"));
        }
        file.expect("temperature", &[1])?;
        config.temperature = file.floats("temperature")?[0];
        config.check()?;
    }
    let paired = config.weighting == Weighting::Paired;
    let (rows, dims) = matrix(file, "embeddings", "[N, D]")?;
    let embeddings = file.reals("embeddings")?;
    let keys = match file.has("keys") {
        false => {
            file.refuse(&sets::OF_KEYS, "needs keys")?;
            None
        }
        true => {
            let (m, found) = matrix(file, "keys", "[M, D]")?;
            if found != dims {
                let shape = format!("[{m}, {found}]");
                return Err(Error::shape("keys", format!("[M, {dims}]"), shape));
            }
            Some((m, file.reals("keys")?))
        }
    };
    let mask = |tensor: &str, rows: usize| match file.has(tensor) {
        false => Ok(None),
        true => {
            file.expect(tensor, &[rows])?;
            file.flags(tensor).map(Some)
        }
    };
    let row_mask = mask("row_mask", rows)?;
    let key_mask = match &keys {
        Some((m, _)) => mask("key_mask", *m)?,
        None => {
            let reason = "needs keys; row_mask leaves out keys that are anchors too";
            file.refuse(&["key_mask"], reason)?;
            None
        }
    };
    let sets = if paired {
        // Pairs have no labels.
        for names in [sets::OF_ANCHORS, sets::OF_KEYS] {
            file.refuse(&names, "--weighting infonce takes no labels")?;
        }
        Both::default()
    } else {
        let of_keys = |m| Sets::read(file, sets::OF_KEYS, Some(m), key_mask.as_deref());
        let keys = keys.as_ref().map(|(m, _)| of_keys(*m));
        Both::new(
            Sets::read(file, sets::OF_ANCHORS, Some(rows), row_mask.as_deref())?,
            keys.transpose()?,
        )?
    };
    let (classes, anchor_sets, key_sets) = sets.view();
    let self_index = match file.has("self_index") {
        false => None,
        true => {
            file.expect("self_index", &[rows])?;
            Some(file.counted_signed("self_index", |i| has(row_mask.as_deref(), i))?)
        }
    };
    let each_row = config.reduction == ContrastiveReduction::None;
    let grad_loss = file.grad_loss(each_row.then_some(rows))?;
    let problem = Embeddings {
        keys: keys.as_ref().map(|(m, reals)| KeyEmbeddings {
            rows: *m,
            embeddings: reals.values(),
            labels: key_sets,
        }),
        self_index: self_index.as_deref(),
        row_mask: row_mask.as_deref(),
        key_mask: key_mask.as_deref(),
        grad_loss: grad_loss.as_deref(),
        ..Embeddings::new(rows, dims, classes, embeddings.values(), anchor_sets)
    };
    let (engine, result) =
        engine.compute(|engine| engine.contrastive(&config, &problem, wanted))?;
    let (shape, loss) = match config.reduction {
        ContrastiveReduction::None => (vec![rows], Value::Null),
        _ => (vec![], json_number(result.loss[0])),
    };
    let fields = vec![
        ("rows", json!(rows)),
        ("keys", json!(problem.keys.map_or(rows, |keys| keys.rows))),
        ("dims", json!(dims)),
        ("labels", json!(sets.labels)),
        ("dtype", json!(embeddings.values().dtype().to_string())),
        ("reduction", json!(options.reduction())),
    ];
    let mut outputs = vec![
        Output::reals("loss", shape, result.loss),
        Output::reals("loss_rows", vec![rows], result.loss_rows),
        Output::reals("grad_embeddings", vec![rows, dims], result.grad_embeddings),
        Output::reals("grad_temperature", vec![1], result.grad_temperature),
    ];
    if let Some((m, _)) = keys {
        outputs.push(Output::reals("grad_keys", vec![m, dims], result.grad_keys));
    }
    Ok(Report {
        engine,
        loss,
        fields,
        outputs,
    })
}
