//! `wgloss run linear`: a last layer with a loss of rows on top of it.

use crate::engine::EngineArgs;
use crate::options::LinearOptions;
use crate::report::{Report, json_number};
use crate::run::rows::{read_targets, target_form};
use crate::tensors::{Numbers, Output, TensorFile};
use clap::Args;
use serde_json::{Value, json};
use wgloss::host::{Counted, LinearRows, Wanted};
use wgloss::{Error, TargetKind, Targets};

pub const TENSORS: &str = "\
Tensors that are read:
  hidden          [B, D] reals
  weights         [L, D] reals
  bias            [L] reals
  target_bits     [B, ceil(L/32)] U32: label l is bit l % 32 of word l / 32
  target_offsets  [B+1] indices instead, with
  target_indices  [n] indices: the positives, row by row
  class_mask      [L] flags
  sample_weight   [B] reals
  class_weight    [L] reals, not negative
  state           [L] reals: --update adagrad, absent: zeros
  grad_loss       [1], or with --reduction none [1] or [B]: the upstream gradient; absent: ones
Tensors that are written with -o, F32 but for labels:
  loss            [], or with --reduction none [B]
  grad_hidden     [B, D]
  grad_weights    [L, D]
  grad_bias       [L], where there is a bias
  weights         [L, D], with --update in the place of grad_weights: those after a step, in the precision of their type
  state           [L], after a step of adagrad
  top_labels      [B, K] U32, with --top-k: the labels of the greatest logits, of equal ones the smaller first
  top_scores      [B, K], these logits
With --top-k alone no targets are needed: then there is no loss, and what is written are labels and scores.
Logits live in tiles alone. The loss's own options follow --loss: `wgloss run linear --loss asl --help`.";

/// What a last layer takes when it is run.
#[derive(Args)]
pub struct RunOptions {
    /// Labels of the greatest logits of each sample, up to 128
    #[arg(long, value_name = "K", default_value_t, hide_default_value = true)]
    top_k: usize,
}

/// Computes the layer of a file.
pub fn run(
    options: &LinearOptions,
    own: &RunOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let layer = options.configure()?;
    let matrix = |name: &str, shape: &'static str| match *file.shape(name)? {
        [rows, cols] => Ok((rows, cols)),
        ref found => Err(Error::shape(name, shape, format!("{found:?}"))),
    };
    let (rows, dims) = matrix("hidden", "[B, D]")?;
    let (cols, of_weights) = matrix("weights", "[L, D]")?;
    if of_weights != dims {
        let expected = format!("[L, {dims}], as hidden has components");
        return Err(Error::shape(
            "weights",
            expected,
            format!("[{cols}, {of_weights}]"),
        ));
    }
    let hidden = file.reals("hidden")?;
    let weights = file.reals("weights")?;
    let floats = |name: &str, len: usize| file.floats_if_any(name, len);
    let bias = floats("bias", cols)?;
    let class_mask = file.flags_if_any("class_mask", &[cols])?;
    let (sample_weight, class_weight) = (
        floats("sample_weight", rows)?,
        floats("class_weight", cols)?,
    );
    let counted = Counted {
        cols,
        class_mask: class_mask.as_deref(),
        mask: None,
        sample_weight: sample_weight.as_deref(),
    };
    let labelled = ["target_bits", "target_offsets", "target_indices"];
    let targets = match labelled.iter().any(|name| file.has(name)) || own.top_k == 0 {
        true => {
            let form = target_form(file, TargetKind::Hard)?;
            let refused = || {
                Err(Error::refused(
                    "targets",
                    "takes labels as bits or as lists",
                ))
            };
            Some(read_targets(file, form, (rows, cols), &counted, refused)?)
        }
        false => None,
    };
    let state = floats("state", cols)?;
    let each = options.each();
    let grad_loss = file.grad_loss(each.then_some(rows))?;
    let inputs = LinearRows {
        bias: bias.as_deref(),
        targets: targets.as_ref().and_then(|targets| match targets {
            Targets::Bits(words) => Some(Targets::Bits(&words[..])),
            Targets::Sparse { offsets, indices } => Some(Targets::Sparse {
                offsets: &offsets[..],
                indices: &indices[..],
            }),
            _ => None,
        }),
        class_mask: class_mask.as_deref(),
        sample_weight: sample_weight.as_deref(),
        class_weight: class_weight.as_deref(),
        state: state.as_deref(),
        grad_loss: grad_loss.as_deref(),
        ..LinearRows::new((rows, cols, dims), hidden.values(), weights.values())
    };
    let top = own.top_k;
    let (engine, result) = engine.compute(|engine| engine.linear(&layer, &inputs, wanted, top))?;
    let (shape, loss) = match result.loss[..] {
        [loss] if !each => (vec![], json_number(loss)),
        _ => (vec![rows], Value::Null),
    };
    let learns = targets.is_some();
    let mut outputs = Vec::new();
    if learns {
        outputs.push(Output::reals("loss", shape, result.loss));
        outputs.push(Output::reals(
            "grad_hidden",
            vec![rows, dims],
            result.grad_hidden,
        ));
        let (name, values) = match layer.update {
            Some(_) => ("weights", result.weights),
            None => ("grad_weights", result.grad_weights),
        };
        outputs.push(Output::reals(name, vec![cols, dims], values));
        if bias.is_some() {
            outputs.push(Output::reals("grad_bias", vec![cols], result.grad_bias));
        }
        if !result.state.is_empty() {
            outputs.push(Output::reals("state", vec![cols], result.state));
        }
    }
    if top > 0 {
        outputs.push(Output {
            name: "top_labels".into(),
            shape: vec![rows, top],
            values: Numbers::U32(result.top_labels),
        });
        outputs.push(Output::reals(
            "top_scores",
            vec![rows, top],
            result.top_scores,
        ));
    }
    Ok(Report {
        engine,
        loss,
        fields: vec![
            ("rows", json!(rows)),
            ("cols", json!(cols)),
            ("dim", json!(dims)),
            ("dtype", json!(inputs.weights.dtype().to_string())),
            ("reduction", json!(options.reduction())),
        ],
        outputs,
    })
}
