//! `wgloss bench`: how long a loss takes.

use crate::engine::{self, EngineArgs};
use crate::options::{
    self, ContrastiveOptions, Given, HcalOptions, Loss, McmOptions, RowOptions, Settings,
    value_name,
};
use crate::report::{self, Field};
use clap::{ArgMatches, Args, Command, ValueEnum};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};
use wgloss::check::{
    ContrastiveWorkload, HcalWorkload, McmWorkload, Mode, Quantiles, RowWorkload, SPARSE, Timer,
    Workload,
};
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::{
    ContrastiveReduction, DType, Error, ErrorKind, Rowwise, TargetKind, Targets, Threshold,
};

/// Beside a GPU the reference is timed up to this many elements.
const MOST_BESIDE: u64 = 1 << 21;
/// Most elements of the reference by itself; it takes some 50 bytes for each.
const MOST_ALONE: u64 = 1 << 26;
const WARM_UP: Duration = Duration::from_millis(250);

const NOTES: &str = "\
`wgloss bench LOSS --help` has the options of a loss.

Data are made once, on the device, from a seed. The call is prepared once; then each clock runs for --time seconds,
after a warm-up:
  gpu        one call between two GPU timestamps, in a compute pass of its own
  wall       one call recorded, submitted and waited for
  reference  the CPU reference in f64 (loss and all gradients), up to 2097152 elements

Bytes that a call moves: logits and targets once for each sweep of the plan, the gradient and the loss written.
One sweep gives the loss; the gradient is a second one, without what a workgroup has kept of its rows (all of
rows of up to 1536 labels; nothing of rows that are split over workgroups). rows/s and GB/s (1e9 bytes) are those
of the median; in JSON and CSV, of the first of the three clocks that there is. Caches can make GB/s larger than
the memory's.

Exit code 2 and one line on stderr where arguments are wrong; 1 where the machine cannot.";

const ROW_DATA: &str = "\
Logits are normal times 3; a row has up to 16 positives. tlpr has one threshold.";

const MCM_DATA: &str = "\
The classes are a random tree; in each row a leaf and its ancestors are positive.";

const HCAL_DATA: &str = "\
COLS are the classes of the finest of three levels, each of an eighth of the one before, with seeded noise. A call moves
each vector and its gradient.";

