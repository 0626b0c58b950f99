//! Supervised contrastive losses for label sets: Similarity-Dissimilarity, SupCon, MulSupCon, Jaccard, InfoNCE.
//!
//! # Formula
//!
//! Anchor `i` has the embedding `x_i` and the label set `S`, key `p` the label set `T`. With unit rows `z = x / |x|` and
//! `s_ia = z_i . z_a / temperature`, every member of the family is
//!
//! `l_i = - sum_p c_ip (s_ip + b'_ip - log sum_a e^(s_ia + b_ia))`,
//!
//! where `p` and `a` run over `A(i)`: all keys but the anchor itself. With `P(i)` the keys that share a label with the
//! anchor, `P_l(i)` those that have label `l`, `K = |S & T| / |S| / (1 + |T \ S|)`, `J = |S & T| / |S | T|`:
//!
//! | [`Weighting`] | `c_ip` | `b_ia` | `b'_ip` | source |
//! |---|---|---|---|---|
//! | [`SimDis`](Weighting::SimDis), outside, count (the default) | `K / \|P(i)\|` | 0 | 0 | arXiv 2410.13439 |
//! | the same, outside, sum of K | `K / sum K` | 0 | 0 | |
//! | the same, numerator | `1 / \|P(i)\|` on `P(i)` | 0 | `log K` | |
//! | the same, numerator and denominator | `1 / \|P(i)\|` on `P(i)` | `log K` on `P(i)`, else 0 | `log K` | |
//! | the same with [`Roles::Key`] | `K` with `S` and `T` exchanged, in every placement | | | ws-MulSupCon (Lin & Chen, MICCAI 2025) |
//! | [`Any`](Weighting::Any) | `1 / \|P(i)\|` on `P(i)` | 0 | 0 | SupCon, arXiv 2004.11362 |
//! | [`All`](Weighting::All) | `[S = T, not empty] / ` their number | 0 | 0 | |
//! | [`MulSupCon`](Weighting::MulSupCon) | `sum over l in S & T of 1 / \|P_l(i)\|`, divided by `\|S\|` or not | 0 | 0 | AAAI 2024 |
//! | [`Jaccard`](Weighting::Jaccard) | `J [J >= c] / ` the number of those | 0 | 0 | MultiSupCon |
//! | [`Paired`](Weighting::Paired) | 1 for the key that `self_index` names, no key left out | 0 | 0 | InfoNCE, arXiv 1807.03748; CLIP |
//! | [`Given`](Weighting::Given) | `1 / \|P(i)\|` on the `P(i)` that the caller's `positives` name | 0 | 0 | miners, distillation |
//!
//! With one label a sample, Sim-Dis in every placement, MulSupCon and Jaccard are SupCon.
//!
//! # Example
//!
//! Three samples on the reference, which has the same settings as the kernels:
//!
//! ```
//! use wgloss::Contrastive;
//! use wgloss::reference::{ContrastiveInputs, contrastive};
//!
//! let out = contrastive(&Contrastive::sim_dis(), &ContrastiveInputs {
//!     rows: 3,
//!     dims: 2,
//!     classes: 2,
//!     embeddings: &[3.0, 4.0, 4.0, 3.0, -3.0, 4.0],
//!     labels: &[true, true, true, false, false, false],
//!     ..ContrastiveInputs::default()
//! })?;
//! // The second has half of the first's labels; the third has none, and is only in the others' denominators.
//! assert!(out.loss_rows[0] > 0.0 && out.loss_rows[2] == 0.0);
//! assert_eq!(out.loss, [(out.loss_rows[0] + out.loss_rows[1]) / 2.0]);
//! # Ok::<(), wgloss::Error>(())
//! ```
//!
//! # Where the factor of Sim-Dis sits
//!
//! The two factors of `K` are established (arXiv 2410.13439, v1 to v5). Where `K` stands in the loss could not be
//! confirmed from the paper's text, so all placements are here. **With `K` in the numerator alone the gradient is that
//! of [`Weighting::Any`]**: inside the logarithm `K` only adds a constant, and training cannot differ. On the six
//! samples of the crate's golden values (temperature 0.5) the losses are 2.688 and 1.898, and the gradients to the
//! embeddings are equal in every digit, that to the temperature -1.1731 in both. A loss that weighs its positives must
//! have `K` outside the logarithm (0.872, temperature -0.4182) or in the denominator too (2.344, temperature -1.4128).
//! The default is outside, divided by the number of positives: it keeps the factor's meaning as the share of a
//! positive, and an anchor whose positives all are far from it weighs less than one with equals; divided by the sum of
//! K it would weigh as much. The one public implementation (ws-MulSupCon, by others than the paper's authors) has it there too, with
//! the roles of the two sets exchanged: [`Contrastive::sim_dis_of_keys`].
//!
//! # Beside the authors' code
//!
//! | code | its defaults | here |
//! |---|---|---|
//! | `HobbitLong/SupContrast`, `SupConLoss` | `temperature` 0.07, and the loss times `temperature / base_temperature`, 0.07 too; mean over all anchors, NaN where one has no positive | [`Any`](Weighting::Any): nothing in front, mean over active anchors |
//! | `williamzhangsjtu/MulSupCon`, `WeightedSupCon` | `temperature` 0.1; the sum over anchors and labels, divided by the number of all labels | [`Contrastive::mul_sup_con_sum`] |
//! | `WolodjaZ/MultiSupContrast`, `MultiSupConLoss` | `c_treshold` 0.3, `temperature` and `base_temperature` 0.07; mean over all anchors | [`Jaccard`](Weighting::Jaccard), mean over active anchors |
//! | `xup6YJ/ws-MulSupCon` | Sim-Dis outside the logarithm, divided by the number of positives, the key's set in the anchor's place | [`Contrastive::sim_dis_of_keys`] |
//!
//! These take rows that the caller has made unit rows; here that is inside, unless `normalize` is off. Views of a sample are
//! rows of their own here, with the same labels. CLIP's loss is the mean of two calls of [`Paired`](Weighting::Paired),
//! with anchors and keys exchanged.
//!
//! # Denominators
//!
//! The sum over `a` runs over `A(i)` unless [`Contrastive::denominator`] says otherwise. Let `P(i)` be the positives, the
//! keys with `c_ip > 0`: those that share a label; with [`Weighting::All`] those of the same labels, with
//! [`Weighting::Jaccard`] those from the threshold on (what shares less is a negative then), with [`Weighting::Paired`] the
//! pair. `N(i)` are the others of `A(i)`.
//!
//! - [`Denominator::Negatives`]: `l_i = - sum_p c_ip (s_ip + b'_ip - log sum_{a in N(i)} e^(s_ia))`, decoupled contrastive
//!   learning (arXiv 2110.06848). The loss may be negative. An anchor whose every other sample is a positive has no
//!   denominator: its loss is 0, and it is inactive. With [`Placement::Both`] it is refused: the factor would stand in a
//!   denominator that has no positives.
//! - [`Denominator::OnePositive`]: `l_i = - sum_p c_ip (s_ip + b'_ip - log (e^(s_ip + b_ip) + sum_{a in N(i)} e^(s_ia)))`,
//!   NT-Xent (arXiv 2002.05709) with several positives, which do not push one another away. Without negatives a term is
//!   `c_ip (b_ip - b'_ip)`, mostly 0, and the anchor is active. With one positive an anchor it is [`Denominator::All`].
//! - [`Denominator::Sigmoid`]: none, each pair is judged by itself, as in SigLIP (arXiv 2303.15343):
//!   `l_i = - sum over a in A(i) of log sigmoid(y_ia (s_ia + bias))`, `y` 1 at positives, which weigh 1 each, and -1 at
//!   negatives. For weightings that say no more than which keys are positives: [`Weighting::Paired`] as in the paper,
//!   [`Weighting::Any`], [`Weighting::All`], [`Weighting::Given`]; anything else is refused. An anchor is active where any key
//!   counts, also without a positive. The paper begins with a temperature of 0.1 and a bias of -10, which are both learnt, and
//!   divides by the number of anchors.
//!
//! # Gradient
//!
//! `G_ia = kappa_i (C_i rho_ia - c_ia)`, `C_i = sum_p c_ip`, `rho` the softmax over `A(i)` of `s + b`, `kappa` the upstream
//! gradient times the reduction's factor. To the unit rows `(G + G^T) Z / temperature` where the anchors are the keys, else
//! `G K / temperature` and `G^T Z / temperature`; through the normalisation `(g - (g . z) z) / |x|`; to the temperature
//! `-sum G_ia s_ia / temperature`. Labels have none.
//!
//! With [`Denominator::Negatives`] `rho` is the softmax over the negatives, 0 at positives. With
//! [`Denominator::OnePositive`], `v_i` being the logarithm of the negatives' sum and `u_ip = sigmoid(v_i - s_ip - b_ip)` their
//! share in a positive's denominator: `G_ip = -kappa_i c_ip u_ip` at positives, and at negatives
//! `G_ia = kappa_i e^(s_ia - v_i) sum_p c_ip u_ip`. With [`Denominator::Sigmoid`] `G_ia = -kappa_i y_ia sigmoid(-y_ia (s_ia +
//! bias))`, and the gradient to the bias is the sum of all of these.
//!
//! # Edges
//!
//! An anchor without labels, or without a key that weighs, is inactive: its loss is 0, it is out of the mean over active
//! anchors, and it is a key for the others still. All inactive (or one sample alone): loss 0, gradients 0. The anchor is
//! left out before the row's maximum is taken. A row of norm 1e-12 or less is divided by 1e-12 and has gradient 0. A row
//! with a NaN or an infinity makes the loss of every active anchor that meets it, and all gradients, NaN; so does a
//! similarity `s` beyond 1e30, which unit rows reach only at a temperature below 1e-30. Similarities are f32: at a
//! temperature `t` losses of unit rows are off by up to some `1e-6 / t`.
//!
//! # Weights of labels
//!
//! [`Weighting::MulSupCon`] has a term for each label that anchor and key share, and `label_weight` gives each label a weight
//! `w_l`, finite and not negative: `c_ip = sum over l in S & T of w_l / |P_l(i)|`, and where it would be divided by `|S|`, or
//! the sum over all anchors by the number of their labels, the sum of the labels' weights takes that place. So equal
//! weights change nothing there, and a label of weight 0 might as well not be there. The authors have none.
//!
//! # Masks
//!
//! What `row_mask` or `key_mask` leaves out might as well not be there, whatever its embedding, its labels, its index and
//! its upstream gradient hold: it is no anchor, no positive, in no denominator and in no number that anything is divided
//! by, `N` of [`ContrastiveReduction::MeanAll`] among them. Its own loss and gradient are 0, where all others are NaN too.
//! `row_mask` is that of the anchors, and of the keys where these are the anchors; keys of their own have `key_mask`. With
//! [`Weighting::Paired`], an anchor whose pair is left out is inactive.
//!
//! Single pairs are left out by `pair_mask`, bits for each anchor and key: key `a` is not in `A(i)` then, and in no number that
//! anchor `i` is divided by. Anchor `a` may have `i` as its key all the same: where the anchors are the keys, a mask of pairs
//! that are left out both ways is symmetric. MulSupCon takes none: its `|P_l(i)|` would be a number for each anchor and label.
//! Nor do the keys that an anchor itself is become positives by `positives`: they are left out before.
//!
//! # Batches on several devices
//!
//! Anchors of one device with the gathered keys of all, or with those of one device after the other:
//! [`losses::shards`](crate::losses::shards).
//!
//! # Cost
//!
//! `N` anchors, `M` keys (`M = N` where they are the same), `D` dimensions: `2 N M D` operations for the loss and as many
//! for the gradient to each side; `2 N M D` more where the pairs do not fit one tile. Where the anchors are the keys,
//! products and slopes are computed for half of the pairs. [`Denominator::OnePositive`] goes over the pairs once more, with
//! another `2 N M D` where they do not fit one tile. Labels cost what the sets have in them where there are many,
//! else the words of a set, for each pair; and bits of all labels there can be are made and kept for each row, so that lists
//! of few labels out of very many cost by the largest number: [`renumber`](crate::reference::renumber) them first. No `N x M` buffer beyond [`Contrastive::tile_bytes`]. Scratch: a copy of the
//! rows in f32 (`D` rounded up to 16), as much for each gradient to rows, the label sets as bits (three times where there
//! are many labels), 48 bytes an anchor, and the tile. The exact figure is in the call's [`Plan`](crate::Plan).
//!
//! Masks are one more small dispatch for each side, and a test of each pair. `positives` and `pair_mask` are one or two more for
//! each tile, and scratch of an eighth of a tile.
//!
//! [`Context::with_cooperative_matrices`](crate::Context::with_cooperative_matrices) has f16 and bf16 rows multiplied by
//! cooperative matrices: one dispatch more for each side and for each tile of slopes, the gradient in twice as many
//! operations (a slope is two f16), and scratch for the rows in f16 too.

