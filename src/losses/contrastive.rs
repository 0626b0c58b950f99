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
//! | [`Any`](Weighting::Any) | `1 / \|P(i)\|` on `P(i)` | 0 | 0 | SupCon, arXiv 2004.11362 |
//! | [`All`](Weighting::All) | `[S = T, not empty] / ` their number | 0 | 0 | |
//! | [`MulSupCon`](Weighting::MulSupCon) | `sum over l in S & T of 1 / \|P_l(i)\|`, divided by `\|S\|` or not | 0 | 0 | AAAI 2024 |
//! | [`Jaccard`](Weighting::Jaccard) | `J [J >= c] / ` the number of those | 0 | 0 | MultiSupCon |
//! | [`Paired`](Weighting::Paired) | 1 for the key that `self_index` names, no key left out | 0 | 0 | InfoNCE, arXiv 1807.03748; CLIP |
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
//!     labels: 2,
//!     embeddings: &[3.0, 4.0, 4.0, 3.0, -3.0, 4.0],
//!     sets: &[true, true, true, false, false, false],
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
//! K it would weigh as much.
//!
//! # Gradient
//!
//! `G_ia = kappa_i (C_i rho_ia - c_ia)`, `C_i = sum_p c_ip`, `rho` the softmax over `A(i)` of `s + b`, `kappa` the upstream
//! gradient times the reduction's factor. To the unit rows `(G + G^T) Z / temperature` where the anchors are the keys, else
//! `G K / temperature` and `G^T Z / temperature`; through the normalisation `(g - (g . z) z) / |x|`; to the temperature
//! `-sum G_ia s_ia / temperature`. Labels have none.
//!
//! # Edges
//!
//! An anchor without labels, or without a key that weighs, is inactive: its loss is 0, it is out of the mean over active
//! anchors, and it is a key for the others still. All inactive (or one sample alone): loss 0, gradients 0. The anchor is
//! left out before the row's maximum is taken. A row of norm 1e-12 or less is divided by 1e-12 and has gradient 0. A row
//! with a NaN or an infinity makes the loss of every active anchor that meets it, and all gradients, NaN; so does a
//! similarity `s` beyond 1e30, which unit rows cannot reach.
//!
//! # Cost
//!
//! `N` anchors, `M` keys (`M = N` where they are the same), `D` dimensions: `2 N M D` operations for the loss, three
//! times that for the loss and the gradient to one side. No `N x M` buffer. Scratch: a copy of the rows in f32 (`D`
//! rounded up to 16), the label sets as bits, 32 bytes an anchor and 32 more for each chunk of its keys; for gradients
//! a tile of [`Contrastive::tile_bytes`] at most. The exact figure is in the call's [`Plan`](crate::Plan).

use super::contrastive_steps;
use super::rows::check_setting;
use super::steps::check_apart;
use crate::{Context, DType, Error, Prepared, Tensor};

/// Which pairs attract one another, and how much. The [module](self) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weighting {
    /// Similarity-Dissimilarity: the factor `K`, where it stands, and what it is divided by.
    SimDis {
        /// Where the factor stands.
        placement: Placement,
        /// What it is divided by; anything but [`Normalizer::Count`] needs [`Placement::Outside`].
        normalizer: Normalizer,
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
}

/// Where the factor of Similarity-Dissimilarity stands.
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

/// What the factors of an anchor's positives are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalizer {
    /// The number of positives.
    #[default]
    Count,
    /// The sum of the factors.
    KSum,
}

/// How the anchors' losses become the result.
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

/// A supervised contrastive loss with its settings. The [module](self) has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrastive {
    /// Which pairs attract one another.
    pub weighting: Weighting,
    /// The temperature, above 0.
    pub temperature: f32,
    /// Whether rows are divided by their norm. Without, they are taken as they are.
    pub normalize: bool,
    /// How the anchors' losses become the result.
    pub reduction: ContrastiveReduction,
    /// Most bytes of the tile of pair gradients that the gradient works through; a call for little takes less. A tile
    /// has at least one block of pairs, up to 64 KiB, whatever is asked for.
    pub tile_bytes: u64,
}

impl Default for Contrastive {
    fn default() -> Self {
        Contrastive::sim_dis()
    }
}

impl Contrastive {
    /// With a weighting: normalised rows, mean over active anchors, 64 MiB for the tile.
    pub fn new(weighting: Weighting, temperature: f32) -> Self {
        Contrastive {
            weighting,
            temperature,
            normalize: true,
            reduction: ContrastiveReduction::MeanActive,
            tile_bytes: 64 << 20,
        }
    }

