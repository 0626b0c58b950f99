//! Labels that lie on several devices, a shard of them on each, for more labels than one has room for; and batches that do, where
//! losses are between their samples.
//!
//! # Labels in shards
//!
//! Every loss whose rows are merged from parts of them has a first half, which makes an accumulator for each row of a shard's
//! labels alone ([`Mergeable::prepare_partial`](crate::Mergeable)), and a second ([`Mergeable::prepare_merged`](crate::Mergeable)),
//! which merges the accumulators of all shards and has the loss, and the gradients of its own labels. In between each shard's
//! accumulators go to all others by whatever carries bytes: MPI (`wgloss-mpi`), NCCL, burn's collectives. [`Linear`](crate::Linear)
//! has the same two halves.
//!
//! ```text
//! shard r:  logits[:, labels of r] -> accumulators [B, words] -> all-gather -> [R, B * words] -> loss, grad_logits[:, labels of r]
//! ```
//!
//! **Accumulators** are tensors of f32, but are to be moved as bytes: some words are whole numbers, which arithmetic on f32 would
//! lose. They have `words` words a row ([`Accumulator`]): of the two-sided losses (ZLPR, LSEP, two-way, TLPR) the greatest exponent
//! and the sum of exponentials relative to it of the positive side, then of the negative one, and flags; of sums over labels (BCE,
//! focal, ASL, Hill, SPLC, the symmetric KL form) the sum, how many labels count, and flags; BP-MLL has the first's with the number
//! of labels of each side, softmax cross-entropy, dice and the other KL form have their own. With a mean over elements or active
//! rows ([`Reduction`](crate::Reduction)) one more word counts these. They belong to one version of this crate: the layout of each
//! has a number, which changes when it does.
//!
//! **What the same for all shards is**: the settings, the number of rows, sample weights, thresholds of rows, the upstream gradient.
//! What is by label (logits, targets, masks, weights) is the shard's; indices of sparse targets count from its first label. A shard
//! may have no labels at all.
//!
//! **Order.** Accumulators are merged in the order in which they are given: the same order is the same bits on every device of a kind.
//! In another order, or put together in groups first ([`Mergeable::prepare_folded`](crate::Mergeable)), the loss is the same but for
//! rounding.
//!
//! # Contrastive losses
//!
//! A device has its own samples as anchors. Where it has room for the gathered ones of all as [`Keys`](crate::Keys), nothing is in
//! halves: [`ContrastiveInputs::self_offset`](crate::ContrastiveInputs::self_offset) says which of them the first of its own is, and
//! its gradient to keys is what its anchors have in that, to be added up over the devices (a reduce-scatter).
//!
//! Else the keys come device by device, along a ring, say, and the sums over them are in halves:
//! [`Contrastive::prepare_partial`](crate::Contrastive::prepare_partial) makes an accumulator for each anchor by the keys that are
//! here, and [`prepare_merged`](crate::Contrastive::prepare_merged) takes those of all. It has the whole loss of these anchors, their
//! gradient by the keys that are here, to be added up over the calls ([`Gradient::AddTo`](crate::Gradient::AddTo)), and that of these
//! keys by these anchors, to be added up where the keys belong.
//!
//! ```text
//! once round:   anchors of r, keys of b -> accumulators [N, words], one for each b
//! once more:    accumulators of all b [R, N * words], anchors of r, keys of b -> loss of r, a part of grad_embeddings of r,
//!                                                                               a part of grad_keys of b
//! ```
//!
//! An accumulator has eight words: the greatest logit of the denominator, relative to it the sum of exponentials, the sum of
//! weights, the weighted sums of distances with what stands beside them and without, that of exponentials times distances, how many
//! positives there are, and how many keys are not finite. [`Denominator::OnePositive`](crate::Denominator::OnePositive) has none: it
//! needs all negatives before the first positive.
//!
//! **Between the calls** go two sums more. What a mean is over on this device is the output
//! [`count`](crate::ContrastiveOutputs::count); the sum of these is the setting `count`, or scales a sum afterwards. MulSupCon divides
//! by how many keys have a label: [`LabelCounts`](crate::LabelCounts) counts those of a device, u32 `[L]`, and the sum of these is
//! [`label_counts`](crate::ContrastiveInputs::label_counts).
//!
//! # HCAL
//!
//! It has its samples on several devices, not its labels: [`losses::hcal`](crate::losses::hcal) has the two halves of its call,
//! whose sums by class are f32 numbers that an all-reduce may add up.
//!
//! # Refused
//!
//! WDL, which orders all labels of a row among each other; the halves of the two-way loss that are over classes, whose samples are
//! all in the class's shard.

use crate::error::Error;

/// How the accumulators of a loss lie: what has to agree between the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accumulator {
    /// The kernel that makes them.
    pub loss: &'static str,
    /// Changes when the layout does.
    pub version: u32,
    /// Words of a row.
    pub words: usize,
}

impl Accumulator {
    /// What is said of a loss that has none.
    pub(crate) fn refused() -> Error {
        Error::refused(
            "loss",
            "labels on several devices need a loss whose rows merge from parts: not wdl, no half over classes",
        )
    }
}