use crate::error::Error;
use crate::losses::reduction::{check_setting, setters};

/// How far below its threshold a Jaccard similarity still counts, so that 3 of 10 is 0.3 in any precision.
pub const JACCARD_SLACK: f32 = 1e-6;
/// The least norm that a row is divided by; a row of this norm or less has gradient 0.
pub const NORM_FLOOR: f64 = 1e-12;

/// Why there is no mask of keys without keys.
pub(crate) const KEY_MASK_ALONE: &str = "needs keys; row_mask leaves out keys that are anchors too";

/// Which pairs attract one another, and how much. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Weighting {
    /// Similarity-Dissimilarity: the factor `K`, where it stands, and what it is divided by.
    SimDis {
        /// Where the factor stands.
        placement: Placement,
        /// What it is divided by; anything but [`Normalizer::Count`] needs [`Placement::Outside`].
        normalizer: Normalizer,
        /// Whose labels it begins with.
        roles: Roles,
    },
    /// SupCon: every key that shares a label.
    Any,
    /// SupCon: every key with the same labels.
    All,
    /// MulSupCon: a term for each label that is shared.
    MulSupCon {
        /// Whether an anchor's terms are divided by the number of its labels. The authors' default is not to, and to
        /// divide the batch's sum by the number of all labels instead: [`ContrastiveReduction::MeanLabels`].
        per_label: bool,
    },
    /// The Jaccard similarity of keys that share a label, from a threshold on.
    Jaccard {
        /// Least similarity, in `[0, 1]`, within 1e-6.
        threshold: f32,
    },
    /// InfoNCE: the key that `self_index` names is the one positive, and nothing is left out of the denominator. Labels
    /// are not looked at. CLIP is the mean of this in both directions.
    Paired,
    /// The keys that the caller names, by a bit for each anchor and key (`positives`). Labels are not looked at.
    Given,
}

