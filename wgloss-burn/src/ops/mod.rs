//! The same losses by burn's own tensor operations: for every backend, and what the kernels are compared with.
//!
//! Written to be right rather than fast: whole matrices, one after the other. Sums of exponentials are shifted by their
//! largest, which is a constant to the gradient, and what does not count is replaced before anything is computed of it. Logits
//! of +inf are not supported here, and -inf where it is a mask only.

pub(crate) mod balance;
pub(crate) mod contrastive;
pub(crate) mod hcal;
pub(crate) mod mcm;
pub(crate) mod rows;

use burn::tensor::{Bool, Device, FloatDType, Int, Tensor};
use wgloss::Reduction;
use wgloss::losses::contrastive::NORM_FLOOR;

/// So far below everything that its exponential is 0; an f32 still holds differences to it.
const FAR: f32 = -1e30;

/// `log(1 + e^x)`, and its slope `sigma(x)`, precise at both ends and at 0.
fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let top = x.clone().detach().clamp_min(0.0);
    let rest = (-top.clone()).exp() - 1.0 + (x - top.clone()).exp();
    rest.log1p() + top
}

/// `1 / (1 + e^-x)`.
fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    burn::tensor::activation::sigmoid(x)
}

/// Of each row the logarithm of `first + sum w e^x`, over the elements that count; `[B, 1]`. `first` is 1 or 0; without any
/// element that weighs it is the logarithm of 1, or [`FAR`]. Weights of 0 have their gradients all the same.
fn log_sum(
    x: Tensor<2>,
    weight: Option<Tensor<2>>,
    counts: Tensor<2, Bool>,
    first: f32,
) -> Tensor<2> {
    let weighs = match &weight {
        Some(weight) => counts
            .clone()
            .bool_and(weight.clone().detach().greater_scalar(0.0)),
        None => counts.clone(),
    };
    let top = x
        .clone()
        .detach()
        .mask_fill(weighs.bool_not(), FAR)
        .max_dim(1);
    let top = if first > 0.0 { top.clamp_min(0.0) } else { top };
    let none = top.clone().lower_equal_scalar(FAR);
    let x = x.mask_fill(counts.bool_not(), FAR);
    // What does not weigh may be above the largest that does.
    let powers = (x - top.clone()).clamp_max(80.0).exp();
    let powers = match weight {
        Some(weight) => powers * weight,
        None => powers,
    };
    let sum = powers.sum_dim(1);
    let all = match first > 0.0 {
        // Where the largest is the 1 itself, that is the logarithm of 1 and a little, which keeps its digits.
        true => ((-top.clone()).exp() - 1.0 + sum).log1p() + top,
        false => sum.mask_fill(none.clone(), 1.0).log() + top,
    };
    all.mask_fill(none, FAR)
}

/// Flags that are all set.
fn all<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D, Bool> {
    Tensor::<D, Int>::ones(shape, device).not_equal_scalar(0)
}

/// Which elements `[B, L]` count: neither a mask nor a sample weight of 0 takes them out.
fn counted(
    dims: [usize; 2],
    class_mask: Option<Tensor<1, Bool>>,
    mask: Option<Tensor<2, Bool>>,
    sample_weight: Option<&Tensor<1>>,
    device: &Device,
) -> Tensor<2, Bool> {
    let [rows, cols] = dims;
    let of_class = class_mask.map(|mask| mask.reshape([1, cols]).expand(dims));
    let of_row = sample_weight.map(|weight| {
        let counts = weight.clone().not_equal_scalar(0.0);
        counts.reshape([rows, 1]).expand(dims)
    });
    let given = [of_class, mask, of_row].into_iter().flatten();
    given.fold(all(dims, device), Tensor::bool_and)
}

/// The losses of rows as one, where the reduction does not count anything.
fn reduced(each: Tensor<1>, reduction: Reduction) -> Tensor<1> {
    match reduction {
        Reduction::None => each,
        Reduction::MeanOver(n) => each.sum() / n,
        Reduction::Sum => each.sum(),
        _ => each.mean(),
    }
}

/// Rows divided by their length, or by 1e-12 where that is more; those have no gradient.
fn unit(rows: Tensor<2>) -> Tensor<2> {
    const FLOOR: f32 = NORM_FLOOR as f32;
    let dims = rows.dims();
    // By shares of the largest component, so that no square leaves the range.
    let largest = rows.clone().detach().abs().max_dim(1);
    let zero = largest.clone().equal_scalar(0.0);
    let shares = rows.clone() / largest.clone().mask_fill(zero.clone(), 1.0);
    let shares = shares.mask_fill(zero.expand(dims), 1.0);
    let root = (shares.clone() * shares.clone()).sum_dim(1).sqrt();
    let short = (root.clone().detach() * largest).lower_equal_scalar(FLOOR);
    (shares / root).mask_where(short.expand(dims), rows.detach() / FLOOR)
}

/// 0 where a flag is not set, whatever was there; its gradient too.
fn only<const D: usize>(values: Tensor<D>, counts: Tensor<D, Bool>) -> Tensor<D> {
    values.mask_fill(counts.bool_not(), 0.0)
}

/// In f32, which everything is computed in.
fn wide<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    values.cast(FloatDType::F32)
}
