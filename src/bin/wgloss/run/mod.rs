//! `wgloss run`: a loss of the tensors in a file.

mod contrastive;
mod hcal;
mod mcm;
mod rows;

use crate::engine::{self, EngineArgs};
use crate::options::{self, Loss, Settings};
use crate::report::{self, Field};
use crate::tensors::{self, TensorFile};
use clap::{ArgMatches, Args, Command};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use wgloss::Error;
use wgloss::host::Wanted;

const NOTES: &str = "\
`wgloss run LOSS --help` has the tensors and options of a loss. Options stand before or after the file.

One line of JSON goes to stdout: loss (null with --reduction none; as JSON has no such numbers, also the strings
\"NaN\", \"Infinity\" and \"-Infinity\"), backend, adapter, driver, variant, the sizes and the reduction.

Exit code 2, one line on stderr and nothing written where arguments or tensors are wrong; 1 where the machine cannot.";

const ELEMENTS: &str = "\
Reals are F32, F16 or BF16; flags U8 or BOOL, 1 = counts; indices U32, I32 or I64. Other tensors may lie in the file.";

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

/// The command with a subcommand for each loss.
pub fn command(command: Command) -> Command {
    let command = command.after_long_help(NOTES);
    options::per_loss(command, |command, loss| {
        let tensors = match loss {
            Loss::Row(loss) => rows::tensors(loss),
            Loss::Mcm => mcm::TENSORS.into(),
            Loss::Hcal => hcal::TENSORS.into(),
            Loss::Contrastive => contrastive::TENSORS.into(),
        };
        RunArgs::augment_args(command).after_long_help(format!("{tensors}\n{ELEMENTS}"))
    })
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let (loss, matches) = options::chosen(matches)?;
    let args: RunArgs = options::read(matches)?;
    // Wrong settings are reported before the file is opened.
    let settings = loss.settings(matches)?;
    let output = args.output.as_deref().map(tensors::output).transpose()?;
    let file = TensorFile::open(&args.input)?;
    let wanted = match output {
        Some(_) => Wanted::Gradients,
        None => Wanted::Loss,
    };
    let report = match &settings {
        Settings::Row(options) => rows::run(options, &file, &args.engine, wanted),
        Settings::Mcm(options) => mcm::run(options, &file, &args.engine, wanted),
        Settings::Hcal(options) => hcal::run(options, &file, &args.engine, wanted),
        Settings::Contrastive(options) => contrastive::run(options, &file, &args.engine, wanted),
    }?;
    if let Some(path) = output {
        tensors::write(&path, &report.outputs)?;
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
