//! Weighted difference (WDL): presence, proportions and pairwise differences of labels, without a sort.
//!
//! **What this is.** The idea is that of a paper (Scientific Reports 2025, 15:25052) known here by its abstract and
//! introduction only: labels become a normalised distribution of relative proportions; learnable weighted differences
//! across it are supervised beside presence and proportion; label shuffling makes what is learnt independent of the
//! order of the labels. The formulas below are consistent with every statement in them. They are a formulation of that
//! idea, not the paper's equations.
//!
//! | known from the paper's abstract and introduction | our formulation |
//! |---|---|
//! | labels as a normalised distribution | `q`, and the two forms of `p` |
//! | presence, proportion and difference are supervised | binary cross-entropy, `sum e^2`, `D`, and their coefficients |
//! | learnable weighted differences | mean-one softplus weights, the sign of their gradient, the bounded form |
//! | label shuffling | a permutation per batch or row as input of [`Form::Adjacent`]; its expectation, [`Form::Pairs`] |
//! | | square, absolute and Huber `phi`; masks and weights; all edge rules |
//!
//! There is no code of the authors to compare with, and no default of theirs is known.
//!
//! # Per row, over the `n` labels that count
//!
//! Target `q = (y + epsilon) / (sum y + n epsilon)`, `y >= 0`; prediction `p`, the [normalised sigmoid or the
//! softmax](Prediction) of the logits; `e = p - q`. The loss is
//!
//! `lambda_presence * mean BCE(s, y) + lambda_ratio * sum e^2 + lambda_difference * D`
//!
//! **[`Form::Adjacent`]**, with a permutation `pi` of all `L` labels and weights `w_k`, `k = 1..L-1`:
//! `D = L / (n (n-1)) * sum_k w_k phi(e_pi(k+1) - e_pi(k))`, over the `k` whose two labels both count. Where all count
//! that is the mean of the `L - 1` weighted differences.
//!
//! **[`Form::Pairs`]**, the expectation of that over all permutations, with weights that belong to labels:
//! `D = 2 / (n (n-1)) * sum_{i<j} W_ij phi(e_i - e_j)`, [`W_ij`](PairWeights) from one weight per label.
//!
//! So form A at a random permutation is an unbiased estimator of form B with all weights 1, in value and gradient, for
//! any `w` (weights of positions only matter by their mean, which is 1) and any mask: that is why a difference that
//! touches a masked label is left out, and not bridged, and `D` has `L / (n (n-1))` in front.
//!
//! **Without weights and with squares `D` says nothing new**: `sum e = 0`, so the expected sum of the adjacent
//! differences is `2 |p-q|^2`, and `D = 2 / (n-1) * |p-q|^2`, a multiple of the ratio term.
//! Weights, or another `phi`, make the difference.
//!
//! **Learnable weights.** Each row of `theta` gives weights `softplus(theta) / mean softplus(theta)`, over all its
//! entries whatever is masked: positive, of mean 1, and all 1 at `theta = 0`. (The mean is fixed because `D >= 0`: free
//! weights would shrink to 0.) A `theta` below -80 counts as -80; a NaN makes all weights of its set NaN. Descent moves weight to the labels that are already
//! fitted, ascent to those that are fitted badly, which is what rare labels need: [`Wdl::ascent`].
//!
//! **Bounded form.** With a scalar `theta0` as input the row's `D` becomes `e^-theta0 D / 2 + theta0 / 2`, the
//! coefficient that the loss learns for the whole term (Kendall et al., arXiv 1705.07115): smallest at
//! `theta0 = log D`, so descent does not drive it to 0. Its gradient `(1 - e^-theta0 D) / 2` is never negated.
//! It may be had with either sign of the gradient to `theta`.
//!
//! **Gradients** go to the logits, to the targets (through `q` and through the presence term), to `theta` and `theta0`
//! (both summed over the batch).
//!
//! **Targets** are not negative: proportions, 0 and 1, or counts. The presence term `softplus(s) - y s` takes them as they
//! are, and has no lower bound in `s` for a `y` above 1: counts need a `lambda_presence` of 0. The host layer and the command
//! refuse others; on the device no value is looked at, and the loss is unbounded below.
//!
//! **Masks and weights.** A masked label is in no sum. Sample weights multiply the row's loss, class weights the labels'
//! terms of the presence term, and nothing else: `p` and `q` are distributions over all labels that count.
//!
//! **Edges.** A row with `sum y + n epsilon = 0` keeps its presence term and has no other (nor the bounded form's
//! `theta0 / 2`). With fewer than two labels `D` is absent in the same way. `p` is computed as
//! `exp(log sigma(s) - lse(log sigma(s)))`, so it does not degenerate where all logits are very negative. An infinite
//! logit counts as the largest finite number in `p` (several share alike); in the presence term it is as in
//! [BCE](super::bce): the loss is +inf where it is on the wrong side, and the gradient to the logits finite always.
//! A NaN makes its row's loss and gradient NaN, the gradients to `theta` and `theta0` too, and no other row's.
//!
//! # Cost
//!
//! O(L) for a row, but for the absolute and Huber differences of all pairs, which are swept in O(L^2), tile by tile;
//! there is no sort and no atomic. For each window of rows: the two sweeps of any row loss twice (first the
//! distributions, then loss and gradients) with the differences between them; before all windows one dispatch that
//! makes weights of `theta`, behind them one that makes its gradient. A seeded permutation adds one. Squares of all pairs
//! without `theta` need no differences between, as they follow from the row's sum of `e^2`.
//!
//! Scratch, in f32: for each element of a window `e`, but for squares of all pairs without `theta`; for each row of it
//! seven values and six per set of weights; but for squares of all pairs also for each element, with a gradient, its
//! derivative, and for each row one value per weight (along a permutation: with a gradient to `theta`); of seeded
//! permutations a word per label (and row, if each has its own). A window has as many rows as make the planes 64 MiB, or
//! half of a binding where that is less, and one at least. To that come the weights, their gradient's sums (one for every
//! 1,024 to 8,192 rows of a window) and, without a reduction, the rows' losses.

