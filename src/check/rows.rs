//! Cases of the row losses: loss x element type x target form, with reduction, outputs, shape, layout, options and
//! kinds of data running through all their values beside them.

use crate::check::Outcome;
use crate::check::arena::{Arena, Place, rounded};
use crate::check::compare::compare;
use crate::check::data::Rng;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::rows::call::{Gradient, RowInputs, RowOutputs};
use crate::losses::bce::Bce;
use crate::losses::labels::{Order, Scope, Seed, Targets, Threshold};
use crate::losses::per_label::{Asl, Dice, Focal, Hill};
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;
use crate::losses::wdl::{PairWeights, Phi, Prediction, Wdl};
use crate::losses::zlpr::Zlpr;
use crate::losses::{wdl, zlpr};
use crate::reference;
use crate::rowwise::{AnyLoss, Rowwise};
use std::fmt;

/// Target form of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes.
    U8,
    /// Real numbers of an element type.
    Float(DType),
    /// Packed bits.
    Bits,
    /// Offsets and indices.
    Csr,
}

/// What a case asks for, and where the gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The loss alone.
    Loss,
    /// Gradients alone, in f32.
    Gradient,
    /// Both, the gradient in f32.
    Both,
    /// Both, the gradient in the logits' type.
    BothSame,
    /// Both, the gradient over the logits.
    InPlace,
}

/// Which optional inputs a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// None.
    None,
    /// Upstream gradient alone.
    Upstream,
    /// Class mask, class weight, sample weight, upstream gradient.
    Sides,
    /// All of these and an element mask.
    All,
}

/// How a case's tensors lie in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each in its own, from its beginning.
    Apart,
    /// All in one, at odd offsets, rows with gaps.
    Together,
}

/// What the numbers of a case are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Normal logits times 3.
    Normal,
    /// Logits up to 1e4 (f16: 6e4).
    Large,
    /// Rows without positives, without negatives, with infinities, with a NaN, constant, confident.
    Edges,
}

/// Which threshold a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdCase {
    /// None.
    None,
    /// One for the batch.
    Batch,
    /// One per row.
    Row,
    /// One per label.
    Label,
}

/// What a case of WDL has beside the tensors of all row losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WdlCase {
    /// Where the permutation comes from.
    pub order: OrderCase,
    /// Whether there are weights to learn.
    pub theta: bool,
    /// Whether it is the bounded form.
    pub theta0: bool,
}

/// Where a case's permutation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderCase {
    /// There is none.
    None,
    /// One for the batch.
    Batch,
    /// One for each row.
    PerRow,
    /// A seed for the batch's.
    Seed,
    /// A seed for the rows'.
    SeedPerRow,
}

impl WdlCase {
    /// Nothing.
    pub const NONE: WdlCase = WdlCase {
        order: OrderCase::None,
        theta: false,
        theta0: false,
    };
}

/// One case of the table. Begin with [`RowCase::plain`] and change what matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowCase {
    /// Name of the loss in the table.
    pub name: &'static str,
    /// The loss, with its reduction.
    pub loss: AnyLoss,
    /// Its threshold.
    pub threshold: ThresholdCase,
    /// Its permutation and weights.
    pub wdl: WdlCase,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: Form,
    /// What is asked for.
    pub mode: Mode,
    /// Optional inputs.
    pub extras: Extras,
    /// How the tensors lie.
    pub layout: Layout,
    /// What the numbers are like.
    pub data: Data,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl RowCase {
    /// f32 logits, byte targets, loss and gradient, an upstream gradient, normal numbers, each tensor in its own buffer.
    pub fn plain(name: &'static str, loss: AnyLoss, rows: usize, cols: usize) -> Self {
        RowCase {
            name,
            loss,
            threshold: ThresholdCase::None,
            wdl: WdlCase::NONE,
            dtype: DType::F32,
            form: match loss.target_kind() {
                TargetKind::Logits => Form::Float(DType::F32),
                TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => Form::U8,
            },
            mode: Mode::Both,
            extras: Extras::Upstream,
            layout: Layout::Apart,
            data: Data::Normal,
            rows,
            cols,
            seed: 1,
        }
    }

    /// The same case at another shape and seed.
    pub fn with_shape(mut self, rows: usize, cols: usize, seed: u64) -> Self {
        self.rows = rows;
        self.cols = cols;
        self.seed = seed;
        self
    }
}

