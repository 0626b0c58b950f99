//! `wgloss run`: a loss of the tensors in a file.

use crate::contrastive::{self, ContrastiveArgs};
use crate::engine::{self, EngineArgs};
use crate::losses::{Given, Loss, Settings};
use crate::rows::RowTensors;
use crate::tensors::{self, Output, TensorFile};
use crate::{hcal, mcm};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use wgloss::host::Wanted;
use wgloss::{Error, Reduction, Rowwise};

const TENSORS: &str = "\
Tensors that are read (reals: F32, F16 or BF16; flags: U8 or BOOL; indices: U32, I32 or I64):
  logits         [B, L] reals
  targets        [B, L] flags, or reals: 0 or 1, for zlpr-soft and bce from 0 to 1, for wdl from 0 on
  target_bits    [B, ceil(L/32)] U32 instead: label l is bit l % 32 of word l / 32
  target_offsets [B+1] with target_indices [n] instead: indices of the positives, row by row
  other          [B, L] in the logits' type, for zlpr-kl instead of targets
  threshold      for tlpr: [1], [B] or [L]; where B = L that is one per row: [B, 1] and [1, L] say which
  class_mask [L], mask [B, L]             flags, 1 = counts
  sample_weight [B], class_weight [L]     reals
  permutation    for wdl, adjacent: [L] or [B, L] indices, each row a permutation of the labels; or --seed
  theta          for wdl: reals, [L-1] adjacent, [L] pairs, [r, L] pairs of rank r; absent: zeros
  theta0         for wdl: [1] real, makes it the bounded form
  grad_loss      [1], or with --reduction none [1] or [B]: the upstream gradient; absent: ones
  edges          for mcm: [E, 2] indices, child and parent
For hcal instead, for each level k from 1 (finest) to m, of C_k classes:
  features       [B, D] reals
  labels_k       [B] I32, I64 or U32, -1 without a label
  prototypes_k   [C_k, D] reals
  parents_k      [C_k] indices into level k + 1, for all k but m
  noise_k        [C_k, D] reals, optional: what is added to the unit prototypes
  grad_loss      [1]
Other tensors may lie in the file.

Tensors that are written with -o, F32 but for the predictions:
  loss           [], or with --reduction none [B]
  grad_logits    [B, L]
  grad_targets   [B, L], where the loss takes soft targets and they are reals; for wdl flags will do;
                 for zlpr-kl: grad_other
  grad_threshold the threshold's shape
  grad_theta     theta's shape, for wdl; grad_theta0 [1] where there is a theta0
  probabilities  for mcm: [B, L], the constrained ones
For hcal: loss [], losses [m], weights [m], grad_features [B, D], grad_prototypes_k [C_k, D], predictions_k [B] I32,
hvr [1], the share of samples whose predictions break the hierarchy.

One line of JSON goes to stdout: loss (null with --reduction none; as JSON has no such numbers, also
the strings \"NaN\", \"Infinity\" and \"-Infinity\"), backend, adapter, driver, variant, rows, cols,
dtype, targets, reduction; of mcm instead of targets edges, pairs (of a class and a descendant), depth; of hcal instead
of cols and targets dim, classes, hvr.";

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
    match args.loss {
        Loss::Mcm => return mcm::run(args),
        Loss::Hcal => return hcal::run(args),
        _ => {}
    }
    // Settings that are wrong whatever the tensors are come before any of the files'.
    let settings = &args.settings;
    settings.configure(args.loss, Given::default())?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let config = settings.configure(args.loss, RowTensors::given(&file)?)?;
    let tensors = RowTensors::read(&file, args.loss, &config, settings.seed())?;
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
        let mut outputs = vec![
            Output::reals("loss", shape, result.loss),
            Output::reals("grad_logits", matrix.clone(), result.grad_logits),
        ];
        if let Some(name) = tensors.grad_targets() {
            outputs.push(Output::reals(name, matrix, result.grad_targets));
        }
        if let Some(shape) = tensors.threshold_shape() {
            let shape = shape.to_vec();
            outputs.push(Output::reals(
                "grad_threshold",
                shape,
                result.grad_threshold,
            ));
        }
        if let Some(shape) = tensors.theta_shape() {
            outputs.push(Output::reals(
                "grad_theta",
                shape.to_vec(),
                result.grad_theta,
            ));
        }
        if !result.grad_theta0.is_empty() {
            outputs.push(Output::reals("grad_theta0", vec![1], result.grad_theta0));
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

/// The upstream gradient: one value, or where each row has a loss, one or as many as there are `rows`.
pub fn grad_loss(file: &TensorFile, rows: Option<usize>) -> Result<Option<Vec<f32>>, Error> {
    if !file.has("grad_loss") {
        return Ok(None);
    }
    match *file.shape("grad_loss")? {
        [] | [1] => {}
        [len] if rows == Some(len) => {}
        ref shape => {
            let expected = match rows {
                Some(rows) => format!("[1] or [{rows}]"),
                None => "[1]".into(),
            };
            return Err(Error::shape("grad_loss", expected, format!("{shape:?}")));
        }
    }
    file.floats("grad_loss").map(Some)
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
