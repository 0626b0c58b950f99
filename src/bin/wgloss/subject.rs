//! A loss with its settings, at a shape: what is measured or exported.

use crate::options::{
    self, ContrastiveOptions, Given, HcalOptions, LinearOptions, Loss, McmOptions, RowOptions,
    Settings, value_name,
};
use clap::{ArgMatches, Args, Command, ValueEnum};
use std::ffi::OsString;
use std::str::FromStr;
use wgloss::check::{
    self, ContrastiveWorkload, HcalWorkload, LinearWorkload, McmWorkload, MetricsWorkload, Mode,
    RowWorkload, SPARSE, Workload,
};
use wgloss::losses::contrastive::Weighting;
use wgloss::{
    ContrastiveReduction, DType, Entry, Error, Metrics, Rowwise, TargetKind, Targets, Threshold,
};

const ROW_DATA: &str = "\
Logits are normal times 3; a row has up to 16 positives. tlpr has one threshold.";

const MCM_DATA: &str = "\
The classes are a random tree; in each row a leaf and its ancestors are positive.";

const HCAL_DATA: &str = "\
COLS are the classes of the finest of three levels, each of an eighth of the one before, with seeded noise. A call moves
each vector and its gradient.";

const LINEAR_DATA: &str = "\
The shape is samples x labels. Hidden states and weights are normal; a sample has up to 16 positives, as lists.";

const CONTRASTIVE_DATA: &str = "\
The shape is embeddings x dimensions. Rows are normal, with up to 8 labels each.";

const METRICS_DATA: &str = "\
Logits are normal times 3; a row has up to 16 positives. There is no loss: a call adds to whole numbers.";

