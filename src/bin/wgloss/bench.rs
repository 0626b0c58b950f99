//! `wgloss bench`: how long a loss takes.

use crate::engine::EngineArgs;
use crate::losses::{Loss, Settings};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use wgloss::{Error, ErrorKind};

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

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The loss
    #[arg(value_enum)]
    pub loss: Loss,
    /// Rows and labels
    #[arg(long, value_name = "ROWSxCOLS")]
    pub shape: Shape,
    /// One line of JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Append to this file instead
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn bench(args: &BenchArgs) -> Result<ExitCode, Error> {
    args.settings.configure(args.loss)?;
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("bench of {}x{}", args.shape.rows, args.shape.cols),
        "a version that has it",
        "one that does not yet",
    ))
}