use crate::error::Error;
use crate::losses::reduction::{Reduction, check_reduction, check_setting, setters};
use crate::losses::takes::{Takes, TargetKind, ThetaShape};

/// Which differences.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Between neighbours in a permutation, which is an input; `theta` has a value for each of the `L - 1` positions.
    Adjacent,
    /// Between all pairs; `theta` has a value per label, or `r`.
    Pairs {
        /// How the weights of the labels make the weight of a pair.
        weights: PairWeights,
    },
}

/// The weight of a pair, from mean-one weights `a` of the labels.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairWeights {
    /// `a_i a_j`.
    RankOne,
    /// `(a_i + a_j) / 2`.
    Additive,
    /// `1/r sum_k a_ki a_kj`: `theta` is `[r, L]`, and so are the weights, with mean 1 in each of the `r` rows. Rows that
    /// start alike stay alike.
    Rank(u32),
}

/// What makes a distribution of the logits.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// `p = sigma(s) / sum sigma(s)`.
    Sigmoid,
    /// `p = e^s / sum e^s`.
    Softmax,
}

/// What is made of a difference `d`.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phi {
    /// `d^2`. Pairs cost O(L).
    Square,
    /// `|d|`, with derivative 0 at 0. Pairs cost O(L^2).
    Abs,
    /// `d^2 / 2` up to `|d| = delta`, beyond it `delta (|d| - delta / 2)`. Pairs cost O(L^2).
    Huber {
        /// Where it becomes linear, at least 1e-6. Differences are at most 2.
        delta: f32,
    },
}

