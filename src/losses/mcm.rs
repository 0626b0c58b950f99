//! The max constraint module of C-HMCNN(h) and its loss: predictions that never break a hierarchy.
//!
//! Giunchiglia and Lukasiewicz, "Coherent Hierarchical Multi-Label Classification Networks", NeurIPS 2020. With
//! `h = sigma(s)` and `D_A` the descendants of class A, itself among them, in any directed acyclic graph:
//!
//! `MCM_A = max_{B in D_A} h_B` are the probabilities: a parent's is never below a child's, so no violation can occur.
//!
//! `v_A = y_A max_{B in D_A} (y_B h_B) + (1 - y_A) max_{B in D_A} h_B`, and the loss of a row is the binary
//! cross-entropy of `v` and `y`, over its classes: their mean, so that [`Reduction::Mean`] is the mean over all
//! elements (the convention of the published code), or their sum ([`Mcm::row_mean`]).
//!
//! **In logits.** `sigma` rises, so the maximum is that of the logits, over all of `D_A` where `y_A = 0` and over its
//! positives where `y_A = 1` (A is one of them, so there always is one). With `m` the winner the term is
//! `softplus(s_m)` or `softplus(-s_m)`: no log of 0, and none of the clamps at -100 that a loss of probabilities has.
//!
//! **Gradient** goes to the winner alone, `sigma(s_m)` or `-sigma(-s_m)`. Of several that tie the one with the lowest
//! number wins, in the reference as on the GPU.
//!
//! **Edges.** Labels need not be closed under the hierarchy. Targets are hard: a real number above 0.5 is positive. A
//! NaN makes its row's loss and gradient NaN, no other row's, and the probabilities of its ancestors. `s = +inf` where
//! it is wrong: the loss is +inf, its gradient 1.
//!
//! **Cost.** Four dispatches and one for the sum. Time O(B P), where P is [`Hierarchy::pairs`]: every class looks at
//! its descendants once, and for the gradient at its ancestors. On the device lie the hierarchy, `2 (L + 1 + P)` words
//! and a word for each class with more than 64 descendants, once for all calls; and the winners, a word for each class
//! of a row, of as many rows as 64 MiB hold (fewer rows: of those). For the 4,130 classes of a Gene Ontology data set,
//! which at 10 ancestors each have P = 45,430, that is 0.4 MB in all and 16.5 kB a row; the published code expands a
//! row to L x L numbers in f64, which is 136 MB.

use super::mcm_steps;
use super::rows::check_reduction;
use crate::{Context, Error, Hierarchy, Prepared, Reduction, Tensor};

/// Max constraint loss. The [module](self) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mcm {
    /// Whether a row's loss is the mean over its classes, else the sum.
    pub row_mean: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Mcm {
    /// Mean over all elements.
    fn default() -> Self {
        Mcm {
            row_mean: true,
            reduction: Reduction::Mean,
        }
    }
}

/// What the constraint module reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct McmInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16.
    pub logits: Tensor<'a>,
    /// The targets; needed for loss and gradient, not for probabilities.
    pub targets: Option<McmTargets<'a>>,
    /// u32 `[words_len]`: what [`Hierarchy::words`] gave.
    pub hierarchy: Tensor<'a>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

/// The targets of the constraint module, hard.
#[derive(Clone, Copy, Debug)]
pub enum McmTargets<'a> {
    /// `[B, L]`: u8 (0 or 1), or f32, f16, bf16 (positive above 0.5).
    Dense(Tensor<'a>),
    /// u32 `[B, ceil(L/32)]`: label `l` is bit `l % 32` of word `l / 32`.
    Bits(Tensor<'a>),
}

/// What the constraint module writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, L]`, f32 or the logits' type: the gradient to the logits.
    pub grad_logits: Option<Tensor<'a>>,
    /// f32 `[B, L]`: the constrained probabilities.
    pub probabilities: Option<Tensor<'a>>,
}

impl Mcm {
    /// The same with another reduction.
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_reduction(self.reduction)
    }

    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then. That `inputs.hierarchy` holds the words of
    /// `hierarchy` is not checked.
    pub fn prepare(
        &self,
        cx: &Context,
        hierarchy: &Hierarchy,
        inputs: &McmInputs<'_>,
        outputs: &McmOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        mcm_steps::prepare(cx, self, hierarchy, inputs, outputs)
    }

    /// What a row's sum is multiplied by.
    pub(crate) fn row_scale(&self, cols: usize) -> f64 {
        if self.row_mean {
            1.0 / cols.max(1) as f64
        } else {
            1.0
        }
    }
}