    /// Similarity-Dissimilarity, the factor outside and divided by the number of positives; temperature 0.07.
    pub fn sim_dis() -> Self {
        Contrastive::sim_dis_at(Placement::Outside, Normalizer::Count)
    }

    /// Similarity-Dissimilarity with the factor elsewhere; temperature 0.07.
    pub fn sim_dis_at(placement: Placement, normalizer: Normalizer) -> Self {
        let weighting = Weighting::SimDis {
            placement,
            normalizer,
        };
        Contrastive::new(weighting, 0.07)
    }

    /// SupCon with every key that shares a label; temperature 0.07.
    pub fn sup_con_any() -> Self {
        Contrastive::new(Weighting::Any, 0.07)
    }

    /// SupCon with every key of the same labels; temperature 0.07.
    pub fn sup_con_all() -> Self {
        Contrastive::new(Weighting::All, 0.07)
    }

    /// MulSupCon, each anchor's terms divided by the number of its labels; temperature 0.1.
    pub fn mul_sup_con() -> Self {
        Contrastive::new(Weighting::MulSupCon { per_label: true }, 0.1)
    }

    /// MulSupCon as its authors have it by default: the sum over all anchors and labels, divided by the number of all
    /// labels; temperature 0.1.
    pub fn mul_sup_con_sum() -> Self {
        Contrastive::new(Weighting::MulSupCon { per_label: false }, 0.1)
            .with_reduction(ContrastiveReduction::MeanLabels)
    }

    /// The Jaccard similarity from 0.5 on; temperature 0.1.
    pub fn jaccard() -> Self {
        Contrastive::new(Weighting::Jaccard { threshold: 0.5 }, 0.1)
    }

    /// InfoNCE; temperature 0.07.
    pub fn info_nce() -> Self {
        Contrastive::new(Weighting::Paired, 0.07)
    }

    /// The same at another temperature.
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// The same with another reduction.
    pub fn with_reduction(mut self, reduction: ContrastiveReduction) -> Self {
        self.reduction = reduction;
        self
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
        match self.weighting {
            Weighting::Jaccard { threshold } => check_setting("threshold", threshold, 0.0..=1.0),
            Weighting::SimDis {
                placement: Placement::Numerator | Placement::Both,
                normalizer: Normalizer::KSum,
            } => Err(Error::value(
                "normalizer",
                "count, or the factor outside",
                "ksum",
            )),
            _ => Ok(()),
        }
    }

    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        inputs.check(self.reduction)?;
        if self.weighting == Weighting::Paired && inputs.self_index.is_none() {
            return Err(Error::value("self_index", "each anchor's pair", "none"));
        }
        outputs.check(self.reduction, inputs)?;
        contrastive_steps::build(cx, self, inputs, outputs)
    }
}

/// Label sets of some rows. All forms give equal results for equal sets.
#[derive(Clone, Copy, Debug)]
pub enum LabelSets<'a> {
    /// u8 `[N, L]`, not 0 where the row has the label.
    Dense(Tensor<'a>),
    /// u32 `[N, ceil(L/32)]`: label `l` is bit `l % 32` of word `l / 32`. Bits behind the last label are labels too.
    Bits(Tensor<'a>),
    /// The labels of row `r` are `indices[offsets[r]..offsets[r + 1]]`, in any order, repeats allowed. The values
    /// lie on the device and are not checked: indices beyond the last label are ignored, offsets are kept within
    /// `indices`.
    Sparse {
        /// u32 `[N + 1]`.
        offsets: Tensor<'a>,
        /// u32 `[number of labels of all rows]`.
        indices: Tensor<'a>,
        /// How many labels there are.
        labels: usize,
    },
}

impl<'a> LabelSets<'a> {
    /// Words of a row's set as bits.
    pub(crate) fn words(&self) -> usize {
        match self {
            LabelSets::Dense(t) => t.cols().div_ceil(32),
            LabelSets::Bits(t) => t.cols(),
            LabelSets::Sparse { labels, .. } => labels.div_ceil(32),
        }
    }

    /// What errors call the tensors.
    pub(crate) fn names(&self, keys: bool) -> [&'static str; 2] {
        match (self, keys) {
            (LabelSets::Dense(_), false) => ["labels", ""],
            (LabelSets::Bits(_), false) => ["label_bits", ""],
            (LabelSets::Sparse { .. }, false) => ["label_offsets", "label_indices"],
            (LabelSets::Dense(_), true) => ["key_labels", ""],
            (LabelSets::Bits(_), true) => ["key_label_bits", ""],
            (LabelSets::Sparse { .. }, true) => ["key_label_offsets", "key_label_indices"],
        }
    }

    fn tensors(&self) -> [Option<Tensor<'a>>; 2] {
        match self {
            LabelSets::Dense(t) | LabelSets::Bits(t) => [Some(*t), None],
            LabelSets::Sparse {
                offsets, indices, ..
            } => [Some(*offsets), Some(*indices)],
        }
    }

    fn named(&self, keys: bool) -> impl Iterator<Item = (&'static str, Tensor<'a>)> + use<'a> {
        let all = self.names(keys).into_iter().zip(self.tensors());
        all.filter_map(|(name, tensor)| tensor.map(|t| (name, t)))
    }

    pub(crate) fn check(&self, keys: bool, rows: usize) -> Result<(), Error> {
        let [name, second] = self.names(keys);
        match self {
            LabelSets::Dense(t) => {
                t.check(name, &[DType::U8])?;
                t.check_shape(name, rows, t.cols())
            }
            LabelSets::Bits(t) => {
                t.check(name, &[DType::U32])?;
                t.check_shape(name, rows, t.cols())
            }
            LabelSets::Sparse {
                offsets, indices, ..
            } => {
                offsets.check(name, &[DType::U32])?;
                offsets.check_len(name, rows.saturating_add(1))?;
                indices.check(second, &[DType::U32])?;
                indices.check_len(second, indices.cols())
            }
        }
    }
}

