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
//! **Cost.** Four dispatches and one for the sum. Time O(B P), where P is [`Hierarchy::pairs`](crate::Hierarchy::pairs): every class looks at
//! its descendants once, and for the gradient at its ancestors. On the device lie the hierarchy, `2 (L + 1 + P)` words
//! and a word for each class with more than 64 descendants, once for all calls; and the winners, a word for each class
//! of a row, of as many rows as 64 MiB hold (fewer rows: of those). For the 4,130 classes of a Gene Ontology data set,
//! which at 10 ancestors each have P = 45,430, that is 0.4 MB in all and 16.5 kB a row; the published code expands a
//! row to L x L numbers in f64, which is 136 MB.

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_reduction, setters};

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

impl Mcm {
    /// The same with the sum over a row's classes in the place of their mean.
    pub fn with_row_sum(mut self) -> Self {
        self.row_mean = false;
        self
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_reduction(self.reduction)
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

setters! {
    Mcm:
    with_reduction, reduction, Reduction, "another reduction";
}