impl fmt::Display for RowCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reduction = match self.loss.reduction() {
            Reduction::None => "none",
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::MeanOver(_) => "mean-over",
        };
        let form = match self.form {
            Form::U8 => "u8".into(),
            Form::Float(dtype) => dtype.to_string(),
            Form::Bits => "bits".into(),
            Form::Csr => "csr".into(),
        };
        write!(
            f,
            "{} {} targets={form} {reduction} {:?} {:?} {:?} {:?} {}x{} seed={}",
            self.name,
            self.dtype,
            self.mode,
            self.extras,
            self.layout,
            self.data,
            self.rows,
            self.cols,
            self.seed
        )
    }
}

/// Every loss of the table with its threshold kind, and what WDL takes.
fn losses() -> Vec<(&'static str, AnyLoss, ThresholdCase, WdlCase)> {
    let others = row_losses().into_iter();
    let mut all: Vec<_> = others
        .map(|(name, loss, threshold)| (name, loss, threshold, WdlCase::NONE))
        .collect();
    let case = |order, theta, theta0| WdlCase {
        order,
        theta,
        theta0,
    };
    let weighted = Wdl {
        lambda_presence: 0.5,
        lambda_ratio: 0.75,
        lambda_difference: 2.0,
        epsilon: 0.01,
        ..Wdl::default()
    };
    let wdl = [
        (
            "wdl-adjacent",
            Wdl::adjacent(),
            case(OrderCase::Batch, true, false),
        ),
        (
            "wdl-adjacent-huber",
            Wdl {
                form: wdl::Form::Adjacent,
                phi: Phi::Huber { delta: 0.05 },
                prediction: Prediction::Softmax,
                ..weighted
            },
            case(OrderCase::PerRow, true, true),
        ),
        (
            "wdl-adjacent-seed",
            Wdl {
                phi: Phi::Abs,
                ..Wdl::adjacent()
            },
            case(OrderCase::Seed, false, false),
        ),
        (
            "wdl-adjacent-seeds",
            Wdl {
                ascent: true,
                ..Wdl::adjacent()
            },
            case(OrderCase::SeedPerRow, true, false),
        ),
        (
            "wdl-pairs",
            Wdl::default(),
            case(OrderCase::None, true, false),
        ),
        (
            "wdl-pairs-bounded",
            Wdl {
                form: wdl::Form::Pairs {
                    weights: PairWeights::Rank(3),
                },
                prediction: Prediction::Softmax,
                ..weighted
            },
            case(OrderCase::None, true, true),
        ),
        (
            "wdl-pairs-additive",
            Wdl {
                form: wdl::Form::Pairs {
                    weights: PairWeights::Additive,
                },
                ..weighted
            },
            case(OrderCase::None, true, false),
        ),
        (
            "wdl-sweep",
            Wdl {
                phi: Phi::Huber { delta: 0.02 },
                ..Wdl::pairs(PairWeights::Rank(2))
            },
            case(OrderCase::None, true, false),
        ),
        (
            "wdl-sweep-additive",
            Wdl {
                phi: Phi::Abs,
                ..Wdl::pairs(PairWeights::Additive)
            },
            case(OrderCase::None, true, true),
        ),
    ];
    for (name, loss, wdl) in wdl {
        all.push((name, loss.into(), ThresholdCase::None, wdl));
    }
    all
}

