//! Targets of logits, of whichever kind burn has them.

use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int, Tensor};
use wgloss::Error;

/// Targets `[B, L]`: flags, whole numbers (a label is positive where it is not 0), or real numbers.
///
/// Losses of hard labels take all three; a real number above 0.5 is positive then. Losses of soft labels take real numbers
/// as proportions of a label, in `[0, 1]`. Each loss's documentation says which it is.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Flags.
    Bool(Tensor<2, Bool>),
    /// Whole numbers.
    Int(Tensor<2, Int>),
    /// Real numbers, to which a gradient goes where the loss has one.
    Float(Tensor<2>),
}

impl From<Tensor<2, Bool>> for Targets {
    fn from(targets: Tensor<2, Bool>) -> Self {
        Targets::Bool(targets)
    }
}

impl From<Tensor<2, Int>> for Targets {
    fn from(targets: Tensor<2, Int>) -> Self {
        Targets::Int(targets)
    }
}

impl From<Tensor<2>> for Targets {
    fn from(targets: Tensor<2>) -> Self {
        Targets::Float(targets)
    }
}

impl Targets {
    /// Rows and labels.
    pub(crate) fn dims(&self) -> [usize; 2] {
        match self {
            Targets::Bool(t) => t.dims(),
            Targets::Int(t) => t.dims(),
            Targets::Float(t) => t.dims(),
        }
    }

    /// As real numbers: 0 and 1 where they are flags or whole numbers.
    pub(crate) fn float(self) -> Tensor<2> {
        match self {
            Targets::Bool(t) => t.float(),
            Targets::Int(t) => t.not_equal_scalar(0).float(),
            Targets::Float(t) => t,
        }
    }

    /// Which labels are positive to a loss of hard labels.
    pub(crate) fn positive(self) -> Tensor<2, Bool> {
        match self {
            Targets::Bool(t) => t,
            Targets::Int(t) => t.not_equal_scalar(0),
            Targets::Float(t) => t.greater_scalar(0.5),
        }
    }
}

/// Refuses a tensor of other dimensions, where there is one.
pub(crate) fn check_dims<const D: usize>(
    name: &str,
    expected: [usize; D],
    found: impl Into<Option<[usize; D]>>,
) -> Result<(), Error> {
    match found.into() {
        Some(found) if found != expected => Err(Error::shape(
            name,
            format!("{expected:?}"),
            format!("{found:?}"),
        )),
        _ => Ok(()),
    }
}

/// The dimensions of a tensor that may not be there.
pub(crate) fn dims<const D: usize, K: Basic>(tensor: &Option<Tensor<D, K>>) -> Option<[usize; D]> {
    tensor.as_ref().map(Tensor::dims)
}
