//! `wgloss run`: a loss of the tensors in a file.

use crate::contrastive::{self, ContrastiveArgs};
use crate::engine::{self, EngineArgs};
use crate::losses::{Loss, Settings};
use crate::rows::RowTensors;
use crate::tensors::{self, Output, TensorFile};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use wgloss::host::Wanted;
use wgloss::{Error, Reduction, Rowwise};

const TENSORS: &str = "\
Tensors that are read (reals: F32, F16 or BF16; flags: U8 or BOOL; indices: U32, I32 or I64):
  logits         [B, L] reals
  targets        [B, L] flags, or reals: 0 or 1, for zlpr-soft and bce from 0 to 1
  target_bits    [B, ceil(L/32)] U32 instead: label l is bit l % 32 of word l / 32
  target_offsets [B+1] with target_indices [n] instead: indices of the positives, row by row
  other          [B, L] in the logits' type, for zlpr-kl instead of targets
  threshold      for tlpr: [1], [B] or [L]; where B = L that is one per row: [B, 1] and [1, L] say which
  class_mask [L], mask [B, L]             flags, 1 = counts
  sample_weight [B], class_weight [L]     reals
  grad_loss      [1], or with --reduction none [1] or [B]: the upstream gradient; absent: ones
Other tensors may lie in the file.

Tensors that are written with -o, all F32:
  loss           [], or with --reduction none [B]
  grad_logits    [B, L]
  grad_targets   [B, L], for zlpr-soft and bce where targets are reals; zlpr-kl: grad_other
  grad_threshold the threshold's shape

One line of JSON goes to stdout: loss (null with --reduction none; as JSON has no such numbers, also
the strings \"NaN\", \"Infinity\" and \"-Infinity\"), backend, adapter, driver, variant, rows, cols,
dtype, targets, reduction.";

const EXIT: &str = "\
Exit code 2, one line on stderr and nothing written where arguments or tensors are wrong; 1 where the
machine cannot.";

#[derive(Args, Debug)]
#[command(after_long_help = [TENSORS, contrastive::TENSORS, EXIT].join("\n\n"))]
pub struct RunArgs {
    /// The loss
    #[arg(value_enum)]
    pub loss: Loss,
    /// File with the tensors
    #[arg(value_name = "IN.safetensors")]
    pub input: PathBuf,
    /// File for loss and gradients; without it the loss alone is computed
    #[arg(short, value_name = "OUT.safetensors")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub contrastive: ContrastiveArgs,
}

pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    if args.loss == Loss::Contrastive {
        return contrastive::run(args);
    }
    args.contrastive.refuse(args.loss)?;
    let config = args.settings.configure(args.loss)?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let tensors = RowTensors::read(&file, args.loss, &config)?;
    let rows = tensors.rows();
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let (engine, result) = args
        .engine
        .compute(|engine| engine.rows(&config, &rows, wanted))?;

    let (shape, loss) = match config.reduction() {
        Reduction::None => (vec![rows.rows], Value::Null),
        _ => (vec![], number(result.loss[0])),
    };
    if let Some(path) = output {
        let matrix = vec![rows.rows, rows.cols];
        let one = |name, shape, values| Output {
            name,
            shape,
            values,
        };
        let mut outputs = vec![
            one("loss", shape, result.loss),
            one("grad_logits", matrix.clone(), result.grad_logits),
        ];
        if let Some(name) = tensors.grad_targets() {
            outputs.push(one(name, matrix, result.grad_targets));
        }
        if let Some(shape) = tensors.threshold_shape() {
            let shape = shape.to_vec();
            outputs.push(one("grad_threshold", shape, result.grad_threshold));
        }
        tensors::write(&path, &outputs)?;
    }
    crate::print(&object(&[
        ("loss", loss),
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
        ("rows", json!(rows.rows)),
        ("cols", json!(rows.cols)),
        ("dtype", json!(rows.logits.dtype().to_string())),
        ("targets", json!(tensors.form())),
        ("reduction", json!(args.settings.reduction())),
    ]))?;
    Ok(ExitCode::SUCCESS)
}

/// A JSON number, or its name where JSON has none.
pub fn number(value: f32) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else if value > 0.0 {
        json!("Infinity")
    } else {
        json!("-Infinity")
    }
}

/// A JSON object on one line, its fields in this order.
pub fn object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