/// Weighted difference loss. The [module](self) has the formulas, and what is known of the paper.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wdl {
    /// Which differences.
    pub form: Form,
    /// What makes a distribution of the logits.
    pub prediction: Prediction,
    /// What is made of a difference.
    pub phi: Phi,
    /// Added to each target before normalising; not negative.
    pub epsilon: f32,
    /// Coefficient of the mean binary cross-entropy; not negative. 0 where the targets are counts.
    pub lambda_presence: f32,
    /// Coefficient of `sum e^2`; not negative.
    pub lambda_ratio: f32,
    /// Coefficient of `D`; not negative.
    pub lambda_difference: f32,
    /// Negates the gradient to `theta`, so that an optimiser that descends raises the weights of what is fitted badly.
    pub ascent: bool,
    /// How the rows' losses become the result.
    pub reduction: Reduction,
}

impl Default for Wdl {
    /// All pairs with weights of rank one, normalised sigmoid, squares, no `epsilon`, all coefficients 1, descent, mean
    /// over rows.
    fn default() -> Self {
        Wdl {
            form: Form::Pairs {
                weights: PairWeights::RankOne,
            },
            prediction: Prediction::Sigmoid,
            phi: Phi::Square,
            epsilon: 0.0,
            lambda_presence: 1.0,
            lambda_ratio: 1.0,
            lambda_difference: 1.0,
            ascent: false,
            reduction: Reduction::Mean,
        }
    }
}

impl Wdl {
    /// [`Form::Adjacent`], else the default.
    pub fn adjacent() -> Self {
        Wdl {
            form: Form::Adjacent,
            ..Wdl::default()
        }
    }

    /// [`Form::Pairs`], else the default.
    pub fn pairs(weights: PairWeights) -> Self {
        Wdl {
            form: Form::Pairs { weights },
            ..Wdl::default()
        }
    }

    /// The same with the gradient to `theta` negated.
    pub fn with_ascent(mut self) -> Self {
        self.ascent = true;
        self
    }

    /// The shape of `theta` for `cols` labels: rows, each of mean-one weights, and their length.
    pub fn theta_shape(&self, cols: usize) -> (usize, usize) {
        self.theta().of(cols)
    }

    fn theta(&self) -> ThetaShape {
        match self.form {
            Form::Adjacent => ThetaShape::Links,
            Form::Pairs {
                weights: PairWeights::Rank(r),
            } => ThetaShape::Labels(r as usize),
            Form::Pairs { .. } => ThetaShape::Labels(1),
        }
    }

    /// What it takes beside logits and targets.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            permutation: self.form == Form::Adjacent,
            counts: self.lambda_presence == 0.0,
            theta: Some(self.theta()),
            weight: false,
            ..Takes::targets(TargetKind::Proportions)
        }
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        if self.form
            == (Form::Pairs {
                weights: PairWeights::Rank(0),
            })
        {
            return Err(Error::value("rank", "at least 1", 0));
        }
        if let Phi::Huber { delta } = self.phi {
            check_setting("huber_delta", delta, 1e-6..=f32::MAX)?;
        }
        for (name, value) in [
            ("epsilon", self.epsilon),
            ("lambda_presence", self.lambda_presence),
            ("lambda_ratio", self.lambda_ratio),
            ("lambda_difference", self.lambda_difference),
        ] {
            check_setting(name, value, 0.0..=f32::MAX)?;
        }
        check_reduction(self.reduction)
    }
}

setters! {
    Wdl:
    with_prediction, prediction, Prediction, "another distribution of the logits";
    with_phi, phi, Phi, "another function of the differences";
    with_epsilon, epsilon, f32, "something added to every target";
    with_lambda_presence, lambda_presence, f32, "another coefficient of the presence term";
    with_lambda_ratio, lambda_ratio, f32, "another coefficient of the proportions";
    with_lambda_difference, lambda_difference, f32, "another coefficient of the differences";
    with_reduction, reduction, Reduction, "another reduction";
}
