//! The command `wgloss`: qualifies GPUs, computes losses of tensors in safetensors files, measures.
//!
//! Results go to stdout, notices and errors to stderr, one line each. Exit code 0: done; 1: the machine could not (no
//! GPU, no memory, a write that failed) or a check found something; 2: bad arguments or input.

#[forbid(unsafe_code)]
mod adapters;
#[forbid(unsafe_code)]
mod arguments;
#[forbid(unsafe_code)]
mod bench;
#[forbid(unsafe_code)]
mod check;
#[forbid(unsafe_code)]
mod engine;
#[forbid(unsafe_code)]
mod export;
#[forbid(unsafe_code)]
mod names;
#[forbid(unsafe_code)]
mod options;
#[forbid(unsafe_code)]
mod output;
#[forbid(unsafe_code)]
mod report;
#[forbid(unsafe_code)]
mod run;
mod startup;
#[forbid(unsafe_code)]
mod subject;
#[forbid(unsafe_code)]
mod tensors;

use check::CheckArgs;
use clap::{Args as _, Command};
use std::ffi::OsString;
use std::process::ExitCode;
use wgloss::{Entry, ErrorKind};

fn command(layer: Option<&'static Entry>) -> Command {
    let [adapters, check, run, bench, export] =
        ["adapters", "check", "run", "bench", "export"].map(Command::new);
    Command::new("wgloss")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Multi-label losses on any GPU: forward, backward, checks, measurements")
        .subcommand_required(true)
        .subcommands([
            adapters.about("Show the adapters of this machine, and which would be used"),
            CheckArgs::augment_args(check).about(
                "Compare every kernel and variant with the CPU reference; exit code 1 if anything is off",
            ),
            run::command(run, layer).about(
                "Compute a loss, and with -o its gradients, of the tensors in a safetensors file",
            ),
            bench::command(bench, layer).about("Measure a loss"),
            export::command(export, layer).about(
                "Write what a call is, as JSON and WGSL, for any host of WebGPU to run",
            ),
        ])
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut command = command(options::layer(&arguments));
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(wrong) if wrong.use_stderr() => {
            report::notice(&arguments::explain(&wrong, &command, &arguments));
            return ExitCode::from(2);
        }
        // Help and version. Where stdout is gone, nobody wants to read them.
        Err(shown) => {
            let _ = shown.print();
            return ExitCode::SUCCESS;
        }
    };
    let done = match matches.subcommand() {
        Some(("check", matches)) => options::read(matches).and_then(|args| check::check(&args)),
        Some(("run", matches)) => run::run(matches),
        Some(("bench", matches)) => bench::bench(matches),
        Some(("export", matches)) => export::export(matches),
        _ => adapters::adapters(),
    };
    done.unwrap_or_else(|error| {
        report::notice(&error);
        match error.kind() {
            ErrorKind::Shape | ErrorKind::DType | ErrorKind::Value => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}
