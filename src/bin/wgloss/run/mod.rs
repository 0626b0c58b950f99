//! `wgloss run`: a loss of the tensors in a file.

mod balance;
mod contrastive;
mod hcal;
mod linear;
mod mcm;
mod relations;
mod rows;
mod sets;

use crate::engine::{self, EngineArgs};
use crate::names;
use crate::options::{self, Loss, Settings};
use crate::output::Destination;
use crate::report::{self, Field};
use crate::tensors::TensorFile;
use clap::{ArgMatches, Args, Command};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use wgloss::host::Wanted;
use wgloss::{Entry, Error};

const NOTES: &str = "\
`wgloss run LOSS --help` has the tensors and options of a loss. Options stand before or after the file.

One line of JSON goes to stdout: loss (null with --reduction none; as JSON has no such numbers, also the strings
\"NaN\", \"Infinity\" and \"-Infinity\"), backend, adapter, driver, variant, the sizes and the reduction.

A tensor that another loss takes and this one does not is wrong; one that no loss takes is left alone, with a notice
where its name is within two letters of a known one. What an earlier run wrote may lie in the file.

The output is written whole or not at all, and synced, before it takes the name. It may not be the input. A file that is
replaced keeps its rights, a link stays one. Where the file system has no files without a name, a run that is killed while
it writes leaves .wgloss-*.tmp there.

Exit code 2, one line on stderr and nothing written where arguments or tensors are wrong; 1 where the machine cannot, and
where stdout is closed: without -o before the work, as the line of JSON is all there is then.";

const ELEMENTS: &str = "\
Reals are F32, F16 or BF16; flags U8 or BOOL, 1 = counts; integers and indices U32, I32 or I64. Tensors that no loss takes may lie in the file.";

/// What every loss takes beside its settings.
#[derive(Args)]
struct RunArgs {
    /// File with the tensors
    #[arg(value_name = "IN.safetensors")]
    input: PathBuf,
    /// File for loss and gradients; without it the loss alone is computed
    #[arg(short, value_name = "OUT.safetensors")]
    output: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// The command with a subcommand for each loss; that of a last layer has the options of the loss that the arguments name.
pub fn command(command: Command, layer: Option<&'static Entry>) -> Command {
    let command = command.after_long_help(format!("{}\n\n{NOTES}", rows::kinds()));
    options::per_loss(command, Loss::computed(layer), |command, loss| {
        let command = match loss {
            Loss::Linear(_) => linear::RunOptions::augment_args(command),
            _ => command,
        };
        let tensors = match loss {
            Loss::Row(loss) => rows::tensors(loss),
            Loss::Linear(_) => linear::TENSORS.into(),
            Loss::Mcm => mcm::tensors(),
            Loss::Hcal => hcal::TENSORS.into(),
            Loss::Contrastive => contrastive::TENSORS.into(),
            Loss::Relations => relations::TENSORS.into(),
            Loss::Balance => balance::TENSORS.into(),
            Loss::Metrics => String::new(),
        };
        RunArgs::augment_args(command).after_long_help(format!("{tensors}\n{ELEMENTS}"))
    })
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let (loss, matches) = options::chosen(matches)?;
    let args: RunArgs = options::read(matches)?;
    // Wrong settings are reported before the file is opened.
    let settings = loss.settings(matches)?;
    let find = |path: &PathBuf| Destination::find(path, &args.input);
    let output = args.output.as_ref().map(find).transpose()?;
    if output.is_none() {
        report::expect_reader()?;
    }
    let file = TensorFile::open(&args.input)?;
    let slips = names::check(&file, loss.name())?;
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let report = match &settings {
        Settings::Row(options) => rows::run(options, &file, &args.engine, wanted),
        Settings::Linear(options) => linear::run(
            options,
            &options::read(matches)?,
            &file,
            &args.engine,
            wanted,
        ),
        Settings::Mcm(options) => mcm::run(options, &file, &args.engine, wanted),
        Settings::Hcal(options) => hcal::run(options, &file, &args.engine, wanted),
        Settings::Contrastive(options) => contrastive::run(options, &file, &args.engine, wanted),
        Settings::Relations(options) => relations::run(options, &file, &args.engine),
        Settings::Balance(options) => balance::run(options, &file, &args.engine, wanted),
        Settings::Metrics => Err(Error::refused("loss", "one that is not run")),
    }?;
    if let Some(output) = output {
        output.write(&report.outputs)?;
    }
    // After the work: an error stays alone on stderr.
    if let Some(slips) = slips {
        report::notice(&slips);
    }
    let engine = &report.engine;
    let mut fields: Vec<Field> = vec![
        ("loss", report.loss),
        ("backend", json!(engine.backend())),
        ("adapter", json!(engine.adapter())),
        ("driver", json!(engine.driver())),
        ("variant", json!(engine::variant(engine))),
    ];
    fields.extend(report.fields);
    report::print(&report::json_object(&fields))?;
    Ok(ExitCode::SUCCESS)
}
