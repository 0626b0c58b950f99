//! `wgloss run contrastive`: what the contrastive losses read from a file, and what they write.

use crate::engine::EngineArgs;
use crate::options::ContrastiveOptions;
use crate::report::{Report, json_number};
use crate::tensors::{Output, Reals, TensorFile};
use serde_json::{Value, json};
use wgloss::host::{Embeddings, KeyEmbeddings, LabelSets, Wanted};
use wgloss::losses::contrastive::Weighting;
use wgloss::{ContrastiveReduction, Error, Targets};

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
  grad_loss       [1], or with --reduction none [1] or [N]: the upstream gradient; absent: ones
Tensors that are written with -o, F32:
  loss            [], or with --reduction none [N]
  loss_rows       [N]: each anchor's own, 0 where it has no positive
  grad_embeddings [N, D]
  grad_keys       [M, D], where there are keys
  grad_temperature  [1]
In the line of JSON rows, keys, dims and labels stand in place of rows, cols and targets.";

/// Most labels of sets that are lists of indices: their count is not bounded by the file's size.
const MOST_LABELS: u32 = 1 << 24;

/// Label sets, as the file has them.
struct Sets {
    labels: Targets<Vec<u8>, Vec<u32>>,
    /// Columns of flags, or of words.
    width: usize,
}

impl Sets {
    /// Reads the sets of some rows from the one form that there is.
    fn read(
        file: &TensorFile,
        key: &'static str,
        rows: usize,
        needed: bool,
    ) -> Result<Option<Self>, Error> {
        let [dense, bits, offsets, indices] =
            ["labels", "label_bits", "label_offsets", "label_indices"].map(|n| format!("{key}{n}"));
        let forms = [&dense, &bits, &offsets];
        let there: Vec<&String> = forms.into_iter().filter(|form| file.has(form)).collect();
        let form = match there[..] {
            [] if needed => {
                let expected = format!("one of {dense}, {bits}, {offsets} with {indices}");
                return Err(Error::shape(dense, expected, "none of them"));
            }
            [] => return Ok(None),
            [form] => form,
            [first, second, ..] => {
                let reason = format!("a second form of label sets beside {first}");
                return Err(Error::refused(second, reason));
            }
        };
        if *form == offsets {
            file.expect(form, &[rows + 1])?;
            let lists = match *file.shape(&indices)? {
                [_] => file.indices(&indices)?,
                ref shape => {
                    return Err(Error::shape(indices, "one dimension", format!("{shape:?}")));
                }
            };
            // The largest says how many labels there are, where nothing else does.
            if let Some(at) = lists.iter().position(|label| *label >= MOST_LABELS) {
                return Err(Error::value(
                    indices,
                    format!("labels below {MOST_LABELS}"),
                    format!("{} at [{at}]", lists[at]),
                ));
            }
            let labels = Targets::Sparse {
                offsets: file.indices(form)?,
                indices: lists,
            };
            return Ok(Some(Sets { labels, width: 0 }));
        }
        let width = match *file.shape(form)? {
            [n, width] if n == rows => width,
            ref shape => {
                let width = if *form == dense { "L" } else { "ceil(L/32)" };
                let expected = format!("[{rows}, {width}]");
                return Err(Error::shape(form, expected, format!("{shape:?}")));
            }
        };
        let labels = match *form == dense {
            true => Targets::Dense(file.flags(form)?),
            false => Targets::Bits(file.words(form)?),
        };
        Ok(Some(Sets { labels, width }))
    }
}

/// Sets, borrowed; of no labels, nothing.
fn view(sets: Option<&Sets>, labels: usize) -> LabelSets<'_> {
    match sets {
        Some(sets) if labels > 0 || matches!(sets.labels, Targets::Sparse { .. }) => {
            sets.labels.as_ref().map(Vec::as_slice, Vec::as_slice)
        }
        _ => LabelSets::Dense(&[]),
    }
}