/// By what rule a pair weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairRule {
    SimDis,
    Numerator,
    Both,
    SimDisOfKey,
    NumeratorOfKey,
    BothOfKey,
    Any,
    All,
    MulSupCon,
    Jaccard,
    Paired,
    Given,
}

/// By what an anchor's weights are divided, as kernels choose it: by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divisor {
    /// The number of its positives.
    Count,
    /// Their sum.
    Sum,
    /// The number of its labels.
    Labels,
    /// Nothing.
    One,
}

impl Divisor {
    /// What the kernels call each.
    pub(crate) const NAMES: [(&'static str, u32); 4] = [
        ("BY_COUNT", Divisor::Count as u32),
        ("BY_SUM", Divisor::Sum as u32),
        ("BY_LABELS", Divisor::Labels as u32),
        ("BY_ONE", Divisor::One as u32),
    ];
}

impl Weighting {
    /// By what rule a pair weighs, and by what an anchor's weights are divided.
    pub(crate) fn rule(&self) -> (PairRule, Divisor) {
        match *self {
            Weighting::SimDis {
                placement,
                normalizer,
                roles,
            } => {
                let rule = match (placement, roles) {
                    (Placement::Outside, Roles::Anchor) => PairRule::SimDis,
                    (Placement::Numerator, Roles::Anchor) => PairRule::Numerator,
                    (Placement::Both, Roles::Anchor) => PairRule::Both,
                    (Placement::Outside, Roles::Key) => PairRule::SimDisOfKey,
                    (Placement::Numerator, Roles::Key) => PairRule::NumeratorOfKey,
                    (Placement::Both, Roles::Key) => PairRule::BothOfKey,
                };
                let divisor = match normalizer {
                    Normalizer::Count => Divisor::Count,
                    Normalizer::KSum => Divisor::Sum,
                };
                (rule, divisor)
            }
            Weighting::Any => (PairRule::Any, Divisor::Count),
            Weighting::All => (PairRule::All, Divisor::Count),
            Weighting::MulSupCon { per_label: true } => (PairRule::MulSupCon, Divisor::Labels),
            Weighting::MulSupCon { per_label: false } => (PairRule::MulSupCon, Divisor::One),
            Weighting::Jaccard { .. } => (PairRule::Jaccard, Divisor::Count),
            Weighting::Paired => (PairRule::Paired, Divisor::One),
            Weighting::Given => (PairRule::Given, Divisor::Count),
        }
    }

