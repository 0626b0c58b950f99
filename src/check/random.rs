//! Any valid call, from a seed: what the tables go through in turn is drawn here, and settings from all over their ranges.

use crate::check::balance::BalanceCase;
use crate::check::case::{Case, Data, Layout, Output};
use crate::check::contrastive::{Asked, ContrastiveCase, Others, Points};
use crate::check::devices::ShardedHcal;
use crate::check::hcal::{HcalCase, HcalMode};
use crate::check::linear::{LinearCase, LinearMode};
use crate::check::mcm::{Graph, McmCase, McmMode, McmSides};
use crate::check::metrics::MetricsCase;
use crate::check::numbers::{Numbers, SPARSE, TargetForm};
use crate::check::rng::Rng;
use crate::check::rows::{Extras, Mode, RowCase, WdlCase};
use crate::check::shards::{ShardedContrastive, ShardedLinear, ShardedRows};
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::losses::balance::Balance;
use crate::losses::bce::Bce;
use crate::losses::bp_mll::BpMll;
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Denominator, Normalizer, Placement, Roles, Weighting,
};
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::labels::{Noise, Order, Scope, Targets, Threshold};
use crate::losses::linear::{Linear, Update};
use crate::losses::mcm::Mcm;
use crate::losses::metrics::Metrics;
use crate::losses::per_label::{Asl, Dice, Focal, Hill, Splc};
use crate::losses::reduction::Reduction;
use crate::losses::softmax_ce::SoftmaxCe;
use crate::losses::takes::TargetKind;
use crate::losses::wdl::{self, PairWeights, Phi, Prediction, Wdl};
use crate::losses::zlpr::{self, Half, Zlpr};
use crate::rowwise::{AnyLoss, Rowwise};
use std::fmt;

/// As many seeds that follow one another share what chooses kernels, which take longer to compile than to run.
pub const ALIKE: u64 = 32;

/// The case of a seed: a valid call of any family.
pub fn random_case(seed: u64) -> Box<dyn Case> {
    let (mut kind, mut own) = (Rng(!(seed / ALIKE)), Rng(seed));
    let adds = kind.chance(0.3);
    match kind.below(20) {
        0..=9 => drawn(seed, adds, row(&mut kind, &mut own)),
        10 | 11 => drawn(seed, adds, contrastive(&mut kind, &mut own)),
        12 => {
            let case = contrastive(&mut kind, &mut own);
            in_shards(seed, adds, case, ShardedContrastive::of)
        }
        13 => drawn(seed, adds, mcm(&mut kind, &mut own)),
        14 if kind.chance(0.3) => drawn(seed, adds, balance(&mut kind, &mut own)),
        14 if kind.chance(0.3) => in_shards(seed, adds, hcal(&mut kind, &mut own), ShardedHcal::of),
        14 => drawn(seed, adds, hcal(&mut kind, &mut own)),
        15 | 16 => drawn(seed, adds, linear(&mut kind, &mut own)),
        17 => in_shards(seed, adds, row(&mut kind, &mut own), ShardedRows::of),
        18 => in_shards(seed, adds, linear(&mut kind, &mut own), ShardedLinear::of),
        _ => drawn(seed, adds, metrics(&mut kind, &mut own)),
    }
}

/// A case of a table's kind that no table has.
struct Drawn {
    seed: u64,
    /// Whether its gradients are added to what is there.
    adds: bool,
    text: String,
    case: Box<dyn Case>,
}

fn drawn<C: Case + fmt::Debug + 'static>(seed: u64, adds: bool, case: C) -> Box<dyn Case> {
    Box::new(Drawn {
        seed,
        adds,
        text: format!("{case:?}"),
        case: Box::new(case),
    })
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Drawn {
            seed, adds, text, ..
        } = self;
        write!(f, "random seed={seed} adds={adds} {text}")
    }
}

