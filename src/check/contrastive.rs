//! Contrastive losses: their cases (every weighting, with element type, form of the label sets, keys, reduction, outputs,
//! layout, shape and kinds of data running through all their values beside it), and how they are measured.

use crate::check::case::{Case, Depth, Layout, Output};
use crate::check::measure::{Reference, Work, Workload, check_shape, period};
use crate::check::numbers::{
    Numbers, SPARSE, TargetForm, form_name, from_flags, in_words, rounded,
};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, RelationInputs, RelationOutputs, Relations,
};
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Denominator, Normalizer, Placement, Weighting,
};
use crate::losses::labels::{TargetNames, Targets};
use crate::reference;
use std::fmt;
use std::hint::black_box;

/// Whom the anchors are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One another.
    Same,
    /// Keys of their own, as many as this.
    Keys(usize),
    /// Keys of their own of which some are the anchors.
    Indexed(usize),
}

/// What the numbers of a case are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// Normal.
    Normal,
    /// Many equal rows, and a temperature of 0.01.
    Sharp,
    /// Rows of zeros, tiny and large ones, few that are active.
    Edges,
    /// Small rows that are not normalised.
    Raw,
}

/// What a case asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Loss and all gradients.
    All,
    /// The loss alone.
    Loss,
    /// The gradient to the embeddings alone; keys are detached.
    Gradient,
}

/// One case. Begin with [`ContrastiveCase::plain`] and change what matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContrastiveCase {
    /// Name of the weighting.
    pub name: &'static str,
    /// The loss with its settings.
    pub loss: Contrastive,
    /// Element type of the embeddings (and of the keys).
    pub dtype: DType,
    /// Form of the label sets.
    pub form: TargetForm,
    /// Whom the anchors are compared with.
    pub others: Others,
    /// Whether masks leave some of them out, with NaN and whatever else in them.
    pub masked: bool,
    /// Whether labels have weights.
    pub weighted: bool,
    /// Whether a mask leaves pairs out.
    pub pairs_masked: bool,
    /// What is asked for.
    pub asked: Asked,
    /// How the tensors lie.
    pub layout: Layout,
    /// What the numbers are like.
    pub points: Points,
    /// Anchors.
    pub rows: usize,
    /// Dimensions.
    pub dims: usize,
    /// Labels.
    pub labels: usize,
    /// Size of the upstream gradient.
    pub upstream: f64,
    /// Seed of the numbers.
    pub seed: u64,
}

impl ContrastiveCase {
    /// f32 embeddings, sets as bytes, the anchors among themselves, all gradients.
    pub fn plain(
        name: &'static str,
        loss: Contrastive,
        rows: usize,
        dims: usize,
        labels: usize,
    ) -> Self {
        ContrastiveCase {
            name,
            loss,
            dtype: DType::F32,
            form: Targets::Dense(DType::U8),
            others: match loss.weighting {
                Weighting::Paired => Others::Indexed(rows),
                _ => Others::Same,
            },
            masked: false,
            weighted: false,
            pairs_masked: false,
            asked: Asked::All,
            layout: Layout::Apart,
            points: Points::Normal,
            rows,
            dims,
            labels,
            upstream: 1.0,
            seed: 1,
        }
    }

    fn keys(&self) -> Option<usize> {
        match self.others {
            Others::Same => None,
            Others::Keys(m) | Others::Indexed(m) => Some(m),
        }
    }
}

impl fmt::Display for ContrastiveCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} sets={} {:?} masked={} weighted={} pairs={} {:?} {:?} {:?} {:?} tile={} {}x{} labels={} upstream={:e} seed={}",
            self.name,
            self.dtype,
            form_name(self.form),
            self.others,
            self.masked,
            self.weighted,
            self.pairs_masked,
            self.loss.reduction,
            self.asked,
            self.layout,
            self.points,
            self.loss.tile_bytes,
            self.rows,
            self.dims,
            self.labels,
            self.upstream,
            self.seed
        )
    }
}