fn row_losses() -> Vec<(&'static str, AnyLoss, ThresholdCase)> {
    use ThresholdCase::{Batch, Label, None, Row};
    let zlpr = AnyLoss::Zlpr;
    vec![
        ("zlpr", zlpr(Zlpr::hard()), None),
        ("tlpr-batch", zlpr(Zlpr::hard()), Batch),
        ("tlpr-row", zlpr(Zlpr::hard()), Row),
        ("tlpr-label", zlpr(Zlpr::hard()), Label),
        ("zlpr-soft", zlpr(Zlpr::soft()), None),
        (
            "zlpr-soft-smooth",
            zlpr(Zlpr::soft().with_smoothing(0.1)),
            Batch,
        ),
        ("lsep", zlpr(Zlpr::lsep()), None),
        ("two-way", zlpr(Zlpr::two_way(4.0, 1.0)), Row),
        ("zlpr-kl-symmetric", zlpr(Zlpr::kl_symmetric(2.0)), None),
        ("zlpr-kl-excess", zlpr(Zlpr::kl_excess()), None),
        ("bce", Bce::default().into(), None),
        (
            "bce-weighted",
            AnyLoss::Bce(Bce {
                pos_weight: 2.5,
                smoothing: 0.1,
                row_mean: true,
                ..Bce::default()
            }),
            None,
        ),
        ("focal", Focal::default().into(), None),
        ("asl", Asl::default().into(), None),
        (
            "asl-no-margin",
            AnyLoss::Asl(Asl {
                margin: 0.0,
                smoothing: 0.1,
                ..Asl::default()
            }),
            None,
        ),
        ("hill", Hill::default().into(), None),
        ("dice", Dice::default().into(), None),
        (
            "dice-squared",
            AnyLoss::Dice(Dice {
                squared: true,
                ..Dice::default()
            }),
            None,
        ),
    ]
}

/// Shapes: the reason beside each.
const SHAPES: &[(usize, usize)] = &[
    (5, 1),   // one label, one lane a row
    (70, 3),  // several rows a word in 16 bits
    (64, 14), // the Yeast set
    (33, 17), // odd, few lanes a row
    (9, 64),  // border of the short rows
    (9, 65),
    (1, 127), // one row
    (7, 257), // one more than a workgroup
    (4, 511),
    (3, 1000), // a row to a workgroup, kept in workgroup memory
    (3, 1537), // one more than is kept
    (2, 5003), // read twice
    (3, 8191), // border of the split rows
    (3, 8193),
    (2, 20_011), // more labels than sparse targets stage at once
    (300, 131),  // many workgroups
];

/// How much of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every loss with every element type, the target forms taking turns (and with WDL the element types too).
    Sample,
    /// Every loss with every element type and target form.
    Every,
    /// That six times over, with other shapes, outputs, options and data each time, and with large shapes.
    Full,
}

