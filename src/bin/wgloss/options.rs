//! The losses of the command: their names, the options that each takes, and what the options configure.
//!
//! The losses of rows are those of the library's [`CATALOG`]; one with options of its own has them in [`own`]. Every
//! loss has a subcommand below `run` and below `bench`, with its options and no others.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use std::ffi::OsString;
use wgloss::losses::contrastive::{self, Weighting};
use wgloss::losses::hcal::Aggregation;
use wgloss::losses::wdl::{Form, PairWeights, Phi, Prediction};
use wgloss::losses::zlpr;
use wgloss::{
    AnyLoss, Asl, Balance, Bce, CATALOG, Contrastive, ContrastiveReduction, Dice, Entry, Error,
    Focal, Hcal, Hill, Linear, Mcm, Order, Reduction, Rowwise, Scope, Splc, TargetKind, Update,
    Wdl, Zlpr,
};

// ---- the losses

/// The options that a loss of rows has to itself.
fn own(name: &str) -> Own {
    match name {
        "zlpr" | "zlpr-soft" => Own::of::<Smoothing>(),
        "zlpr-kl" => Own::of::<Divergence>(),
        "two-way" => Own::of::<Temperatures>(),
        "bce" => Own::of::<BceOptions>(),
        "focal" => Own::of::<FocalOptions>(),
        "asl" => Own::of::<AslOptions>(),
        "hill" => Own::of::<HillOptions>(),
        "splc" => Own::of::<SplcOptions>(),
        "dice" => Own::of::<DiceOptions>(),
        "wdl" => Own::of::<WdlOptions>(),
        _ => Own::of::<NoOptions>(),
    }
}

/// A loss of the command.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    Row(&'static Entry),
    /// A last layer with a loss of rows, where the arguments name one.
    Linear(Option<&'static Entry>),
    Mcm,
    Hcal,
    Contrastive,
    /// No loss, but what some are made of: it is run, and not measured.
    Relations,
    /// Weights for losses: run, and not measured.
    Balance,
    /// No loss: what predictions are judged by. Measured, and not run.
    Metrics,
}

/// A loss with the options that were given.
pub enum Settings {
    Row(RowOptions),
    Linear(LinearOptions),
    Mcm(McmOptions),
    Hcal(HcalOptions),
    Contrastive(ContrastiveOptions),
    Relations(RelationsOptions),
    Balance(BalanceOptions),
    Metrics,
}

impl Loss {
    /// Those that `bench` measures, a last layer with the loss that the arguments name.
    pub fn measured(layer: Option<&'static Entry>) -> impl Iterator<Item = Loss> {
        let rows = CATALOG.iter().map(Loss::Row);
        let others = [Loss::Mcm, Loss::Hcal, Loss::Contrastive, Loss::Metrics];
        rows.chain(others).chain([Loss::Linear(layer)])
    }

    /// Those that `run` computes.
    pub fn computed(layer: Option<&'static Entry>) -> impl Iterator<Item = Loss> {
        let both = Loss::measured(layer).filter(|loss| !matches!(loss, Loss::Metrics));
        both.chain([Loss::Relations, Loss::Balance])
    }

    pub fn name(&self) -> &'static str {
        match self {
            Loss::Row(loss) => loss.name,
            Loss::Linear(_) => LINEAR,
            Loss::Mcm => "mcm",
            Loss::Hcal => "hcal",
            Loss::Contrastive => "contrastive",
            Loss::Relations => "relations",
            Loss::Balance => "balance",
            Loss::Metrics => "metrics",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Loss::Row(loss) => loss.summary,
            Loss::Linear(_) => "A last layer with a loss of rows on top, logits in tiles alone",
            Loss::Mcm => "Max constraint loss of a hierarchy",
            Loss::Hcal => "HCAL: contrast with prototypes on all levels of a hierarchy",
            Loss::Contrastive => "Contrastive losses of embeddings with label sets",
            Loss::Relations => "How often label sets stand in each of five relations",
            Loss::Balance => "Weights for several losses, and their weighted sum",
            Loss::Metrics => "Metrics of predictions, counted",
        }
    }

    /// Adds the options of its settings.
    fn augment(&self, command: Command) -> Command {
        match self {
            Loss::Row(loss) => augment_row(command, loss),
            Loss::Linear(None) => {
                LayerOptions::augment_args(ReductionOption::augment_args(command))
            }
            Loss::Linear(Some(loss)) => LayerOptions::augment_args(augment_row(command, loss)),
            Loss::Mcm => McmOptions::augment_args(command),
            Loss::Hcal => HcalOptions::augment_args(command),
            Loss::Contrastive => ContrastiveOptions::augment_args(command),
            Loss::Relations => RelationsOptions::augment_args(command),
            Loss::Balance => BalanceOptions::augment_args(command),
            Loss::Metrics => command,
        }
    }

    /// The options of its settings as they were given, checked as far as that goes without the tensors.
    pub fn settings(self, matches: &ArgMatches) -> Result<Settings, Error> {
        match self {
            Loss::Row(loss) => Ok(Settings::Row(RowOptions::read(loss, matches)?)),
            Loss::Linear(loss) => {
                let loss = loss.ok_or_else(|| Error::refused("--loss", "none was named"))?;
                let layer: LayerOptions = read(matches)?;
                let options = LinearOptions {
                    row: RowOptions::read(loss, matches)?,
                    layer,
                };
                options.configure()?;
                Ok(Settings::Linear(options))
            }
            Loss::Mcm => Ok(Settings::Mcm(read(matches)?)),
            Loss::Hcal => {
                let options: HcalOptions = read(matches)?;
                options.configure(false)?;
                Ok(Settings::Hcal(options))
            }
            Loss::Contrastive => {
                let options: ContrastiveOptions = read(matches)?;
                options.configure()?;
                Ok(Settings::Contrastive(options))
            }
            Loss::Relations => Ok(Settings::Relations(read(matches)?)),
            Loss::Balance => {
                let options: BalanceOptions = read(matches)?;
                options.configure()?;
                Ok(Settings::Balance(options))
            }
            Loss::Metrics => Ok(Settings::Metrics),
        }
    }
}