impl Case for Drawn {
    fn name(&self) -> &'static str {
        self.case.name()
    }

    fn layout(&self) -> Layout {
        self.case.layout()
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        self.case.numbers()
    }

    fn outputs(&self, numbers: &Numbers) -> Result<Vec<Output>, Error> {
        let outputs = self.case.outputs(numbers)?.into_iter();
        let mut rng = Rng(self.seed);
        let added = |output: Output| match self.adds {
            true => output.added(&mut rng),
            false => output,
        };
        Ok(outputs.map(added).collect())
    }

    fn prepare(
        &self,
        cx: &Context,
        numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        match self.adds {
            true => self.case.prepare(cx, numbers, &tensors.adding()),
            false => self.case.prepare(cx, numbers, tensors),
        }
    }

    fn judge(&self, numbers: &Numbers, found: &Numbers) -> Result<(), String> {
        self.case.judge(numbers, found)
    }
}

/// A case in shards, where it can be.
fn in_shards<C, S>(
    seed: u64,
    adds: bool,
    case: C,
    of: impl FnOnce(usize, C) -> Option<S>,
) -> Box<dyn Case>
where
    C: Case + Copy + fmt::Debug + 'static,
    S: Case + fmt::Debug + 'static,
{
    match of(seed as usize, case) {
        Some(sharded) => drawn(seed, adds, sharded),
        None => drawn(seed, adds, case),
    }
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len())]
}

/// Of any order of magnitude between two.
fn magnitude(rng: &mut Rng, low: f64, high: f64) -> f64 {
    rng.uniform(low.ln(), high.ln()).exp()
}

/// The largest number that settings get which have no end: beyond it what they are multiplied by soon exceeds f32.
const MOST: f64 = 1e4;

/// A setting from a range: an end of it, a whole number, or any.
fn setting(rng: &mut Rng, low: f32, high: f32) -> f32 {
    let any = match rng.below(8) {
        0 => low,
        1 if high < f32::MAX => high,
        1 => magnitude(rng, 1e-6, MOST) as f32,
        2 | 3 => rng.below(5) as f32,
        _ if high < f32::MAX => rng.uniform(f64::from(low), f64::from(high)) as f32,
        _ => magnitude(rng, 1e-2, 30.0) as f32,
    };
    any.clamp(low, high)
}

/// Sizes around which kernels change.
const BORDERS: [usize; 14] = [
    0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 4096, 8192,
];

/// A size up to the largest: small, at a border or beside one, or of any order of magnitude.
fn size(rng: &mut Rng, most: usize) -> usize {
    let any = match rng.below(4) {
        0 => rng.below(20),
        1 | 2 => (pick(rng, &BORDERS) + rng.below(3)).saturating_sub(1),
        _ => magnitude(rng, 1.0, most as f64 + 1.0) as usize,
    };
    any.min(most)
}

/// Rows and labels of up to so many.
fn shape(rng: &mut Rng, most: usize) -> (usize, usize) {
    const ELEMENTS: usize = 1 << 15;
    let cols = size(rng, most);
    (size(rng, 400.min(ELEMENTS / cols.max(1))), cols)
}

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

const FORMS: [TargetForm; 7] = [
    Targets::Dense(DType::U8),
    Targets::Dense(DType::U32),
    Targets::Bits(()),
    SPARSE,
    Targets::Dense(DType::F32),
    Targets::Dense(DType::F16),
    Targets::Dense(DType::Bf16),
];

const LAYOUTS: [Layout; 2] = [Layout::Apart, Layout::Together];
const DATA: [Data; 4] = [Data::Normal, Data::Normal, Data::Large, Data::Edges];

fn zlpr(form: zlpr::Form) -> Zlpr {
    Zlpr {
        form,
        ..Zlpr::hard()
    }
}