/// The table.
pub fn row_cases(depth: Depth) -> Vec<RowCase> {
    let reductions = [
        Reduction::Mean,
        Reduction::None,
        Reduction::Sum,
        Reduction::MeanOver(7.5),
    ];
    let modes = [
        Mode::Both,
        Mode::InPlace,
        Mode::Gradient,
        Mode::BothSame,
        Mode::Loss,
    ];
    let extras = [Extras::None, Extras::All, Extras::Upstream, Extras::Sides];
    let datas = [Data::Normal, Data::Edges, Data::Large];
    let mut cases = Vec::new();
    // Steps of the counter that are coprime to the lists' lengths make all of them meet all others.
    let mut turn = 0;
    for (i, (name, loss, threshold, wdl)) in losses().into_iter().enumerate() {
        let all = [DType::F32, DType::F16, DType::Bf16];
        // The kernels of WDL that know element types are the same in all of its forms, which take turns.
        let dtypes = match depth {
            Depth::Sample if loss.takes().theta.is_some() => &all[i % 3..=i % 3],
            Depth::Sample | Depth::Every | Depth::Full => &all[..],
        };
        for &dtype in dtypes {
            let forms = match loss.target_kind() {
                TargetKind::Logits => vec![Form::Float(dtype)],
                TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => {
                    let other = [DType::F32, DType::F16, DType::Bf16][(turn + 1) % 3];
                    vec![
                        Form::U8,
                        Form::Bits,
                        Form::Csr,
                        Form::Float(dtype),
                        Form::Float(other),
                    ]
                }
            };
            let forms = match depth {
                Depth::Sample => vec![forms[turn % forms.len()]],
                Depth::Every | Depth::Full => forms,
            };
            for form in forms {
                let repeats = if depth == Depth::Full { 6 } else { 1 };
                for _ in 0..repeats {
                    let (rows, cols) = SHAPES[(turn * 5) % SHAPES.len()];
                    cases.push(RowCase {
                        name,
                        loss: loss.with_reduction(reductions[turn % 4]),
                        threshold,
                        wdl,
                        dtype,
                        form,
                        mode: modes[turn % 5],
                        extras: extras[(turn / 2) % 4],
                        layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                        data: datas[turn % 3],
                        rows,
                        cols,
                        seed: 1000 + turn as u64,
                    });
                    turn += 1;
                }
            }
        }
    }
    if depth == Depth::Full {
        let many = cases.clone();
        // More rows than a dispatch has workgroups; and a row split over hundreds of them.
        for case in many.iter().step_by(67) {
            cases.push(case.with_shape(66_000, 2, case.seed + 1));
        }
        for case in many.iter().step_by(41) {
            cases.push(case.with_shape(1, 300_007, case.seed + 2));
        }
    }
    cases
}

/// The numbers of a case, as they are after rounding to their element types.
struct Numbers {
    logits: Vec<f64>,
    targets: Vec<f64>,
    class_mask: Option<Vec<f64>>,
    mask: Option<Vec<f64>>,
    sample_weight: Option<Vec<f64>>,
    class_weight: Option<Vec<f64>>,
    threshold: Vec<f64>,
    order: Vec<u32>,
    seed: u64,
    theta: Option<Vec<f64>>,
    theta0: Option<Vec<f64>>,
    grad_loss: Option<Vec<f64>>,
}