/// A command with a subcommand for each of some losses, to which `complete` adds what is no setting of the loss.
pub fn per_loss(
    command: Command,
    losses: impl Iterator<Item = Loss>,
    complete: impl Fn(Command, Loss) -> Command,
) -> Command {
    let subcommand = |loss: Loss| {
        let command = complete(loss.augment(Command::new(loss.name())), loss);
        // The derived `augment_args` put the documentation of their structs here.
        command.about(loss.about()).allow_negative_numbers(true)
    };
    command
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("LOSS")
        .subcommand_help_heading("Losses")
        .subcommands(losses.map(subcommand))
}

/// The loss that the user named, and what its subcommand was given.
pub fn chosen(matches: &ArgMatches) -> Result<(Loss, &ArgMatches), Error> {
    let chosen = matches.subcommand().and_then(|(name, matches)| {
        if name == LINEAR {
            let loss = matches.get_one::<String>("loss");
            return Some((Loss::Linear(Entry::named(loss?)), matches));
        }
        let mut all = Loss::computed(None).chain(Loss::measured(None));
        Some((all.find(|loss| loss.name() == name)?, matches))
    });
    chosen.ok_or_else(|| Error::refused("LOSS", "none was named"))
}

/// What the command calls a last layer with its loss.
const LINEAR: &str = "linear";

/// The loss of rows that arguments name for a last layer, whose options are that loss's: known before they are parsed.
pub fn layer(arguments: &[OsString]) -> Option<&'static Entry> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let begin = words.iter().position(|word| *word == LINEAR)?;
    let mut rest = words[begin..].iter();
    while let Some(word) = rest.next() {
        match word.strip_prefix("--loss=") {
            Some(name) => return Entry::named(name),
            None if *word == "--loss" => return Entry::named(rest.next()?),
            None => {}
        }
    }
    None
}

/// Adds the options of a loss of rows.
fn augment_row(command: Command, loss: &Entry) -> Command {
    ReductionOption::augment_args((own(loss.name).augment)(command))
}

/// Options as they were given.
pub fn read<T: FromArgMatches>(matches: &ArgMatches) -> Result<T, Error> {
    T::from_arg_matches(matches).map_err(|error| Error::refused("arguments", error.kind()))
}

/// Refuses an option that is given without the `other` that it needs.
fn needs(option: &str, given: bool, other: &str, there: bool) -> Result<(), Error> {
    match given && !there {
        true => Err(Error::refused(option, format!("needs {other}"))),
        false => Ok(()),
    }
}

/// Refuses a tensor that has, for each label, what an option says of all.
fn twice(tensor: &str, given: bool) -> Result<(), Error> {
    match given {
        true => Err(Error::refused(
            tensor,
            format!("--{} is given too", tensor.replace('_', "-")),
        )),
        false => Ok(()),
    }
}

/// The name of a value, as the option has it.
pub fn value_name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

// ---- losses of rows

/// What the tensors say of a loss before it is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// There is a permutation.
    pub permutation: bool,
    /// Rows of theta, where it is a matrix.
    pub theta_rows: Option<u32>,
    /// A tensor has one value for each label of the setting that can be so.
    pub by_label: bool,
}

/// Options that configure a loss of rows.
trait Configure {
    /// The loss with these settings; `plain` is what the catalogue has. Only how options fit together is checked.
    fn configure(&self, plain: AnyLoss, given: Given) -> Result<AnyLoss, Error>;

