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
//! **Updates.** With [`Linear::with_update`] the weights take a step where their gradient is made, which is nowhere stored:
//! plain ones, or Adagrad with one number for each label. Steps of weights of 16 bits are rounded by chance, from a seed, so
//! that small ones are not lost. The same call gives the same bits.
//!
//! **Predictions.** The labels of the greatest logits of each sample, up to 128, with these: from the same tiles, with a loss or
//! without. Of equal logits the smaller label comes first, a NaN last; classes that a mask leaves out are none of them.
//!
//! **How.** A loss whose gradient needs nothing of the row but its own logit, as that of BCE, makes each tile once. The others
//! sum up their rows first (few numbers each), and make each tile again for the gradient: four products of matrices
//! instead of three. Where one tile has room for all logits it is made once.
//!
//! **Memory.** Beside inputs and outputs, in bytes, with `T` = [`Linear::tile_bytes`]: hidden states in f32, rows of a
//! multiple of 16 components, unless they lie there so (`4 B D`); the gradient to them in f32, perhaps in a few parts
//! (`4 B D`); the tile and, for gradients to weights or bias, the tile turned (up to `T` each, no less than 32 labels); a strip
//! of gradients to weights in f32, and of weights that have to be packed (up to `T` each); some 30 bytes a sample and strip of
//! labels, and for a gradient to the bias 64 bytes a label of a strip and 4 more for each 1,024 samples; with cooperative
//! matrices 4 bytes a sample and a label. [`Plan::scratch_bytes`](crate::Plan) has the sum.
//!
//! [`Context::with_cooperative_matrices`](crate::Context::with_cooperative_matrices) has hidden states and weights that both are
//! of f16 or bf16 multiplied by cooperative matrices: a sweep over each to find factors, a dispatch more for each tile and
//! gradient, whose products are twice as many operations (the gradient to a logit is two f16).
//!
//! **Numbers.** Products are in f32 whatever the storage, and no sum takes in more than some hundred products (of cooperative
//! matrices, 128 of these) before it is added to others. Cooperative matrices multiply f16 exactly, and of bf16 all but what is
//! below the 2^40th part of a row's largest component; products of two rows whose largest components multiply to less than
//! 2^-96 may be 0 there, and to more than 2^157 infinite or NaN. Of hidden states and weights that are not finite the logits
//! are what the device's arithmetic makes of them; where logits come in several tiles, a NaN logit makes a row's gradient NaN
//! in its tile alone if the loss is a sum over labels.
//!
//! The idea of a loss fused with the layer before it: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language
//! Models", arXiv 2411.09009, for cross-entropy; for BCE over millions of labels Jain et al., "Renee: End-to-End Training of Extreme Classification Models", MLSys 2023.

use crate::error::Error;
use crate::losses::reduction::check_setting;

/// A step against the gradient to the weights, in the sweep that makes it: the gradient is nowhere stored.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// `w -= rate g`.
    Sgd {
        /// Not negative.
        rate: f32,
    },
    /// Adagrad with one number for each label: `state += mean_d g_d^2`, then `w_d -= rate g_d / (sqrt(state) + epsilon)`
    /// (the row-wise form of FBGEMM's embedding tables).
    Adagrad {
        /// Not negative.
        rate: f32,
        /// Above 0.
        epsilon: f32,
    },
}

impl Update {
    /// Plain steps.
    pub fn sgd(rate: f32) -> Update {
        Update::Sgd { rate }
    }

    /// Adagrad by row, with an epsilon of 1e-8.
    pub fn adagrad(rate: f32) -> Update {
        Update::Adagrad {
            rate,
            epsilon: 1e-8,
        }
    }

    fn check(self) -> Result<(), Error> {
        let (rate, epsilon) = match self {
            Update::Sgd { rate } => (rate, 1.0),
            Update::Adagrad { rate, epsilon } => (rate, epsilon),
        };
        check_setting("rate", rate, 0.0..=f32::MAX)?;
        check_setting("epsilon", epsilon, f32::MIN_POSITIVE..=f32::MAX)
    }

    /// Whether each label has a number of its own.
    pub(crate) fn has_state(self) -> bool {
        matches!(self, Update::Adagrad { .. })
    }
}

/// The stream of numbers from a seed by which weights of 16 bits are rounded.
pub(crate) const ROUNDING: u32 = 0x726f_756e;
/// Most labels that are chosen for a sample.
pub(crate) const MOST_CHOSEN: usize = 128;

/// A last layer with a loss on top of it. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear<L> {
    /// The loss of the logits, with its settings and its reduction.
    pub loss: L,
    /// Most bytes of a tile of logits, and no more than a fifth of the device's largest buffer; a tile has at least 32 labels of up
    /// to 1,024 samples.
    pub tile_bytes: u64,
    /// What becomes of the weights.
    pub update: Option<Update>,
    /// Of the numbers by which updated weights of 16 bits are rounded: another one each step.
    pub seed: u64,
}

impl<L> Linear<L> {
    /// With tiles of 128 MiB, about one storage binding of WebGPU, and weights that stay as they are.
    pub fn new(loss: L) -> Linear<L> {
        Linear {
            loss,
            tile_bytes: 128 << 20,
            update: None,
            seed: 0,
        }
    }

    /// The same with a step of the weights, whose gradient then goes nowhere else. Weights of 16 bits are rounded up or down by
    /// numbers from the seed, each as often as it takes for the mean to be right.
    pub fn with_update(mut self, update: Update, seed: u64) -> Linear<L> {
        self.update = Some(update);
        self.seed = seed;
        self
    }

    /// The settings without the loss.
    pub(crate) fn layer(&self) -> Linear<()> {
        Linear {
            loss: (),
            tile_bytes: self.tile_bytes,
            update: self.update,
            seed: self.seed,
        }
    }

    /// Checks the settings but the loss's.
    pub(crate) fn check_layer(&self) -> Result<(), Error> {
        self.update.map_or(Ok(()), Update::check)
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