const CONTRASTIVE_DATA: &str = "\
The shape is embeddings x dimensions. Rows are normal, with up to 8 labels each.";

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
enum Dtype {
    #[default]
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetForm {
    /// A byte a label
    U8,
    /// The logits' type
    Float,
    /// A bit a label
    Bits,
    /// Offsets and indices of the positives
    Sparse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RowOutputs {
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
enum Outputs {
    /// Loss and gradients
    #[default]
    Both,
    /// Loss alone
    Loss,
}

/// What every loss takes beside its settings.
#[derive(Args)]
struct BenchArgs {
    /// Rows and labels
    #[arg(long, value_name = "ROWSxCOLS")]
    shape: Shape,
    /// Element type of the logits
    #[arg(long, value_enum, default_value_t)]
    dtype: Dtype,
    /// How long each clock runs
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    time: f64,
    /// One line of JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Append to this file instead
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
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
    /// Components of a feature vector
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

/// The command with a subcommand for each loss.
pub fn command(command: Command) -> Command {
    let command = command.after_long_help(NOTES);
    options::per_loss(command, |command, loss| {
        let (command, data) = match loss {
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
        };
        BenchArgs::augment_args(command).after_long_help(data)
    })
}

/// What is measured: the way to the device's work and to the reference.
struct Subject {
    loss: &'static str,
    /// The form of the targets.
    targets: String,
    outputs: String,
    reduction: String,
    workload: Box<dyn Workload>,
}

/// What was measured.
#[derive(Default)]
struct Measured {
    device: Option<OnDevice>,
    reference: Option<Quantiles>,
}

struct OnDevice {
    prepare: Duration,
    gpu: Option<Quantiles>,
    wall: Quantiles,
    dispatches: usize,
    scratch: u64,
    bytes: u64,
}

pub fn bench(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let (loss, matches) = options::chosen(matches)?;
    let args: BenchArgs = options::read(matches)?;
    let work = match loss.settings(matches)? {
        Settings::Row(settings) => rows(&args, &settings, matches),
        Settings::Mcm(settings) => mcm(&args, &settings, &options::read(matches)?),
        Settings::Hcal(settings) => hcal(&args, &settings, &options::read(matches)?),
        Settings::Contrastive(settings) => contrastive(&args, &settings, &options::read(matches)?),
    }?;
    if !(args.time > 0.0 && args.time <= 3600.0) {
        return Err(Error::value(
            "--time",
            "seconds, more than 0 and at most 3600",
            args.time,
        ));
    }
    let budget = Duration::from_secs_f64(args.time);
    // A table that cannot take the row costs no measurement.
    if let Some(path) = &args.csv {
        csv_header(path, &fields(&args, &work, &Measured::default(), &[]))?;
    }
    let engine = args.engine.open()?;
    let elements = work.workload.elements();
    if engine.gpu().is_none() && elements > MOST_ALONE {
        return Err(Error::shape(
            "--shape",
            format!("at most {MOST_ALONE} elements on the CPU reference"),
            elements,
        ));
    }
    let progress = Progress::new();
    let measured = Measured {
        device: match engine.gpu() {
            Some(gpu) => Some(on_device(gpu, &work, budget, &progress)?),
            None => None,
        },
        reference: match engine.gpu().is_none() || elements <= MOST_BESIDE {
            true => Some(on_host(&work, budget, &progress)?),
            false => None,
        },
    };
    drop(progress);
    if let Some(notice) = engine.notice() {
        report::notice(&notice);
    }
    let machine = [
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
    ];
    let fields = fields(&args, &work, &measured, &machine);
    match &args.csv {
        Some(path) => csv_append(path, &fields)?,
        None if args.json => report::print(&report::json_object(&fields))?,
        None => report::print(&table(&args, &work, &measured, &machine))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn mcm(args: &BenchArgs, settings: &McmOptions, own: &McmArgs) -> Result<Subject, Error> {
    let Shape { rows, cols } = args.shape;
    let workload = McmWorkload {
        config: settings.configure(),
        dtype: args.dtype.element(),
        gradient: own.outputs == Outputs::Both,
        rows,
        cols,
    };
    Ok(Subject {
        loss: Loss::Mcm.name(),
        targets: value_name(TargetForm::U8),
        outputs: value_name(own.outputs),
        reduction: settings.reduction(),
        workload: Box::new(workload),
    })
}

fn hcal(args: &BenchArgs, settings: &HcalOptions, own: &HcalArgs) -> Result<Subject, Error> {
    if settings.seed.is_some() {
        return Err(Error::refused("--seed", "a measurement has its own"));
    }
    let Shape { rows, cols } = args.shape;
    let workload = HcalWorkload {
        config: settings.configure()?,
        dtype: args.dtype.element(),
        gradient: own.outputs == Outputs::Both,
        rows,
        cols,
        dim: own.dim,
    };
    Ok(Subject {
        loss: Loss::Hcal.name(),
        targets: "classes".into(),
        outputs: value_name(own.outputs),
        reduction: settings.reduction(),
        workload: Box::new(workload),
    })
}

fn contrastive(
    args: &BenchArgs,
    settings: &ContrastiveOptions,
    own: &ContrastiveArgs,
) -> Result<Subject, Error> {
    let loss = settings.configure()?;
    if loss.weighting == Weighting::Paired {
        let reason = "a measurement is of a loss of labels, which infonce is not";
        return Err(Error::refused("--weighting", reason));
    }
    if loss.reduction == ContrastiveReduction::None {
        let reason = "a measurement is of one number, which none is not";
        return Err(Error::refused("--reduction", reason));
    }
    let Shape { rows, cols } = args.shape;
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
        dtype: args.dtype.element(),
        gradient: own.outputs == Outputs::Both,
        rows,
        dims: cols,
        labels,
    };
    Ok(Subject {
        loss: Loss::Contrastive.name(),
        targets: value_name(TargetForm::Bits),
        outputs: value_name(own.outputs),
        reduction: settings.reduction(),
        workload: Box::new(workload),
    })
}

fn rows(args: &BenchArgs, settings: &RowOptions, matches: &ArgMatches) -> Result<Subject, Error> {
    let loss = settings.configure(Given::default())?;
    let RowArgs { outputs } = options::read(matches)?;
    let Shape { rows, cols } = args.shape;
    let all = rows.checked_mul(cols);
    if !all.is_some_and(|all| all > 0 && u32::try_from(all).is_ok()) {
        return Err(Error::value(
            "--shape",
            "at least one element and fewer than 2^32",
            format!("{rows}x{cols}"),
        ));
    }
    let dtype = args.dtype.element();
    let targets = match settings.loss.loss().target_kind() {
        // Other logits stand there.
        TargetKind::Logits => None,
        _ => Some(options::read::<TargetArgs>(matches)?.targets),
    };
    let workload = RowWorkload {
        threshold: settings.loss.threshold.then_some(Threshold::Batch(())),
        dtype,
        form: match targets {
            None | Some(TargetForm::Float) => Targets::Dense(dtype),
            Some(TargetForm::U8) => Targets::Dense(DType::U8),
            Some(TargetForm::Bits) => Targets::Bits(()),
            Some(TargetForm::Sparse) => SPARSE,
        },
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
        targets: targets.map_or("other".into(), value_name),
        outputs: value_name(outputs),
        reduction: settings.reduction(),
        workload: Box::new(workload),
    })
}

fn on_device(
    gpu: &Gpu,
    bench: &Subject,
    budget: Duration,
    progress: &Progress,
) -> Result<OnDevice, Error> {
    progress.say("data and kernels");
    let work = bench.workload.on_gpu(gpu)?;
    progress.say("warm-up");
    let timer = Timer::new(gpu, &work, WARM_UP)?;
    let gpu = match timer.has_timestamps() {
        true => Some(Quantiles::sample(budget, 5, || {
            progress.say("gpu");
            timer.gpu(u64::MAX)
        })?),
        false => None,
    };
    let wall = Quantiles::sample(budget, 5, || {
        progress.say("wall");
        Ok(vec![timer.wall()?])
    })?;
    Ok(OnDevice {
        prepare: work.prepare_time(),
        gpu,
        wall,
        dispatches: work.plan().steps.len(),
        scratch: work.plan().scratch_bytes,
        bytes: work.bytes(),
    })
}

fn on_host(bench: &Subject, budget: Duration, progress: &Progress) -> Result<Quantiles, Error> {
    progress.say("reference");
    let work = bench.workload.on_host()?;
    work()?;
    Quantiles::sample(budget, 3, || {
        progress.say("reference");
        let began = Instant::now();
        work()?;
        Ok(vec![began.elapsed()])
    })
}

impl Dtype {
    fn element(self) -> DType {
        match self {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::Bf16 => DType::Bf16,
        }
    }
}

/// All results. Without those of the machine, the names at least.
fn fields(args: &BenchArgs, work: &Subject, measured: &Measured, machine: &[Field]) -> Vec<Field> {
    let mut fields = vec![
        ("loss", json!(work.loss)),
        ("rows", json!(args.shape.rows)),
        ("cols", json!(args.shape.cols)),
        ("dtype", json!(value_name(args.dtype))),
        ("targets", json!(work.targets)),
        ("outputs", json!(work.outputs)),
        ("reduction", json!(work.reduction)),
        ("settings", json!(work.workload.settings())),
    ];
    for name in ["backend", "adapter", "driver", "variant"] {
        let value = machine.iter().find(|(other, _)| *other == name);
        fields.push((name, value.map_or(Value::Null, |(_, value)| value.clone())));
    }
    let device = measured.device.as_ref();
    fields.extend([
        ("dispatches", json!(device.map(|d| d.dispatches))),
        ("scratch_bytes", json!(device.map(|d| d.scratch))),
        ("bytes", json!(device.map(|d| d.bytes))),
        ("prepare_us", json!(device.map(|d| micros(d.prepare)))),
    ]);
    let clocks = [
        (
            device.and_then(|d| d.gpu),
            ["gpu_us", "gpu_p20_us", "gpu_p80_us", "gpu_samples"],
        ),
        (
            device.map(|d| d.wall),
            ["wall_us", "wall_p20_us", "wall_p80_us", "wall_samples"],
        ),
        (
            measured.reference,
            [
                "reference_us",
                "reference_p20_us",
                "reference_p80_us",
                "reference_samples",
            ],
        ),
    ];
    for (spread, [median, p20, p80, samples]) in clocks {
        fields.extend([
            (median, json!(spread.map(|s| micros(s.median)))),
            (p20, json!(spread.map(|s| micros(s.p20)))),
            (p80, json!(spread.map(|s| micros(s.p80)))),
            (samples, json!(spread.map(|s| s.samples))),
        ]);
    }
    let first = clocks.iter().find_map(|(spread, _)| *spread);
    let seconds = first.map(|spread| spread.median.as_secs_f64());
    fields.extend([
        (
            "rows_per_s",
            json!(seconds.map(|s| rounded(args.shape.rows as f64 / s))),
        ),
        (
            "gb_per_s",
            json!(
                device
                    .zip(seconds)
                    .map(|(d, s)| rounded(d.bytes as f64 / s / 1e9))
            ),
        ),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ]);
    fields
}

fn micros(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e6)
}

/// Four digits: a measurement has no more.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The results for a person.
fn table(args: &BenchArgs, work: &Subject, measured: &Measured, machine: &[Field]) -> String {
    let text = |name: &str| -> String {
        let value = machine.iter().find(|(other, _)| *other == name);
        value
            .and_then(|(_, value)| value.as_str())
            .unwrap_or("")
            .into()
    };
    let Shape { rows, cols } = args.shape;
    let mut lines = vec![
        format!(
            "{} {rows}x{cols} {}, targets {}, outputs {}, reduction {}",
            work.loss,
            value_name(args.dtype),
            work.targets,
            work.outputs,
            work.reduction
        ),
        format!("adapter  {}", text("adapter")),
    ];
    if let Some(device) = &measured.device {
        lines.extend([
            format!("driver   {}", text("driver")),
            format!("variant  {}", text("variant")),
            format!(
                "call     {} dispatches, {} bytes of scratch, moves {} bytes, prepared in {}",
                device.dispatches,
                device.scratch,
                device.bytes,
                time(device.prepare)
            ),
        ]);
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<10}{:>11}{:>11}{:>11}{:>9}{:>12}{:>9}",
        "", "median", "p20", "p80", "samples", "rows/s", "GB/s"
    ));
    let device = measured.device.as_ref();
    let clocks = [
        ("gpu", device.and_then(|d| d.gpu)),
        ("wall", device.map(|d| d.wall)),
        ("reference", measured.reference),
    ];
    for (clock, spread) in clocks {
        let Some(spread) = spread else {
            continue;
        };
        let seconds = spread.median.as_secs_f64();
        let bytes = device.filter(|_| clock != "reference").map(|d| d.bytes);
        let line = format!(
            "{clock:<10}{:>11}{:>11}{:>11}{:>9}{:>12}{:>9}",
            time(spread.median),
            time(spread.p20),
            time(spread.p80),
            spread.samples,
            format!("{:.3e}", rows as f64 / seconds),
            bytes.map_or(String::new(), |b| format!(
                "{:.2}",
                b as f64 / seconds / 1e9
            )),
        );
        lines.push(line.trim_end().into());
    }
    if device.is_some_and(|d| d.gpu.is_none()) {
        lines.push("no gpu clock: the device has no timestamps, or wrong ones".into());
    }
    lines.join("\n")
}

/// A time with three or four digits.
fn time(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let cell = |text: String| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    };
    cells.map(cell).collect::<Vec<_>>().join(",")
}