    /// The least size of a similarity that counts, less the slack; 0 where there is no such bound.
    pub(crate) fn least(&self) -> f32 {
        match *self {
            Weighting::Jaccard { threshold } => threshold - JACCARD_SLACK,
            _ => 0.0,
        }
    }
}

/// Which keys a positive is compared with: what the denominator is a sum over. A positive is a key that weighs, `c_ip > 0`.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denominator {
    /// All keys but the anchor itself.
    #[default]
    All,
    /// The keys that are no positives, as in decoupled contrastive learning. The loss may be negative.
    Negatives,
    /// The positive itself and the keys that are no positives: NT-Xent with several positives, a denominator for each.
    OnePositive,
    /// There is none: each pair is judged by itself by the logistic function, as in SigLIP, and [`Contrastive::bias`] stands
    /// beside its similarity. For weightings that only say which keys are positives.
    Sigmoid,
}

/// Where the factor of Similarity-Dissimilarity stands.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Before the logarithm, as a weight of the positive.
    #[default]
    Outside,
    /// In the numerator inside the logarithm. The gradient is that of [`Weighting::Any`].
    Numerator,
    /// In numerator and denominator.
    Both,
}

/// Whose set of labels is `S` in the factor `K(S, T)` of Similarity-Dissimilarity, the other one being `T`.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// The anchor's, as in the paper.
    #[default]
    Anchor,
    /// The key's, as in the one public implementation (ws-MulSupCon, MICCAI 2025).
    Key,
}