/// Checks that anchors and keys have sets of the same width.
pub(crate) fn check_widths(anchors: &LabelSets<'_>, keys: &LabelSets<'_>) -> Result<(), Error> {
    if anchors.words() == keys.words() {
        return Ok(());
    }
    let width = |words: usize| format!("sets of {words} words of 32 labels");
    Err(Error::shape(
        keys.names(true)[0],
        width(anchors.words()),
        width(keys.words()),
    ))
}

/// Keys of their own: another view, another encoder, a queue.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `[M, D]`, f32, f16 or bf16.
    pub embeddings: Tensor<'a>,
    /// Their label sets, as wide as the anchors'.
    pub labels: LabelSets<'a>,
}

/// What a contrastive loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct ContrastiveInputs<'a> {
    /// `[N, D]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub embeddings: Tensor<'a>,
    /// Their label sets.
    pub labels: LabelSets<'a>,
    /// Absent: the embeddings are the keys, and each is left out of its own row.
    pub keys: Option<Keys<'a>>,
    /// u32 `[N]`: the key that is the anchor itself, and is left out of its row ([`Weighting::Paired`]: its positive).
    /// `u32::MAX` (-1 as i32), and whatever is no key: none.
    pub self_index: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[N]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

impl<'a> ContrastiveInputs<'a> {
    /// Embeddings and labels, nothing optional.
    pub fn new(embeddings: Tensor<'a>, labels: LabelSets<'a>) -> Self {
        ContrastiveInputs {
            embeddings,
            labels,
            keys: None,
            self_index: None,
            grad_loss: None,
        }
    }

    fn check(&self, reduction: ContrastiveReduction) -> Result<(), Error> {
        const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];
        let (rows, dims) = (self.embeddings.rows(), self.embeddings.cols());
        self.embeddings.check("embeddings", FLOATS)?;
        self.labels.check(false, rows)?;
        if let Some(keys) = &self.keys {
            keys.embeddings.check("keys", FLOATS)?;
            keys.embeddings
                .check_shape("keys", keys.embeddings.rows(), dims)?;
            keys.labels.check(true, keys.embeddings.rows())?;
            check_widths(&self.labels, &keys.labels)?;
        }
        if let Some(index) = &self.self_index {
            if self.keys.is_none() {
                return Err(Error::value("self_index", "keys beside it", "none"));
            }
            index.check("self_index", &[DType::U32])?;
            index.check_len("self_index", rows)?;
        }
        if let Some(grad) = &self.grad_loss {
            grad.check("grad_loss", &[DType::F32])?;
            let one = reduction != ContrastiveReduction::None || grad.cols() == 1;
            grad.check_len("grad_loss", if one { 1 } else { rows })?;
        }
        Ok(())
    }

    /// Every tensor by the name that errors give it.
    fn named(&self) -> Vec<(&'static str, Tensor<'a>)> {
        let mut all = vec![("embeddings", self.embeddings)];
        all.extend(self.labels.named(false));
        if let Some(keys) = &self.keys {
            all.extend(keys.labels.named(true));
            all.push(("keys", keys.embeddings));
        }
        all.extend(self.self_index.map(|t| ("self_index", t)));
        all.extend(self.grad_loss.map(|t| ("grad_loss", t)));
        all
    }
}