/// The header that the file needs: none where it has one already. A file with another is refused.
fn csv_header(path: &Path, fields: &[Field]) -> Result<Option<String>, Error> {
    let name = path.display().to_string();
    let header = csv_line(fields.iter().map(|(name, _)| (*name).to_owned()));
    let refused =
        |found: String| Error::value(&name, "a table of wgloss bench to append to", found);
    let mut start = Vec::new();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
            {
                Some(folder) if !folder.is_dir() => Err(refused("no such folder".into())),
                _ => Ok(Some(header)),
            };
        }
        Err(error) => return Err(refused(error.to_string())),
        // Reading a pipe or a terminal would wait.
        Ok(meta) if !meta.is_file() => return Err(refused("something that is not a file".into())),
        Ok(_) => {
            let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
            file.take(header.len() as u64 + 1)
                .read_to_end(&mut start)
                .map_err(|error| refused(error.to_string()))?;
        }
    }
    if start.is_empty() {
        return Ok(Some(header));
    }
    match start.strip_prefix(header.as_bytes()) {
        Some(b"\n") => Ok(None),
        _ => Err(refused("another header".into())),
    }
}

fn csv_append(path: &Path, fields: &[Field]) -> Result<(), Error> {
    let header = csv_header(path, fields)?;
    let row = csv_line(fields.iter().map(|(_, value)| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }));
    let text = match header {
        Some(header) => format!("{header}\n{row}\n"),
        None => format!("{row}\n"),
    };
    let mut options = OpenOptions::new();
    // All in one write, so that two appending at a time do not mix their rows.
    options
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let reason = format!("could not append the row: {error}");
            Error::because(ErrorKind::Device, path.display(), reason)
        })
}

