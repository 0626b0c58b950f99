//! stub docs
mod call;
#[cfg(feature = "check")]
pub mod check;
mod context;
mod error;
#[cfg(feature = "host")]
pub mod host;
pub mod losses;
mod plan;
mod reduction;
pub mod reference;
pub mod shader;
mod tensor;
mod variant;

pub use call::Prepared;
pub use context::Context;
pub use error::{Error, ErrorKind};
pub use losses::bce::Bce;
pub use losses::rows::{Gradient, RowInputs, RowOutputs, Rowwise, TargetKind, Targets, Threshold};
pub use losses::zlpr::Zlpr;
pub use plan::{Plan, Step};
pub use reduction::Reduction;
pub use tensor::{DType, Tensor};
pub use variant::{Caps, Half, Reduce, Variant};
pub use wgpu;
