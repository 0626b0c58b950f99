//! `wgloss bench`: how long a loss takes.

mod csv;
mod measured;
mod progress;
mod record;
mod suite;

use crate::arguments::choice;
use crate::engine::EngineArgs;
use crate::options::{self, Loss};
use crate::report;
use crate::subject::{self, Size, Subject};
use clap::{ArgMatches, Args, Command};
use measured::{Effort, Limits, Measured, on_device, on_host};
use progress::Progress;
use record::Machine;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wgloss::{Entry, Error};

/// Beside a GPU the reference is timed up to this many elements.
const MOST_BESIDE: u64 = 1 << 21;
/// Most elements of the reference by itself; it takes some 50 bytes for each.
const MOST_ALONE: u64 = 1 << 26;
const WARM_UP: Duration = Duration::from_millis(250);

const NOTES: &str = "\
`wgloss bench LOSS --help` has the options of a loss; `wgloss bench --suite` measures all losses at shapes that people
have.

Data are made once, on the device, from a seed, and copied until the sets of tensors exceed 256 MiB (256 of them at
most; --sets). A call is prepared for each set, and the sets take turns: no cache has what a call needs. Then each
clock runs for --time seconds, after a warm-up:
  gpu        one call between two GPU timestamps, in a compute pass of its own
  wall       one call recorded, submitted and waited for
  reference  the CPU reference in f64 (loss and all gradients), up to 2097152 elements
`clock` says which gave the speeds: timestamps, else submit-and-wait, else reference.

Bytes that a call moves: every tensor once; of rows that are cut into chunks, whose gradient is a dispatch of its
own, logits and targets twice. rows/s and GB/s (1e9 bytes) are those of the median.

The limit is measured in the same run by the same clock. copy: a kernel copies as many bytes as the logits have (of
HCAL the features), read and written, in buffers that take turns too; copy_share is the call's GB/s by the copy's,
copy_times how many copies the call takes. Contrastive losses are products, 2 N^2 D operations for the loss and
6 N^2 D with gradients: their limit is peak, what f32 multiply-adds in registers reach, peak_share the part of it.

prepare_us is the first `prepare`, in a context that has compiled nothing (a driver may still have kernels on its disk
or in memory), prepare_warm_us the median of later ones, first_loss_us context, first prepare and first run together.
scratch_bytes is all that a call keeps for itself.

Exit code 2 and one line on stderr where arguments are wrong; 1 where the machine cannot.";

/// What every loss takes beside its settings.
#[derive(Args)]
struct BenchArgs {
    #[command(flatten)]
    size: Size,
    /// How long each clock runs
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    time: f64,
    /// Sets of tensors that take turns [default: as many as exceed 256 MiB]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    sets: Option<u64>,
    /// One line of JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Append to this file instead
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// All losses instead of one.
#[derive(Args)]
struct SuiteArgs {
    /// All losses at the shapes of benches/README.md, a line each
    #[arg(long)]
    suite: bool,
    /// Suite: seconds that it may take; what finds no time is listed as skipped
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 240.0,
        requires = "suite"
    )]
    time: f64,
    /// Suite: most elements of a case [default: 8388608 on a CPU adapter, else all]
    #[arg(long, value_name = "ELEMENTS", requires = "suite")]
    most: Option<u64>,
    /// Suite: cases with this in their name alone, such as "zlpr 1024x"
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        requires = "suite"
    )]
    only: String,
    /// Suite: a line of JSON each instead of a table
    #[arg(long, requires = "suite")]
    json: bool,
    /// Suite: append to this file too
    #[arg(long, value_name = "FILE", requires = "suite")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// The command with a subcommand for each loss; that of a last layer has the options of the loss that the arguments name.
pub fn command(command: Command, layer: Option<&'static Entry>) -> Command {
    let command = command.after_long_help(NOTES);
    let command = options::per_loss(command, Loss::measured(layer), |command, loss| {
        let (command, data) = subject::augment(command, loss);
        BenchArgs::augment_args(command).after_long_help(data)
    });
    let about = command.get_about().cloned().unwrap_or_default();
    SuiteArgs::augment_args(command)
        .about(about)
        .subcommand_required(false)
        .args_conflicts_with_subcommands(true)
}

pub fn bench(matches: &ArgMatches) -> Result<ExitCode, Error> {
    match matches.subcommand() {
        Some(_) => one(matches),
        None => all(&options::read(matches)?),
    }
}

fn seconds(time: f64) -> Result<Duration, Error> {
    match time > 0.0 && time <= 3600.0 {
        true => Ok(Duration::from_secs_f64(time)),
        false => Err(Error::value(
            "--time",
            "seconds, more than 0 and at most 3600",
            time,
        )),
    }
}

/// Measures one loss.
fn one(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let (loss, matches) = options::chosen(matches)?;
    let args: BenchArgs = options::read(matches)?;
    let subject = Subject::chosen(loss, args.size, matches)?;
    let budget = seconds(args.time)?;
    // A table that cannot take the row costs no measurement.
    if let Some(path) = &args.csv {
        let nothing = Measured::default();
        csv::header(
            path,
            &record::fields(&subject, &nothing, &Machine::default()),
        )?;
    }
    if args.csv.is_none() {
        report::expect_reader()?;
    }
    let engine = args.engine.open()?;
    let elements = subject.workload.elements();
    if engine.gpu().is_none() && elements > MOST_ALONE {
        return Err(Error::shape(
            "--shape",
            format!("at most {MOST_ALONE} elements on the CPU reference"),
            elements,
        ));
    }
    let effort = Effort {
        warm_up: WARM_UP,
        budget,
        least: 5,
        sets: args.sets,
    };
    let progress = Progress::new();
    let mut limits = Limits::default();
    let measured = Measured {
        device: match engine.gpu() {
            Some(gpu) => Some(on_device(gpu, &subject, effort, &mut limits, &progress)?),
            None => None,
        },
        reference: match engine.gpu().is_none() || elements <= MOST_BESIDE {
            true => Some(on_host(&subject, budget, &progress)?),
            false => None,
        },
        skipped: None,
    };
    drop(progress);
    if let Some(notice) = engine.notice() {
        report::notice(&notice);
    }
    let machine = Machine::of(&engine);
    let fields = record::fields(&subject, &measured, &machine);
    match &args.csv {
        Some(path) => csv::append(path, &fields)?,
        None if args.json => report::print(&report::json_object(&fields))?,
        None => report::print(&record::table(&subject, &measured, &machine))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures all losses.
fn all(args: &SuiteArgs) -> Result<ExitCode, Error> {
    let command = |layer| command(Command::new("bench"), layer);
    if !args.suite {
        let command = command(None);
        let names = command.get_subcommands().map(Command::get_name);
        let losses: Vec<String> = names.map(String::from).collect();
        let reason = format!("wgloss bench needs one, or --suite: {}", choice(&losses));
        return Err(Error::refused("loss", reason));
    }
    let options = suite::Options {
        time: seconds(args.time)?,
        most: args.most,
        only: &args.only,
        json: args.json,
        csv: args.csv.as_deref(),
    };
    let engine = args.engine.open()?;
    match suite::run(command, &engine, &options)? {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}
