#![doc = include_str!("../README.md")]

mod balance;
mod contrastive;
mod device;
mod fused;
mod hcal;
mod mcm;
mod ops;
mod rows;
mod targets;

pub use balance::{Balance, BalanceConfig};
pub use contrastive::{
    ContrastiveExtras, ContrastiveKeys, ContrastiveLoss, ContrastiveLossConfig, Labels,
};
#[cfg(not(target_family = "wasm"))]
pub use device::init;
pub use device::{forget, init_async, is_shared, share};
pub use hcal::{HcalLoss, HcalLossConfig, HcalOutput};
pub use mcm::{McmExtras, McmLoss, McmLossConfig};
pub use rows::{
    AslLossConfig, BceLossConfig, DiceLossConfig, FocalLossConfig, HillLossConfig, LsepLossConfig,
    RowExtras, RowLoss, TwoWayLossConfig, WdlLossConfig, ZlprForm, ZlprLossConfig,
};
pub use targets::Targets;
pub use wgloss;
pub use wgloss::{Contrastive, ContrastiveReduction, Denominator, Reduction, Threshold, losses};

use burn::module::DisplaySettings;
use burn::tensor::{FloatDType, Tensor};
use wgloss::Error;

/// What it is, or a panic with the error's sentence, as burn's own modules have it.
fn unwrap<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// In f32, which is what the kernels have weights and parameters in.
fn float32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.cast(FloatDType::F32)
}

/// The losses of a batch in which there is nothing to sum: zeros that the graph knows.
fn nothing(losses: usize, of: Tensor<2>) -> Tensor<1> {
    Tensor::zeros([losses], &of.device()) + of.sum() * 0.0
}

/// How every module shows itself: in a line.
fn in_a_line() -> Option<DisplaySettings> {
    DisplaySettings::new()
        .with_new_line_after_attribute(false)
        .optional()
}