/// The members of the family, the first of them with its weights in every place, and some with other denominators.
fn members() -> Vec<(&'static str, Contrastive)> {
    use {Denominator::*, Normalizer::*, Placement::*};
    let mut all = Vec::new();
    for (name, _, loss) in Contrastive::CATALOG {
        all.push((*name, *loss));
        if loss.weighting == Contrastive::sim_dis().weighting {
            let at = Contrastive::sim_dis_at;
            all.extend([
                ("simdis-ksum", at(Outside, KSum)),
                ("simdis-numerator", at(Numerator, Count)),
                ("simdis-both", at(Both, Count)),
                ("simdis-of-keys", Contrastive::sim_dis_of_keys()),
            ]);
        }
    }
    let given = Contrastive::new(Weighting::Given, 0.07);
    all.push(("given", given));
    // What a denominator has is the same to every rule.
    for (name, loss, denominator) in [
        ("simdis-negatives", Contrastive::sim_dis(), Negatives),
        ("all-negatives", Contrastive::sup_con_all(), Negatives),
        ("infonce-negatives", Contrastive::info_nce(), Negatives),
        ("siglip", Contrastive::info_nce(), Sigmoid),
        ("given-sigmoid", given, Sigmoid),
        ("any-one-positive", Contrastive::sup_con_any(), OnePositive),
        (
            "mulsupcon-one-positive",
            Contrastive::mul_sup_con(),
            OnePositive,
        ),
        (
            "simdis-both-one-positive",
            Contrastive::sim_dis_at(Both, Count),
            OnePositive,
        ),
    ] {
        all.push((name, loss.with_denominator(denominator)));
    }
    all
}

/// Whether each label that is shared has a term.
fn by_label(loss: Contrastive) -> bool {
    matches!(loss.weighting, Weighting::MulSupCon { .. })
}

/// Anchors, keys, dimensions, labels: below, at and beyond the blocks and words of every variant.
const SHAPES: &[(usize, usize, usize, usize)] = &[
    (7, 5, 3, 5),
    (65, 130, 20, 100),
    (2, 1, 1, 1),
    (33, 40, 17, 33),
    (64, 64, 16, 64),
    (1, 9, 4, 3),
    (131, 70, 64, 14),
    (90, 260, 5, 700),
];

/// A loss with the settings that go with what the numbers are like.
fn at_points(loss: Contrastive, points: Points, turn: usize) -> Contrastive {
    Contrastive {
        temperature: match points {
            Points::Sharp => 0.01,
            _ => [0.07, 0.5, 0.1][turn % 3],
        },
        normalize: points != Points::Raw,
        bias: match loss.denominator {
            Denominator::Sigmoid => [-2.0, 0.5, -10.0][turn % 3],
            _ => 0.0,
        },
        ..loss
    }
}

/// The cases of the contrastive losses.
pub fn contrastive_cases(depth: Depth) -> Vec<ContrastiveCase> {
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 6,
        Depth::Full => 16,
    };
    let mut cases = Vec::new();
    let mut turn = 0;
    for (name, loss) in members() {
        for _ in 0..repeats {
            let (rows, m, dims, labels) = SHAPES[(turn * 3) % SHAPES.len()];
            let points =
                [Points::Normal, Points::Sharp, Points::Edges, Points::Raw][(turn / 2) % 4];
            let others = [Others::Same, Others::Indexed(m), Others::Keys(m)][turn % 3];
            let plain = ContrastiveCase::plain(name, loss, rows, dims, labels);
            cases.push(ContrastiveCase {
                loss: Contrastive {
                    reduction: [
                        ContrastiveReduction::MeanActive,
                        ContrastiveReduction::None,
                        ContrastiveReduction::Sum,
                        ContrastiveReduction::MeanLabels,
                        ContrastiveReduction::MeanAll,
                    ][(turn / 3) % 5],
                    // Now and then tiles of single blocks.
                    tile_bytes: if turn % 4 == 1 { 0 } else { loss.tile_bytes },
                    ..at_points(loss, points, turn)
                },
                dtype: [DType::F32, DType::F16, DType::Bf16][(turn / 2) % 3],
                form: [
                    Targets::Dense([DType::U8, DType::U32][(turn / 9) % 2]),
                    Targets::Bits(()),
                    SPARSE,
                ][(turn / 3) % 3],
                others: match (loss.weighting, others) {
                    (Weighting::Paired, _) => Others::Indexed(m),
                    (_, others) => others,
                },
                masked: turn % 7 % 3 == 2,
                weighted: by_label(loss) && turn % 2 == 0,
                pairs_masked: !by_label(loss) && turn % 8 == 5,
                asked: [
                    Asked::All,
                    Asked::All,
                    Asked::Loss,
                    Asked::All,
                    Asked::Gradient,
                ][turn % 5],
                layout: [Layout::Apart, Layout::Together][(turn / 2) % 2],
                points,
                seed: 500 + turn as u64,
                ..plain
            });
            turn += 1;
        }
    }
    if depth == Depth::Full {
        for (i, (name, loss)) in members().into_iter().enumerate() {
            let plain = ContrastiveCase::plain(name, loss, 300, 200, 9000);
            let others = match i % 2 {
                0 => plain.others,
                _ => Others::Indexed(500),
            };
            cases.push(ContrastiveCase {
                form: SPARSE,
                others,
                seed: 900 + i as u64,
                ..plain
            });
        }
    }
    cases
}