fn numbers(case: &RowCase) -> Numbers {
    let mut rng = Rng::new(case.seed);
    let (rows, cols) = (case.rows, case.cols);
    let kind = case.loss.target_kind();
    let spread = match (case.data, case.dtype) {
        (Data::Large, DType::F16) => 1.5e4,
        (Data::Large, _) => 3e3,
        (Data::Normal | Data::Edges, _) => 3.0,
    };
    let stored = |value: f64| rounded(case.dtype, value);
    let form = match case.form {
        Form::Float(dtype) => dtype,
        Form::U8 | Form::Bits | Form::Csr => DType::F32,
    };
    let mut logits = Vec::new();
    let mut targets = Vec::new();
    for row in 0..rows {
        let positives = [0.0, 1.0, 0.3, 0.02][row % 4];
        for col in 0..cols {
            let float = matches!(case.form, Form::Float(_));
            let soft = float && matches!(kind, TargetKind::Soft | TargetKind::Proportions);
            let mut logit = spread * rng.normal();
            let target = match kind {
                TargetKind::Logits => logit + spread.min(30.0) * 0.3 * rng.normal(),
                _ if soft && rng.chance(0.7) => rng.uniform(0.0, 1.0),
                _ => f64::from(u8::from(rng.chance(positives))),
            };
            if case.data == Data::Edges {
                let first = col == row % cols;
                logit = match row % 9 {
                    // As a mask, or an infinite loss, by what the target is.
                    3 if first => f64::NEG_INFINITY,
                    4 if first => f64::INFINITY,
                    5 if first => f64::NAN,
                    6 => 2.5,
                    7 => 40.0 * (2.0 * target - 1.0),
                    _ => logit,
                };
            }
            logits.push(stored(logit));
            targets.push(rounded(form, target));
        }
    }
    let single = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().map(|v| rounded(DType::F32, v)).collect()
    };
    let mut random =
        |n: usize, low: f64, high: f64| single((0..n).map(|_| rng.uniform(low, high)).collect());
    let sides = matches!(case.extras, Extras::Sides | Extras::All);
    let upstream = match case.loss.reduction() {
        Reduction::None => rows,
        Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
    };
    let threshold = match case.threshold {
        ThresholdCase::None => 0,
        ThresholdCase::Batch => 1,
        ThresholdCase::Row => rows,
        ThresholdCase::Label => cols,
    };
    let grad_loss = (case.extras != Extras::None).then(|| random(upstream, -2.0, 2.0));
    let sample_weight = sides.then(|| random(rows, 0.1, 2.0));
    let class_weight = sides.then(|| {
        let mut weight = random(cols, 0.1, 3.0);
        if cols > 4 {
            weight[cols / 2] = 0.0;
        }
        weight
    });
    let threshold = random(threshold, -1.0, 1.0);
    let (sets, len) = case.loss.takes().theta.map_or((0, 0), |t| t.of(cols));
    let theta = case.wdl.theta.then(|| random(sets * len, -2.0, 2.0));
    let theta0 = case.wdl.theta0.then(|| random(1, -1.0, 1.0));
    let orders = match case.wdl.order {
        OrderCase::Batch => 1,
        OrderCase::PerRow => rows,
        OrderCase::None | OrderCase::Seed | OrderCase::SeedPerRow => 0,
    };
    let order = (0..orders)
        .flat_map(|row| reference::permutation(case.seed, row as u32, cols as u32))
        .collect();
    let mut flags = |n: usize, p: f64| -> Vec<f64> {
        (0..n).map(|_| f64::from(u8::from(rng.chance(p)))).collect()
    };
    Numbers {
        class_mask: sides.then(|| flags(cols, 0.8)),
        mask: (case.extras == Extras::All).then(|| flags(rows * cols, 0.8)),
        logits,
        targets,
        sample_weight,
        class_weight,
        threshold,
        order,
        seed: case.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        theta,
        theta0,
        grad_loss,
    }
}

fn reference_of<T: reference::Real>(
    case: &RowCase,
    n: &Numbers,
) -> Result<reference::RowOutputs<T>, Error> {
    let real = |v: &[f64]| -> Vec<T> { v.iter().map(|x| T::from_f64(*x)).collect() };
    let flags = |v: &Vec<f64>| -> Vec<bool> { v.iter().map(|x| *x != 0.0).collect() };
    let logits = real(&n.logits);
    let targets = real(&n.targets);
    let class_mask = n.class_mask.as_ref().map(flags);
    let mask = n.mask.as_ref().map(flags);
    let sample_weight = n.sample_weight.as_deref().map(real);
    let class_weight = n.class_weight.as_deref().map(real);
    let grad_loss = n.grad_loss.as_deref().map(real);
    let threshold = real(&n.threshold);
    let theta = n.theta.as_deref().map(real);
    case.loss.reference(&reference::RowInputs {
        rows: case.rows,
        cols: case.cols,
        logits: &logits,
        targets: &targets,
        class_mask: class_mask.as_deref(),
        mask: mask.as_deref(),
        sample_weight: sample_weight.as_deref(),
        class_weight: class_weight.as_deref(),
        threshold: match case.threshold {
            ThresholdCase::None => None,
            ThresholdCase::Batch => Some(Threshold::Batch(&threshold[..])),
            ThresholdCase::Row => Some(Threshold::Row(&threshold[..])),
            ThresholdCase::Label => Some(Threshold::Label(&threshold[..])),
        },
        permutation: match case.wdl.order {
            OrderCase::None => None,
            OrderCase::Batch => Some(Order::Batch(&n.order[..])),
            OrderCase::PerRow => Some(Order::PerRow(&n.order[..])),
            OrderCase::Seed => Some(Order::Seeded {
                seed: n.seed,
                scope: Scope::Batch,
            }),
            OrderCase::SeedPerRow => Some(Order::Seeded {
                seed: n.seed,
                scope: Scope::Row,
            }),
        },
        theta: theta.as_deref(),
        theta0: n.theta0.as_ref().map(|t| T::from_f64(t[0])),
        grad_loss: grad_loss.as_deref(),
    })
}

