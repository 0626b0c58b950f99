//! The contrastive losses: their options, what they read from a file, what they write.

use crate::engine;
use crate::losses::{Loss, Reduce, Settings};
use crate::run::{RunArgs, grad_loss, number, object};
use crate::tensors::{self, Output, Reals, TensorFile};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;
use wgloss::host::{Embeddings, KeyEmbeddings, LabelSets, Wanted};
use wgloss::losses::contrastive as kinds;
use wgloss::{Contrastive, ContrastiveReduction, Error};

pub const TENSORS: &str = "\
contrastive reads instead:
  embeddings     [N, D] reals
  labels         [N, L] flags, or label_bits [N, ceil(L/32)] U32, or label_offsets [N+1] with label_indices [n];
                 none with --weighting infonce
  keys           [M, D] reals, with key_labels, key_label_bits, or key_label_offsets and key_label_indices; absent: the
                 embeddings are the keys
  self_index     [N] indices, with keys: the key that is the anchor itself, -1 for none; infonce: its pair
  grad_loss      [1], or with --reduction none [1] or [N]
and writes:
  loss           [], or with --reduction none [N]
  loss_rows      [N]: each anchor's own, 0 where it has no positive
  grad_embeddings [N, D], grad_keys [M, D], grad_temperature [1]
Its line of JSON has rows, keys, dims and labels in place of rows, cols and targets.";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Weighting {
    /// Similarity-Dissimilarity
    #[default]
    Simdis,
    /// SupCon, every key that shares a label
    Any,
    /// SupCon, every key of the same labels
    All,
    /// MulSupCon, each anchor divided by its number of labels
    Mulsupcon,
    /// MulSupCon as its authors have it, without; with --reduction mean-labels that is their loss
    MulsupconSum,
    /// Jaccard similarity
    Jaccard,
    /// InfoNCE: the pair that a tensor of indices names
    Infonce,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Placement {
    /// Before the logarithm
    #[default]
    Outside,
    /// In the numerator inside it; the gradient is that of any
    Numerator,
    /// In numerator and denominator
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Normalizer {
    /// The number of positives
    #[default]
    Count,
    /// The sum of their factors
    Ksum,
}

/// The settings of the contrastive losses.
#[derive(Args, Clone, Debug)]
pub struct ContrastiveArgs {
    /// contrastive: which pairs attract one another [default: simdis]
    #[arg(long, value_enum)]
    weighting: Option<Weighting>,
    /// contrastive, simdis: where the factor stands [default: outside]
    #[arg(long, value_enum)]
    placement: Option<Placement>,
    /// contrastive, simdis: what the factors are divided by [default: count]
    #[arg(long, value_enum)]
    normalizer: Option<Normalizer>,
    /// contrastive, jaccard: least similarity [default: 0.5]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// contrastive: takes the rows as they are
    #[arg(long)]
    no_normalize: bool,
}

impl ContrastiveArgs {
    /// Refuses all of them with another loss.
    pub fn refuse(&self, loss: Loss) -> Result<(), Error> {
        let given = [
            ("--weighting", self.weighting.is_some()),
            ("--placement", self.placement.is_some()),
            ("--normalizer", self.normalizer.is_some()),
            ("--threshold", self.threshold.is_some()),
            ("--no-normalize", self.no_normalize),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Error::value(
                option,
                format!("an option of {loss}"),
                "one of contrastive",
            )),
            None => Ok(()),
        }
    }

    /// The loss with these settings, which are checked.
    pub fn configure(&self, settings: &Settings) -> Result<Contrastive, Error> {
        let weighting = self.weighting.unwrap_or_default();
        for (option, given, owner) in [
            ("--placement", self.placement.is_some(), Weighting::Simdis),
            ("--normalizer", self.normalizer.is_some(), Weighting::Simdis),
            ("--threshold", self.threshold.is_some(), Weighting::Jaccard),
        ] {
            if given && weighting != owner {
                let expected = format!("none but with --weighting {}", name(owner));
                return Err(Error::value(option, expected, "one"));
            }
        }
        let mut config = match weighting {
            Weighting::Simdis => Contrastive::sim_dis_at(
                match self.placement.unwrap_or_default() {
                    Placement::Outside => kinds::Placement::Outside,
                    Placement::Numerator => kinds::Placement::Numerator,
                    Placement::Both => kinds::Placement::Both,
                },
                match self.normalizer.unwrap_or_default() {
                    Normalizer::Count => kinds::Normalizer::Count,
                    Normalizer::Ksum => kinds::Normalizer::KSum,
                },
            ),
            Weighting::Any => Contrastive::sup_con_any(),
            Weighting::All => Contrastive::sup_con_all(),
            Weighting::Mulsupcon => Contrastive::mul_sup_con(),
            Weighting::MulsupconSum => Contrastive::mul_sup_con_sum(),
            Weighting::Jaccard => Contrastive::jaccard(),
            Weighting::Infonce => Contrastive::info_nce(),
        };
        if let Some(threshold) = self.threshold {
            config.weighting = kinds::Weighting::Jaccard { threshold };
        }
        if let Some(temperature) = settings.temperature() {
            config.temperature = temperature;
        }
        config.normalize = !self.no_normalize;
        config.reduction = match settings.reduce() {
            Reduce::Mean => ContrastiveReduction::MeanActive,
            Reduce::MeanAll => ContrastiveReduction::MeanAll,
            Reduce::MeanLabels => ContrastiveReduction::MeanLabels,
            Reduce::Sum => ContrastiveReduction::Sum,
            Reduce::None => ContrastiveReduction::None,
        };
        config.check()?;
        Ok(config)
    }
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a reduction is called.
pub fn reduction(config: &Contrastive) -> &'static str {
    match config.reduction {
        ContrastiveReduction::MeanActive => "mean",
        ContrastiveReduction::MeanAll => "mean-all",
        ContrastiveReduction::MeanLabels => "mean-labels",
        ContrastiveReduction::Sum => "sum",
        ContrastiveReduction::None => "none",
    }
}