/// Anchors, keys, dimensions, labels: below, at and beyond the matrices, the blocks and what is staged of either side.
const COOPERATIVE_SHAPES: &[(usize, usize, usize, usize)] = &[
    (65, 130, 20, 100),
    (7, 5, 3, 5),
    (131, 70, 64, 14),
    (2, 1, 1, 1),
    (90, 260, 136, 40),
    (129, 16, 257, 9),
    (64, 64, 16, 64),
    (300, 33, 72, 30),
];

/// The cases of the contrastive losses in a variant with cooperative matrices: few rules, which have nothing to do with
/// them, and 16-bit embeddings.
pub fn cooperative_cases(depth: Depth) -> Vec<ContrastiveCase> {
    let count = match depth {
        Depth::Sample => COOPERATIVE_SHAPES.len(),
        Depth::Every => 3 * COOPERATIVE_SHAPES.len(),
        Depth::Full => 9 * COOPERATIVE_SHAPES.len(),
    };
    let case = |turn: usize| {
        let (rows, m, dims, labels) = COOPERATIVE_SHAPES[turn % COOPERATIVE_SHAPES.len()];
        // Another order each time round.
        let turn = turn + turn / COOPERATIVE_SHAPES.len();
        let (name, loss) = match turn % 4 {
            3 => ("mulsupcon", Contrastive::mul_sup_con()),
            _ => ("simdis", Contrastive::sim_dis()),
        };
        let points = [Points::Normal, Points::Edges, Points::Sharp, Points::Raw][turn / 2 % 4];
        let plain = ContrastiveCase::plain(name, loss, rows, dims, labels);
        ContrastiveCase {
            loss: Contrastive {
                reduction: [
                    ContrastiveReduction::MeanActive,
                    ContrastiveReduction::None,
                    ContrastiveReduction::Sum,
                ][turn % 3],
                tile_bytes: if turn % 5 == 1 { 0 } else { loss.tile_bytes },
                ..at_points(loss, points, turn)
            },
            dtype: [DType::F16, DType::Bf16][turn % 2],
            others: [
                Others::Same,
                Others::Same,
                Others::Indexed(m),
                Others::Keys(m),
            ][turn / 3 % 4],
            asked: if turn % 8 == 7 {
                Asked::Gradient
            } else {
                Asked::All
            },
            layout: [Layout::Apart, Layout::Together][turn / 2 % 2],
            masked: turn % 3 == 2,
            upstream: [1.0, 1e-6, 1e4][turn / 2 % 3],
            points,
            seed: 1300 + turn as u64,
            ..plain
        }
    };
    let mut cases: Vec<ContrastiveCase> = (0..count).map(case).collect();
    if depth != Depth::Sample {
        // More of the inner dimension than one sum takes in: of products, of slopes.
        let deep = ContrastiveCase::plain("simdis", Contrastive::sim_dis(), 40, 2100, 9);
        let wide = Contrastive {
            tile_bytes: 4 * 4 * 64 * 2112,
            ..Contrastive::sim_dis()
        };
        let wide = ContrastiveCase::plain("simdis", wide, 40, 12, 9);
        cases.extend([
            ContrastiveCase {
                dtype: DType::F16,
                ..deep
            },
            ContrastiveCase {
                dtype: DType::Bf16,
                others: Others::Keys(6000),
                ..wide
            },
        ]);
    }
    cases
}