/// What is going on, on stderr where that is a terminal. Drawn between measurements and seldom: a thread that draws
/// would be measured too.
struct Progress {
    bar: ProgressBar,
    drawn: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn new() -> Self {
        Progress {
            bar: ProgressBar::new_spinner(),
            drawn: std::cell::Cell::new(None),
        }
    }

    fn say(&self, what: &'static str) {
        let recent = |drawn: Instant| drawn.elapsed() < Duration::from_millis(100);
        if self.drawn.get().is_some_and(recent) {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        self.bar.set_message(what);
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        let name = format!("wgloss-bench-{}-{name}.csv", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn a_row_is_appended_under_its_own_header_alone() {
        let path = file("rows");
        let _ = std::fs::remove_file(&path);
        let fields = [
            ("a", json!("x, \"y\"")),
            ("b", json!(1.5)),
            ("c", Value::Null),
        ];
        csv_append(&path, &fields).unwrap();
        csv_append(&path, &fields).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let row = "\"x, \"\"y\"\"\",1.5,\n";
        assert_eq!(text, format!("a,b,c\n{row}{row}"));
        let error = csv_append(&path, &fields[..2]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::write(&path, "").unwrap();
        csv_append(&path, &fields[1..2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n1.5\n");
        std::fs::remove_file(&path).unwrap();
        assert!(csv_header(&path.join("below"), &fields).is_err());
        assert!(csv_header(&std::env::temp_dir(), &fields).is_err());
    }

    #[test]
    fn numbers_have_the_digits_of_a_measurement() {
        assert_eq!(rounded(1_234_567.0), 1_235_000.0);
        assert_eq!(rounded(0.012_345_6), 0.012_35);
        assert_eq!(time(Duration::from_nanos(1_500)), "1.5 us");
        assert_eq!(time(Duration::from_micros(1_500)), "1.50 ms");
        assert_eq!(time(Duration::from_millis(1_500)), "1.50 s");
    }
}