/// Tensors of a case on the device.
struct Placed {
    arena: Arena,
    logits: Place,
    targets: (Place, Option<Place>),
    sides: [Option<Place>; 7],
    order: Option<Place>,
    theta: Option<Place>,
    loss: Option<Place>,
    grad: Option<Place>,
    grad_targets: Option<Place>,
    grad_threshold: Option<Place>,
    grad_theta: Option<Place>,
    grad_theta0: Option<Place>,
}

fn place(case: &RowCase, n: &Numbers) -> Placed {
    let (rows, cols) = (case.rows, case.cols);
    let mut arena = Arena::new(case.layout == Layout::Together);
    let logits = arena.put(case.dtype, rows, cols, &n.logits);
    let targets = match case.form {
        Form::U8 => (arena.put(DType::U8, rows, cols, &n.targets), None),
        Form::Float(dtype) => (arena.put(dtype, rows, cols, &n.targets), None),
        Form::Bits => {
            let words = cols.div_ceil(32);
            let mut bits = vec![0; rows * words];
            for i in (0..rows * cols).filter(|i| n.targets[*i] > 0.5) {
                bits[i / cols * words + i % cols / 32] |= 1 << (i % cols % 32);
            }
            (arena.put_words(rows, words, &bits), None)
        }
        Form::Csr => {
            let mut offsets = vec![0];
            let mut indices = Vec::new();
            for row in 0..rows {
                // Backwards and, now and then, twice: neither order nor repeats matter.
                for col in (0..cols)
                    .rev()
                    .filter(|col| n.targets[row * cols + col] > 0.5)
                {
                    indices.extend(std::iter::repeat_n(col as u32, 1 + col % 2));
                }
                offsets.push(indices.len() as u32);
            }
            let offsets = arena.put_words(1, rows + 1, &offsets);
            (offsets, Some(arena.put_words(1, indices.len(), &indices)))
        }
    };
    let mut vector = |dtype, values: &Option<Vec<f64>>| {
        values
            .as_ref()
            .map(|values| arena.put(dtype, 1, values.len(), values))
    };
    let threshold = Some(n.threshold.clone()).filter(|t| !t.is_empty());
    let mut sides = [
        vector(DType::U8, &n.class_mask),
        None,
        vector(DType::F32, &n.sample_weight),
        vector(DType::F32, &n.class_weight),
        vector(DType::F32, &threshold),
        vector(DType::F32, &n.grad_loss),
        vector(DType::F32, &n.theta0),
    ];
    sides[1] = n
        .mask
        .as_ref()
        .map(|values| arena.put(DType::U8, rows, cols, values));
    let (sets, len) = case.loss.takes().theta.map_or((0, 0), |t| t.of(cols));
    let theta = n
        .theta
        .as_ref()
        .map(|values| arena.put(DType::F32, sets, len, values));
    let order = match case.wdl.order {
        OrderCase::None => None,
        OrderCase::Batch => Some(arena.put_words(1, cols, &n.order)),
        OrderCase::PerRow => Some(arena.put_words(rows, cols, &n.order)),
        OrderCase::Seed | OrderCase::SeedPerRow => {
            Some(arena.put_words(1, 2, &[n.seed as u32, (n.seed >> 32) as u32]))
        }
    };
    let gradients = case.mode != Mode::Loss;
    let loss_len = match case.loss.reduction() {
        Reduction::None => rows,
        Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
    };
    let float_targets = matches!(case.form, Form::Float(_));
    let to_targets = gradients && float_targets && case.loss.target_kind() != TargetKind::Hard;
    let to_threshold = gradients && case.threshold != ThresholdCase::None;
    Placed {
        loss: (case.mode != Mode::Gradient).then(|| arena.output(DType::F32, 1, loss_len)),
        grad: match case.mode {
            Mode::Loss => None,
            Mode::Gradient | Mode::Both => Some(arena.output(DType::F32, rows, cols)),
            Mode::BothSame => Some(arena.output(case.dtype, rows, cols)),
            Mode::InPlace => Some(logits),
        },
        grad_targets: to_targets.then(|| arena.output(DType::F32, rows, cols)),
        grad_threshold: to_threshold.then(|| arena.output(DType::F32, 1, n.threshold.len())),
        grad_theta: (gradients && theta.is_some()).then(|| arena.output(DType::F32, sets, len)),
        grad_theta0: (gradients && n.theta0.is_some()).then(|| arena.output(DType::F32, 1, 1)),
        order,
        theta,
        arena,
        logits,
        targets,
        sides,
    }
}

