//! Weights of losses.

use crate::balance::BalanceCall;
use crate::ops::wide;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Tensor};
use wgloss::Balance;

/// The weighted sum of losses, `[1]`, and the weights, `[K]`. Where some are not `present`, they are in no softmax.
pub(crate) fn loss(call: &BalanceCall, present: Option<Tensor<1, Bool>>) -> (Tensor<1>, Tensor<1>) {
    let losses = wide(call.losses.clone());
    let [count] = losses.dims();
    let hidden = |values: Tensor<1>| match &present {
        Some(present) => values.mask_fill(present.clone().bool_not(), 0.0),
        None => values,
    };
    let (weights, more) = match call.settings {
        Balance::Adaptive { gamma, attach } => {
            let scores = if attach {
                losses.clone()
            } else {
                losses.clone().detach()
            } / gamma;
            let scores = match &present {
                Some(present) => scores.mask_fill(present.clone().bool_not(), super::FAR),
                None => scores,
            };
            (hidden(softmax(scores, 0)), None)
        }
        Balance::Uncertainty => {
            let theta = wide(
                call.state
                    .clone()
                    .unwrap_or_else(|| Tensor::zeros([count], &losses.device())),
            );
            let halves = hidden(theta.clone() * 0.5).sum();
            (hidden((-theta).exp() * 0.5), Some(halves))
        }
        // Of the others the caller has found the weights.
        _ => {
            let given = call.state.clone();
            (
                wide(given.unwrap_or_else(|| Tensor::ones([count], &losses.device()))),
                None,
            )
        }
    };
    let sum = (weights.clone() * losses).sum();
    let sum = match more {
        Some(more) => sum + more,
        None => sum,
    };
    (sum, weights.detach())
}
