//! The one error type.

use std::fmt;

/// What kind of thing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A tensor's shape, length or layout does not fit the call.
    Shape,
    /// A tensor's element type is not one the call takes.
    DType,
    /// A value or setting is out of its range.
    Value,
    /// A buffer lacks a usage flag, or a tensor does not lie inside its buffer.
    Buffer,
    /// Something this device (or this build) cannot do; another variant or the reference may.
    Unsupported,
    /// The device ran out of memory.
    OutOfMemory,
    /// The device was lost, did not answer in time, or refused a command.
    Device,
}

/// Why a call was refused: which tensor (or setting), and either what was expected and what was found, or a sentence.
///
/// Nothing has been written when `prepare` returns one. Where a device is lost or does not answer in time, what it was at
/// work on may hold anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    subject: String,
    reason: String,
}

impl Error {
    /// An error of `kind` about `subject`.
    pub fn new(
        kind: ErrorKind,
        subject: impl ToString,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Error {
            kind,
            subject: subject.to_string(),
            reason: format!("expected {expected}, found {found}"),
        }
    }

    /// Something that does not belong, or that is missing: `reason` is a sentence about `subject`.
    pub fn refused(subject: impl ToString, reason: impl ToString) -> Self {
        Error::because(ErrorKind::Value, subject, reason)
    }

    /// An error of `kind` about `subject`, with a sentence for its reason.
    pub fn because(kind: ErrorKind, subject: impl ToString, reason: impl ToString) -> Self {
        Error {
            kind,
            subject: subject.to_string(),
            reason: reason.to_string(),
        }
    }

    /// A shape or length that does not fit.
    pub fn shape(
        subject: impl ToString,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Error::new(ErrorKind::Shape, subject, expected, found)
    }

    /// A value out of range.
    pub fn value(
        subject: impl ToString,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Error::new(ErrorKind::Value, subject, expected, found)
    }

    /// What kind of thing was wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The tensor or setting the error is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// True where the device or build lacks something, so that the reference is a way out.
    pub fn is_unsupported(&self) -> bool {
        self.kind == ErrorKind::Unsupported
    }
}

/// Refuses a vector of another length.
pub(crate) fn check_len(subject: &str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::shape(
        subject,
        format!("[{expected}]"),
        format!("[{found}]"),
    ))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

impl std::error::Error for Error {}