fn prepare(gpu: &Gpu, case: &RowCase, placed: &Placed) -> Result<Prepared, Error> {
    let tensor = |place: &Place| placed.arena.tensor(place);
    let side = |i: usize| placed.sides[i].as_ref().map(tensor);
    let inputs = RowInputs {
        logits: tensor(&placed.logits),
        targets: match (&placed.targets, case.form) {
            ((words, _), Form::Bits) => Targets::Bits(tensor(words)),
            ((offsets, Some(indices)), _) => Targets::Sparse {
                offsets: tensor(offsets),
                indices: tensor(indices),
            },
            ((dense, None), _) => Targets::Dense(tensor(dense)),
        },
        class_mask: side(0),
        mask: side(1),
        sample_weight: side(2),
        class_weight: side(3),
        threshold: match case.threshold {
            ThresholdCase::None => None,
            ThresholdCase::Batch => side(4).map(Threshold::Batch),
            ThresholdCase::Row => side(4).map(Threshold::Row),
            ThresholdCase::Label => side(4).map(Threshold::Label),
        },
        permutation: placed.order.as_ref().map(|place| {
            let values = tensor(place);
            let seeded = |scope| Order::Seeded {
                seed: Seed::fixed(values),
                scope,
            };
            match case.wdl.order {
                OrderCase::None | OrderCase::Batch => Order::Batch(values),
                OrderCase::PerRow => Order::PerRow(values),
                OrderCase::Seed => seeded(Scope::Batch),
                OrderCase::SeedPerRow => seeded(Scope::Row),
            }
        }),
        theta: placed.theta.as_ref().map(tensor),
        theta0: side(6),
        grad_loss: side(5),
    };
    let outputs = RowOutputs {
        loss: placed.loss.as_ref().map(tensor),
        grad_logits: match case.mode {
            Mode::Loss => None,
            Mode::InPlace => Some(Gradient::InPlace),
            Mode::Gradient | Mode::Both | Mode::BothSame => {
                placed.grad.as_ref().map(|grad| Gradient::To(tensor(grad)))
            }
        },
        grad_targets: placed.grad_targets.as_ref().map(tensor),
        grad_threshold: placed.grad_threshold.as_ref().map(tensor),
        grad_theta: placed.grad_theta.as_ref().map(tensor),
        grad_theta0: placed.grad_theta0.as_ref().map(tensor),
    };
    case.loss.prepare(gpu.context(), &inputs, &outputs)
}

