//! Loss functions for multi-label learning on any GPU: WGSL kernels, forward and backward, through wgpu.
//!
//! The crate works on a device of yours. [`Context`] looks at it, a loss's `prepare` checks a call and makes all it
//! needs, and [`Prepared::encode`] records it into your encoder. Nothing is submitted, waited for or read back. Tensors
//! are views of your buffers ([`Tensor`]), all in one if you like. Without a device of your own, the module `host`
//! (feature `host`) opens one and takes plain slices. [`mod@reference`] has the same losses on the CPU, in f64 or f32.
//!
//! # Losses
//!
//! Logits `s`, labels `y` in {0, 1} or soft labels `t` in `[0, 1]`; positives P, negatives N; `sigma` the sigmoid,
//! `softplus(x) = log(1 + e^x)`, `a = log sum_P e^(-s / t_pos)`, `b = log sum_N e^(s / t_neg)`.
//!
//! | loss | of a row | source |
//! |---|---|---|
//! | [`Zlpr::hard`] | `log(1 + sum_P e^-s) + log(1 + sum_N e^s)`; predict `s > 0` | Su et al., arXiv 2208.02955; kexue.fm 7359 |
//! | [`Zlpr::hard`] with a [`Threshold`] `s0` (TLPR) | the same with `s - s0`; the threshold has a gradient | arXiv 2208.02955 |
//! | [`Zlpr::soft`] | `log(1 + sum t e^-s) + log(1 + sum (1-t) e^s)`; [smoothing](Zlpr::with_smoothing) | kexue.fm 9064 |
//! | [`Zlpr::lsep`] | `softplus(a + b)` with `t_pos = t_neg = 1` | Li et al., arXiv 1704.03135 |
//! | [`Zlpr::two_way`] | `softplus(t_pos a + t_neg b)`, over samples, [classes or both](losses::zlpr::Half) | Kobayashi, CVPR 2023 |
//! | [`Zlpr::kl_symmetric`] | `sum beta (sigma(beta s) - sigma(beta u)) (s - u)`, `u` other logits | kexue.fm 9039 (`beta = 1`) |
//! | [`Zlpr::kl_excess`] | the soft form at `t = sigma(2u)`, less its minimum | derived from the soft form |
//! | [`BpMll`] | the mean over P x N of `e^(s_n - s_p)` | Zhang and Zhou, TKDE 2006 |
//! | [`Bce`] | `sum w y softplus(-s) + (1-y) softplus(s)`, `w` the positive weight | |
//! | [`Focal`], [`Asl`], [`Hill`], [`Splc`] | the same sum with other terms: [`losses::per_label`] | arXiv 1708.02002, 2009.14119, 2112.07368 |
//! | [`Dice`] | `1 - (2 sum p y + 1) / (sum p + sum y + 1)`, `p = sigma(s)` | arXiv 1606.04797 |
//! | [`SoftmaxCe`] | `-sum q log p`, `q = t / sum t`, `p` the softmax of the logits | arXiv 1805.00932 |
//! | [`Wdl`] | presence, proportions and weighted differences of label distributions, without a sort: [`losses::wdl`] | a formulation of the idea of Sci Rep 15:25052 |
//! | [`Contrastive`] | contrastive losses of label sets: Similarity-Dissimilarity, SupCon ANY and ALL, MulSupCon, Jaccard, InfoNCE: [`losses::contrastive`] | arXiv 2410.13439, 2004.11362, AAAI 2024, 1807.03748 |
//! | [`Linear`] of any loss of rows above but WDL and the divergences | the loss of `hidden weights^T + bias`, logits in tiles alone: [`losses::linear`] | arXiv 2411.09009, MLSys 2023 |
//! | [`Mcm`] | `BCE(v, y)`, `v_A = y_A max_D (y h) + (1 - y_A) max_D h` over the descendants D of A | C-HMCNN, NeurIPS 2020 |
//! | [`Hcal`] | `sum_k lambda_k l_k`, contrast of features and class means with prototypes: [`losses::hcal`] | arXiv 2508.13452 |
//! | [`Balance`] | weights of any losses: [`losses::balance`] | arXiv 2508.13452, 1803.10704, 1705.07115, 2111.10603 |
//! | [`Metrics`] | no loss: F1, ranking metrics, precision@k, added up on the device: [`losses::metrics`] | scikit-learn |
//!
//! ZLPR is exact: it is the first author's own text and code. HCAL is exact against the authors' published code. Of
//! Similarity-Dissimilarity the two factors are established; where they stand in the loss could not be confirmed from the
//! paper, so all placements are offered. [`losses::zlpr`] and [`losses::bce`] have the edge rules
//! and the cost; [`RowInputs`] and [`RowOutputs`] have shapes and types, masks, weights and the upstream gradient. Labels may lie
//! on several devices: [`Mergeable`], [`losses::shards`].
//!
//! # Examples
//!
//! These three run on the reference, which has the same settings as the kernels and needs no GPU. A loss and its
//! gradient:
//!
//! ```
//! use wgloss::Zlpr;
//! use wgloss::reference::{RowInputs, zlpr};
//!
//! let out = zlpr(&Zlpr::hard(), &RowInputs {
//!     rows: 1,
//!     cols: 5,
//!     logits: &[2.0, -1.0, 0.5, 0.0, -3.0],
//!     targets: &[1.0, 0.0, 0.0, 1.0, 0.0],
//!     ..RowInputs::default()
//! })?;
//! assert!((out.loss[0] - 1.879123925705_f64).abs() < 1e-12);
//! // Descent raises the logits of the positives and lowers the others.
//! assert!(out.grad_logits[0] < 0.0 && out.grad_logits[1] > 0.0);
//! # Ok::<(), wgloss::Error>(())
//! ```
//!
//! Positives as lists, a class that does not count, a learned threshold, one loss per row:
//!
//! ```
//! use wgloss::reference::{RowInputs, dense_from_sparse, zlpr};
//! use wgloss::{Reduction, Threshold, Zlpr};
//!
//! // Row 0 has the labels 0 and 2, row 1 has none.
//! let positives = dense_from_sparse(2, 3, &[0, 2, 2], &[2, 0])?;
//! let targets: Vec<f64> = positives.into_iter().map(f64::from).collect();
//! let config = Zlpr::hard().with_reduction(Reduction::None);
//! let out = zlpr(&config, &RowInputs {
//!     rows: 2,
//!     cols: 3,
//!     logits: &[1.0, f64::NAN, -0.5, -2.0, 7.0, 0.5],
//!     targets: &targets,
//!     class_mask: Some(&[true, false, true]),
//!     threshold: Some(Threshold::Batch(&[0.25])),
//!     ..RowInputs::default()
//! })?;
//! assert_eq!(out.loss.len(), 2);
//! // What does not count is not looked at.
//! assert_eq!(out.grad_logits[1], 0.0);
//! // The threshold moves every logit the other way.
//! let sum: f64 = out.grad_logits.iter().sum();
//! assert!((out.grad_threshold[0] + sum).abs() < 1e-12);
//! # Ok::<(), wgloss::Error>(())
//! ```
//!
//! Soft labels: the loss is least where the probabilities `sigma(2s)` are the labels.
//!
//! ```
//! use wgloss::Zlpr;
//! use wgloss::reference::{RowInputs, zlpr};
//!
//! let targets = [0.9, 0.2, 0.5];
//! let mut logits = [0.0_f64; 3];
//! for _ in 0..500 {
//!     let inputs = RowInputs { rows: 1, cols: 3, logits: &logits, targets: &targets, ..RowInputs::default() };
//!     let out = zlpr(&Zlpr::soft(), &inputs)?;
//!     for (s, slope) in logits.iter_mut().zip(&out.grad_logits) {
//!         *s -= slope;
//!     }
//! }
//! for (s, t) in logits.iter().zip(targets) {
//!     let p = 1.0 / (1.0 + (-2.0 * s).exp());
//!     assert!((p - t).abs() < 1e-6);
//! }
//! # Ok::<(), wgloss::Error>(())
//! ```
//!
//! On a GPU, everything in one buffer, the gradient over the logits:
//!
//! ```no_run
//! use wgloss::{Context, DType, Gradient, RowInputs, RowOutputs, Targets, Tensor, Zlpr, wgpu};
//!
//! # fn record(
//! #     device: &wgpu::Device, arena: &wgpu::Buffer, encoder: &mut wgpu::CommandEncoder,
//! # ) -> Result<(), wgloss::Error> {
//! let (rows, labels, words) = (4096, 1000, 32); // a label is a bit
//! let cx = Context::new(device)?;
//! // f16 logits, then packed label bits, then the loss. Offsets count elements.
//! let bits_at = (rows * labels / 2) as u64;
//! let loss_at = bits_at + (rows * words) as u64;
//! let logits = Tensor::matrix(arena, DType::F16, rows, labels);
//! let bits = Tensor::matrix(arena, DType::U32, rows, words).with_offset(bits_at);
//! let outputs = RowOutputs {
//!     loss: Some(Tensor::vector(arena, DType::F32, 1).with_offset(loss_at)),
//!     grad_logits: Some(Gradient::InPlace),
//!     ..RowOutputs::default()
//! };
//! let inputs = RowInputs::new(logits, Targets::Bits(bits));
//! let call = Zlpr::hard().prepare(&cx, &inputs, &outputs)?; // once
//! call.encode(encoder); // every step
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - One row of each tensor must fit one storage binding (128 MiB of f32 is 33 million labels). More rows than that are
//!   done in windows, each with its own dispatches.
//! - `target_indices`, `loss`, `grad_threshold`, a step's part of the scratch, and each of class mask, class weight,
//!   sample weight, threshold and upstream gradient must fit one binding.
//! - Loss, weights (but those by element, which may be of any real type), thresholds, upstream gradient and the gradients to targets, other logits and threshold are f32 only.
//! - Losses of rows take two dispatches, or four for long rows that are few (more than 8,192 labels and fewer than 1,024
//!   rows; on CPU adapters 32,768 and 8), and one more beyond 16,384 rows. A gradient to a threshold per label costs one
//!   more, with a gradient over the logits up to two; sparse targets two. Masks, weights and thresholds per class cost one
//!   more, which makes tables of them, as do weights, thresholds and upstream gradient that lie in several buffers. WDL
//!   takes three to ten dispatches, and has scratch for a window of rows: up to 64 MiB, and what its documentation says
//!   beside. Scratch of the others: 4 bytes a row, and of split rows 24 bytes a chunk.
//! - A mean over what counts ([`Reduction::MeanElements`] with masks, [`Reduction::MeanActive`]) costs a sweep more, which
//!   counts. Weights by element that are no f32, or stand beside a mask by element, are copied first, 4 bytes an element.
//! - Values on the device are not checked: soft targets outside `[0, 1]` give what the formula gives, an invalid
//!   permutation gives a meaningless loss. The `host` layer and the command check them.
//! - A software driver compiles a kernel in up to a second, the first time. [`Context::warm_up`] moves that to a
//!   moment of your choice, on several threads, and [`Context::with_pipeline_cache`] takes a `wgpu::PipelineCache`.
//! - In browsers tensors of one buffer must begin at multiples of 256 bytes. What the device refuses while a call is prepared
//!   is no error of `prepare` there, since the answer comes later: it goes to the device's own handler of errors, and the
//!   submission that uses the call is refused. The functions of `host` that are awaited report both.
//!
//! # Numbers
//!
//! Everything is computed in f32, whatever the storage. The truth in the tests is the reference in f64, on the inputs as
//! the device stores them. An element may be off by 8 times the largest error of the reference in f32, plus 2e-5 and the
//! rounding of the element type relative to itself, plus 1e-6 of the largest value in its tensor. NaN and infinities must
//! be where the reference has them. A NaN in a row makes that row's loss and gradient NaN, and with a sum or mean the
//! total; it reaches no other row's gradient.
//!
//! The same call gives the same bits every time on one device, driver and variant: there are no float atomics, and every
//! sum has a fixed order. Between devices and variants results agree within the tolerance.
//!
//! # Features
//!
//! None is on by default. `host`: opens devices, takes and gives plain slices. `check`: the case table of the tests,
//! to qualify a device. `cli`: the command `wgloss`. `serde`: settings as text and back. wgpu's backends are your choice,
//! by features of your own `wgpu` dependency; `host` turns on Vulkan, Metal and DirectX 12, and WebGPU in
//! browsers, where what blocks does not exist.