/// A loss of rows, and how its case is called.
fn row_loss(kind: &mut Rng, own: &mut Rng) -> (&'static str, AnyLoss) {
    let smoothing = setting(own, 0.0, 1.0);
    let row_mean = kind.flip();
    let detach_focus = own.flip();
    let mut any = |low: f32, high: f32| setting(own, low, high);
    match kind.below(17) {
        0 => ("zlpr", Zlpr::hard().into()),
        1 => ("zlpr-soft", Zlpr::soft().with_smoothing(smoothing).into()),
        2..=4 => {
            let half = pick(kind, &[Half::Sample, Half::Class, Half::Both]);
            let (t_pos, t_neg) = (any(0.1, f32::MAX), any(0.1, f32::MAX));
            let form = zlpr::Form::Joint { t_pos, t_neg, half };
            ("two-way", zlpr(form).into())
        }
        5 => {
            let form = zlpr::Form::KlSymmetric {
                beta: any(1e-6, f32::MAX),
            };
            ("zlpr-kl", zlpr(form).into())
        }
        6 => ("zlpr-kl-excess", Zlpr::kl_excess().into()),
        7 => {
            let loss = Bce {
                pos_weight: any(0.0, f32::MAX),
                smoothing,
                row_mean,
                ..Bce::default()
            };
            ("bce", loss.into())
        }
        8 => {
            let loss = Focal {
                gamma: any(0.0, f32::MAX),
                alpha: Some(any(0.0, 1.0)).filter(|alpha| *alpha != 0.5),
                detach_focus,
                smoothing,
                row_mean,
                ..Focal::default()
            };
            ("focal", loss.into())
        }
        9 => {
            let loss = Asl {
                gamma_pos: any(0.0, f32::MAX),
                gamma_neg: any(0.0, f32::MAX),
                margin: any(0.0, 1.0),
                detach_focus,
                smoothing,
                row_mean,
                ..Asl::default()
            };
            ("asl", loss.into())
        }
        10 => {
            let loss = Hill {
                lambda: any(1.0, f32::MAX),
                margin: any(0.0, f32::MAX),
                gamma: any(0.0, f32::MAX),
                smoothing,
                row_mean,
                ..Hill::default()
            };
            ("hill", loss.into())
        }
        11 => {
            let loss = Splc {
                margin: any(0.0, f32::MAX),
                gamma: any(0.0, f32::MAX),
                threshold: any(0.0, 1.0),
                smoothing,
                row_mean,
                ..Splc::default()
            };
            ("splc", loss.into())
        }
        12 => {
            let loss = Dice {
                smooth: any(1e-6, f32::MAX),
                squared: detach_focus,
                ..Dice::default()
            };
            ("dice", loss.into())
        }
        13 => ("softmax-ce", SoftmaxCe::default().into()),
        14 => ("bp-mll", BpMll::default().into()),
        _ => ("wdl", wdl(kind, own).into()),
    }
}

fn wdl(kind: &mut Rng, own: &mut Rng) -> Wdl {
    let weights = [
        PairWeights::RankOne,
        PairWeights::Additive,
        PairWeights::Rank(1 + own.below(4) as u32),
    ];
    let form = match kind.below(5) {
        0 | 1 => wdl::Form::Adjacent,
        which => wdl::Form::Pairs {
            weights: weights[which - 2],
        },
    };
    let delta = magnitude(own, 1e-6, 10.0) as f32;
    let phi = [Phi::Square, Phi::Abs, Phi::Huber { delta }];
    let mut any = || setting(own, 0.0, f32::MAX);
    Wdl {
        form,
        prediction: pick(kind, &[Prediction::Sigmoid, Prediction::Softmax]),
        phi: phi[kind.below(3)],
        epsilon: any(),
        lambda_presence: any(),
        lambda_ratio: any(),
        lambda_difference: any(),
        ascent: own.flip(),
        ..Wdl::default()
    }
}

