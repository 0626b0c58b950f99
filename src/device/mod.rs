//! Mechanism: the caller's device and tensors, how WGSL is composed, how plans become recorded dispatches. Knows no loss.

pub(crate) mod call;
pub(crate) mod caps;
pub(crate) mod context;
pub(crate) mod inspect;
pub(crate) mod judge;
pub(crate) mod live;
pub(crate) mod module;
pub(crate) mod plan;
pub(crate) mod prepared;
pub(crate) mod tensor;
pub(crate) mod verify;
