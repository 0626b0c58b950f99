//! `wgloss bench`: how long a loss takes.

use crate::contrastive::ContrastiveArgs;
use crate::engine::{self, EngineArgs};
use crate::losses::{Given, Loss, Settings};
use clap::{Args, ValueEnum};
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
    AnyLoss, ContrastiveReduction, DType, Error, ErrorKind, Rowwise, TargetKind, Targets, Threshold,
};

/// Beside a GPU the reference is timed up to this many elements.
const MOST_BESIDE: u64 = 1 << 21;
/// Most elements of the reference by itself; it takes some 50 bytes for each.
const MOST_ALONE: u64 = 1 << 26;
const WARM_UP: Duration = Duration::from_millis(250);

const NOTES: &str = "\
Data are made once, on the device, from a seed: normal logits times 3, up to 16 positives a row; for contrastive, whose\n--shape is embeddings x dimensions, normal rows and up to 8 labels each. The call is
prepared once; then each clock runs for --time seconds, after a warm-up:
  gpu        one call between two GPU timestamps, in a compute pass of its own
  wall       one call recorded, submitted and waited for
  reference  the CPU reference in f64 (loss and all gradients), up to 2097152 elements

Of mcm, the classes are a random tree, in each row a leaf and its ancestors positive. Of hcal, COLS are the classes of the
finest of three levels, each of an eighth of the one before, with seeded noise; a call moves each vector and its gradient.

Bytes that a call moves: logits and targets once for each sweep of the plan, the gradient and the loss written.
One sweep gives the loss; the gradient is a second one, without what a workgroup has kept of its rows (all of
rows of up to 1536 labels; nothing of rows that are split over workgroups). rows/s and GB/s (1e9 bytes) are those
of the median; in JSON and CSV, of the first of the three clocks that there is. Caches can make GB/s larger than
the memory's.