/// Most labels of sets that are lists of indices: no data of the file stands behind their number.
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
                let expected = format!("no second form of label sets beside {first}");
                return Err(Error::shape(second, expected, "one"));
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
    fn view(&self, labels: usize) -> LabelSets<'_> {
        match self {
            Sets::None => LabelSets::Dense(&[]),
            Sets::Flags(..) | Sets::Bits(..) if labels == 0 => LabelSets::Dense(&[]),
            Sets::Flags(flags, _) => LabelSets::Dense(flags),
            Sets::Bits(words, _) => LabelSets::Bits(words),
            Sets::Sparse(offsets, indices) => LabelSets::Sparse { offsets, indices },
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
        // No data of the file stands behind the number of rows without dimensions.
        [rows, 0] if rows > 1 << 24 => {
            let expected = "at most 16777216 rows without dimensions";
            Err(Error::shape(tensor, expected, rows))
        }
        [rows, cols] => Ok((rows, cols)),
        ref found => Err(Error::shape(tensor, shape, format!("{found:?}"))),
    }
}

/// `wgloss run contrastive`.
pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    args.settings.refuse_others(args.loss)?;
    let config = args.contrastive.configure(&args.settings)?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let paired = config.weighting == kinds::Weighting::Paired;

    let (rows, dims) = matrix(&file, "embeddings", "[N, D]")?;
    let sets = Sets::read(&file, "", rows, !paired)?;
    let embeddings = file.reals("embeddings")?;
    let keys: Option<(usize, Reals, Sets)> = match file.has("keys") {
        false => None,
        true => {
            let (m, found) = matrix(&file, "keys", "[M, D]")?;
            if found != dims {
                let shape = format!("[{m}, {found}]");
                return Err(Error::shape("keys", format!("[M, {dims}]"), shape));
            }
            let sets = Sets::read(&file, "key_", m, !paired)?;
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
    let grad_loss = grad_loss(&file, each_row.then_some(rows))?;
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
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let (engine, result) = args
        .engine
        .compute(|engine| engine.contrastive(&config, &problem, wanted))?;
    let (shape, loss) = match config.reduction {
        ContrastiveReduction::None => (vec![rows], Value::Null),
        _ => (vec![], number(result.loss[0])),
    };
    if let Some(path) = output {
        let mut outputs = vec![
            Output::reals("loss", shape, result.loss),
            Output::reals("loss_rows", vec![rows], result.loss_rows),
            Output::reals("grad_embeddings", vec![rows, dims], result.grad_embeddings),
            Output::reals("grad_temperature", vec![1], result.grad_temperature),
        ];
        if let Some((m, ..)) = keys {
            outputs.push(Output::reals("grad_keys", vec![m, dims], result.grad_keys));
        }
        tensors::write(&path, &outputs)?;
    }
    crate::print(&object(&[
        ("loss", loss),
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
        ("rows", json!(rows)),
        ("keys", json!(problem.keys.map_or(rows, |keys| keys.rows))),
        ("dims", json!(dims)),
        ("labels", json!(labels)),
        ("dtype", json!(embeddings.values().dtype().to_string())),
        ("reduction", json!(reduction(&config))),
    ]))?;
    Ok(ExitCode::SUCCESS)
}
