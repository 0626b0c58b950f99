//! The constraint module: its kernels, and from a call to its dispatches.
//!
//! sigma rises, so the maximum of probabilities is that of logits, and every term is a softplus of the winner's logit.
//! `own` does the leaves, which are their own winners. `climb` does the other classes level by level, in the steps that
//! src/losses/climb.rs has laid out: a lane looks at few classes and few winners of lower levels, so that no list is long
//! and no lane waits for another. Each class notes its term, and counts its winner's wins by an integer atomic, which
//! no order changes. `sums` adds up the terms, `gradient` reads the wins. shaders/shared/best.wgsl finds maxima with the
//! first index in integers, so that ties, NaN and infinities are the same everywhere.
//!
//! Masks and weights have kernels of their own. `mark` makes bits of which classes count in a row and which are positive,
//! and how many count; `own` and `climb` then read those bits in the place of the targets. `factors` brings a row's weight
//! and number to its loss. With class weights `table` copies them to where `own` and `climb` reach them, and a win counts
//! for its class's weight: in 64 bits of fixed point, since sums of integers do not depend on their order.

pub(crate) mod call;
mod counts;
mod plan;
mod table;

use crate::device::module::Module;

/// Every module of the constraint module.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = table::modules(workgroup);
    all.extend(counts::modules(workgroup));
    all
}
