//! What the command says: results on stdout, notices and errors on stderr, numbers and objects as JSON.

use crate::startup;
use crate::tensors::Output;
use serde_json::{Value, json};
use std::io::Write as _;
use wgloss::host::Engine;
use wgloss::{Error, ErrorKind};

/// A result by name; results stand in the order in which they are printed.
pub type Field = (&'static str, Value);

/// What `wgloss run` computed of a file.
pub struct Report {
    /// Where it was computed.
    pub engine: Engine,
    /// The loss, or null where each row has one.
    pub loss: Value,
    /// What is printed after loss and machine.
    pub fields: Vec<Field>,
    /// What is written where the user asks for it.
    pub outputs: Vec<Output>,
}

/// Refuses to work for a result that reaches nobody.
pub fn expect_reader() -> Result<(), Error> {
    match startup::stdout_was_closed() {
        true => {
            let reason = "closed, so that nobody would read the result";
            Err(Error::because(ErrorKind::Device, "stdout", reason))
        }
        false => Ok(()),
    }
}

/// Writes text and an end of line to stdout.
pub fn print(text: &str) -> Result<(), Error> {
    expect_reader()?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            let reason = format!("could not write the result: {error}");
            Error::because(ErrorKind::Device, "stdout", reason)
        })
}

/// Writes one line to stderr, whatever the message holds: names of tensors and files may hold anything.
pub fn notice(message: &dyn std::fmt::Display) {
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

/// A JSON number, or its name where JSON has none.
pub fn json_number(value: f32) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else if value > 0.0 {
        json!("Infinity")
    } else {
        json!("-Infinity")
    }
}

/// A JSON object on one line, its fields in this order.
pub fn json_object(fields: &[Field]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