fn row(kind: &mut Rng, own: &mut Rng) -> RowCase {
    let (name, loss) = row_loss(kind, own);
    let takes = loss.takes();
    let by_label = kind.flip();
    let loss = match loss {
        AnyLoss::Bce(bce) if by_label => bce.with_pos_weight(1.0).into(),
        loss => loss,
    };
    let counted = takes.counted.filter(|_| kind.chance(0.3));
    let reduction = counted.unwrap_or_else(|| {
        let over = magnitude(own, 0.1, 1e4) as f32;
        let all = [Reduction::Mean, Reduction::None, Reduction::Sum];
        pick(own, &[all[0], all[1], all[2], Reduction::MeanOver(over)])
    });
    // Not every loss has every reduction.
    let reduction = match loss.with_reduction(reduction).check() {
        Ok(()) => reduction,
        Err(_) => Reduction::Sum,
    };
    let thresholds = [
        None,
        Some(Threshold::Batch(())),
        Some(Threshold::Row(())),
        Some(Threshold::Label(())),
    ];
    let orders = [
        Order::Batch(()),
        Order::PerRow(()),
        Order::Seeded {
            seed: (),
            scope: pick(own, &[Scope::Batch, Scope::Row]),
        },
    ];
    let wdl = WdlCase {
        order: takes.permutation.then(|| orders[kind.below(3)]),
        theta: takes.theta.is_some() && kind.flip(),
        theta0: takes.theta.is_some() && kind.flip(),
    };
    let dtype = pick(kind, &FLOATS);
    // The reference of all pairs meets them all.
    let pairs = matches!(loss, AnyLoss::Wdl(wdl) if wdl.form != wdl::Form::Adjacent);
    let (rows, cols) = shape(own, if pairs { 520 } else { 9000 });
    RowCase {
        name,
        loss: loss.with_reduction(reduction),
        threshold: thresholds[kind.below(4)].filter(|_| takes.threshold),
        wdl,
        by_label: by_label && takes.by_label.is_some(),
        weight: [
            None,
            None,
            None,
            Some(DType::F32),
            Some(DType::F16),
            Some(DType::Bf16),
        ][kind.below(6)]
        .filter(|_| takes.weight),
        dtype,
        form: match takes.targets {
            TargetKind::Logits => Targets::Dense(dtype),
            _ => pick(kind, &FORMS),
        },
        mode: pick(
            kind,
            &[
                Mode::Loss,
                Mode::Gradient,
                Mode::Both,
                Mode::BothSame,
                Mode::InPlace,
            ],
        ),
        extras: pick(
            kind,
            &[
                None,
                Some(Extras::Upstream),
                Some(Extras::Sides),
                Some(Extras::All),
            ],
        ),
        layout: pick(kind, &LAYOUTS),
        data: pick(own, &DATA),
        rows: if pairs { rows.min(20) } else { rows },
        cols,
        seed: own.word(),
    }
}

fn weighting(kind: &mut Rng, own: &mut Rng) -> (&'static str, Weighting) {
    let per_label = kind.flip();
    match kind.below(9) {
        0..=2 => {
            let weighting = Weighting::SimDis {
                placement: pick(
                    kind,
                    &[Placement::Outside, Placement::Numerator, Placement::Both],
                ),
                normalizer: pick(kind, &[Normalizer::Count, Normalizer::KSum]),
                roles: pick(kind, &[Roles::Anchor, Roles::Key]),
            };
            ("simdis", weighting)
        }
        3 => ("any", Weighting::Any),
        4 => ("all", Weighting::All),
        5 => ("mulsupcon", Weighting::MulSupCon { per_label }),
        6 => {
            let threshold = setting(own, 0.0, 1.0);
            ("jaccard", Weighting::Jaccard { threshold })
        }
        7 => ("infonce", Weighting::Paired),
        _ => ("given", Weighting::Given),
    }
}

