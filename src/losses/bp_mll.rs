//! BP-MLL: every pair of a positive and a negative that stands the wrong way round costs exponentially.
//!
//! The mean over all pairs of a positive `p` and a negative `n` of `w_p w_n e^(s_n - s_p)`, with class weights `w` (1 where
//! not given); the divisor is the number of pairs whatever the weights (Zhang and Zhou, TKDE 2006, with logits in the
//! place of a network's outputs). Computed as `e^(a + b) / (|P| |N|)` from the log-sum-exps of
//! [ZLPR's family](super::zlpr), `a = log sum_P w e^-s` and `b = log sum_N w e^s`.
//!
//! **Gradient.** Of a negative `w e^(s + a) / (|P| |N|)`, of a positive `-w e^(b - s) / (|P| |N|)`.
//!
//! **Edges.** 0 where a side is empty, or has nothing but weights of 0 and logits that are infinite on the right side.
//! The loss and a label's gradient are +inf (or -inf) where they overflow f32, from an exponent of 88.7 on: unlike
//! [LSEP](crate::Zlpr::lsep) it grows with the exponential itself. A NaN makes its row's loss and gradient NaN, and no
//! other row's. A threshold would move nothing and is refused.
//!
//! **Beside the authors.** Theirs are the outputs of a network's last layer, here logits; there is no setting.
//!
//! **Cost.** As [`zlpr`](super::zlpr).

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_reduction, setters};
use crate::losses::takes::{Takes, TargetKind};

/// BP-MLL. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BpMll {
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for BpMll {
    /// Mean over rows.
    fn default() -> Self {
        BpMll {
            reduction: Reduction::Mean,
        }
    }
}

impl BpMll {
    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes::targets(TargetKind::Hard)
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
    BpMll:
    with_reduction, reduction, Reduction, "another reduction";
}