/// What the factors of an anchor's positives are divided by.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalizer {
    /// The number of positives.
    #[default]
    Count,
    /// The sum of the factors.
    KSum,
}

/// How the anchors' losses become the result.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContrastiveReduction {
    /// The mean over the active anchors; 0 where there is none.
    #[default]
    MeanActive,
    /// The sum divided by the number of anchors.
    MeanAll,
    /// The sum divided by the number of labels of all anchors together; 0 where there is none.
    MeanLabels,
    /// The sum.
    Sum,
    /// One loss per anchor. The upstream gradient, where given, has one value or one per anchor.
    None,
}

impl ContrastiveReduction {
    /// Whether the sum is divided by a number.
    pub(crate) fn is_mean(self) -> bool {
        !matches!(self, ContrastiveReduction::Sum | ContrastiveReduction::None)
    }
}

/// A supervised contrastive loss with its settings. The [module](self) has the formulas.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrastive {
    /// Which pairs attract one another.
    pub weighting: Weighting,
    /// The temperature, above 0.
    pub temperature: f32,
    /// Whether rows are divided by their norm. Without, they are taken as they are.
    pub normalize: bool,
    /// Which keys a positive is compared with.
    pub denominator: Denominator,
    /// What stands beside each similarity, finite; of [`Denominator::Sigmoid`] alone, else 0.
    pub bias: f32,
    /// How the anchors' losses become the result.
    pub reduction: ContrastiveReduction,
    /// Most bytes of the tiles of pairs that a call works through; a call for little takes less. A tile has at least
    /// 64 x 64 pairs, whatever is asked for.
    pub tile_bytes: u64,
}

impl Default for Contrastive {
    fn default() -> Self {
        Contrastive::sim_dis()
    }
}