fn contrastive(kind: &mut Rng, own: &mut Rng) -> ContrastiveCase {
    let denominators = [
        Denominator::All,
        Denominator::All,
        Denominator::Negatives,
        Denominator::OnePositive,
        Denominator::Sigmoid,
    ];
    // Not every weighting goes with every denominator and normaliser.
    let (name, loss) = loop {
        let (name, weighting) = weighting(kind, own);
        let loss = Contrastive::new(weighting, 1.0).with_denominator(pick(kind, &denominators));
        if loss.check().is_ok() {
            break (name, loss);
        }
    };
    let by_label = matches!(loss.weighting, Weighting::MulSupCon { .. });
    let points = pick(
        own,
        &[Points::Normal, Points::Sharp, Points::Edges, Points::Raw],
    );
    let reductions = [
        ContrastiveReduction::MeanActive,
        ContrastiveReduction::MeanAll,
        ContrastiveReduction::MeanLabels,
        ContrastiveReduction::Sum,
        ContrastiveReduction::None,
    ];
    let keys = size(own, 270);
    let others = [Others::Same, Others::Keys(keys), Others::Indexed(keys)][kind.below(3)];
    ContrastiveCase {
        name,
        loss: Contrastive {
            temperature: magnitude(own, 0.01, 10.0) as f32,
            normalize: points != Points::Raw,
            bias: match loss.denominator {
                Denominator::Sigmoid => own.uniform(-12.0, 3.0) as f32,
                _ => 0.0,
            },
            reduction: pick(own, &reductions),
            tile_bytes: pick(own, &[0, 1 << 14, 1 << 18, 64 << 20]),
            ..loss
        },
        dtype: pick(kind, &FLOATS),
        form: FORMS[kind.below(4)],
        others: match loss.weighting {
            Weighting::Paired => Others::Indexed(keys),
            _ => others,
        },
        masked: kind.chance(0.3),
        weighted: by_label && kind.flip(),
        pairs_masked: !by_label && kind.chance(0.3),
        asked: pick(
            kind,
            &[Asked::All, Asked::All, Asked::Loss, Asked::Gradient],
        ),
        layout: pick(kind, &LAYOUTS),
        points,
        rows: size(own, 140),
        dims: size(own, 140),
        labels: size(own, 700),
        upstream: pick(own, &[1.0, 1e-4, 1e4]),
        seed: own.word(),
    }
}

fn linear(kind: &mut Rng, own: &mut Rng) -> LinearCase {
    let (name, loss) = row_loss(kind, own);
    let (name, loss) = match Linear::new(loss).check() {
        Ok(()) => (name, loss),
        Err(_) => ("bce", Bce::default().into()),
    };
    let reductions = [
        Reduction::Mean,
        Reduction::None,
        Reduction::Sum,
        Reduction::MeanOver(magnitude(own, 0.1, 1e4) as f32),
        Reduction::MeanElements,
        Reduction::MeanActive,
    ];
    let reduced = loss.with_reduction(reductions[own.below(6)]);
    let loss = match reduced.check() {
        Ok(()) => reduced,
        Err(_) => loss.with_reduction(reductions[own.below(4)]),
    };
    let mode = pick(
        kind,
        &[
            LinearMode::All,
            LinearMode::Same,
            LinearMode::Loss,
            LinearMode::Hidden,
            LinearMode::Weights,
            LinearMode::Sgd,
            LinearMode::Adagrad,
            LinearMode::Top,
            LinearMode::TopAlone,
        ],
    );
    let tile = pick(own, &[0, 3000, 40_000, 32 << 20]);
    let layer = Linear::new(loss).with_tile_bytes(tile);
    let rate = magnitude(own, 1e-3, 10.0) as f32;
    let weights = pick(kind, &FLOATS);
    let (config, weights) = match mode {
        LinearMode::Sgd => (layer.with_update(Update::sgd(rate), own.word()), DType::F32),
        LinearMode::Adagrad => (
            layer.with_update(Update::adagrad(rate), own.word()),
            DType::F32,
        ),
        _ => (layer, weights),
    };
    let (rows, cols) = shape(own, 1500);
    LinearCase {
        name,
        config,
        dtypes: (pick(kind, &FLOATS), weights),
        form: pick(kind, &[SPARSE, Targets::Bits(())]),
        bias: kind.flip(),
        sides: own.flip(),
        mode,
        layout: pick(kind, &LAYOUTS),
        rows,
        cols: cols.max(1),
        dims: size(own, 100).max(1),
        seed: own.word(),
    }
}

