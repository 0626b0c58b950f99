//! `wgloss run` of a loss of rows: what it reads from a file, and what it writes.

use crate::engine::EngineArgs;
use crate::options::{Given, RowOptions};
use crate::report::{Report, json_number};
use crate::tensors::{Labels, Output, Reals, TensorFile, place, row_of};
use serde_json::{Value, json};
use wgloss::host::{Counted, Rows, Values, Wanted};
use wgloss::losses::wdl::Form;
use wgloss::{
    AnyLoss, CATALOG, Entry, Error, Order, Reduction, Rowwise, TargetKind, Targets, Threshold, Wdl,
};

/// A threshold, as the file has it.
struct Shared {
    form: Threshold<()>,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// What the help says of other forms of targets than dense ones.
pub const LABELS: &str = "
  target_bits     [B, ceil(L/32)] U32 instead: label l is bit l % 32 of word l / 32
  target_offsets  [B+1] indices instead, with
  target_indices  [n] indices: the positives, row by row";

const THRESHOLD: &str = "
  threshold       [1], [B] or [L] reals; where B = L that is one per row: [B, 1] and [1, L] say which";

const OF_WDL: &str = "
  permutation     adjacent: [L] or [B, L] indices, each row a permutation of the labels; or --seed
  theta           [L-1] reals adjacent, [L] pairs, [r, L] pairs of rank r; absent: zeros
  theta0          [1] real, makes it the bounded form";

/// What it says of masks and weights.
pub const SIDES: &str = "
  class_mask      [L] flags
  mask            [B, L] flags
  sample_weight   [B] reals
  class_weight    [L] reals, not negative";

const WEIGHT: &str = "
  weight          [B, L] reals, not negative";

const OPTIONAL: &str = "
  grad_loss       [1], or with --reduction none [1] or [B]: the upstream gradient; absent: ones
Tensors that are written with -o, F32:
  loss            [], or with --reduction none [B]
  grad_logits     [B, L]";

/// The tensors that a loss reads and writes, for its help.
pub fn tensors(loss: &Entry) -> String {
    let takes = loss.loss().takes();
    let kind = takes.targets;
    let of_wdl = matches!(loss.loss(), AnyLoss::Wdl(_));
    let mut text = String::from("Tensors that are read:\n  logits          [B, L] reals");
    text += match kind {
        TargetKind::Logits => "\n  other           [B, L] in the logits' type",
        TargetKind::Proportions => {
            "\n  targets         [B, L] flags, or integers, 0 is false, or reals from 0 on"
        }
        TargetKind::Soft => {
            "\n  targets         [B, L] flags, or integers, 0 is false, or reals from 0 to 1"
        }
        _ => "\n  targets         [B, L] flags, or integers, 0 is false, or reals that are 0 or 1",
    };
    if kind != TargetKind::Logits {
        text += LABELS;
    }
    if loss.threshold {
        text += THRESHOLD;
    }
    if of_wdl {
        text += OF_WDL;
    }
    text += SIDES;
    if takes.weight {
        text += WEIGHT;
    }
    if let Some(setting) = takes.by_label {
        let option = setting.replace('_', "-");
        text += &format!("\n  {setting:<16}[L] reals, in place of --{option}");
    }
    text += OPTIONAL;
    text += match kind {
        TargetKind::Logits => "\n  grad_other      [B, L]",
        TargetKind::Proportions => "\n  grad_targets    [B, L], whatever type dense targets have",
        TargetKind::Soft => "\n  grad_targets    [B, L], where the targets are reals",
        _ => "",
    };
    if loss.threshold {
        text += "\n  grad_threshold  the threshold's shape";
    }
    if of_wdl {
        text += "\n  grad_theta      theta's shape";
        text += "\n  grad_theta0     [1], where there is a theta0";
    }
    text
}

/// Which losses take which targets, for the help.
pub fn kinds() -> String {
    let names = |kind: TargetKind| -> String {
        let of_kind = CATALOG
            .iter()
            .filter(|loss| loss.loss().target_kind() == kind);
        of_kind.map(|loss| loss.name).collect::<Vec<_>>().join(", ")
    };
    let [hard, soft, proportions, logits] = [
        TargetKind::Hard,
        TargetKind::Soft,
        TargetKind::Proportions,
        TargetKind::Logits,
    ]
    .map(names);
    format!(
        "Targets of losses of rows:\n  soft, reals from 0 to 1: {soft}\n  reals from 0 on: {proportions}\n  \
         hard, 0 or 1: {hard}\n  other logits: {logits}"
    )
}

/// Computes the loss of a file.
pub fn run(
    options: &RowOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let config = options.configure(RowTensors::given(file)?)?;
    let seed = options.permutation();
    let tensors = RowTensors::read(file, options.loss, &config, seed, wanted)?;
    let rows = tensors.rows();
    let (engine, result) = engine.compute(|engine| engine.rows(&config, &rows, wanted))?;
    let (shape, loss) = match config.reduction() {
        Reduction::None => (vec![result.loss.len()], Value::Null),
        _ => (vec![], json_number(result.loss[0])),
    };
    let matrix = vec![rows.rows, rows.cols];
    let mut outputs = vec![
        Output::reals("loss", shape, result.loss),
        Output::reals("grad_logits", matrix.clone(), result.grad_logits),
    ];
    if let Some(name) = tensors.grad_targets() {
        outputs.push(Output::reals(name, matrix, result.grad_targets));
    }
    if let Some(shape) = tensors.threshold_shape() {
        let grad = result.grad_threshold;
        outputs.push(Output::reals("grad_threshold", shape.to_vec(), grad));
    }
    if let Some(shape) = tensors.theta_shape() {
        let grad = result.grad_theta;
        outputs.push(Output::reals("grad_theta", shape.to_vec(), grad));
    }
    if !result.grad_theta0.is_empty() {
        outputs.push(Output::reals("grad_theta0", vec![1], result.grad_theta0));
    }
    Ok(Report {
        engine,
        loss,
        fields: vec![
            ("rows", json!(rows.rows)),
            ("cols", json!(rows.cols)),
            ("dtype", json!(rows.logits.dtype().to_string())),
            ("targets", json!(tensors.form())),
            ("reduction", json!(options.reduction())),
        ],
        outputs,
    })
}

/// The tensors of a loss of rows.
struct RowTensors {
    rows: usize,
    cols: usize,
    logits: Reals,
    targets: Targets<Labels, Vec<u32>>,
    kind: TargetKind,
    class_mask: Option<Vec<u8>>,
    weight: Option<Reals>,
    pos_weight: Option<Vec<f32>>,
    alpha: Option<Vec<f32>>,
    mask: Option<Vec<u8>>,
    sample_weight: Option<Vec<f32>>,
    class_weight: Option<Vec<f32>>,
    threshold: Option<Shared>,
    wdl: WdlTensors,
    grad_loss: Option<Vec<f32>>,
}

/// What WDL reads beside what all losses of rows do.
#[derive(Default)]
struct WdlTensors {
    /// As it lies in the file; `None` for a seed or no permutation.
    order: Option<Vec<u32>>,
    per_row: bool,
    seed: Option<Order<&'static [u32], u64>>,
    theta: Option<Vec<f32>>,
    theta_shape: Vec<usize>,
    theta0: Option<f32>,
}

impl RowTensors {
    /// Reads what the loss takes.
    fn read(
        file: &TensorFile,
        loss: &Entry,
        config: &AnyLoss,
        seed: Option<Order<&'static [u32], u64>>,
        wanted: Wanted,
    ) -> Result<Self, Error> {
        let (rows, cols) = match *file.shape("logits")? {
            [rows, cols] => (rows, cols),
            ref shape => return Err(Error::shape("logits", "[B, L]", format!("{shape:?}"))),
        };
        // Rows without labels are not bounded by what is in the file, and each gets a loss.
        let most = if cols == 0 {
            file.most()
        } else {
            u32::MAX as usize
        };
        if rows > most || cols > u32::MAX as usize {
            return Err(Error::shape(
                "logits",
                format!("at most {most} rows and {} labels", u32::MAX),
                format!("[{rows}, {cols}]"),
            ));
        }
        let kind = config.target_kind();
        let form = target_form(file, kind)?;
        let logits = file.reals("logits")?;
        let floats = |tensor: &str, len: usize| file.floats_if_any(tensor, len);
        let class_mask = file.flags_if_any("class_mask", &[cols])?;
        let mask = file.flags_if_any("mask", &[rows, cols])?;
        let sample_weight = floats("sample_weight", rows)?;
        let weight = match file.has("weight") {
            true => {
                file.expect("weight", &[rows, cols])?;
                Some(file.reals("weight")?)
            }
            false => None,
        };
        let counted = Counted {
            cols,
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
        };
        let threshold = read_threshold(file, loss, rows, &counted)?;
        let dense = || read_dense(file, form, loss, kind, &counted);
        let targets = read_targets(file, form, (rows, cols), &counted, dense)?;
        let each_row = config.reduction() == Reduction::None;
        let losses = config.takes().losses(rows, cols);
        if each_row && rows == 0 && losses > file.most() {
            let expected = format!("at most {} labels without rows", file.most());
            return Err(Error::shape("logits", expected, format!("[0, {cols}]")));
        }
        let grad_loss = file.grad_loss(each_row.then_some(losses))?;
        let wdl = match config {
            AnyLoss::Wdl(config) => read_wdl(file, config, seed, rows, &counted, wanted)?,
            _ => WdlTensors::default(),
        };
        Ok(RowTensors {
            rows,
            cols,
            logits,
            targets,
            kind,
            class_mask,
            mask,
            sample_weight,
            weight,
            pos_weight: floats("pos_weight", cols)?,
            alpha: floats("alpha", cols)?,
            class_weight: floats("class_weight", cols)?,
            threshold,
            wdl,
            grad_loss,
        })
    }

