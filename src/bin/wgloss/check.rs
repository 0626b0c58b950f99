//! `wgloss check`: every kernel and variant against the CPU reference.

use clap::Args;
use std::process::ExitCode;
use wgloss::{Error, ErrorKind};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Part of an adapter's name
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// Every adapter of this machine
    #[arg(long)]
    pub all: bool,
    /// Fewer cases
    #[arg(long)]
    pub quick: bool,
}

pub fn check(_args: &CheckArgs) -> Result<ExitCode, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "check",
        "a version that has it",
        "one that does not yet",
    ))
}
