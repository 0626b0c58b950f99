//! A last layer and the loss on top of it, whose logits live in tiles alone.

pub(crate) mod call;
pub(crate) mod plan;
mod table;

pub(crate) use table::modules;