    /// What there is to know of the tensors before the loss can be configured.
    fn given(file: &TensorFile) -> Result<Given, Error> {
        let theta_rows = match file.has("theta") {
            true => match *file.shape("theta")? {
                [rows, _] => Some(u32::try_from(rows).unwrap_or(u32::MAX)),
                _ => None,
            },
            false => None,
        };
        Ok(Given {
            permutation: file.has("permutation"),
            theta_rows,
            by_label: file.has("pos_weight") || file.has("alpha"),
        })
    }

    /// The same, borrowed.
    fn rows(&self) -> Rows<'_> {
        let targets = self.targets.as_ref().map(Labels::view, Vec::as_slice);
        Rows {
            class_mask: self.class_mask.as_deref(),
            mask: self.mask.as_deref(),
            sample_weight: self.sample_weight.as_deref(),
            class_weight: self.class_weight.as_deref(),
            weight: self.weight.as_ref().map(Reals::values),
            pos_weight: self.pos_weight.as_deref(),
            alpha: self.alpha.as_deref(),
            threshold: self
                .threshold
                .as_ref()
                .map(|t| t.form.map(|()| &t.values[..])),
            permutation: match (&self.wdl.order, self.wdl.seed) {
                (_, Some(seed)) => Some(seed),
                (Some(order), None) if self.wdl.per_row => Some(Order::PerRow(&order[..])),
                (Some(order), None) => Some(Order::Batch(&order[..])),
                (None, None) => None,
            },
            theta: self.wdl.theta.as_deref(),
            theta0: self.wdl.theta0,
            grad_loss: self.grad_loss.as_deref(),
            ..Rows::new(self.rows, self.cols, self.logits.values(), targets)
        }
    }

