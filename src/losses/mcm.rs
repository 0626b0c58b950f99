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
//! **Masks.** What a mask takes out, a class or an element, is out of the loss and still in the constraint: its own term
//! is absent, and its `h` takes part in the maxima of its ancestors. In the maximum of positives it does only if its
//! target is a plain 1; anything else there (NaN, -1, 255, 0.3) counts as 0, and is not looked at. A class mask
//! that takes out the roots is how the published scripts train, whose loss leaves them out. The mean over a row's classes is
//! over those that count; a row of which none does has loss and gradient 0. The probabilities know no mask.
//!
//! **Weights.** A sample weight multiplies its row; a row of weight 0 counts for nothing, whatever it holds. A class
//! weight multiplies the class's term, and changes no divisor; a term of weight 0 is 0, were it infinite.
//!
//! **Edges.** Labels need not be closed under the hierarchy. Targets are hard: a real number above 0.5 is positive. A
//! NaN makes the loss and gradient of its row NaN where a class that counts has it among its descendants, no other row's,
//! and the probabilities of its ancestors. `s = +inf` where it is wrong: the loss is +inf, its gradient 1.
//!
//! **Beside the authors' code.** `EGiunchiglia/C-HMCNN` (`main.py`) has no settings: `BCELoss` of constrained probabilities in f64,
//! the mean over the batch and all classes but the roots. Here by default all classes count, as in the paper; a class mask of
//! the roots makes the divisor and the loss theirs. Its logarithms are at least -100, and of descendants that tie PyTorch
//! chooses the one that gets the gradient.
//!
//! **Cost.** A dispatch for the leaves, one for each level of the others, one for the gradient, and a few for sums: ten
//! for most hierarchies. A level is not one of the hierarchy's: a class looks at up to 64 classes and winners found
//! before, so there are as many as the logarithm of its size, more where paths are longer than some ten classes or
//! classes have several parents. Time O(B L) in trees: of P = [`Hierarchy::pairs`](crate::Hierarchy::pairs) pairs of a
//! class and a descendant few are looked at. On the device lie the hierarchy, once for all calls, some three words for
//! each class, at most P and a few; and, of as many rows as 64 MiB hold, three words for each class of a row (one, without
//! a gradient) and four for each that is no leaf. For the 4,130 classes of a Gene Ontology data set with 10 ancestors
//! each that is some 40 kB in all and 80 kB a row; the published code expands a row to L x L numbers in f64, 136 MB.
//! Masks and sample weights cost three dispatches or so and two bits for each element, which the kernels then read in
//! place of the targets; class weights two or so, and two more words for each element where there is a gradient: the sum
//! of the weights that a class has won is one of integers, in 64 bits, so that it does not depend on an order. A weight
//! of at least 2^-39 of the sum of all keeps its digits there. Sparse targets cost two dispatches, and a bit for each
//! element.

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_reduction, setters};

/// Max constraint loss. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