#[cfg(feature = "check")]
#[forbid(unsafe_code)]
pub mod check;
#[forbid(unsafe_code)]
mod device;
#[forbid(unsafe_code)]
mod error;
#[cfg(feature = "host")]
pub mod host;
#[forbid(unsafe_code)]
mod kernels;
#[forbid(unsafe_code)]
pub mod losses;
#[forbid(unsafe_code)]
pub mod reference;
#[forbid(unsafe_code)]
mod rowwise;

pub use device::call::{Block, Bound, Call, CallStep};
pub use device::caps::{Caps, Half, Reduce, Variant};
pub use device::context::Context;
pub use device::judge::{Fault, Probe};
pub use device::live::Setting;
pub use device::plan::{Plan, Step};
pub use device::prepared::Prepared;
pub use device::tensor::{DType, Tensor};
pub use device::verify::Verification;
pub use error::{Error, ErrorKind};
pub use kernels::balance::{BalanceInputs, BalanceOutputs};
pub use kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, LabelCountInputs, LabelCountOutputs, LabelCounts,
    RelationInputs, RelationOutputs, Relations,
};
pub use kernels::gradient::Gradient;
pub use kernels::hcal::call::{HcalInputs, HcalOutputs, HcalSums};
pub use kernels::linear::call::{LinearInputs, LinearOutputs};
pub use kernels::mcm::call::{McmInputs, McmOutputs};
pub use kernels::metrics::{MetricsInputs, MetricsOutputs};
pub use kernels::on_device::OnDevice;
pub use kernels::rows::call::{RowInputs, RowOutputs};
pub use kernels::rows::permutation::{PermutationInputs, PermutationOutputs, Permutations};
pub use losses::balance::{Balance, BalanceState};
pub use losses::bce::Bce;
pub use losses::bp_mll::BpMll;
pub use losses::contrastive::{Contrastive, ContrastiveReduction, Denominator};
pub use losses::hcal::Hcal;
pub use losses::hierarchy::{Hierarchy, Levels};
pub use losses::labels::{AfterCall, Noise, Order, Scope, Seed, Targets, Threshold};
pub use losses::linear::{Linear, Update};
pub use losses::mcm::Mcm;
pub use losses::metrics::{MetricValues, Metrics};
pub use losses::per_label::{Asl, Dice, Focal, Hill, Splc};
pub use losses::reduction::Reduction;
pub use losses::shards::Accumulator;
pub use losses::softmax_ce::SoftmaxCe;
pub use losses::takes::{Takes, TargetKind, ThetaShape};
pub use losses::wdl::Wdl;
pub use losses::zlpr::Zlpr;
pub use rowwise::{AnyLoss, CATALOG, Entry, Mergeable, Rowwise};
pub use wgpu;

/// How WGSL is composed: for the tests, for `dump_shaders`, for [`Context::warm_up`]. No promise of stability.
#[doc(hidden)]
pub mod shader {
    pub use crate::device::module::{File, Kernel, Mirror, Module, Part, Program};
    pub use crate::kernels::modules;
}

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