    /// The form of the targets.
    fn form(&self) -> &'static str {
        match (&self.targets, self.kind) {
            (_, TargetKind::Logits) => "other",
            (Targets::Dense(_), _) => "dense",
            (Targets::Bits(_), _) => "bits",
            _ => "sparse",
        }
    }

    /// The name of the gradient to the targets, where there is one.
    fn grad_targets(&self) -> Option<&'static str> {
        match (&self.targets, self.kind) {
            (Targets::Dense(Labels::Flags(_) | Labels::Integers(_)), _) | (_, TargetKind::Hard) => {
                None
            }
            (Targets::Dense(_), TargetKind::Logits) => Some("grad_other"),
            (Targets::Dense(_), _) => Some("grad_targets"),
            _ => None,
        }
    }

    /// The shape of the weights to learn, where the loss has some.
    fn theta_shape(&self) -> Option<&[usize]> {
        self.wdl.theta.as_ref().map(|_| &self.wdl.theta_shape[..])
    }

    /// The shape of the threshold, where there is one.
    fn threshold_shape(&self) -> Option<&[usize]> {
        self.threshold.as_ref().map(|t| &t.shape[..])
    }
}

/// The tensor that says which form the targets have. There is exactly one form, and the loss takes it.
pub fn target_form(file: &TensorFile, kind: TargetKind) -> Result<&'static str, Error> {
    if kind == TargetKind::Logits {
        return Ok("other");
    }
    let mut forms = Vec::new();
    for form in ["targets", "target_bits", "target_offsets"] {
        let sparse = form == "target_offsets" && file.has("target_indices");
        if file.has(form) || sparse {
            forms.push(form);
        }
    }
    match forms[..] {
        [form] => Ok(form),
        [first, second, ..] => {
            let reason = format!("a second form of targets beside {first}");
            Err(Error::refused(second, reason))
        }
        [] => Err(Error::shape(
            "targets",
            "one of targets, target_bits, target_offsets with target_indices",
            "none of them",
        )),
    }
}

