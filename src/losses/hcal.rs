//! HCAL: prototype contrast over the levels of a hierarchy, with child-to-parent aggregation, adaptive balance and
//! perturbation.
//!
//! Exact against the authors' published code (`HaobingLiu/HCAL`), paper arXiv 2508.13452. A sample has one label at
//! each level `k = 1` (finest) .. `m`, or none. `f = x / |x|` are the features, `ph = p / |p|` a level's prototypes,
//! one for each class.
//!
//! 1. Perturbation, for training: `pt = (ph + eta) / |ph + eta|`, `eta` uniform in `(-epsilon, epsilon)` by component,
//!    one draw for the batch: a tensor, or from a seed on the device ([`Noise`]). Without, `pt = ph`.
//! 2. Level 1: `l_1 = -mean_i [ f_i pt_y / tau - log sum_c e^(f_i pt_c / tau) ]`.
//! 3. Level `k > 1`: the same over the classes `u` that occur in the batch, with `m_u` in the place of `f_i`: the mean
//!    of `f` over the samples of `u` ([`Aggregation::SampleMean`]), or the mean of the means of its child classes
//!    ([`Aggregation::Tree`]). It is not normalised again.
//! 4. [`Balance`]: `lambda = softmax(l / gamma)`, `L = sum lambda_k l_k`.
//! 5. Prediction at a level: the first of the largest `f ph_c`, without perturbation. A sample violates the hierarchy
//!    where the parent of its prediction at one level is not its prediction at the next; HVR is the share of such
//!    samples.
//!
//! **Gradients** go to features and prototypes, through both normalisations. The gradient to a vector shorter
//! than 1e-12 (the floor of the norm) is 0.
//!
//! **Missing labels.** A sample without a label at a level is not in that level's means. In a tree, a class has as
//! children those classes of the level below that occur in the batch; only where none does it is the mean of its own
//! samples. A level at which no sample has a label has `l = 0` and is out of the balance.
//!
//! **On the device** nothing of size B x C is kept: scores are made for as many samples at a time as [`Hcal::scores`]
//! numbers hold, for each window forward and backward at once, since the weights `lambda` only scale a level's
//! gradients and are applied at the end. Perturbed prototypes are never stored, but made from the prototypes and two
//! norms wherever they are read. Scratch: `2 B D` words for each level with means (`B D` without a gradient to the
//! features), 9 B words for each level, 3 words for each class, and the scores.
//!
//! **Cost.** Time O(B C D) for each level, three matrix products; O(B^2) comparisons of labels at each level.
//! Dispatches: about ten for each level and window.
//!
//! **Edges.** A NaN or an infinity in features or prototypes makes what depends on it NaN, which is the result
//! and nearly all gradients. Labels beyond the classes of their level count as missing on the device; the
//! slices of the module `host` and the reference refuse them, and with [`Aggregation::Tree`] labels that are not the
//! parents of those below.

use super::hcal_steps;
use super::rows::check_setting;
use crate::{Balance, BalanceState, Context, Error, Levels, Prepared, Tensor};

/// How the samples of a class become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean over the samples: the authors' code.
    #[default]
    SampleMean,
    /// The mean over the child classes in the batch, of their means.
    Tree,
}

/// HCAL. The [module](self) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hcal {
    /// `tau`, above 0.
    pub temperature: f32,
    /// What the classes of levels beyond the first are compared by.
    pub aggregation: Aggregation,
    /// How the levels' losses are weighted.
    pub balance: Balance,
    /// Size of the perturbation from a seed; not negative.
    pub epsilon: f32,
    /// Most scores (f32) that are kept at a time, at least those of one sample.
    pub scores: usize,
}

impl Default for Hcal {
    /// `tau` 0.1, means over samples, the authors' balance, `epsilon` 0.01, 2^24 scores.
    fn default() -> Self {
        Hcal {
            temperature: 0.1,
            aggregation: Aggregation::SampleMean,
            balance: Balance::default(),
            epsilon: 0.01,
            scores: 1 << 24,
        }
    }
}

/// The perturbation of the prototypes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Noise<'a> {
    /// None: validation, or an ablation.
    #[default]
    None,
    /// f32 `[C_k, D]` for each level: what is added to the unit prototypes.
    Given(&'a [Tensor<'a>]),
    /// u32 `[2]`: low and high half of a seed. What it gives is that of
    /// [`reference::perturbation`](crate::reference::perturbation), bit for bit.
    Seeded {
        /// The seed.
        seed: Tensor<'a>,
        /// Whether the call adds 1 to the seed when it is done, so that the call recorded once draws anew each time.
        advance: bool,
    },
}

/// What HCAL reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct HcalInputs<'a> {
    /// `[B, D]`, f32, f16 or bf16.
    pub features: Tensor<'a>,
    /// `[C_k, D]` for each level, f32, f16 or bf16.
    pub prototypes: &'a [Tensor<'a>],
    /// u32 `[m, B]`: a row for each level; [`Levels::NONE`] where there is no label. Needed for losses.
    pub labels: Option<Tensor<'a>>,
    /// u32 `[words_len]`: what [`Levels::words`] gave. Needed with [`Aggregation::Tree`] and for violations.
    pub levels: Option<Tensor<'a>>,
    /// The perturbation.
    pub noise: Noise<'a>,
    /// State or parameters of the balance.
    pub balance: BalanceState<'a>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What HCAL writes; what is absent is not computed. Predictions and violations alone: leave out all others, and
/// labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct HcalOutputs<'a> {
    /// f32 `[m]`: the loss of each level.
    pub losses: Option<Tensor<'a>>,
    /// f32 `[m]`: their weights.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[B, D]`.
    pub grad_features: Option<Tensor<'a>>,
    /// f32 `[C_k, D]` for each level.
    pub grad_prototypes: Option<&'a [Tensor<'a>]>,
    /// f32 `[m]`: the gradient to the log variances of [`Balance::Uncertainty`].
    pub grad_log_variances: Option<Tensor<'a>>,
    /// u32 `[m, B]`.
    pub predictions: Option<Tensor<'a>>,
    /// u32 `[m + 1]`, added to, so that calls of an epoch go to one tensor that was zeros at its beginning: samples,
    /// samples with a violation, and violations of each link from level `k` to `k + 1`. HVR by sample is the second
    /// through the first; by edge, the sum of the rest through `m - 1` times the first.
    pub violations: Option<Tensor<'a>>,
}

impl Hcal {
    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("temperature", self.temperature, 1e-6..=f32::MAX)?;
        check_setting("epsilon", self.epsilon, 0.0..=f32::MAX)?;
        self.balance.check()
    }

    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        levels: &Levels,
        inputs: &HcalInputs<'_>,
        outputs: &HcalOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        hcal_steps::prepare(cx, self, levels, inputs, outputs)
    }
}