impl Contrastive {
    /// The members of the family with their default settings: what each is called, and what it is.
    pub const CATALOG: &'static [(&'static str, &'static str, Contrastive)] = &[
        ("simdis", "Similarity-Dissimilarity", Contrastive::sim_dis()),
        (
            "any",
            "SupCon, every key that shares a label",
            Contrastive::sup_con_any(),
        ),
        (
            "all",
            "SupCon, every key of the same labels",
            Contrastive::sup_con_all(),
        ),
        (
            "mulsupcon",
            "MulSupCon, each anchor divided by its number of labels",
            Contrastive::mul_sup_con(),
        ),
        (
            "mulsupcon-sum",
            "MulSupCon, not divided; with the reduction mean-labels it is its authors' loss",
            Contrastive::mul_sup_con_sum(),
        ),
        ("jaccard", "Jaccard similarity", Contrastive::jaccard()),
        (
            "infonce",
            "InfoNCE: the pair that a tensor of indices names",
            Contrastive::info_nce(),
        ),
    ];

    /// With a weighting: normalised rows, mean over active anchors, 64 MiB for the tile.
    pub const fn new(weighting: Weighting, temperature: f32) -> Self {
        Contrastive {
            weighting,
            temperature,
            normalize: true,
            denominator: Denominator::All,
            bias: 0.0,
            reduction: ContrastiveReduction::MeanActive,
            tile_bytes: 64 << 20,
        }
    }

    /// Similarity-Dissimilarity, the factor outside and divided by the number of positives; temperature 0.07.
    pub const fn sim_dis() -> Self {
        Contrastive::sim_dis_at(Placement::Outside, Normalizer::Count)
    }

    /// Similarity-Dissimilarity with the factor elsewhere; temperature 0.07.
    pub const fn sim_dis_at(placement: Placement, normalizer: Normalizer) -> Self {
        let weighting = Weighting::SimDis {
            placement,
            normalizer,
            roles: Roles::Anchor,
        };
        Contrastive::new(weighting, 0.07)
    }

    /// Similarity-Dissimilarity with the roles of the two label sets exchanged, as in the one public implementation
    /// (ws-MulSupCon): `K(T, S)` outside, divided by the number of positives; temperature 0.07.
    pub const fn sim_dis_of_keys() -> Self {
        let weighting = Weighting::SimDis {
            placement: Placement::Outside,
            normalizer: Normalizer::Count,
            roles: Roles::Key,
        };
        Contrastive::new(weighting, 0.07)
    }

    /// SupCon with every key that shares a label; temperature 0.07.
    pub const fn sup_con_any() -> Self {
        Contrastive::new(Weighting::Any, 0.07)
    }

    /// SupCon with every key of the same labels; temperature 0.07.
    pub const fn sup_con_all() -> Self {
        Contrastive::new(Weighting::All, 0.07)
    }

    /// MulSupCon, each anchor's terms divided by the number of its labels; temperature 0.1.
    pub const fn mul_sup_con() -> Self {
        Contrastive::new(Weighting::MulSupCon { per_label: true }, 0.1)
    }

    /// MulSupCon as its authors have it by default: the sum over all anchors and labels, divided by the number of all
    /// labels; temperature 0.1.
    pub const fn mul_sup_con_sum() -> Self {
        Contrastive {
            reduction: ContrastiveReduction::MeanLabels,
            ..Contrastive::new(Weighting::MulSupCon { per_label: false }, 0.1)
        }
    }

    /// The Jaccard similarity from 0.3 on; temperature 0.07, both as in the authors' code.
    pub const fn jaccard() -> Self {
        Contrastive::new(Weighting::Jaccard { threshold: 0.3 }, 0.07)
    }

    /// InfoNCE; temperature 0.07.
    pub const fn info_nce() -> Self {
        Contrastive::new(Weighting::Paired, 0.07)
    }

    /// SigLIP: pairs that `self_index` names, each pair judged by itself; temperature 0.1, bias -10, divided by the number of
    /// anchors, as the paper begins.
    pub const fn sig_lip() -> Self {
        Contrastive {
            denominator: Denominator::Sigmoid,
            bias: -10.0,
            reduction: ContrastiveReduction::MeanAll,
            ..Contrastive::new(Weighting::Paired, 0.1)
        }
    }

    /// The same with rows taken as they are, and not divided by their norm.
    pub fn without_normalization(mut self) -> Self {
        self.normalize = false;
        self
    }

    /// Refuses that what names the pairs is missing.
    pub(crate) fn check_pairs(&self, given: bool) -> Result<(), Error> {
        if self.weighting == Weighting::Paired && !given {
            return Err(Error::refused(
                "self_index",
                "this loss needs each anchor's pair",
            ));
        }
        Ok(())
    }

    /// Whether a bias stands beside similarities.
    pub(crate) fn has_bias(&self) -> bool {
        self.denominator == Denominator::Sigmoid
    }

    /// Refuses that positives are missing, or not asked for, and a mask of pairs where nothing can be made of it.
    pub(crate) fn check_given(&self, positives: bool, pair_mask: bool) -> Result<(), Error> {
        let given = self.weighting == Weighting::Given;
        if given && !positives {
            let reason = "this loss needs to be told each anchor's positives";
            return Err(Error::refused("positives", reason));
        }
        if positives && !given {
            let reason = "needs the weighting that takes what is given";
            return Err(Error::refused("positives", reason));
        }
        match self.weighting {
            Weighting::MulSupCon { .. } if pair_mask => {
                let reason =
                    "MulSupCon takes none: it counts keys by label, for all anchors at once";
                Err(Error::refused("pair_mask", reason))
            }
            _ => Ok(()),
        }
    }

    /// Refuses weights of labels where no term is a label's.
    pub(crate) fn check_label_weight(&self, given: bool) -> Result<(), Error> {
        match self.weighting {
            Weighting::MulSupCon { .. } => Ok(()),
            _ if given => Err(Error::refused("label_weight", "needs MulSupCon")),
            _ => Ok(()),
        }
    }

    /// Refuses counts of labels where nothing is divided by them.
    pub(crate) fn check_label_counts(&self, given: bool) -> Result<(), Error> {
        match self.weighting {
            Weighting::MulSupCon { .. } => Ok(()),
            _ if given => Err(Error::refused("label_counts", "needs MulSupCon")),
            _ => Ok(()),
        }
    }

    /// Refuses what cannot be put together from keys of several devices.
    pub(crate) fn check_parts(&self, label_counts: bool) -> Result<(), Error> {
        if self.denominator == Denominator::OnePositive {
            let reason = "one-positive needs all negatives of an anchor before any of its positives: gather all keys";
            return Err(Error::refused("denominator", reason));
        }
        if matches!(self.weighting, Weighting::MulSupCon { .. }) && !label_counts {
            let reason = "MulSupCon needs to know how many keys of all devices have each label";
            return Err(Error::refused("label_counts", reason));
        }
        Ok(())
    }

    /// Checks the settings alone.
    ///
    /// # Errors
    /// [`ErrorKind::Value`](crate::ErrorKind::Value) names the setting.
    pub fn check(&self) -> Result<(), Error> {
        if !(self.temperature >= f32::MIN_POSITIVE && self.temperature.is_finite()) {
            return Err(Error::value(
                "temperature",
                "a finite number above 0",
                self.temperature,
            ));
        }
        let sigmoid = self.has_bias();
        if !self.bias.is_finite() {
            return Err(Error::value("bias", "a finite number", self.bias));
        }
        if self.bias != 0.0 && !sigmoid {
            return Err(Error::refused("bias", "needs the denominator sigmoid"));
        }
        let plain = matches!(
            self.weighting,
            Weighting::Any | Weighting::All | Weighting::Paired | Weighting::Given
        );
        if sigmoid && !plain {
            let expected =
                "a denominator, where the weighting says more than which keys are positives";
            return Err(Error::value("denominator", expected, "sigmoid"));
        }
        let both = matches!(
            self.weighting,
            Weighting::SimDis {
                placement: Placement::Both,
                ..
            }
        );
        if both && self.denominator == Denominator::Negatives {
            let expected = "all or one-positive, where the factor is to stand in the denominator";
            return Err(Error::value("denominator", expected, "negatives"));
        }
        match self.weighting {
            Weighting::Jaccard { threshold } => check_setting("threshold", threshold, 0.0..=1.0),
            Weighting::SimDis {
                placement: Placement::Numerator | Placement::Both,
                normalizer: Normalizer::KSum,
                ..
            } => Err(Error::value(
                "normalizer",
                "count, or the factor outside",
                "ksum",
            )),
            _ => Ok(()),
        }
    }
}

setters! {
    Contrastive:
    with_temperature, temperature, f32, "another temperature";
    with_denominator, denominator, Denominator, "another denominator";
    with_bias, bias, f32, "another bias";
    with_reduction, reduction, ContrastiveReduction, "another reduction";
    with_tile_bytes, tile_bytes, u64, "room for a larger or smaller tile";
}
