//! The losses on the CPU: plain loops over rows, obviously right, slow.
//!
//! This is what the GPU kernels are compared with, and a way out where there is no GPU. Everything is
//! written once for `f32` and `f64`: in `f64` it is the truth, in `f32` its error is what any
//! straightforward single-precision code would have. Nothing here knows of a GPU, and nothing
//! panics: inputs of the wrong length are an [`Error`](crate::Error).
//!
//! ```
//! use wgloss::losses::zlpr::Form;
//! use wgloss::reference::{RowInputs, zlpr};
//! use wgloss::{Reduction, Zlpr};
//!
//! let config = Zlpr { form: Form::Hard, smoothing: 0.0, reduction: Reduction::Mean };
//! let out = zlpr(&config, &RowInputs {
//!     rows: 1,
//!     cols: 5,
//!     logits: &[2.0, -1.0, 0.5, 0.0, -3.0],
//!     targets: &[1.0, 0.0, 0.0, 1.0, 0.0],
//!     ..RowInputs::default()
//! })?;
//! assert!((out.loss[0] - 1.879123925705_f64).abs() < 1e-12);
//! # Ok::<(), wgloss::Error>(())
//! ```

mod balance;
mod contrastive;
mod hcal;
mod mcm;
mod noise;
mod per_label;
mod permutation;
mod rows;
mod wdl;
mod zlpr;

pub use balance::{BalanceInputs, BalanceOutputs, balance};
pub use contrastive::{
    ContrastiveInputs, ContrastiveKeys, ContrastiveOutputs, contrastive, relations,
};
pub use hcal::{HcalInputs, HcalOutputs, Noise, hcal};
pub use mcm::{McmInputs, McmOutputs, mcm};
pub use noise::perturbation;
pub use per_label::{asl, bce, dice, focal, hill};
pub use permutation::permutation;
pub use rows::{
    Permutation, RowInputs, RowOutputs, Threshold, check_csr, dense_from_bits, dense_from_csr,
};
#[cfg(feature = "host")]
pub(crate) use wdl::check_permutation;
pub use wdl::wdl;
pub use zlpr::zlpr;

/// The number types of the reference: `f32` and `f64`.
pub trait Real: num_traits::Float + std::fmt::Debug {
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// `sigma(x) = 1 / (1 + e^-x)`.
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// `sp(x) = log(1 + e^x)`, with full relative precision on both ends.
fn softplus<T: Real>(x: T) -> T {
    x.max(T::zero()) + (-x.abs()).exp().ln_1p()
}

/// The sum in the order given; +0 of nothing (that of the standard library is -0).
fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    values.fold(T::zero(), |sum, value| sum + value)
}