fn mcm(kind: &mut Rng, own: &mut Rng) -> McmCase {
    let (rows, cols) = shape(own, 800);
    let over = magnitude(own, 0.1, 1e4) as f32;
    McmCase {
        config: Mcm {
            row_mean: own.flip(),
            reduction: [
                Reduction::Mean,
                Reduction::None,
                Reduction::Sum,
                Reduction::MeanOver(over),
            ][own.below(4)],
        },
        graph: pick(
            own,
            &[
                Graph::Flat,
                Graph::Tree,
                Graph::Dag,
                Graph::Chain,
                Graph::Star,
            ],
        ),
        dtype: pick(kind, &FLOATS),
        form: pick(kind, &FORMS),
        sides: McmSides {
            class_mask: kind.flip(),
            mask: kind.flip(),
            sample_weight: kind.flip(),
            class_weight: kind.flip(),
        },
        mode: pick(
            kind,
            &[
                McmMode::All,
                McmMode::BothSame,
                McmMode::Loss,
                McmMode::Gradient,
                McmMode::Probabilities,
            ],
        ),
        upstream: own.flip(),
        layout: pick(kind, &LAYOUTS),
        data: pick(own, &DATA),
        rows,
        cols: cols.max(1),
        seed: own.word(),
    }
}

/// Classes of the levels of HCAL.
const CLASSES: [&[usize]; 10] = [
    &[1],
    &[2],
    &[65],
    &[3, 1],
    &[4, 3, 2],
    &[64, 32],
    &[31, 33, 32],
    &[130, 17, 16, 15],
    &[257, 2],
    &[9, 8, 7, 6, 5, 4, 3, 2, 1],
];

fn any_balance(own: &mut Rng) -> Balance {
    let balances = [
        Balance::Adaptive {
            gamma: magnitude(own, 0.05, 20.0) as f32,
            attach: own.flip(),
        },
        Balance::Dwa {
            temperature: magnitude(own, 0.05, 20.0) as f32,
        },
        Balance::Uncertainty,
        Balance::Random,
        Balance::Fixed,
    ];
    pick(own, &balances)
}

fn balance(kind: &mut Rng, own: &mut Rng) -> BalanceCase {
    BalanceCase {
        config: any_balance(own),
        upstream: own.flip(),
        layout: pick(kind, &LAYOUTS),
        size: magnitude(own, 1e-3, 30.0),
        losses: size(own, 1100).max(1),
        seed: own.word(),
    }
}

fn hcal(kind: &mut Rng, own: &mut Rng) -> HcalCase {
    HcalCase {
        config: Hcal {
            temperature: magnitude(own, 0.05, 10.0) as f32,
            aggregation: pick(own, &[Aggregation::SampleMean, Aggregation::Tree]),
            balance: any_balance(own),
            epsilon: setting(own, 0.0, 1.0),
            scores: pick(own, &[0, 1, 1000, 1 << 20]),
        },
        noise: pick(
            own,
            &[None, Some(Noise::Given(())), Some(Noise::Seeded(()))],
        ),
        dtypes: (pick(kind, &FLOATS), pick(kind, &FLOATS)),
        mode: pick(
            kind,
            &[
                HcalMode::All,
                HcalMode::All,
                HcalMode::Losses,
                HcalMode::Features,
                HcalMode::Prototypes,
                HcalMode::Predictions,
            ],
        ),
        missing: pick(own, &[0.0, 0.2, 0.9, 1.0]),
        layout: pick(kind, &LAYOUTS),
        size: pick(own, &[1.0, 1e-3, 1e3]),
        samples: size(own, 140).max(1),
        // In one dimension unit vectors are signs: the gradient is 0, and what is found in its place rounding.
        dim: size(own, 140).max(2),
        classes: pick(own, &CLASSES),
        seed: own.word(),
    }
}

fn metrics(kind: &mut Rng, own: &mut Rng) -> MetricsCase {
    let (rows, cols) = shape(own, 3000);
    MetricsCase {
        config: Metrics {
            threshold: own.uniform(-3.0, 3.0) as f32,
            top: 1 + size(own, 100),
        },
        dtype: pick(kind, &FLOATS),
        form: pick(kind, &FORMS),
        masks: [kind.flip(), kind.flip(), kind.flip()],
        layout: pick(kind, &LAYOUTS),
        data: pick(own, &DATA),
        positives: pick(own, &[0.3, 0.04, 0.0, 1.0]),
        rows,
        cols,
        seed: own.word(),
    }
}