/// Rows and labels.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub cols: usize,
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::value("shape", "ROWSxCOLS, such as 512x4096", format!("{text:?}"));
        let (rows, cols) = text.split_once('x').ok_or_else(bad)?;
        Ok(Shape {
            rows: rows.parse().map_err(|_| bad())?,
            cols: cols.parse().map_err(|_| bad())?,
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    #[default]
    F32,
    F16,
    Bf16,
}

impl Dtype {
    pub fn element(self) -> DType {
        match self {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::Bf16 => DType::Bf16,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TargetForm {
    /// A byte a label
    U8,
    /// An integer of 32 bits a label
    U32,
    /// The logits' type
    Float,
    /// A bit a label
    Bits,
    /// Offsets and indices of the positives
    Sparse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RowOutputs {
    /// Loss, and gradient in f32
    #[default]
    Both,
    /// Loss, and gradient in the logits' type
    BothSame,
    /// Loss, and gradient over the logits
    InPlace,
    /// Loss alone
    Loss,
    /// Gradient alone, in f32
    Gradient,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Outputs {
    /// Loss and gradients
    #[default]
    Both,
    /// Loss alone
    Loss,
}

/// The shape and the type of the numbers.
#[derive(Args, Clone, Copy)]
pub struct Size {
    /// Rows and labels
    #[arg(long, value_name = "ROWSxCOLS")]
    pub shape: Shape,
    /// Element type of the logits
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
}

#[derive(Args)]
struct RowArgs {
    /// What is computed
    #[arg(long, value_enum, default_value_t)]
    outputs: RowOutputs,
}

/// Of losses of rows whose targets are labels.
#[derive(Args)]
struct TargetArgs {
    /// Form of the targets
    #[arg(long, value_enum, default_value_t = TargetForm::U8)]
    targets: TargetForm,
}

#[derive(Args)]
struct McmArgs {
    /// What is computed
    #[arg(long, value_enum, default_value_t)]
    outputs: Outputs,
}

#[derive(Args)]
struct HcalArgs {
    /// Components of a vector
    #[arg(long, value_name = "N", default_value_t = 128)]
    dim: usize,
    /// What is computed
    #[arg(long, value_enum, default_value_t)]
    outputs: Outputs,
}

#[derive(Args)]
struct ContrastiveArgs {
    /// Labels
    #[arg(long, value_name = "L", default_value_t = 64)]
    labels: usize,
    /// What is computed
    #[arg(long, value_enum, default_value_t)]
    outputs: Outputs,
}

impl TargetForm {
    /// As the workloads have it, beside logits of a type.
    fn of(self, dtype: DType) -> check::TargetForm {
        match self {
            TargetForm::Float => Targets::Dense(dtype),
            TargetForm::U8 => Targets::Dense(DType::U8),
            TargetForm::U32 => Targets::Dense(DType::U32),
            TargetForm::Bits => Targets::Bits(()),
            TargetForm::Sparse => SPARSE,
        }
    }
}

/// Adds the options that a loss has with this command, and says what its data are.
pub fn augment(command: Command, loss: Loss) -> (Command, &'static str) {
    match loss {
        Loss::Row(row) => {
            let command = match (row.loss().target_kind(), row.name) {
                (TargetKind::Logits, _) => command,
                (_, "zlpr-soft") => TargetArgs::augment_args(command)
                    .mut_arg("targets", |targets| targets.default_value("float")),
                _ => TargetArgs::augment_args(command),
            };
            (RowArgs::augment_args(command), ROW_DATA)
        }
        Loss::Mcm => (McmArgs::augment_args(command), MCM_DATA),
        Loss::Hcal => (HcalArgs::augment_args(command), HCAL_DATA),
        Loss::Contrastive => (ContrastiveArgs::augment_args(command), CONTRASTIVE_DATA),
        Loss::Metrics => (TargetArgs::augment_args(command), METRICS_DATA),
        Loss::Linear(_) => (HcalArgs::augment_args(command), LINEAR_DATA),
        Loss::Relations | Loss::Balance => (command, ""),
    }
}

/// Refuses sizes of which two have 2^32 elements.
fn check_sizes(size: Size, sizes: &[usize]) -> Result<(), Error> {
    let fits = |n: Option<usize>| n.is_some_and(|n| n > 0 && u32::try_from(n).is_ok());
    for (i, one) in sizes.iter().enumerate() {
        if sizes[..i]
            .iter()
            .any(|other| !fits(one.checked_mul(*other)))
        {
            let Shape { rows, cols } = size.shape;
            return Err(Error::value(
                "--shape",
                "at least one element and fewer than 2^32, of dimensions too",
                format!("{rows}x{cols}"),
            ));
        }
    }
    Ok(())
}

/// The way to the device's work and to the reference, and what they are called in a record.
pub struct Subject {
    pub loss: &'static str,
    pub rows: usize,
    pub cols: usize,
    /// Of a contrastive loss; of a last layer its components.
    pub labels: Option<usize>,
    /// Components of a hidden state.
    pub dims: Option<usize>,
    pub dtype: Dtype,
    /// The form of the targets.
    pub targets: String,
    pub outputs: String,
    pub reduction: String,
    pub workload: Box<dyn Workload>,
}

impl Subject {
    /// What the user asked for.
    pub fn chosen(loss: Loss, size: Size, matches: &ArgMatches) -> Result<Self, Error> {
        match loss.settings(matches)? {
            Settings::Row(settings) => Subject::of_rows(size, &settings, matches),
            Settings::Mcm(settings) => Subject::of_mcm(size, &settings, &options::read(matches)?),
            Settings::Hcal(settings) => Subject::of_hcal(size, &settings, &options::read(matches)?),
            Settings::Contrastive(settings) => {
                Subject::of_contrastive(size, &settings, &options::read(matches)?)
            }
            Settings::Metrics => Subject::of_metrics(size, &options::read(matches)?),
            Settings::Linear(settings) => {
                Subject::of_linear(size, &settings, &options::read(matches)?)
            }
            Settings::Relations(_) | Settings::Balance(_) => {
                Err(Error::refused("loss", "one that is not measured"))
            }
        }
    }

    /// The same that is named on a command line: `zlpr --shape 64x14 --targets bits`. `command` is the command with the options of
    /// the loss of a last layer.
    pub fn named(
        command: impl Fn(Option<&'static Entry>) -> Command,
        line: &str,
    ) -> Result<Self, Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let words: Vec<OsString> = words.map(OsString::from).collect();
        let wrong = |error: clap::Error| Error::refused(line, error.kind());
        let command = command(options::layer(&words));
        let matches = command.try_get_matches_from(words).map_err(wrong)?;
        let (loss, matches) = options::chosen(&matches)?;
        Subject::chosen(loss, options::read(matches)?, matches)
    }

    /// What tells it from others with the same settings.
    pub fn name(&self) -> String {
        let (rows, cols) = (self.rows, self.cols);
        let labels = self.labels.or(self.dims);
        let labels = labels.map_or(String::new(), |n| format!("x{n}"));
        let dtype = value_name(self.dtype);
        let (targets, outputs) = (&self.targets, &self.outputs);
        format!("{rows}x{cols}{labels} {dtype} {targets} {outputs}")
    }

    fn of_mcm(size: Size, settings: &McmOptions, own: &McmArgs) -> Result<Self, Error> {
        let Shape { rows, cols } = size.shape;
        check_sizes(size, &[rows, cols])?;
        let workload = McmWorkload {
            config: settings.configure(),
            dtype: size.dtype.element(),
            gradient: own.outputs == Outputs::Both,
            rows,
            cols,
        };
        Ok(Subject {
            loss: Loss::Mcm.name(),
            rows,
            cols,
            labels: None,
            dims: None,
            dtype: size.dtype,
            targets: value_name(TargetForm::U8),
            outputs: value_name(own.outputs),
            reduction: settings.reduction(),
            workload: Box::new(workload),
        })
    }

    fn of_metrics(size: Size, own: &TargetArgs) -> Result<Self, Error> {
        let Shape { rows, cols } = size.shape;
        check_sizes(size, &[rows, cols])?;
        let dtype = size.dtype.element();
        let workload = MetricsWorkload {
            config: Metrics::default(),
            dtype,
            form: own.targets.of(dtype),
            rows,
            cols,
        };
        Ok(Subject {
            loss: Loss::Metrics.name(),
            rows,
            cols,
            labels: None,
            dims: None,
            dtype: size.dtype,
            targets: value_name(own.targets),
            outputs: "words".into(),
            reduction: "sum".into(),
            workload: Box::new(workload),
        })
    }

    fn of_hcal(size: Size, settings: &HcalOptions, own: &HcalArgs) -> Result<Self, Error> {
        if settings.seed.is_some() {
            return Err(Error::refused("--seed", "a measurement has its own"));
        }
        let Shape { rows, cols } = size.shape;
        check_sizes(size, &[rows, cols, own.dim])?;
        let workload = HcalWorkload {
            config: settings.configure(false)?,
            dtype: size.dtype.element(),
            gradient: own.outputs == Outputs::Both,
            rows,
            cols,
            dim: own.dim,
        };
        Ok(Subject {
            loss: Loss::Hcal.name(),
            rows,
            cols,
            labels: None,
            dims: None,
            dtype: size.dtype,
            targets: "classes".into(),
            outputs: value_name(own.outputs),
            reduction: settings.reduction(),
            workload: Box::new(workload),
        })
    }

    fn of_linear(size: Size, settings: &LinearOptions, own: &HcalArgs) -> Result<Self, Error> {
        let Shape { rows, cols } = size.shape;
        check_sizes(size, &[rows, cols, own.dim])?;
        let workload = LinearWorkload {
            config: settings.configure()?,
            dtype: size.dtype.element(),
            gradient: own.outputs == Outputs::Both,
            rows,
            cols,
            dims: own.dim,
        };
        Ok(Subject {
            loss: settings.name(),
            rows,
            cols,
            labels: None,
            dims: Some(own.dim),
            dtype: size.dtype,
            targets: value_name(TargetForm::Sparse),
            outputs: value_name(own.outputs),
            reduction: settings.reduction(),
            workload: Box::new(workload),
        })
    }

    fn of_contrastive(
        size: Size,
        settings: &ContrastiveOptions,
        own: &ContrastiveArgs,
    ) -> Result<Self, Error> {
        let loss = settings.configure()?;
        if loss.weighting == Weighting::Paired {
            let reason = "a measurement is of a loss of labels, which infonce is not";
            return Err(Error::refused("--weighting", reason));
        }
        if loss.reduction == ContrastiveReduction::None {
            let reason = "a measurement is of one number, which none is not";
            return Err(Error::refused("--reduction", reason));
        }
        let Shape { rows, cols } = size.shape;
        let labels = own.labels;
        let fits = |n: Option<usize>| n.is_some_and(|n| n > 0 && u32::try_from(n).is_ok());
        if !fits(rows.checked_mul(cols)) || !fits(rows.checked_mul(labels)) {
            return Err(Error::value(
                "--shape",
                "at least one element and fewer than 2^32, of labels too",
                format!("{rows}x{cols} with {labels} labels"),
            ));
        }
        let workload = ContrastiveWorkload {
            loss,
            dtype: size.dtype.element(),
            gradient: own.outputs == Outputs::Both,
            rows,
            dims: cols,
            labels,
        };
        Ok(Subject {
            loss: Loss::Contrastive.name(),
            rows,
            cols,
            labels: Some(labels),
            dims: None,
            dtype: size.dtype,
            targets: value_name(TargetForm::Bits),
            outputs: value_name(own.outputs),
            reduction: settings.reduction(),
            workload: Box::new(workload),
        })
    }

    fn of_rows(size: Size, settings: &RowOptions, matches: &ArgMatches) -> Result<Self, Error> {
        let loss = settings.configure(Given::default())?;
        let RowArgs { outputs } = options::read(matches)?;
        let Shape { rows, cols } = size.shape;
        let all = rows.checked_mul(cols);
        if !all.is_some_and(|all| all > 0 && u32::try_from(all).is_ok()) {
            return Err(Error::value(
                "--shape",
                "at least one element and fewer than 2^32",
                format!("{rows}x{cols}"),
            ));
        }
        let dtype = size.dtype.element();
        let targets = match settings.loss.loss().target_kind() {
            // Other logits stand there.
            TargetKind::Logits => None,
            _ => Some(options::read::<TargetArgs>(matches)?.targets),
        };
        let workload = RowWorkload {
            threshold: settings.loss.threshold.then_some(Threshold::Batch(())),
            dtype,
            form: targets.map_or(Targets::Dense(dtype), |form| form.of(dtype)),
            mode: match outputs {
                RowOutputs::Both => Mode::Both,
                RowOutputs::BothSame => Mode::BothSame,
                RowOutputs::InPlace => Mode::InPlace,
                RowOutputs::Loss => Mode::Loss,
                RowOutputs::Gradient => Mode::Gradient,
            },
            ..RowWorkload::plain(loss, rows, cols)
        };
        Ok(Subject {
            loss: settings.loss.name,
            rows,
            cols,
            labels: None,
            dims: None,
            dtype: size.dtype,
            targets: targets.map_or("other".into(), value_name),
            outputs: value_name(outputs),
            reduction: settings.reduction(),
            workload: Box::new(workload),
        })
    }
}