/// What a contrastive loss writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastiveOutputs<'a> {
    /// f32 `[1]`, or `[N]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[N]`: each anchor's own loss, 0 where it is inactive.
    pub loss_rows: Option<Tensor<'a>>,
    /// f32 `[N, D]`.
    pub grad_embeddings: Option<Tensor<'a>>,
    /// f32 `[M, D]`; needs keys of their own. Leave it out to detach them.
    pub grad_keys: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub grad_temperature: Option<Tensor<'a>>,
}

impl<'a> ContrastiveOutputs<'a> {
    fn check(
        &self,
        reduction: ContrastiveReduction,
        inputs: &ContrastiveInputs<'a>,
    ) -> Result<(), Error> {
        let (rows, dims) = (inputs.embeddings.rows(), inputs.embeddings.cols());
        let f32s = &[DType::F32];
        let loss_len = match reduction {
            ContrastiveReduction::None => rows,
            _ => 1,
        };
        let mut written = Vec::new();
        for (name, tensor, shape) in [
            ("loss", self.loss, (1, loss_len)),
            ("loss_rows", self.loss_rows, (1, rows)),
            ("grad_embeddings", self.grad_embeddings, (rows, dims)),
            ("grad_temperature", self.grad_temperature, (1, 1)),
        ] {
            if let Some(t) = tensor {
                t.check(name, f32s)?;
                match shape {
                    (1, len) if name != "grad_embeddings" => t.check_len(name, len)?,
                    (rows, cols) => t.check_shape(name, rows, cols)?,
                }
                written.push((name, t));
            }
        }
        if let Some(t) = self.grad_keys {
            let Some(keys) = &inputs.keys else {
                return Err(Error::value("grad_keys", "keys of their own", "none"));
            };
            t.check("grad_keys", f32s)?;
            t.check_shape("grad_keys", keys.embeddings.rows(), dims)?;
            written.push(("grad_keys", t));
        }
        if written.is_empty() {
            return Err(Error::value("outputs", "at least one", "none"));
        }
        check_apart(&written, &inputs.named())
    }
}

/// How often each relation of label sets occurs, for each anchor: a kernel of its own, to look at a batch with.
///
/// The five columns, with `S` the anchor's labels and `T` the key's: R1 nothing shared (also where a set is empty), R2
/// equal, R3 shared, but neither contains the other, R4 `T` strictly inside `S`, R5 `S` strictly inside `T`. Their sum is
/// the number of keys less the anchor itself. Scratch: the sets as bits and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relations;

/// What [`Relations`] reads: label sets as [`ContrastiveInputs`] has them.
#[derive(Clone, Copy, Debug)]
pub struct RelationInputs<'a> {
    /// Anchors.
    pub rows: usize,
    /// Their label sets.
    pub labels: LabelSets<'a>,
    /// Keys and their label sets; absent: the anchors are the keys.
    pub keys: Option<(usize, LabelSets<'a>)>,
    /// u32 `[N]`: the key that is the anchor itself, if any.
    pub self_index: Option<Tensor<'a>>,
}

impl Relations {
    /// Checks the call and makes what it needs. `counts` is u32 `[N, 5]`.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`].
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RelationInputs<'_>,
        counts: &Tensor<'_>,
    ) -> Result<Prepared, Error> {
        inputs.labels.check(false, inputs.rows)?;
        let mut read = Vec::new();
        read.extend(inputs.labels.named(false));
        if let Some((rows, labels)) = &inputs.keys {
            labels.check(true, *rows)?;
            check_widths(&inputs.labels, labels)?;
            read.extend(labels.named(true));
        }
        if let Some(index) = &inputs.self_index {
            if inputs.keys.is_none() {
                return Err(Error::value("self_index", "keys beside it", "none"));
            }
            index.check("self_index", &[DType::U32])?;
            index.check_len("self_index", inputs.rows)?;
            read.push(("self_index", *index));
        }
        counts.check("relations", &[DType::U32])?;
        counts.check_shape("relations", inputs.rows, 5)?;
        check_apart(&[("relations", *counts)], &read)?;
        contrastive_steps::build_relations(cx, inputs, counts)
    }
}
