//! The contrastive losses of label sets.

pub(crate) mod call;
mod plan;