/// The call's inputs, of the tensors that there are, by their names.
pub(super) fn inputs(t: &Tensors, labels: usize) -> Result<ContrastiveInputs<'_>, Error> {
    Ok(ContrastiveInputs {
        embeddings: t.get("embeddings")?,
        classes: labels,
        labels: t.labels(TargetNames::LABELS)?,
        keys: match t.find("keys") {
            Some(embeddings) => Some(Keys {
                embeddings,
                labels: t.labels(TargetNames::KEY_LABELS)?,
            }),
            None => None,
        },
        self_index: t.find("self_index"),
        self_offset: None,
        row_mask: t.find("row_mask"),
        key_mask: t.find("key_mask"),
        positives: t.find("positives"),
        pair_mask: t.find("pair_mask"),
        label_weight: t.find("label_weight"),
        label_counts: None,
        grad_loss: t.find("grad_loss"),
        settings: &[],
    })
}

/// The same of its outputs.
pub(super) fn outputs(t: &Tensors) -> ContrastiveOutputs<'_> {
    ContrastiveOutputs {
        loss: t.find("loss"),
        loss_rows: t.find("loss_rows"),
        grad_embeddings: t.gradient("grad_embeddings"),
        grad_keys: t.gradient("grad_keys"),
        grad_temperature: t.gradient("grad_temperature"),
        grad_bias: t.gradient("grad_bias"),
        count: t.find("count"),
    }
}

impl ContrastiveCase {
    /// The relations of its label sets.
    pub(super) fn relations(&self, cx: &Context, tensors: &Tensors) -> Result<Prepared, Error> {
        let inputs = inputs(tensors, self.labels)?;
        let sets = RelationInputs {
            rows: self.rows,
            classes: self.labels,
            labels: inputs.labels,
            keys: (inputs.keys).map(|keys| (keys.embeddings.rows(), keys.labels)),
            self_index: inputs.self_index,
        };
        let outputs = RelationOutputs {
            relations: tensors.get("relations")?,
        };
        Relations.prepare(cx, &sets, &outputs)
    }

    /// The form of the keys' sets: one of their own where that of the anchors' is bytes.
    fn key_form(&self) -> TargetForm {
        match self.form {
            Targets::Dense(DType::U8) => Targets::Bits(()),
            form => form,
        }
    }

    /// Numbers of the loss, and of the gradient to it.
    fn loss_len(&self) -> usize {
        match self.loss.reduction {
            ContrastiveReduction::None => self.rows,
            _ => 1,
        }
    }