Exit code 2 and one line on stderr where arguments are wrong; 1 where the machine cannot.";

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
enum Outputs {
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

#[derive(Args, Debug)]
#[command(after_long_help = NOTES)]
pub struct BenchArgs {
    /// The loss; tlpr with one threshold
    #[arg(value_enum)]
    loss: Loss,
    /// Rows and labels
    #[arg(long, value_name = "ROWSxCOLS")]
    shape: Shape,
    /// Element type of the logits
    #[arg(long, value_enum, default_value_t)]
    dtype: Dtype,
    /// Form of the targets [default: float for zlpr-soft, else u8; none for zlpr-kl, whose other logits stand there]
    #[arg(long, value_enum)]
    targets: Option<TargetForm>,
    /// What is computed
    #[arg(long, value_enum, default_value_t)]
    outputs: Outputs,
    /// hcal: components of a feature vector [default: 128]
    #[arg(long, value_name = "N")]
    dim: Option<usize>,
    /// How long each clock runs
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    time: f64,
    /// One line of JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Append to this file instead
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// contrastive, whose shape is embeddings and dimensions: labels [default: 64]
    #[arg(long, value_name = "L")]
    labels: Option<usize>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    contrastive: ContrastiveArgs,
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

/// A result by name, in the order of the output.
type Field = (&'static str, Value);

pub fn bench(args: &BenchArgs) -> Result<ExitCode, Error> {
    let work = subject(args)?;
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
        csv_header(
            path,
            &fields(args, work.as_ref(), &Measured::default(), &[]),
        )?;
    }
    let engine = args.engine.open()?;
    let elements = work.elements();
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
            Some(gpu) => Some(on_device(gpu, work.as_ref(), budget, &progress)?),
            None => None,
        },
        reference: match engine.gpu().is_none() || elements <= MOST_BESIDE {
            true => Some(on_host(work.as_ref(), budget, &progress)?),
            false => None,
        },
    };
    drop(progress);
    if let Some(notice) = engine.notice() {
        crate::notice(&notice);
    }
    let machine = [
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(&engine))),
    ];
    let fields = fields(args, work.as_ref(), &measured, &machine);
    match &args.csv {
        Some(path) => csv_append(path, &fields)?,
        None if args.json => crate::print(&crate::run::object(&fields))?,
        None => crate::print(&table(args, &measured, &machine))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the arguments ask for, of a loss of hierarchies.
fn hierarchy_bench(args: &BenchArgs) -> Result<Box<dyn Workload>, Error> {
    let gradient = match args.outputs {
        Outputs::Both => true,
        Outputs::Loss => false,
        Outputs::BothSame | Outputs::InPlace | Outputs::Gradient => {
            return Err(Error::value(
                "--outputs",
                format!("both or loss with {}", args.loss),
                name(args.outputs),
            ));
        }
    };
    if let Some(targets) = args.targets {
        let expected = format!("none with {}", args.loss);
        return Err(Error::value("--targets", expected, name(targets)));
    }
    let Shape { rows, cols } = args.shape;
    let dtype = args.dtype.element();
    if args.loss == Loss::Mcm {
        args.refuse_dim()?;
        let bench = McmWorkload {
            config: args.settings.mcm()?,
            dtype,
            gradient,
            rows,
            cols,
        };
        return Ok(Box::new(bench));
    }
    let (config, seed) = args.settings.hcal()?;
    if let Some(seed) = seed {
        return Err(Error::value(
            "--seed",
            "none: a measurement has its own",
            seed,
        ));
    }
    let bench = HcalWorkload {
        config,
        dtype,
        gradient,
        rows,
        cols,
        dim: args.dim.unwrap_or(128),
    };
    Ok(Box::new(bench))
}

/// What the arguments ask for.
fn subject(args: &BenchArgs) -> Result<Box<dyn Workload>, Error> {
    if args.loss == Loss::Contrastive {
        return Ok(Box::new(contrastive_bench(args)?));
    }
    args.contrastive.refuse(args.loss)?;
    if args.labels.is_some() {
        return Err(Error::value(
            "--labels",
            format!("none with {}", args.loss),
            "one",
        ));
    }
    if matches!(args.loss, Loss::Mcm | Loss::Hcal) {
        return hierarchy_bench(args);
    }
    args.refuse_dim()?;
    let config = args.settings.configure(args.loss, Given::default())?;
    Ok(Box::new(row_bench(args, &config)?))
}

fn contrastive_bench(args: &BenchArgs) -> Result<ContrastiveWorkload, Error> {
    args.refuse_dim()?;
    args.settings.refuse_others(args.loss)?;
    let loss = args.contrastive.configure(&args.settings)?;
    if loss.weighting == Weighting::Paired || loss.reduction == ContrastiveReduction::None {
        let found = "infonce, or --reduction none";
        return Err(Error::value(
            "contrastive",
            "a loss of labels and one number",
            found,
        ));
    }
    if args.targets.is_some() {
        return Err(Error::value("--targets", "none with contrastive", "one"));
    }
    let Shape { rows, cols } = args.shape;
    let labels = args.labels.unwrap_or(64);
    let fits = |n: Option<usize>| n.is_some_and(|n| n > 0 && u32::try_from(n).is_ok());
    if !fits(rows.checked_mul(cols)) || !fits(rows.checked_mul(labels)) {
        return Err(Error::value(
            "--shape",
            "at least one element and fewer than 2^32, of labels too",
            format!("{rows}x{cols} with {labels} labels"),
        ));
    }
    Ok(ContrastiveWorkload {
        loss,
        dtype: args.dtype.element(),
        gradient: match args.outputs {
            Outputs::Both => true,
            Outputs::Loss => false,
            other => {
                return Err(Error::value(
                    "--outputs",
                    "both or loss with contrastive",
                    name(other),
                ));
            }
        },
        rows,
        dims: cols,
        labels,
    })
}

fn row_bench(args: &BenchArgs, config: &AnyLoss) -> Result<RowWorkload, Error> {
    let loss = *config;
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
    let form = match (args.targets(), config.target_kind()) {
        (Some(_), TargetKind::Logits) if args.targets.is_some() => {
            return Err(Error::value(
                "--targets",
                format!("none with {}, which takes other logits", args.loss),
                "one",
            ));
        }
        (_, TargetKind::Logits) | (Some(TargetForm::Float) | None, _) => Targets::Dense(dtype),
        (Some(TargetForm::U8), _) => Targets::Dense(DType::U8),
        (Some(TargetForm::Bits), _) => Targets::Bits(()),
        (Some(TargetForm::Sparse), _) => SPARSE,
    };
    Ok(RowWorkload {
        threshold: match args.loss {
            Loss::Tlpr => Some(Threshold::Batch(())),
            _ => None,
        },
        dtype,
        form,
        mode: match args.outputs {
            Outputs::Both => Mode::Both,
            Outputs::BothSame => Mode::BothSame,
            Outputs::InPlace => Mode::InPlace,
            Outputs::Loss => Mode::Loss,
            Outputs::Gradient => Mode::Gradient,
        },
        ..RowWorkload::plain(loss, rows, cols)
    })
}

fn on_device(
    gpu: &Gpu,
    bench: &dyn Workload,
    budget: Duration,
    progress: &Progress,
) -> Result<OnDevice, Error> {
    progress.say("data and kernels");
    let work = bench.on_gpu(gpu)?;
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

fn on_host(
    bench: &dyn Workload,
    budget: Duration,
    progress: &Progress,
) -> Result<Quantiles, Error> {
    progress.say("reference");
    let work = bench.on_host()?;
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

impl BenchArgs {
    fn refuse_dim(&self) -> Result<(), Error> {
        match self.dim {
            None => Ok(()),
            Some(dim) => Err(Error::value(
                "--dim",
                format!("none with {}", self.loss),
                dim,
            )),
        }
    }

    /// The form of the targets, as the user has it or as the loss does; none where other logits stand there.
    fn targets(&self) -> Option<TargetForm> {
        self.targets.or(match self.loss {
            Loss::Contrastive => Some(TargetForm::Bits),
            Loss::ZlprKl | Loss::Hcal => None,
            Loss::ZlprSoft => Some(TargetForm::Float),
            _ => Some(TargetForm::U8),
        })
    }
}

/// The name of a value, as the option has it.
fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// All results. Without those of the machine, the names at least.
fn fields(
    args: &BenchArgs,
    work: &dyn Workload,
    measured: &Measured,
    machine: &[Field],
) -> Vec<Field> {
    let targets = match args.loss {
        Loss::Hcal => "classes".into(),
        _ => args.targets().map_or("other".into(), name),
    };
    let mut fields = vec![
        ("loss", json!(args.loss.to_string())),
        ("rows", json!(args.shape.rows)),
        ("cols", json!(args.shape.cols)),
        ("dtype", json!(name(args.dtype))),
        ("targets", json!(targets)),
        ("outputs", json!(name(args.outputs))),
        ("reduction", json!(args.settings.reduction())),
        ("settings", json!(work.settings())),
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
fn table(args: &BenchArgs, measured: &Measured, machine: &[Field]) -> String {
    let text = |name: &str| -> String {
        let value = machine.iter().find(|(other, _)| *other == name);
        value
            .and_then(|(_, value)| value.as_str())
            .unwrap_or("")
            .into()
    };
    let Shape { rows, cols } = args.shape;
    let targets = match args.loss {
        Loss::Hcal => "classes".into(),
        _ => args.targets().map_or("other logits".into(), name),
    };
    let mut lines = vec![
        format!(
            "{} {rows}x{cols} {}, targets {targets}, outputs {}, reduction {}",
            args.loss,
            name(args.dtype),
            name(args.outputs),
            args.settings.reduction()
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
        .map_err(|error| Error::new(ErrorKind::Device, path.display(), "to take the row", error))
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