    /// The permutation that a seed makes.
    fn permutation(&self) -> Option<Order<&'static [u32], u64>> {
        None
    }
}

/// How the options of a loss are declared and read.
struct Own {
    augment: fn(Command) -> Command,
    read: fn(&ArgMatches) -> Result<Box<dyn Configure>, Error>,
}

impl Own {
    fn of<T: Args + Configure + 'static>() -> Self {
        Own {
            augment: T::augment_args,
            read: |matches| Ok(Box::new(read::<T>(matches)?)),
        }
    }
}

/// A loss of rows with the options that were given.
pub struct RowOptions {
    pub loss: &'static Entry,
    own: Box<dyn Configure>,
    reduction: ReductionOption,
}

impl RowOptions {
    /// The options of a loss as they were given, checked as far as that goes without the tensors.
    fn read(loss: &'static Entry, matches: &ArgMatches) -> Result<Self, Error> {
        let options = RowOptions {
            loss,
            own: (own(loss.name).read)(matches)?,
            reduction: read(matches)?,
        };
        options.configure(Given::default())?;
        Ok(options)
    }

    /// The loss with its settings, which are checked.
    pub fn configure(&self, given: Given) -> Result<AnyLoss, Error> {
        let config = self.own.configure(self.loss.loss(), given)?;
        let config = config.with_reduction(self.reduction.reduction());
        config.check()?;
        Ok(config)
    }

    /// The permutation that a seed makes.
    pub fn permutation(&self) -> Option<Order<&'static [u32], u64>> {
        self.own.permutation()
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        self.reduction.name()
    }
}

// ---- a last layer

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimiser {
    /// w -= rate g
    Sgd,
    /// The rate over the root of what a label's squares have come to, one number for each
    Adagrad,
}

/// The losses that a last layer takes.
fn layer_names() -> PossibleValuesParser {
    let taken = |entry: &&Entry| !entry.threshold && Linear::new(entry.loss()).check().is_ok();
    let names = CATALOG.iter().filter(taken).map(|entry| entry.name);
    PossibleValuesParser::new(names)
}

#[derive(Args)]
struct LayerOptions {
    /// The loss of the logits, whose options may follow
    #[arg(long, value_name = "NAME", value_parser = layer_names())]
    loss: String,
    /// Most bytes of a tile of logits [default: 128 MiB]
    #[arg(long, value_name = "N")]
    tile_bytes: Option<u64>,
    /// The weights after a step, instead of their gradient
    #[arg(long, value_enum)]
    update: Option<Optimiser>,
    /// Update: how far a step goes
    #[arg(long, value_name = "R")]
    rate: Option<f32>,
    /// Update: by which weights of 16 bits are rounded [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// A last layer with the options that were given.
pub struct LinearOptions {
    row: RowOptions,
    layer: LayerOptions,
}

impl LinearOptions {
    /// The layer with its settings, which are checked.
    pub fn configure(&self) -> Result<Linear<AnyLoss>, Error> {
        let layer = &self.layer;
        let stepped = layer.update.is_some();
        needs("--rate", layer.rate.is_some(), "--update", stepped)?;
        needs("--seed", layer.seed.is_some(), "--update", stepped)?;
        needs("--update", stepped, "--rate", layer.rate.is_some())?;
        let plain = Linear::new(self.row.configure(Given::default())?);
        let plain = match layer.tile_bytes {
            Some(bytes) => plain.with_tile_bytes(bytes),
            None => plain,
        };
        let config = match (layer.update, layer.rate) {
            (Some(optimiser), Some(rate)) => {
                let update = match optimiser {
                    Optimiser::Sgd => Update::sgd(rate),
                    Optimiser::Adagrad => Update::adagrad(rate),
                };
                plain.with_update(update, layer.seed.unwrap_or(0))
            }
            _ => plain,
        };
        config.check()?;
        Ok(config)
    }

    /// What a record calls it.
    pub fn name(&self) -> &'static str {
        LINEAR
    }