    /// Does something with the reference's inputs.
    fn with_reference<T: reference::Real, R>(
        &self,
        n: &Numbers,
        work: impl FnOnce(&reference::ContrastiveInputs<'_, T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let m = self.keys().unwrap_or(self.rows);
        let pairs = |name: &str| {
            let words = n.words(name);
            let all = words.map(|words| reference::dense_from_bits(self.rows, m, &words));
            all.transpose()
        };
        let keys = n.real("keys").unwrap_or_default();
        let key_sets = n.flags("key_labels").unwrap_or_default();
        let own = n.words("self_index").map(|own| {
            let one = |k: u32| (k != u32::MAX).then_some(k as usize);
            own.into_iter().map(one).collect::<Vec<_>>()
        });
        work(&reference::ContrastiveInputs {
            rows: self.rows,
            dims: self.dims,
            classes: self.labels,
            embeddings: &n.real("embeddings").unwrap_or_default(),
            labels: &n.flags("labels").unwrap_or_default(),
            keys: self.keys().map(|rows| reference::ContrastiveKeys {
                rows,
                embeddings: &keys,
                labels: &key_sets,
            }),
            self_index: own.as_deref(),
            row_mask: n.flags("row_mask").as_deref(),
            key_mask: n.flags("key_mask").as_deref(),
            positives: pairs("positives")?.as_deref(),
            pair_mask: pairs("pair_mask")?.as_deref(),
            label_weight: n.real("label_weight").as_deref(),
            grad_loss: n.real("grad_loss").as_deref(),
        })
    }
}

impl Case for ContrastiveCase {
    fn name(&self) -> &'static str {
        "contrastive"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let counts = [self.rows, self.keys().unwrap_or(0)];
        let pool: Vec<usize> = (0..self.labels.min(12))
            .map(|i| i * self.labels / self.labels.min(12))
            .collect();
        let mut x: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        let mut sets: [Vec<bool>; 2] = [Vec::new(), Vec::new()];
        for side in 0..2 {
            for row in 0..counts[side] {
                let scale = match (self.points, row % 7) {
                    (Points::Raw, _) => 0.3,
                    (Points::Edges, 0) => 0.0,
                    (Points::Edges, 1) => match self.dtype {
                        DType::F16 => 1e-6,
                        _ => 1e-14,
                    },
                    (Points::Edges, 2) => match self.dtype {
                        DType::F16 => 1e4,
                        _ => 1e25,
                    },
                    _ => 2.0,
                };
                for d in 0..self.dims {
                    let value = match (self.points, row % 3) {
                        // The row before once more.
                        (Points::Sharp, 2) => x[side][(row - 1) * self.dims + d],
                        _ => rounded(self.dtype, scale * rng.normal()),
                    };
                    x[side].push(value);
                }
                let mut set = vec![false; self.labels];
                let few = match (self.points, row % 6) {
                    (Points::Edges, 0 | 3 | 4) | (_, 5) => 0.0,
                    (_, 0) => 0.15,
                    (_, 1) => 0.9,
                    _ => 0.3,
                };
                for label in &pool {
                    set[*label] = rng.chance(few);
                }
                if row % 6 == 4 && row > 2 {
                    set.copy_from_slice(
                        &sets[side][(row - 2) * self.labels..(row - 1) * self.labels],
                    );
                }
                sets[side].extend(set);
            }
        }
        // The first keys are anchors once more.
        let m = counts[1];
        let mut own = matches!(self.others, Others::Indexed(_)).then(|| {
            let own = |row: usize| match m > 0 && row % 5 != 4 {
                true => ((row * 3 + 1) % m) as f64,
                false => f64::from(u32::MAX),
            };
            (0..self.rows).map(own).collect::<Vec<f64>>()
        });
        let upstream = rng.many(self.loss_len(), -2.0, 2.0).into_iter();
        let mut grad_loss: Vec<f64> = upstream
            .map(|v| rounded(DType::F32, self.upstream * v))
            .collect();
        let mut masks = [None, None];
        for side in (0..2).filter(|_| self.masked) {
            let mask: Vec<bool> = (0..counts[side]).map(|_| rng.chance(0.7)).collect();
            for row in (0..counts[side]).filter(|row| !mask[*row]) {
                let bad = [f64::NAN, f64::INFINITY, 0.5][row % 3];
                x[side][row * self.dims..(row + 1) * self.dims].fill(bad);
                sets[side][row * self.labels..(row + 1) * self.labels].fill(row % 2 == 0);
                if side == 0 && grad_loss.len() > 1 {
                    grad_loss[row] = f64::NAN;
                }
                if let Some(own) = own.as_mut().filter(|_| side == 0) {
                    own[row] = [4e9, 0.0][row % 2];
                }
            }
            masks[side] = Some(from_flags(&mask));
        }
        let [row_mask, key_mask] = masks;
        let weights = self.weighted.then(|| {
            // Some labels do not weigh at all.
            let weight = |w: f64| rounded(DType::F32, w.max(0.0));
            let all = rng.many(self.labels, -0.5, 2.0).into_iter();
            all.map(weight).collect()
        });
        let [embeddings, keys] = x;
        let [labels, key_labels] = sets.map(|sets| from_flags(&sets));

