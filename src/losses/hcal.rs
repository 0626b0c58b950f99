//! HCAL: prototype contrast over the levels of a hierarchy, with child-to-parent aggregation, adaptive balance and
//! perturbation.
//!
//! Exact against the authors' published code (`HaobingLiu/HCAL`), paper arXiv 2508.13452. A sample has one label at
//! each level `k = 1` (finest) .. `m`, or none. `f = x / |x|` are the features, `ph = p / |p|` a level's prototypes,
//! one for each class.
//!
//! 1. Perturbation, for training: `pt = (ph + eta) / |ph + eta|`, `eta` uniform in `(-epsilon, epsilon)` by component,
//!    one draw for the batch: a tensor, or from a seed on the device ([`Noise`](crate::Noise)). Without, `pt = ph`.
//! 2. Level 1: `l_1 = -mean_i [ f_i pt_y / tau - log sum_c e^(f_i pt_c / tau) ]`.
//! 3. Level `k > 1`: the same over the classes `u` that occur in the batch, with `m_u` in the place of `f_i`: the mean
//!    of `f` over the samples of `u` ([`Aggregation::SampleMean`]), or the mean of the means of its child classes
//!    ([`Aggregation::Tree`]). It is not normalised again.
//! 4. [`Balance`]: `lambda = softmax(l / gamma)`, `L = sum lambda_k l_k`; or [`Balance::Fixed`] weights, which a tensor
//!    has.
//! 5. Prediction at a level: the first of the largest `f ph_c`, without perturbation. A sample violates the hierarchy
//!    where the parent of its prediction at one level is not its prediction at the next; HVR is the share of such
//!    samples.
//!
//! **Gradients** go to features and prototypes, through both normalisations. The gradient to a vector shorter
//! than 1e-12 (the floor of the norm) is 0.
//!
//! **Missing labels.** A sample without a label at a level is not in that level's means. In a tree, a class has as
//! children those classes of the level below that occur in the batch; only where none does it is the mean of its own
//! samples. A level at which no sample has a label has `l = 0` and is out of the balance. A sample that is a part of
//! nothing, such as one without any label, counts for nothing, whatever its features hold: its gradient is 0.
//!
//! **Beside the authors' code.** Its defaults are those here: `ProtoLoss` with `temp` 0.1 and `epsilon` 0.01, `AWA` with
//! `gamma` 0.5, in two levels. It perturbs at every training step, where here that is asked for by an input; `coarse_weight`
//! only makes a number that it shows: training uses the weights of `AWA`, constants to the gradient.
//!
//! **On the device** nothing of size B x C is kept: scores are made for as many samples at a time as [`Hcal::scores`]
//! numbers hold, for each window forward and backward at once, since the weights `lambda` only scale a level's
//! gradients and are applied at the end. Unit features and perturbed unit prototypes are kept in f32, the latter of all
//! levels where that is at most 64 MiB, else of a window of classes at a time. Scratch beside these: `B D` words for each
//! level with means, as many for each level with a gradient to the features, 12 B words for each level, 2 words for
//! each class, and the scores.
//!
//! **Cost.** Time O(B C D) for each level, three matrix products; O(B^2) comparisons of labels at each level.
//! Dispatches: five for each level and window, two more for each window beyond the first, and about seven for all;
//! three levels take 22.
//!
//! **Over several devices**, each with some samples of the batch and all prototypes, the means of levels `k > 1` are over samples
//! that no device has alone. [`Hcal::prepare_partial`] leaves a device's sums, f32 `[Hcal::sums_len(levels, D)]`: how many samples
//! have a label at level 1; then of each level `k > 1`, class by class, `D` sums of the components of `f` and the number of samples.
//! Words of classes that do not occur are 0. One all-reduce adds them up, and [`Hcal::prepare_merged`] takes them:
//!
//! ```text
//! partial -> sums -> all-reduce -> merged, losses alone -> losses[0] -> all-reduce -> merged with all losses: weights, loss, gradients
//! ```
//!
//! Level 1's loss and its gradient to prototypes are a device's *part*: the sum over its samples, through the number of labelled
//! samples on all devices, to be added up. All else is *whole*: the losses of the other levels and their gradients to prototypes,
//! weights, `loss` and the gradient to log variances are the same on every device that got the same words, and need not be sent;
//! the gradient to features is complete. With [`Balance::Fixed`], unless `loss` is asked for, the second call is enough; a NaN at
//! level 1 is then its device's alone.
//! All devices need the same prototypes, the same noise or seed of it, which stays as it is in all calls but the last
//! ([`AfterCall::Keep`](crate::AfterCall::Keep)), and the same state of the balance, each a copy. A device may have no samples.
//! A NaN in features that count is one in the sums of their classes; at level 1 the other devices learn of it from the losses of
//! all. [`Aggregation::Tree`] is refused. On the device the vectors of a level `k > 1` are then as many as its classes,
//! whether they occur or not: time `C_k^2 D` for it, and scratch as if the batch had as many samples as the largest of these
//! levels has classes. Several parts of a batch on one device may add to the same sums.
//!
//! **Edges.** A NaN or an infinity in prototypes, or in features that count, makes what depends on it NaN, which is the result
//! and nearly all gradients. Labels beyond the classes of their level count as missing on the device; the
//! slices of the module `host` and the reference refuse them, and with [`Aggregation::Tree`] labels that are not the
//! parents of those below. A perturbation beyond 1e15 has a square that is no f32: nothing is said of it.

use crate::error::Error;
use crate::losses::balance::Balance;
use crate::losses::hierarchy::Levels;
use crate::losses::reduction::{check_setting, setters};

/// The largest perturbation.
const PERTURBED: f32 = 1e15;

/// How the samples of a class become one vector.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean over the samples: the authors' code.
    #[default]
    SampleMean,
    /// The mean over the child classes in the batch, of their means.
    Tree,
}

/// HCAL. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hcal {
    /// `tau`, above 0.
    pub temperature: f32,
    /// What the classes of levels beyond the first are compared by.
    pub aggregation: Aggregation,
    /// How the levels' losses are weighted.
    pub balance: Balance,
    /// Size of the perturbation from a seed; not negative, and at most 1e15.
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

impl Hcal {
    /// Checks the labels: with [`Aggregation::Tree`] they are each other's parents.
    pub(crate) fn check_labels(
        &self,
        levels: &Levels,
        samples: usize,
        labels: &[u32],
    ) -> Result<(), Error> {
        match self.aggregation {
            Aggregation::SampleMean => levels.check_labels(samples, labels),
            Aggregation::Tree => levels.check_paths(samples, labels),
        }
    }

    /// Words of the sums that a batch over several devices has between the two halves of a call: features of `dim` components.
    pub fn sums_len(levels: &Levels, dim: usize) -> usize {
        let classes = levels.classes().iter().skip(1);
        let rows = classes.fold(0, |all: usize, classes| all.saturating_add(*classes));
        rows.saturating_mul(dim.saturating_add(1)).saturating_add(1)
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("temperature", self.temperature, 1e-6..=f32::MAX)?;
        check_setting("epsilon", self.epsilon, 0.0..=PERTURBED)?;
        self.balance.check()
    }
}

setters! {
    Hcal:
    with_temperature, temperature, f32, "another temperature";
    with_aggregation, aggregation, Aggregation, "another aggregation";
    with_balance, balance, Balance, "the levels' losses weighted otherwise";
    with_epsilon, epsilon, f32, "another size of the perturbation from a seed";
    with_scores, scores, usize, "room for another number of scores";
}
