//! Files of any tensors and of any bytes, by the modules of the command itself, on the CPU.

#![no_main]
#![allow(dead_code, reason = "the command has subcommands that are not here")]

#[path = "../../tests/cli/any_file.rs"]
mod any_file;
#[path = "../../src/bin/wgloss/engine.rs"]
mod engine;
#[path = "../../src/bin/wgloss/names.rs"]
mod names;
#[path = "../../src/bin/wgloss/options.rs"]
mod options;
#[path = "../../src/bin/wgloss/output.rs"]
mod output;
#[path = "../../src/bin/wgloss/report.rs"]
mod report;
#[path = "../../src/bin/wgloss/run/mod.rs"]
mod run;
#[path = "../../src/bin/wgloss/tensors.rs"]
mod tensors;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::{LazyLock, Mutex};
use wgloss::ErrorKind;

/// The file of all runs, which follow one another.
static PLACE: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a folder for files"));
static COMMAND: LazyLock<Mutex<clap::Command>> =
    LazyLock::new(|| Mutex::new(run::command(clap::Command::new("run"))));

fuzz_target!(|bytes: &[u8]| {
    let Ok(run) = any_file::draw(&mut Unstructured::new(bytes)) else {
        return;
    };
    let [input, output] = ["in", "out"].map(|name| PLACE.path().join(name));
    std::fs::write(&input, &run.file).expect("a file in its folder");
    let mut args = vec!["run".into()];
    args.extend(run.args.iter().map(Into::into));
    args.extend([input.into_os_string(), "--backend".into(), "cpu".into()]);
    if bytes.len() % 2 == 0 {
        args.extend(["-o".into(), output.into_os_string()]);
    }
    let matches = COMMAND.lock().expect("nobody panicked").try_get_matches_from_mut(args);
    let Ok(matches) = matches else { return };
    // As `main` does it, which ends with 0 or 2.
    if let Err(error) = run::run(&matches) {
        assert!(!error.to_string().contains('\n') && !error.subject().is_empty(), "{error}");
        let kinds = [ErrorKind::Shape, ErrorKind::DType, ErrorKind::Value];
        assert!(kinds.contains(&error.kind()), "exit code 1: {error}");
    }
});