        let mut n = Numbers::default();
        n.put("embeddings", self.dtype, (self.rows, self.dims), embeddings);
        let shape = (self.rows, self.labels);
        let labels = in_words(self.form, labels);
        n.put_labels(TargetNames::LABELS, self.form, shape, labels);
        if let Some(m) = self.keys() {
            n.put("keys", self.dtype, (m, self.dims), keys);
            let (names, form) = (TargetNames::KEY_LABELS, self.key_form());
            n.put_labels(names, form, (m, self.labels), in_words(form, key_labels));
        }
        n.put_vector("self_index", DType::U32, own);
        n.put_vector("label_weight", DType::F32, weights);
        n.put_vector("row_mask", DType::U8, row_mask);
        n.put_vector("key_mask", DType::U8, key_mask.filter(|_| m > 0));
        n.put_vector("grad_loss", DType::F32, Some(grad_loss));
        let words = self.keys().unwrap_or(self.rows).div_ceil(32);
        let given = self.loss.weighting == Weighting::Given;
        let pairs = [
            (given, "positives", 0.2),
            (self.pairs_masked, "pair_mask", 0.8),
        ];
        for (_, name, chance) in pairs.into_iter().filter(|(there, ..)| *there) {
            // Bits behind the last key are there too, and some anchors have none at all.
            let word = |i: usize| {
                let bits = (0..32)
                    .filter(|_| rng.chance(chance))
                    .map(|bit| 1u32 << bit);
                let word = bits.fold(0, |word, bit| word | bit);
                if i / words.max(1) % 9 == 4 {
                    0.0
                } else {
                    f64::from(word)
                }
            };
            let all = (0..self.rows * words).map(word).collect();
            n.put(name, DType::U32, (self.rows, words), all);
        }
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let run = |inputs: &reference::ContrastiveInputs<'_, f64>| {
            reference::contrastive(&self.loss, inputs)
        };
        let truth = self.with_reference(n, run)?;
        let run = |inputs: &reference::ContrastiveInputs<'_, f32>| {
            reference::contrastive(&self.loss, inputs)
        };
        let naive = self.with_reference(n, run)?;
        let relations = self.with_reference::<f64, _>(n, reference::relations)?;
        let near =
            |name: &str, shape, truth, naive| Output::near(name, DType::F32, shape, truth, naive);
        // What cancels in the loss: similarities as large as this.
        let steep = 1.0 / f64::from(self.loss.temperature);
        let (rows, dims) = (self.rows, self.dims);
        // What cancels in a gradient, all of it where an anchor has but one key: the slope to a similarity of a row that is
        // not all but 0.
        let most = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, f64::max);
        let norms = |name: &str| {
            let rows = n.get(name).chunks(dims.max(1));
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            rows.map(norm)
                .filter(|norm| norm.is_finite())
                .collect::<Vec<f64>>()
        };
        let longest = match self.loss.normalize {
            true => 1.0,
            false => most(&mut norms("embeddings").into_iter().chain(norms("keys"))),
        };
        let each = match self.loss.reduction {
            ContrastiveReduction::MeanAll | ContrastiveReduction::MeanActive => {
                1.0 / rows.max(1) as f64
            }
            // The labels may be few.
            _ => 1.0,
        };
        // Each pair judged by itself has a slope of up to 1; those of an anchor's other denominators come to so much together.
        let each = match self.loss.denominator {
            Denominator::Sigmoid => each * self.keys().unwrap_or(rows) as f64,
            _ => each,
        };
        let slope = steep * each * most(&mut n.get("grad_loss").iter().map(|grad| grad.abs()));
        let pull = |name: &str| match self.loss.normalize {
            true => {
                let norms = norms(name).into_iter().filter(|norm| *norm > 1e-3);
                slope * most(&mut norms.map(|norm| 1.0 / norm))
            }
            false => slope * longest,
        };
        let all = self.asked == Asked::All;
        let mut outputs = Vec::new();
        if self.asked != Asked::Gradient {
            let shape = (1, truth.loss.len());
            outputs.push(near("loss", shape, truth.loss, naive.loss).cancelling(steep));
        }
        if all {
            let (t, f) = (truth.loss_rows, naive.loss_rows);
            outputs.push(near("loss_rows", (1, rows), t, f).cancelling(steep));
        }
        if self.asked != Asked::Loss {
            let (t, f) = (truth.grad_embeddings, naive.grad_embeddings);
            let gradient = near("grad_embeddings", (rows, dims), t, f);
            outputs.push(gradient.cancelling(pull("embeddings")));
        }
        if let Some(m) = self.keys().filter(|_| all) {
            let (t, f) = (truth.grad_keys, naive.grad_keys);
            let gradient = near("grad_keys", (m, dims), t, f);
            outputs.push(gradient.cancelling(pull("keys")));
        }
        if all {
            let (t, f) = (truth.grad_temperature, naive.grad_temperature);
            let gradient = near("grad_temperature", (1, 1), t, f);
            let sum = rows as f64 * slope * steep * longest * longest;
            outputs.push(gradient.cancelling(sum));
        }
        if all && !truth.grad_bias.is_empty() {
            let (t, f) = (truth.grad_bias, naive.grad_bias);
            outputs.push(near("grad_bias", (1, 1), t, f));
        }
        let relations = relations.into_iter().map(f64::from).collect();
        let counts = Output::words("relations", (rows, 5), &vec![u32::MAX; 5 * rows]);
        outputs.push(counts.exactly(relations));
        Ok(outputs)
    }

    /// The loss, and the relations of its label sets.
    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let inputs = inputs(tensors, self.labels)?;
        let call = self.loss.prepare(cx, &inputs, &outputs(tensors))?;
        Ok(vec![call, self.relations(cx, tensors)?])
    }
}

