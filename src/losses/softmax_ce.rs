//! Multi-label softmax cross-entropy: the softmax of a row's logits against the proportions of its targets.
//!
//! `-sum_l w_l q_l log p_l` over the labels that count, with `q = t / sum t`, `p = softmax(s)` and class weights `w`
//! (1 where not given), hard or soft targets `t`. It is what extreme classification and image tagging train with where
//! labels compete; the normalised targets are those of Mahajan et al., arXiv 1805.00932.
//!
//! **Gradients.** To `s`: `p W - w q`, `W = sum w q`. To `t`: `(-w log p - loss) / sum t`.
//!
//! **Edges.** A row whose targets sum to 0 has loss 0 and gradient 0; so has one without labels. A logit of -inf without
//! a target costs nothing, and with one makes the row's loss +inf. Logits of +inf share all of `p`, and the loss is +inf
//! where a target is not among them. A row whose loss is +inf has its gradient to the logits all the same, and 0 to the
//! targets. A NaN makes its row's loss and gradient NaN, and no other row's.
//!
//! **Beside PyTorch.** No code of the authors is public. With targets that sum to 1 in each row it is `CrossEntropyLoss` of
//! probabilities, whose default is the mean over rows, as here; PyTorch does not divide targets by their sum, and can smooth them.
//!
//! **Cost.** As [`zlpr`](super::zlpr).

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_reduction, setters};
use crate::losses::takes::{Takes, TargetKind};

/// Softmax cross-entropy of several labels. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCe {
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for SoftmaxCe {
    /// Mean over rows.
    fn default() -> Self {
        SoftmaxCe {
            reduction: Reduction::Mean,
        }
    }
}

impl SoftmaxCe {
    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes::targets(TargetKind::Soft)
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_reduction(self.reduction)
    }
}

setters! {
    SoftmaxCe:
    with_reduction, reduction, Reduction, "another reduction";
}