/// The targets of `rows` rows of `cols` labels, where they have this form; `dense` reads dense ones. Lists of rows that do not
/// count are not looked at.
pub fn read_targets(
    file: &TensorFile,
    form: &str,
    (rows, cols): (usize, usize),
    counted: &Counted<'_>,
    dense: impl FnOnce() -> Result<Labels, Error>,
) -> Result<Targets<Labels, Vec<u32>>, Error> {
    Ok(match form {
        "target_bits" => {
            file.expect(form, &[rows, cols.div_ceil(32)])?;
            Targets::Bits(file.words(form)?)
        }
        "target_offsets" => {
            file.expect(form, &[rows.saturating_add(1)])?;
            let offsets = file.indices(form)?;
            let indices = match *file.shape("target_indices")? {
                [_] => file.counted_indices("target_indices", |at| {
                    counted.has_row(row_of(&offsets, at))
                })?,
                ref shape => {
                    let found = format!("{shape:?}");
                    return Err(Error::shape("target_indices", "one dimension", found));
                }
            };
            Targets::Sparse { offsets, indices }
        }
        _ => {
            file.expect(form, &[rows, cols])?;
            Targets::Dense(dense()?)
        }
    })
}

fn read_dense(
    file: &TensorFile,
    form: &str,
    loss: &Entry,
    kind: TargetKind,
    counted: &Counted<'_>,
) -> Result<Labels, Error> {
    if kind == TargetKind::Logits {
        return Ok(Labels::Reals(file.reals(form)?));
    }
    // There is a gradient to proportions, and what is 0 or 1 may be one.
    let proportions = |values: Vec<f32>| Labels::Reals(Reals::F32(values));
    let reals = match (file.dense(form)?, kind) {
        (Labels::Reals(reals), _) => reals,
        (Labels::Flags(flags), TargetKind::Proportions) => {
            return Ok(proportions(flags.into_iter().map(f32::from).collect()));
        }
        (Labels::Integers(integers), TargetKind::Proportions) => {
            let flag = |integer| f32::from(u8::from(integer != 0));
            return Ok(proportions(integers.into_iter().map(flag).collect()));
        }
        (labels, _) => return Ok(labels),
    };
    if loss.loss().target_kind() != TargetKind::Hard {
        return Ok(Labels::Reals(reals));
    }
    let flags = hard(form, reals.values(), loss, counted)?;
    // Smoothed hard labels: the kernel's labels are soft, the user's are not, as the loss before its options says.
    Ok(match kind {
        TargetKind::Soft => Labels::Flags(flags),
        _ => Labels::Reals(reals),
    })
}

/// Real numbers that are 0 or 1, as flags.
fn hard(
    tensor: &str,
    values: Values<'_>,
    loss: &Entry,
    counted: &Counted<'_>,
) -> Result<Vec<u8>, Error> {
    let cols = counted.cols;
    let flag = |(at, value): (usize, f64)| {
        if value == 0.0 || value == 1.0 || !counted.has(at) {
            return Ok(u8::from(value == 1.0));
        }
        let hint = match loss.name {
            "zlpr" => " (zlpr-soft takes soft labels)",
            _ => "",
        };
        Err(Error::value(
            tensor,
            format!("0 or 1 with {}{hint}", loss.name),
            format!("{value} at [{}, {}]", at / cols, at % cols),
        ))
    };
    values.to_f64().into_iter().enumerate().map(flag).collect()
}

