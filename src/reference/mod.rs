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
mod bp_mll;
mod chosen;
mod contrastive;
mod hcal;
mod linear;
mod mcm;
mod metrics;
mod noise;
mod order;
mod per_label;
mod permutation;
mod real;
mod rows;
mod softmax_ce;
mod sparse;
mod wdl;
mod zlpr;

pub use balance::{BalanceInputs, BalanceOutputs, balance};
pub use bp_mll::bp_mll;
pub use chosen::{ChosenInputs, ChosenValues, chosen_metrics, propensities};
pub use contrastive::{
    ContrastiveInputs, ContrastiveKeys, ContrastiveOutputs, contrastive, relations,
};
pub use hcal::{HcalInputs, HcalOutputs, hcal};
pub(crate) use linear::linear;
pub use linear::{LinearInputs, LinearOutputs, top};
pub use mcm::{McmInputs, McmOutputs, mcm};
pub use metrics::{MetricsInputs, metrics};
pub use noise::{bf16_by_chance, f16_by_chance, perturbation};
pub use per_label::{asl, bce, dice, focal, hill, splc};
pub use permutation::permutation;
pub use real::Real;
pub use rows::{RowInputs, RowOutputs};
pub use softmax_ce::softmax_ce;
pub use sparse::{check_sparse, dense_from_bits, dense_from_sparse, renumber};
pub use wdl::wdl;
pub use zlpr::zlpr;
#[cfg(feature = "host")]
pub(crate) use {
    order::check_order,
    sparse::{check_listed, check_offsets},
};
