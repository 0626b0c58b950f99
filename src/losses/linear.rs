//! A last layer with the loss on top of it, for more labels than logits can be stored of.
//!
//! Of hidden states `h` `[B, D]`, weights `w` `[L, D]` and a bias `b` `[L]`, the logits `s = h w^T + b` `[B, L]` live in
//! tiles alone, some samples and labels at a time, and any loss of rows of hard labels is computed on them:
//! [`Zlpr`](crate::Zlpr) (hard, soft or smoothed, LSEP, two-way), [`Bce`](crate::Bce), [`Focal`](crate::Focal),
//! [`Asl`](crate::Asl), [`Hill`](crate::Hill), [`Splc`](crate::Splc), [`Dice`](crate::Dice),
//! [`BpMll`](crate::BpMll), [`SoftmaxCe`](crate::SoftmaxCe), in their settings and with their reductions. The gradients to
//! hidden states, weights and bias are those of the loss of the logits: `g h`, with `g` the gradient to the logits,
//! `dh = g w`, `dw = g^T h`, `db = sum g` over the samples.
//!
//! **How.** A loss whose gradient needs nothing of the row but its own logit, as that of BCE, makes each tile once. The others
//! sum up their rows first (few numbers each), and make each tile again for the gradient: four products of matrices
//! instead of three. Where one tile has room for all logits it is made once.
//!
//! **Memory.** Beside inputs and outputs, in bytes, with `T` = [`Linear::tile_bytes`]: hidden states in f32, rows of a
//! multiple of 16 components, unless they lie there so (`4 B D`); the gradient to them in f32, perhaps in a few parts
//! (`4 B D`); the tile and, for gradients to weights or bias, the tile turned (up to `T` each, no less than 32 labels); a strip
//! of gradients to weights in f32, and of weights that have to be packed (up to `T` each); some 30 bytes a sample and strip of
//! labels. [`Plan::scratch_bytes`](crate::Plan) has the sum.
//!
//! **Numbers.** Products are in f32 whatever the storage, and no sum takes in more than some hundred products before it is
//! added to others. Of hidden states and weights that are not finite the logits are what the device's arithmetic makes of
//! them; where logits come in several tiles, a NaN logit makes a row's gradient NaN in its tile alone if the loss is a sum over
//! labels.
//!
//! The idea of a loss fused with the layer before it: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language
//! Models", arXiv 2411.09009, for cross-entropy; for BCE over millions of labels Jain et al., "Renee: End-to-End Training of Extreme Classification Models", MLSys 2023.

use crate::error::Error;

/// A last layer with a loss on top of it. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear<L> {
    /// The loss of the logits, with its settings and its reduction.
    pub loss: L,
    /// Most bytes of a tile of logits; a tile has at least 32 labels of up to 1,024 samples.
    pub tile_bytes: u64,
}

impl<L> Linear<L> {
    /// With tiles of 32 MiB.
    pub fn new(loss: L) -> Linear<L> {
        Linear {
            loss,
            tile_bytes: 32 << 20,
        }
    }

    /// The same with another limit for a tile.
    pub fn with_tile_bytes(mut self, tile_bytes: u64) -> Linear<L> {
        self.tile_bytes = tile_bytes;
        self
    }

    /// What is refused of a loss that is none of hard labels and rows.
    pub(crate) fn refused() -> Error {
        Error::refused(
            "loss",
            "a last layer takes losses of rows of hard labels: not wdl, no divergence of other logits, no half over classes",
        )
    }
}
