//! The command `wgloss`: qualifies GPUs, computes losses of tensors in safetensors files, measures.
//!
//! Results go to stdout, notices and errors to stderr, one line each. Exit code 0: done; 1: the machine could not (no
//! GPU, no memory, a write that failed) or a check found something; 2: bad arguments or input.

mod adapters;
mod bench;
mod check;
mod contrastive;
mod engine;
mod hcal;
mod losses;
mod mcm;
mod rows;
mod run;
mod tensors;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;
use wgloss::{Error, ErrorKind};

/// Multi-label losses on any GPU: forward, backward, checks, measurements.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the adapters of this machine, and which would be used
    Adapters,
    /// Compare every kernel and variant with the CPU reference; exit code 1 if anything is off
    Check(check::CheckArgs),
    /// Compute a loss, and with -o its gradients, of the tensors in a safetensors file
    Run(run::RunArgs),
    /// Measure a loss
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let done = match &Cli::parse().command {
        Command::Adapters => adapters::adapters(),
        Command::Check(args) => check::check(args),
        Command::Run(args) => run::run(args),
        Command::Bench(args) => bench::bench(args),
    };
    done.unwrap_or_else(|error| {
        notice(&error);
        match error.kind() {
            ErrorKind::Shape | ErrorKind::DType | ErrorKind::Value => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

/// Writes text and an end of line to stdout.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Error::new(ErrorKind::Device, "stdout", "to take the result", error))
}

/// Writes one line to stderr, whatever the message holds: names of tensors and files may hold anything.
fn notice(message: &dyn std::fmt::Display) {
    const MOST: usize = 2000;
    let text = message.to_string();
    let mut line: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        line.push_str("...");
    }
    // Where stderr is gone too, there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "wgloss: {line}");
}