    /// Whether each sample has a loss of its own.
    pub fn each(&self) -> bool {
        self.row.reduction.reduction() == Reduction::None
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        self.row.reduction()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Reduce {
    /// Mean over the rows
    #[default]
    Mean,
    /// Sum over the rows
    Sum,
    /// One loss per row
    None,
    /// Mean over the elements that count (bce, focal, asl, hill, splc)
    MeanElements,
    /// Mean over the rows, and classes, with a positive (lsep, two-way)
    MeanActive,
}

#[derive(Args)]
struct ReductionOption {
    /// How the rows' losses become the result
    #[arg(long, value_enum, default_value_t)]
    reduction: Reduce,
    /// Sum over the rows, divided by N: the rows of all micro-batches of a step
    #[arg(long, value_name = "N", conflicts_with = "reduction")]
    mean_over: Option<f32>,
}

impl ReductionOption {
    fn reduction(&self) -> Reduction {
        match (self.mean_over, self.reduction) {
            (Some(rows), _) => Reduction::MeanOver(rows),
            (None, Reduce::Mean) => Reduction::Mean,
            (None, Reduce::Sum) => Reduction::Sum,
            (None, Reduce::None) => Reduction::None,
            (None, Reduce::MeanElements) => Reduction::MeanElements,
            (None, Reduce::MeanActive) => Reduction::MeanActive,
        }
    }

    /// Its name.
    fn name(&self) -> String {
        self.reduction().name().to_owned()
    }
}

#[derive(Args)]
struct NoOptions {}

impl Configure for NoOptions {
    fn configure(&self, plain: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        Ok(plain)
    }
}

#[derive(Args)]
struct Smoothing {
    /// Label smoothing; targets become (1 - X) y + X/2
    #[arg(long, value_name = "X", default_value_t)]
    smoothing: f32,
}

impl Configure for Smoothing {
    fn configure(&self, plain: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        // 0 and NaN keep the hard form, whose check rejects NaN.
        let soft = self.smoothing > 0.0 || plain.target_kind() == TargetKind::Soft;
        let zlpr = if soft { Zlpr::soft() } else { Zlpr::hard() };
        Ok(zlpr.with_smoothing(self.smoothing).into())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kl {
    /// Symmetric KL of the labels' probabilities
    #[default]
    Symmetric,
    /// Excess risk over the other logits
    Excess,
}

#[derive(Args)]
struct Divergence {
    /// Which divergence
    #[arg(long, value_enum, default_value_t)]
    kl: Kl,
    /// Symmetric: slope of the probabilities sigma(beta s) [default: 1]
    #[arg(long, value_name = "X")]
    beta: Option<f32>,
}

impl Configure for Divergence {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        let symmetric = self.kl == Kl::Symmetric;
        needs("--beta", self.beta.is_some(), "--kl symmetric", symmetric)?;
        Ok(match self.kl {
            Kl::Symmetric => Zlpr::kl_symmetric(self.beta.unwrap_or(1.0)).into(),
            Kl::Excess => Zlpr::kl_excess().into(),
        })
    }
}

#[derive(Args)]
struct Temperatures {
    /// Temperature of the positives
    #[arg(long, value_name = "X", default_value_t = 4.0)]
    t_pos: f32,
    /// Temperature of the negatives
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    t_neg: f32,
    /// Over what the loss is taken
    #[arg(long, value_enum, default_value_t)]
    half: Half,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Half {
    /// Each sample's labels
    #[default]
    Sample,
    /// Each class's samples: a loss for each class
    Class,
    /// Both, and their sum
    Both,
}

impl Configure for Temperatures {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        let half = match self.half {
            Half::Sample => zlpr::Half::Sample,
            Half::Class => zlpr::Half::Class,
            Half::Both => zlpr::Half::Both,
        };
        Ok(Zlpr::two_way(self.t_pos, self.t_neg).with_half(half).into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// The sum over its labels
    Sum,
    /// The mean over the labels that count
    Mean,
}

/// What the losses that are sums over labels share.
#[derive(Args)]
struct SumOptions {
    #[command(flatten)]
    smoothing: Smoothing,
    /// What a row's loss is
    #[arg(long, value_enum, default_value_t = Row::Sum)]
    row: Row,
}

impl SumOptions {
    fn smoothing(&self) -> f32 {
        self.smoothing.smoothing
    }

    fn row_mean(&self) -> bool {
        self.row == Row::Mean
    }
}

#[derive(Args)]
struct BceOptions {
    /// Weight of the positive side, in place of the tensor [default: 1]
    #[arg(long, value_name = "X")]
    pos_weight: Option<f32>,
    #[command(flatten)]
    sum: SumOptions,
}

impl Configure for BceOptions {
    fn configure(&self, _: AnyLoss, given: Given) -> Result<AnyLoss, Error> {
        twice("pos_weight", self.pos_weight.is_some() && given.by_label)?;
        let plain = Bce::default();
        Ok(AnyLoss::Bce(Bce {
            pos_weight: self.pos_weight.unwrap_or(plain.pos_weight),
            smoothing: self.sum.smoothing(),
            row_mean: self.sum.row_mean(),
            ..plain
        }))
    }
}

/// A number, or `none`.
#[derive(Clone, Copy, Debug)]
struct NumberOrNone(Option<f32>);

fn number_or_none(text: &str) -> Result<NumberOrNone, String> {
    match text {
        "none" => Ok(NumberOrNone(None)),
        number => match number.parse() {
            Ok(number) => Ok(NumberOrNone(Some(number))),
            Err(_) => Err("expected a number or none".to_owned()),
        },
    }
}

#[derive(Args)]
struct FocalOptions {
    /// Exponent of the focus
    #[arg(long, value_name = "X", default_value_t = Focal::default().gamma)]
    gamma: f32,
    /// Weight of the positives, the negatives having 1 - X; none: both have 1; in place of the tensor [default: 0.25]
    #[arg(long, value_name = "X|none", value_parser = number_or_none)]
    alpha: Option<NumberOrNone>,
    /// Takes the powers for constants in the gradient
    #[arg(long)]
    detach_focus: bool,
    #[command(flatten)]
    sum: SumOptions,
}

impl Configure for FocalOptions {
    fn configure(&self, _: AnyLoss, given: Given) -> Result<AnyLoss, Error> {
        twice("alpha", self.alpha.is_some() && given.by_label)?;
        let plain = Focal::default();
        Ok(AnyLoss::Focal(Focal {
            gamma: self.gamma,
            alpha: self.alpha.map_or(plain.alpha, |alpha| alpha.0),
            detach_focus: self.detach_focus,
            smoothing: self.sum.smoothing(),
            row_mean: self.sum.row_mean(),
            ..plain
        }))
    }
}

#[derive(Args)]
struct AslOptions {
    /// Exponent of the positives
    #[arg(long, value_name = "X", default_value_t = Asl::default().gamma_pos)]
    gamma_pos: f32,
    /// Exponent of the negatives
    #[arg(long, value_name = "X", default_value_t = Asl::default().gamma_neg)]
    gamma_neg: f32,
    /// Probability margin of the negatives
    #[arg(long, value_name = "X", default_value_t = Asl::default().margin)]
    margin: f32,
    /// Takes the powers for constants in the gradient, as the authors' training does
    #[arg(long)]
    detach_focus: bool,
    #[command(flatten)]
    sum: SumOptions,
}

impl Configure for AslOptions {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        Ok(AnyLoss::Asl(Asl {
            gamma_pos: self.gamma_pos,
            gamma_neg: self.gamma_neg,
            margin: self.margin,
            detach_focus: self.detach_focus,
            smoothing: self.sum.smoothing(),
            row_mean: self.sum.row_mean(),
            ..Asl::default()
        }))
    }
}

#[derive(Args)]
struct HillOptions {
    /// Exponent of the positives
    #[arg(long, value_name = "X", default_value_t = Hill::default().gamma)]
    gamma: f32,
    /// What is taken from a positive's logit
    #[arg(long, value_name = "X", default_value_t = Hill::default().margin)]
    margin: f32,
    /// Lambda of the negatives' (lambda - p) p^2
    #[arg(long, value_name = "X", default_value_t = Hill::default().lambda)]
    lambda: f32,
    #[command(flatten)]
    sum: SumOptions,
}

impl Configure for HillOptions {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        Ok(AnyLoss::Hill(Hill {
            gamma: self.gamma,
            margin: self.margin,
            lambda: self.lambda,
            smoothing: self.sum.smoothing(),
            row_mean: self.sum.row_mean(),
            ..Hill::default()
        }))
    }
}

#[derive(Args)]
struct SplcOptions {
    /// What is taken from a positive's logit
    #[arg(long, value_name = "X", default_value_t = Splc::default().margin)]
    margin: f32,
    /// Exponent of the focus
    #[arg(long, value_name = "X", default_value_t = Splc::default().gamma)]
    gamma: f32,
    /// Probability above which a negative counts as a positive; 1: none does
    #[arg(long, value_name = "X", default_value_t = Splc::default().threshold)]
    threshold: f32,
    #[command(flatten)]
    sum: SumOptions,
}

impl Configure for SplcOptions {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        Ok(AnyLoss::Splc(Splc {
            margin: self.margin,
            gamma: self.gamma,
            threshold: self.threshold,
            smoothing: self.sum.smoothing(),
            row_mean: self.sum.row_mean(),
            ..Splc::default()
        }))
    }
}

#[derive(Args)]
struct DiceOptions {
    /// Added above and below the line
    #[arg(long, value_name = "X", default_value_t = Dice::default().smooth)]
    smooth: f32,
    /// Squares below the line
    #[arg(long)]
    squared: bool,
}

impl Configure for DiceOptions {
    fn configure(&self, _: AnyLoss, _: Given) -> Result<AnyLoss, Error> {
        Ok(AnyLoss::Dice(Dice {
            smooth: self.smooth,
            squared: self.squared,
            ..Dice::default()
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Differences {
    /// Of neighbours in a permutation
    Adjacent,
    /// Of all pairs
    Pairs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Predict {
    /// Normalised sigmoid
    #[default]
    Sigmoid,
    /// Softmax
    Softmax,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Penalty {
    /// d^2
    #[default]
    Square,
    /// |d|
    Abs,
    /// d^2 / 2, linear beyond --huber-delta
    Huber,
}

#[derive(Args)]
struct WdlOptions {
    /// Which differences [default: adjacent with a permutation or --seed, else pairs]
    #[arg(long, value_enum)]
    form: Option<Differences>,
    /// What makes a distribution of the logits
    #[arg(long, value_enum, default_value_t)]
    prediction: Predict,
    /// What is made of a difference
    #[arg(long, value_enum, default_value_t)]
    phi: Penalty,
    /// Huber: where it becomes linear [default: 1]
    #[arg(long, value_name = "X")]
    huber_delta: Option<f32>,
    /// Added to each target
    #[arg(long, value_name = "X", default_value_t = Wdl::default().epsilon)]
    epsilon: f32,
    /// Coefficient of the presence term
    #[arg(long, value_name = "X", default_value_t = Wdl::default().lambda_presence)]
    lambda_presence: f32,
    /// Coefficient of the proportions' term
    #[arg(long, value_name = "X", default_value_t = Wdl::default().lambda_ratio)]
    lambda_ratio: f32,
    /// Coefficient of the differences' term
    #[arg(long, value_name = "X", default_value_t = Wdl::default().lambda_difference)]
    lambda_difference: f32,
    /// Pairs: a pair's weight is the mean of its labels' weights, not their product
    #[arg(long)]
    additive: bool,
    /// Negates the gradient to theta
    #[arg(long)]
    ascent: bool,
    /// Adjacent: makes the permutation, in place of the tensor
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// With --seed: another permutation for each row
    #[arg(long)]
    seed_per_row: bool,
}

impl Configure for WdlOptions {
    fn configure(&self, _: AnyLoss, given: Given) -> Result<AnyLoss, Error> {
        let seeded = self.seed.is_some();
        let form = self.form.unwrap_or(match given.permutation || seeded {
            true => Differences::Adjacent,
            false => Differences::Pairs,
        });
        let (adjacent, pairs) = (form == Differences::Adjacent, form == Differences::Pairs);
        let (one_row, free) = (given.theta_rows.is_none(), !given.permutation);
        let (delta, huber) = (self.huber_delta, self.phi == Penalty::Huber);
        needs("--additive", self.additive, "--form pairs", pairs)?;
        needs("--additive", self.additive, "a theta of one row", one_row)?;
        needs("--seed", seeded, "--form adjacent", adjacent)?;
        needs("--seed", seeded, "a file without permutation", free)?;
        needs("--seed-per-row", self.seed_per_row, "--seed", seeded)?;
        needs("--huber-delta", delta.is_some(), "--phi huber", huber)?;
        let of_pairs = |weights| Form::Pairs { weights };
        Ok(AnyLoss::Wdl(Wdl {
            form: match (form, given.theta_rows) {
                (Differences::Adjacent, _) => Form::Adjacent,
                (Differences::Pairs, Some(rows)) => of_pairs(PairWeights::Rank(rows)),
                (Differences::Pairs, None) if self.additive => of_pairs(PairWeights::Additive),
                (Differences::Pairs, None) => of_pairs(PairWeights::RankOne),
            },
            prediction: match self.prediction {
                Predict::Sigmoid => Prediction::Sigmoid,
                Predict::Softmax => Prediction::Softmax,
            },
            phi: match self.phi {
                Penalty::Square => Phi::Square,
                Penalty::Abs => Phi::Abs,
                Penalty::Huber => Phi::Huber {
                    delta: delta.unwrap_or(1.0),
                },
            },
            epsilon: self.epsilon,
            lambda_presence: self.lambda_presence,
            lambda_ratio: self.lambda_ratio,
            lambda_difference: self.lambda_difference,
            ascent: self.ascent,
            ..Wdl::default()
        }))
    }

    fn permutation(&self) -> Option<Order<&'static [u32], u64>> {
        self.seed.map(|seed| Order::Seeded {
            seed,
            scope: match self.seed_per_row {
                true => Scope::Row,
                false => Scope::Batch,
            },
        })
    }
}

// ---- the constraint module

#[derive(Args)]
pub struct McmOptions {
    /// What a row's loss is
    #[arg(long, value_enum, default_value_t = Row::Mean)]
    row: Row,
    #[command(flatten)]
    reduction: ReductionOption,
}

impl McmOptions {
    /// The constraint module with these settings.
    pub fn configure(&self) -> Mcm {
        Mcm {
            row_mean: self.row == Row::Mean,
            reduction: self.reduction.reduction(),
        }
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        self.reduction.name()
    }
}

// ---- HCAL

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Aggregate {
    /// The mean over a class's samples
    #[default]
    SampleMean,
    /// The mean over its child classes, of their means
    Tree,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnlyMean {
    /// Mean over the samples
    #[default]
    Mean,
}

#[derive(Args)]
pub struct HcalOptions {
    /// Temperature
    #[arg(long, value_name = "X", default_value_t = Hcal::default().temperature)]
    temperature: f32,
    /// Temperature of the levels' weights [default: 0.5]
    #[arg(long, value_name = "X")]
    gamma: Option<f32>,
    /// What the classes of the levels beyond the first are compared by
    #[arg(long, value_enum, default_value_t)]
    aggregation: Aggregate,
    /// Do not detach the weights of the levels
    #[arg(long)]
    attach: bool,
    /// With --seed: size of the perturbation [default: 0.01]
    #[arg(long, value_name = "X")]
    epsilon: Option<f32>,
    /// Seeds the perturbation; without it there is none
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How the samples' losses become the result
    #[arg(long, value_enum, default_value_t)]
    reduction: OnlyMean,
}

impl HcalOptions {
    /// HCAL with these settings, which are checked; `fixed` where the file has the weights of the levels.
    pub fn configure(&self, fixed: bool) -> Result<Hcal, Error> {
        let seeded = self.seed.is_some();
        needs("--epsilon", self.epsilon.is_some(), "--seed", seeded)?;
        for (option, given) in [("--gamma", self.gamma.is_some()), ("--attach", self.attach)] {
            if fixed && given {
                let reason = "level_weights are fixed, and not found from the losses";
                return Err(Error::refused(option, reason));
            }
        }
        let plain = Hcal::default();
        let config = Hcal {
            temperature: self.temperature,
            aggregation: match self.aggregation {
                Aggregate::SampleMean => Aggregation::SampleMean,
                Aggregate::Tree => Aggregation::Tree,
            },
            balance: match fixed {
                true => Balance::Fixed,
                false => Balance::Adaptive {
                    gamma: self.gamma.unwrap_or(0.5),
                    attach: self.attach,
                },
            },
            epsilon: self.epsilon.unwrap_or(plain.epsilon),
            ..plain
        };
        config.check()?;
        Ok(config)
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        value_name(self.reduction)
    }
}

// ---- contrastive losses

fn weighting_names() -> PossibleValuesParser {
    let named = |(name, help, _): &(&'static str, &'static str, Contrastive)| {
        PossibleValue::new(*name).help(*help)
    };
    PossibleValuesParser::new(Contrastive::CATALOG.iter().map(named))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Placement {
    /// Before the logarithm
    Outside,
    /// In the numerator inside it; the gradient is that of any
    Numerator,
    /// In numerator and denominator
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Normalizer {
    /// The number of positives
    Count,
    /// The sum of their factors
    Ksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Roles {
    /// The anchor's
    Anchor,
    /// The key's, as in the one public implementation
    Key,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Denominator {
    /// All keys
    #[default]
    All,
    /// The keys that are no positives
    Negatives,
    /// The positive itself and the keys that are none
    OnePositive,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ReduceAnchors {
    /// Mean over the anchors that have a positive
    #[default]
    Mean,
    /// Mean over all anchors
    MeanAll,
    /// The sum divided by the number of all anchors' labels
    MeanLabels,
    /// Sum over the anchors
    Sum,
    /// One loss per anchor
    None,
}

#[derive(Args)]
pub struct ContrastiveOptions {
    /// Which pairs attract one another
    #[arg(long, value_parser = weighting_names(), default_value = "simdis")]
    weighting: String,
    /// Simdis: where the factor stands [default: outside]
    #[arg(long, value_enum)]
    placement: Option<Placement>,
    /// Simdis: what the factors are divided by [default: count]
    #[arg(long, value_enum)]
    normalizer: Option<Normalizer>,
    /// Simdis: whose labels the factor begins with [default: anchor]
    #[arg(long, value_enum)]
    roles: Option<Roles>,
    /// Which keys a positive is compared with
    #[arg(long, value_enum, default_value_t)]
    denominator: Denominator,
    /// Jaccard: least similarity [default: 0.3]
    #[arg(long, value_name = "X")]
    threshold: Option<f32>,
    /// Temperature [default: 0.07; mulsupcon and mulsupcon-sum: 0.1]
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// Takes the rows as they are
    #[arg(long)]
    no_normalize: bool,
    /// How the anchors' losses become the result
    #[arg(long, value_enum, default_value_t)]
    reduction: ReduceAnchors,
}

impl ContrastiveOptions {
    /// The loss with these settings, which are checked.
    pub fn configure(&self) -> Result<Contrastive, Error> {
        let named = Contrastive::CATALOG.iter();
        let mut named = named.filter(|(name, ..)| *name == self.weighting);
        let mut config = named
            .next()
            .map_or_else(Contrastive::default, |(.., config)| *config);
        let simdis = matches!(config.weighting, Weighting::SimDis { .. });
        let jaccard = matches!(config.weighting, Weighting::Jaccard { .. });
        let (placement, normalizer) = (self.placement, self.normalizer);
        for (option, given, owner, there) in [
            ("--placement", placement.is_some(), "simdis", simdis),
            ("--normalizer", normalizer.is_some(), "simdis", simdis),
            ("--roles", self.roles.is_some(), "simdis", simdis),
            ("--threshold", self.threshold.is_some(), "jaccard", jaccard),
        ] {
            needs(option, given, &format!("--weighting {owner}"), there)?;
        }
        if simdis {
            config.weighting = Weighting::SimDis {
                placement: match placement {
                    None | Some(Placement::Outside) => contrastive::Placement::Outside,
                    Some(Placement::Numerator) => contrastive::Placement::Numerator,
                    Some(Placement::Both) => contrastive::Placement::Both,
                },
                normalizer: match normalizer {
                    None | Some(Normalizer::Count) => contrastive::Normalizer::Count,
                    Some(Normalizer::Ksum) => contrastive::Normalizer::KSum,
                },
                roles: match self.roles {
                    None | Some(Roles::Anchor) => contrastive::Roles::Anchor,
                    Some(Roles::Key) => contrastive::Roles::Key,
                },
            };
        }
        if let Some(threshold) = self.threshold {
            config.weighting = Weighting::Jaccard { threshold };
        }
        if let Some(temperature) = self.temperature {
            config.temperature = temperature;
        }
        config.normalize = !self.no_normalize;
        config.denominator = match self.denominator {
            Denominator::All => contrastive::Denominator::All,
            Denominator::Negatives => contrastive::Denominator::Negatives,
            Denominator::OnePositive => contrastive::Denominator::OnePositive,
        };
        config.reduction = match self.reduction {
            ReduceAnchors::Mean => ContrastiveReduction::MeanActive,
            ReduceAnchors::MeanAll => ContrastiveReduction::MeanAll,
            ReduceAnchors::MeanLabels => ContrastiveReduction::MeanLabels,
            ReduceAnchors::Sum => ContrastiveReduction::Sum,
            ReduceAnchors::None => ContrastiveReduction::None,
        };
        config.check()?;
        Ok(config)
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        value_name(self.reduction)
    }
}

// ---- relations of label sets

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ReduceCounts {
    /// Over all anchors
    #[default]
    Sum,
    /// Of each anchor
    None,
}

#[derive(Args)]
pub struct RelationsOptions {
    /// Whose pairs are counted together
    #[arg(long, value_enum, default_value_t)]
    reduction: ReduceCounts,
}

impl RelationsOptions {
    /// Whether each anchor has its own counts.
    pub fn each(&self) -> bool {
        self.reduction == ReduceCounts::None
    }

    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        value_name(self.reduction)
    }
}

// ---- balance of losses

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Softmax of the losses: the larger count more
    #[default]
    Softmax,
    /// Dynamic weight averaging: what falls slowly counts more
    Dwa,
    /// By a learnt logarithm of each loss's variance
    Uncertainty,
    /// Softmax of normal numbers
    Random,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnlySum {
    /// The weighted sum
    #[default]
    Sum,
}

#[derive(Args)]
pub struct BalanceOptions {
    /// How losses are weighted
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// Softmax: temperature [default: 0.5]
    #[arg(long, value_name = "X")]
    gamma: Option<f32>,
    /// Dwa: temperature [default: 2]
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Random: the seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How the losses become the result
    #[arg(long, value_enum, default_value_t)]
    reduction: OnlySum,
}

impl BalanceOptions {
    /// The name of the reduction.
    pub fn reduction(&self) -> String {
        value_name(self.reduction)
    }

    /// The balance with these settings, which are checked.
    pub fn configure(&self) -> Result<Balance, Error> {
        let (gamma, temperature) = (self.gamma, self.temperature);
        for (option, given, kind) in [
            ("--gamma", gamma.is_some(), Kind::Softmax),
            ("--temperature", temperature.is_some(), Kind::Dwa),
            ("--seed", self.seed.is_some(), Kind::Random),
        ] {
            let owner = format!("--kind {}", value_name(kind));
            needs(option, given, &owner, self.kind == kind)?;
        }
        let random = self.kind == Kind::Random;
        needs("--kind random", random, "--seed", self.seed.is_some())?;
        let config = match self.kind {
            Kind::Softmax => Balance::Adaptive {
                gamma: gamma.unwrap_or(0.5),
                attach: false,
            },
            Kind::Dwa => Balance::Dwa {
                temperature: temperature.unwrap_or(2.0),
            },
            Kind::Uncertainty => Balance::Uncertainty,
            Kind::Random => Balance::Random,
        };
        config.check()?;
        Ok(config)
    }
}
