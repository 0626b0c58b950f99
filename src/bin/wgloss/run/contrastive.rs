//! `wgloss run contrastive`: what the contrastive losses read from a file, and what they write.

use crate::engine::EngineArgs;
use crate::options::ContrastiveOptions;
use crate::report::{Report, json_number};
use crate::tensors::{Output, Reals, TensorFile};
use serde_json::{Value, json};
use wgloss::host::{Embeddings, KeyEmbeddings, Labels, Wanted};
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
enum Sets {
    None,
    Flags(Vec<u8>, usize),
    Bits(Vec<u32>, usize),
    Sparse(Vec<u32>, Vec<u32>),
}

impl Sets {
    /// Reads the sets of some rows from the one form that there is.
    fn read(
        file: &TensorFile,
        key: &'static str,
        rows: usize,
        needed: bool,
    ) -> Result<Self, Error> {
        let [dense, bits, offsets, indices] =
            ["labels", "label_bits", "label_offsets", "label_indices"].map(|n| format!("{key}{n}"));
        let forms = [&dense, &bits, &offsets];
        let there: Vec<&String> = forms.into_iter().filter(|form| file.has(form)).collect();
        let form = match there[..] {
            [] if needed => {
                let expected = format!("one of {dense}, {bits}, {offsets} with {indices}");
                return Err(Error::shape(dense, expected, "none of them"));
            }
            [] => return Ok(Sets::None),
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
            return match lists.iter().position(|label| *label >= MOST_LABELS) {
                None => Ok(Sets::Sparse(file.indices(form)?, lists)),
                Some(at) => Err(Error::value(
                    indices,
                    format!("labels below {MOST_LABELS}"),
                    format!("{} at [{at}]", lists[at]),
                )),
            };
        }
        let width = match *file.shape(form)? {
            [n, width] if n == rows => width,
            ref shape => {
                let width = if *form == dense { "L" } else { "ceil(L/32)" };
                let expected = format!("[{rows}, {width}]");
                return Err(Error::shape(form, expected, format!("{shape:?}")));
            }
        };
        Ok(match *form == dense {
            true => Sets::Flags(file.flags(form)?, width),
            false => Sets::Bits(file.words(form)?, width),
        })
    }

    /// The same, borrowed; of no labels, nothing.
    fn view(&self, labels: usize) -> Labels<'_> {
        match self {
            Sets::None => Labels::Flags(&[]),
            Sets::Flags(..) | Sets::Bits(..) if labels == 0 => Labels::Flags(&[]),
            Sets::Flags(flags, _) => Labels::Flags(flags),
            Sets::Bits(words, _) => Labels::Bits(words),
            Sets::Sparse(offsets, indices) => Labels::Sparse { offsets, indices },
        }
    }
}

/// How many labels there are: what a tensor of flags says, else what there are bits for, else what indices need.
fn count_labels(sets: &Sets, keys: Option<&Sets>) -> Result<usize, Error> {
    let both = [Some(sets), keys];
    let all = || both.iter().flatten();
    let flags = |sets: &&&Sets| match sets {
        Sets::Flags(_, width) => Some(*width),
        _ => None,
    };
    let words = |sets: &&&Sets| match sets {
        Sets::Bits(_, words) => Some(*words),
        _ => None,
    };
    let dense: Vec<usize> = all().filter_map(|sets| flags(&sets)).collect();
    let packed: Vec<usize> = all().filter_map(|sets| words(&sets)).collect();
    let most = |sets: &&&Sets| match sets {
        Sets::Sparse(_, indices) => indices.iter().max().map_or(0, |label| *label as usize + 1),
        _ => 0,
    };
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
            let named = if matches!(sets, Sets::Bits(..)) {
                "label_bits"
            } else {
                "key_label_bits"
            };
            let expected = format!("{} words a row for {labels} labels", labels.div_ceil(32));
            return Err(Error::shape(named, expected, words));
        }
        ([labels, ..], _) => *labels,
        ([], [words, ..]) => 32 * words,
        ([], []) => all().map(|sets| most(&sets)).max().unwrap_or(0),
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
    let keys: Option<(usize, Reals, Sets)> = match file.has("keys") {
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
        // Pairs need no labels; those of one side alone say nothing.
        (Sets::None, _) | (_, Some((_, _, Sets::None))) => 0,
        _ => count_labels(&sets, keys.as_ref().map(|(_, _, sets)| sets))?,
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
            labels: sets.view(labels),
        }),
        self_index: self_index.as_deref(),
        grad_loss: grad_loss.as_deref(),
        ..Embeddings::new(rows, dims, labels, embeddings.values(), sets.view(labels))
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