/// How many labels there are: what a tensor of flags says, else what there are bits for, else what indices need.
fn count_labels(sets: &Sets, keys: Option<&Sets>) -> Result<usize, Error> {
    let (mut dense, mut packed, mut most) = (Vec::new(), Vec::new(), 0);
    for sets in [Some(sets), keys].into_iter().flatten() {
        match &sets.labels {
            Targets::Dense(_) => dense.push(sets.width),
            Targets::Bits(_) => packed.push(sets.width),
            Targets::Sparse { indices, .. } => {
                most = indices
                    .iter()
                    .fold(most, |most, label| most.max(*label as usize + 1));
            }
            _ => {}
        }
    }
    let count = match (&dense[..], &packed[..]) {
        ([first, second], _) if first != second => {
            let expected = format!("{first} labels, as many as labels has");
            return Err(Error::shape("key_labels", expected, second));
        }
        (_, [first, second]) if first != second => {
            let expected = format!("{first} words a row, as many as label_bits has");
            return Err(Error::shape("key_label_bits", expected, second));
        }
        ([labels, ..], [words, ..]) if labels.div_ceil(32) != *words => {
            let named = if matches!(sets.labels, Targets::Bits(_)) {
                "label_bits"
            } else {
                "key_label_bits"
            };
            let expected = format!("{} words a row for {labels} labels", labels.div_ceil(32));
            return Err(Error::shape(named, expected, words));
        }
        ([labels, ..], _) => *labels,
        ([], [words, ..]) => 32 * words,
        ([], []) => most,
    };
    Ok(count)
}

/// Rows and dimensions of a tensor.
fn matrix(file: &TensorFile, tensor: &str, shape: &str) -> Result<(usize, usize), Error> {
    match *file.shape(tensor)? {
        // The number of rows without dimensions is not bounded by the file's size.
        [rows, 0] if rows > 1 << 24 => {
            let expected = "at most 16777216 rows without dimensions";
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
    let config = options.configure()?;
    let paired = config.weighting == Weighting::Paired;
    let (rows, dims) = matrix(file, "embeddings", "[N, D]")?;
    let sets = Sets::read(file, "", rows, !paired)?;
    let embeddings = file.reals("embeddings")?;
    let keys: Option<(usize, Reals, Option<Sets>)> = match file.has("keys") {
        false => None,
        true => {
            let (m, found) = matrix(file, "keys", "[M, D]")?;
            if found != dims {
                let shape = format!("[{m}, {found}]");
                return Err(Error::shape("keys", format!("[M, {dims}]"), shape));
            }
            let sets = Sets::read(file, "key_", m, !paired)?;
            Some((m, file.reals("keys")?, sets))
        }
    };
    let labels = match (&sets, &keys) {
        (Some(sets), None) => count_labels(sets, None)?,
        (Some(sets), Some((_, _, Some(keys)))) => count_labels(sets, Some(keys))?,
        // Pairs need no labels; those of one side alone say nothing.
        _ => 0,
    };
    let self_index = match file.has("self_index") {
        false => None,
        true => {
            file.expect("self_index", &[rows])?;
            Some(file.signed("self_index")?)
        }
    };
    let each_row = config.reduction == ContrastiveReduction::None;
    let grad_loss = file.grad_loss(each_row.then_some(rows))?;
    let problem = Embeddings {
        keys: keys.as_ref().map(|(m, reals, sets)| KeyEmbeddings {
            rows: *m,
            embeddings: reals.values(),
            labels: view(sets.as_ref(), labels),
        }),
        self_index: self_index.as_deref(),
        grad_loss: grad_loss.as_deref(),
        ..Embeddings::new(
            rows,
            dims,
            labels,
            embeddings.values(),
            view(sets.as_ref(), labels),
        )
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
        ("labels", json!(labels)),
        ("dtype", json!(embeddings.values().dtype().to_string())),
        ("reduction", json!(options.reduction())),
    ];
    let mut outputs = vec![
        Output::reals("loss", shape, result.loss),
        Output::reals("loss_rows", vec![rows], result.loss_rows),
        Output::reals("grad_embeddings", vec![rows, dims], result.grad_embeddings),
        Output::reals("grad_temperature", vec![1], result.grad_temperature),
    ];
    if let Some((m, ..)) = keys {
        outputs.push(Output::reals("grad_keys", vec![m, dims], result.grad_keys));
    }
    Ok(Report {
        engine,
        loss,
        fields,
        outputs,
    })
}