pub(super) fn run(gpu: &Gpu, case: &RowCase) -> Result<Outcome, Error> {
    let n = numbers(case);
    let truth = reference_of::<f64>(case, &n)?;
    let naive = reference_of::<f32>(case, &n)?;
    let mut placed = place(case, &n);
    placed.arena.upload(gpu)?;
    let call = prepare(gpu, case, &placed)?;
    gpu.run(&[&call])?;
    let grad_dtype = match case.mode {
        Mode::BothSame | Mode::InPlace => case.dtype,
        Mode::Loss | Mode::Gradient | Mode::Both => DType::F32,
    };
    // Where a loss is infinite, the slope to a soft target is nothing to rely on.
    let finite_rows: Vec<bool> = (0..case.rows)
        .map(|row| {
            n.logits[row * case.cols..(row + 1) * case.cols]
                .iter()
                .all(|s| !s.is_infinite())
        })
        .collect();
    let expected = [
        ("loss", &placed.loss, DType::F32, &truth.loss, &naive.loss),
        (
            "grad_logits",
            &placed.grad,
            grad_dtype,
            &truth.grad_logits,
            &naive.grad_logits,
        ),
        (
            "grad_targets",
            &placed.grad_targets,
            DType::F32,
            &truth.grad_targets,
            &naive.grad_targets,
        ),
        (
            "grad_threshold",
            &placed.grad_threshold,
            DType::F32,
            &truth.grad_threshold,
            &naive.grad_threshold,
        ),
        (
            "grad_theta",
            &placed.grad_theta,
            DType::F32,
            &truth.grad_theta,
            &naive.grad_theta,
        ),
        (
            "grad_theta0",
            &placed.grad_theta0,
            DType::F32,
            &truth.grad_theta0,
            &naive.grad_theta0,
        ),
    ];
    let outputs: Vec<Place> = expected
        .iter()
        .filter_map(|(_, place, ..)| **place)
        .collect();
    let mut found = match placed.arena.read(gpu, &outputs) {
        Ok(found) => found.into_iter(),
        Err(error) if error.kind() == crate::ErrorKind::Buffer => {
            return Ok(Outcome::Failed(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    // The two sides of a row pull a threshold in opposite directions, each with up to the row's coefficient.
    let scale = case.loss.reduction().scale(case.rows);
    let upstream: f64 = (0..case.rows)
        .map(|row| {
            let weight = n.sample_weight.as_ref().map_or(1.0, |w| w[row]);
            let grad = n
                .grad_loss
                .as_ref()
                .map_or(1.0, |g| g[row.min(g.len() - 1)]);
            (scale * weight * grad).abs()
        })
        .sum();
    // The excess risk is a difference of two terms of up to about this size.
    let risk = match case.loss {
        AnyLoss::Zlpr(Zlpr {
            form: zlpr::Form::KlExcess,
            ..
        }) => 4.0 * (case.cols as f64 + 1.0).ln(),
        _ => 0.0,
    };
    let mut worst: f64 = 0.0;
    for (name, place, dtype, truth, naive) in expected {
        if place.is_none() {
            continue;
        }
        let found = found.next().unwrap_or_default();
        let keep = |i: usize| name != "grad_targets" || finite_rows[i / case.cols.max(1)];
        let pick = |v: &[f64]| -> Vec<f64> {
            v.iter()
                .enumerate()
                .filter(|(i, _)| keep(*i))
                .map(|(_, v)| *v)
                .collect()
        };
        let naive: Vec<f32> = naive
            .iter()
            .enumerate()
            .filter(|(i, _)| keep(*i))
            .map(|(_, v)| *v)
            .collect();
        let magnitude = match name {
            "grad_threshold" | "grad_theta0" => upstream,
            "loss" => risk,
            _ => 0.0,
        };
        match compare(name, dtype, &pick(&found), &pick(truth), &naive, magnitude) {
            Ok(share) => worst = worst.max(share),
            Err(message) => return Ok(Outcome::Failed(message)),
        }
    }
    Ok(Outcome::Passed(worst))
}
