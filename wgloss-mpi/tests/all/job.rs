//! A job of this program.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The case that a rank is to run.
pub const CASE: &str = "WGLOSS_MPI_CASE";

/// What became of a job.
pub struct Ended {
    pub success: bool,
    pub took: Duration,
    /// What all ranks and the launcher have printed.
    pub output: String,
}

/// Runs a case on as many ranks, and ends it where it takes longer than the limit, which is an error.
pub fn run(case: &str, ranks: usize, limit: Duration) -> Result<Ended, String> {
    let launcher = std::env::var("WGLOSS_MPIRUN").unwrap_or_else(|_| "mpirun".into());
    let mut words = launcher.split_whitespace();
    let program = words.next().ok_or("WGLOSS_MPIRUN is empty")?;
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(words)
        .args(["-n", &ranks.to_string()])
        .arg(exe)
        .env(CASE, case)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is not there.
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = child.stdout.take().map(|out| reader(Box::new(out)));
    let err = child.stderr.take().map(|err| reader(Box::new(err)));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break Some(status);
        }
        if began.elapsed() > limit {
            let _ = child.kill();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let took = began.elapsed();
    let mut output = String::new();
    for part in [out, err].into_iter().flatten() {
        output += &part.join().unwrap_or_default();
    }
    match status {
        Some(status) => Ok(Ended {
            success: status.success(),
            took,
            output,
        }),
        None => Err(format!("no end within {limit:?}:\n{output}")),
    }
}