/// A contrastive loss at a shape, to be measured: normal embeddings in f32, sets of up to eight labels as bits, the anchors
/// among themselves, loss and gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContrastiveWorkload {
    /// The loss, with its reduction.
    pub loss: Contrastive,
    /// Element type of the embeddings.
    pub dtype: DType,
    /// Whether the gradient is computed.
    pub gradient: bool,
    /// Anchors.
    pub rows: usize,
    /// Dimensions.
    pub dims: usize,
    /// Labels.
    pub labels: usize,
}

impl ContrastiveWorkload {
    /// The embeddings, rounded to their type, and the label sets.
    fn data(&self) -> Result<(Vec<f64>, Vec<bool>), Error> {
        self.loss.check()?;
        check_shape(self.rows, self.dims)?;
        check_shape(self.rows, self.labels)?;
        let mut rng = Rng(1);
        let fresh = period(self.rows, self.dims) * self.dims;
        let value = |_| rounded(self.dtype, rng.normal());
        let values: Vec<f64> = (0..fresh).map(value).collect();
        let all = values.iter().cycle().take(self.rows * self.dims);
        let values = all.copied().collect();
        let mut sets = vec![false; self.rows * self.labels];
        for (row, set) in sets.chunks_mut(self.labels).enumerate() {
            for _ in 0..(1 + row % 8).min(self.labels) {
                set[rng.below(self.labels)] = true;
            }
        }
        Ok((values, sets))
    }
}

impl Workload for ContrastiveWorkload {
    fn settings(&self) -> String {
        format!("{:?}, {} labels", self.loss, self.labels)
    }

    /// A pair and dimension costs the reference about a fiftieth of a label.
    fn elements(&self) -> u64 {
        let (n, dims) = (self.rows as u64, self.dims as u64);
        n.saturating_mul(n).saturating_mul(dims) / 50
    }

    fn input_bytes(&self) -> u64 {
        self.rows as u64 * self.dims as u64 * self.dtype.size()
    }

    /// Similarities for the loss; for the gradient, slopes times keys and slopes times anchors too.
    fn flops(&self) -> Option<u64> {
        let (n, dims) = (self.rows as u64, self.dims as u64);
        let product = n.saturating_mul(n).saturating_mul(2 * dims);
        Some(product.saturating_mul(if self.gradient { 3 } else { 1 }))
    }

    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let (values, sets) = self.data()?;
        let shape = (self.rows, self.dims);
        let mut n = Numbers::default();
        n.put("embeddings", self.dtype, shape, values);
        let (names, form) = (TargetNames::LABELS, Targets::Bits(()));
        n.put_labels(names, form, (self.rows, self.labels), from_flags(&sets));
        let wanted = [("loss", (1, 1)), ("grad_embeddings", shape)];
        let wanted = if self.gradient {
            &wanted[..]
        } else {
            &wanted[..1]
        };
        let (loss, labels) = (self.loss, self.labels);
        Work::new(gpu, &n, wanted, move |cx, tensors| {
            loss.prepare(cx, &inputs(tensors, labels)?, &outputs(tensors))
        })
    }

    fn on_host(&self) -> Result<Reference, Error> {
        let (values, sets) = self.data()?;
        let bench = *self;
        Ok(Box::new(move || {
            let out = reference::contrastive(
                &bench.loss,
                &reference::ContrastiveInputs {
                    rows: bench.rows,
                    dims: bench.dims,
                    classes: bench.labels,
                    embeddings: &values,
                    labels: &sets,
                    ..reference::ContrastiveInputs::default()
                },
            )?;
            Ok(black_box(out).loss.first().copied().unwrap_or(0.0))
        }))
    }
}