/// Permutation and weights of WDL. Without weights in the file theta is zeros, which have a gradient.
fn read_wdl(
    file: &TensorFile,
    config: &Wdl,
    seed: Option<Order<&'static [u32], u64>>,
    rows: usize,
    counted: &Counted<'_>,
    wanted: Wanted,
) -> Result<WdlTensors, Error> {
    let cols = counted.cols;
    if config.form != Form::Adjacent {
        file.refuse(&["permutation"], "--form pairs takes none")?;
    }
    let seed = seed.filter(|_| config.form == Form::Adjacent);
    let mut wdl = WdlTensors {
        seed,
        ..WdlTensors::default()
    };
    if config.form == Form::Adjacent && seed.is_none() {
        if !file.has("permutation") {
            let reason = "needed with --form adjacent, or --seed";
            return Err(Error::refused("permutation", reason));
        }
        wdl.per_row = match *file.shape("permutation")? {
            [len] if len == cols => false,
            [n, len] if n == rows && len == cols => true,
            ref shape => {
                let expected = format!("[{cols}] or [{rows}, {cols}]");
                return Err(Error::shape("permutation", expected, format!("{shape:?}")));
            }
        };
        let counts = |at: usize| !wdl.per_row || counted.has_row(at / cols.max(1));
        wdl.order = Some(file.counted_indices("permutation", counts)?);
    }
    let (sets, len) = config.theta_shape(cols);
    wdl.theta_shape = vec![len];
    wdl.theta = if file.has("theta") {
        let shape = file.shape("theta")?;
        let fits = match *shape {
            [found] => sets == 1 && found == len,
            [rows, found] => rows == sets && found == len,
            _ => false,
        };
        if !fits {
            let expected = match config.form {
                Form::Adjacent => format!("[{len}]"),
                Form::Pairs { .. } => format!("[{len}] or [r, {len}]"),
            };
            return Err(Error::shape("theta", expected, format!("{shape:?}")));
        }
        wdl.theta_shape = shape.to_vec();
        Some(file.floats("theta")?)
    } else if rows > 0 || len <= file.most() {
        Some(vec![0.0; sets * len])
    } else if wanted == Wanted::Loss {
        None
    } else {
        // Nothing in the file is as many as the gradient to theta would have.
        let most = file.most();
        let expected = format!("at most {most} labels without rows or theta, for grad_theta");
        return Err(Error::shape("logits", expected, format!("[0, {cols}]")));
    };
    if file.has("theta0") {
        wdl.theta0 = match *file.shape("theta0")? {
            [] | [1] => file.floats("theta0")?.first().copied(),
            ref shape => return Err(Error::shape("theta0", "[1]", format!("{shape:?}"))),
        };
    }
    Ok(wdl)
}

/// The threshold of TLPR. One dimension as long as there are rows is one per row, also where there are as many
/// labels; two dimensions tell them apart.
fn read_threshold(
    file: &TensorFile,
    loss: &Entry,
    rows: usize,
    counted: &Counted<'_>,
) -> Result<Option<Shared>, Error> {
    if !loss.threshold {
        return Ok(None);
    }
    let cols = counted.cols;
    let shape = file.shape("threshold")?;
    let form = match *shape {
        [] | [1] | [1, 1] => Threshold::Batch(()),
        [len] | [len, 1] if len == rows => Threshold::Row(()),
        [len] | [1, len] if len == cols => Threshold::Label(()),
        _ => {
            return Err(Error::shape(
                "threshold",
                format!("[1], [{rows}] or [{rows}, 1] (rows), [{cols}] or [1, {cols}] (labels)"),
                format!("{shape:?}"),
            ));
        }
    };
    let values = file.floats("threshold")?;
    let counts = |row: usize| form != Threshold::Row(()) || counted.has_row(row);
    let bad = |(at, t): (usize, &f32)| (!t.is_finite() && counts(at)).then_some(at);
    if let Some(at) = values.iter().enumerate().find_map(bad) {
        return Err(Error::value(
            "threshold",
            "finite values",
            format!("{} at {:?}", values[at], place(at, shape)),
        ));
    }
    Ok(Some(Shared {
        form,
        shape: shape.to_vec(),
        values,
    }))
}
