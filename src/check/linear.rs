//! The fused last layer: its cases (loss x element type, the rest running through its values beside them).

use crate::check::case::{Case, Depth, Layout, Output};
use crate::check::measure::{Reference, Work, Workload, check_shape};
use crate::check::numbers::{Numbers, SPARSE, TargetForm, form_name, from_flags, rounded};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::losses::bce::Bce;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::linear::{Linear, Update};
use crate::losses::reduction::Reduction;
use crate::losses::zlpr::Zlpr;
use crate::reference;
use crate::rowwise::{AnyLoss, CATALOG, Rowwise};
use std::fmt;
use std::hint::black_box;

/// What a case asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearMode {
    /// Loss and all gradients, in f32.
    All,
    /// The same, gradients in the types of what they are to.
    Same,
    /// The loss alone.
    Loss,
    /// The gradient to hidden states alone.
    Hidden,
    /// Those to weights and bias alone.
    Weights,
    /// Loss, gradient to hidden states, a step of the weights.
    Sgd,
    /// The same with a number for each label.
    Adagrad,
    /// The labels of the greatest logits, of numbers whose products are exact, with many that are equal; with the loss.
    Top,
    /// The same alone.
    TopAlone,
}

/// One case of the fused last layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearCase {
    /// Name of the loss.
    pub name: &'static str,
    /// The loss, and how large tiles are.
    pub config: Linear<AnyLoss>,
    /// Element types of hidden states and weights.
    pub dtypes: (DType, DType),
    /// Form of the targets: bits or lists.
    pub form: TargetForm,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether there are masks and weights.
    pub sides: bool,
    /// What is asked for.
    pub mode: LinearMode,
    /// How the tensors lie.
    pub layout: Layout,
    /// Samples.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Components of a hidden state.
    pub dims: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl fmt::Display for LinearCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "linear {} {} {} targets={} {} {:?} bias={} sides={} {:?} tile={} {}x{}x{} seed={}",
            self.name,
            self.dtypes.0,
            self.dtypes.1,
            form_name(self.form),
            self.config.loss.reduction().name(),
            self.mode,
            self.bias,
            self.sides,
            self.layout,
            self.config.tile_bytes,
            self.rows,
            self.cols,
            self.dims,
            self.seed
        )
    }
}

/// Shapes: samples, labels, components; the reason beside each.
const SHAPES: &[(usize, usize, usize)] = &[
    (3, 70, 5),    // nothing is whole
    (16, 96, 16),  // everything is
    (9, 257, 33),  // several tiles of any size
    (65, 130, 48), // more samples than labels of a tile
    (1, 500, 64),  // one sample
    (33, 1, 7),    // one label
    (5, 1031, 20), // many labels
];
/// Bytes of tiles: all labels in one; as few as there may be; some.
const TILES: [u64; 3] = [32 << 20, 0, 20_000];

/// The losses that a last layer takes: the plain one of each name, and two with what tiles have to know.
fn losses() -> Vec<(&'static str, AnyLoss)> {
    let plain = CATALOG.iter().map(|entry| (entry.name, entry.loss()));
    let taken = plain.filter(|(name, loss)| *name != "tlpr" && Linear::new(*loss).check().is_ok());
    let mut all: Vec<_> = taken.collect();
    let row_mean = Bce {
        row_mean: true,
        pos_weight: 2.5,
        smoothing: 0.1,
        ..Bce::default()
    };
    all.push(("bce", row_mean.into()));
    all.push(("zlpr-soft", Zlpr::soft().with_smoothing(0.1).into()));
    all
}

const REDUCTIONS: [Reduction; 6] = [
    Reduction::Mean,
    Reduction::None,
    Reduction::Sum,
    Reduction::MeanOver(7.5),
    Reduction::MeanElements,
    Reduction::MeanActive,
];

const MODES: [LinearMode; 9] = [
    LinearMode::All,
    LinearMode::Same,
    LinearMode::Loss,
    LinearMode::Hidden,
    LinearMode::Weights,
    LinearMode::Sgd,
    LinearMode::Top,
    LinearMode::Adagrad,
    LinearMode::TopAlone,
];

/// The case whose turn it is, of a loss, element types, and samples, labels, components.
fn case(
    turn: usize,
    (name, loss): (&'static str, AnyLoss),
    dtypes: (DType, DType),
    (rows, cols, dims): (usize, usize, usize),
) -> LinearCase {
    // Not every loss has every reduction.
    let reduced = loss.with_reduction(REDUCTIONS[turn % 6]);
    let loss = match reduced.check() {
        Ok(()) => reduced,
        Err(_) => loss.with_reduction(REDUCTIONS[turn % 4]),
    };
    let mode = MODES[turn % MODES.len()];
    let layer = Linear::new(loss).with_tile_bytes(TILES[(turn + turn / 3) % 3]);
    let seed = 9000 + turn as u64;
    LinearCase {
        name,
        config: match mode {
            LinearMode::Sgd => layer.with_update(Update::sgd(0.5), seed),
            LinearMode::Adagrad => layer.with_update(Update::adagrad(0.3), seed),
            _ => layer,
        },
        dtypes,
        form: [SPARSE, Targets::Bits(())][(turn / 2) % 2],
        bias: !turn.is_multiple_of(3),
        sides: turn % 4 == 1,
        mode,
        layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
        rows,
        cols,
        dims,
        seed,
    }
}

/// The cases.
pub fn linear_cases(depth: Depth) -> Vec<LinearCase> {
    let types = [DType::F32, DType::F16, DType::Bf16];
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 5,
        Depth::Full => 36,
    };
    let mut cases = Vec::new();
    for loss in losses() {
        for _ in 0..repeats {
            let turn = cases.len();
            let of_weights = match MODES[turn % MODES.len()] {
                LinearMode::Sgd | LinearMode::Adagrad => DType::F32,
                _ => types[(turn / 2) % 3],
            };
            let shape = SHAPES[(turn * 3) % SHAPES.len()];
            cases.push(case(turn, loss, (types[turn % 3], of_weights), shape));
        }
    }
    cases
}

/// Samples, labels, components: below, at and beyond the matrices, the blocks and what is staged of either side.
const COOPERATIVE_SHAPES: &[(usize, usize, usize)] = &[
    (65, 130, 20),
    (7, 5, 3),
    (131, 70, 64),
    (1, 1, 1),
    (90, 260, 136),
    (129, 33, 257),
    (64, 64, 16),
    (300, 40, 72),
];

/// The cases in a variant with cooperative matrices: few losses, which have nothing to do with them, and 16 bits.
pub fn cooperative_linear_cases(depth: Depth) -> Vec<LinearCase> {
    let types = [
        (DType::F16, DType::F16),
        (DType::Bf16, DType::Bf16),
        (DType::F16, DType::Bf16),
        (DType::Bf16, DType::F16),
    ];
    let mut losses = losses();
    losses.retain(|(name, _)| ["bce", "softmax-ce", "zlpr"].contains(name));
    let count = match depth {
        Depth::Sample => COOPERATIVE_SHAPES.len(),
        // Half of all shapes with all modes.
        Depth::Every => MODES.len() * COOPERATIVE_SHAPES.len() / 2,
        Depth::Full => MODES.len() * COOPERATIVE_SHAPES.len(),
    };
    let of = |turn: usize, shape| {
        let loss = losses[turn / 2 % losses.len()];
        case(turn, loss, types[(turn + turn / 4) % 4], shape)
    };
    let shapes = COOPERATIVE_SHAPES.iter().cycle().enumerate();
    let mut cases: Vec<LinearCase> = shapes
        .map(|(turn, shape)| of(turn, *shape))
        .take(count)
        .collect();
    if depth != Depth::Sample {
        // More of the inner dimension than one sum takes in: of products, of slopes. Several windows.
        let many = [(20, 70, 2100), (40, 4300, 12), (1100, 70, 8)];
        for (i, shape) in many.into_iter().enumerate() {
            let plain = of(9 * i, shape);
            cases.push(LinearCase {
                bias: true,
                ..plain
            });
        }
    }
    cases
}

/// Labels that are chosen.
fn chosen(cols: usize) -> usize {
    cols.min(13)
}

/// Prepares the layer on the tensors that there are, by their names.
fn prepare(config: &Linear<AnyLoss>, cx: &Context, t: &Tensors) -> Result<Prepared, Error> {
    let (inputs, outputs) = call(t)?;
    config.prepare(cx, &inputs, &outputs)
}

/// The tensors of a call.
pub(super) fn call(t: &Tensors) -> Result<(LinearInputs<'_>, LinearOutputs<'_>), Error> {
    let inputs = LinearInputs {
        bias: t.find("bias"),
        class_mask: t.find("class_mask"),
        class_weight: t.find("class_weight"),
        sample_weight: t.find("sample_weight"),
        grad_loss: t.find("grad_loss"),
        targets: Some(t.labels(TargetNames::TARGETS)?),
        state: t.find("state"),
        ..LinearInputs::new(t.get("hidden")?, t.get("weights")?)
    };
    let outputs = LinearOutputs {
        loss: t.find("loss"),
        grad_hidden: t.gradient("grad_hidden"),
        grad_weights: t.gradient("grad_weights"),
        grad_bias: t.gradient("grad_bias"),
        top_labels: t.find("top_labels"),
        top_scores: t.find("top_scores"),
    };
    Ok((inputs, outputs))
}

impl LinearCase {
    fn losses(&self) -> usize {
        match self.config.loss.reduction() {
            Reduction::None => self.rows,
            _ => 1,
        }
    }

    /// Whether labels are chosen.
    fn chooses(&self) -> bool {
        matches!(self.mode, LinearMode::Top | LinearMode::TopAlone)
    }

    fn reference<T: reference::Real, R>(
        &self,
        n: &Numbers,
        of: impl FnOnce(&reference::LinearInputs<'_, T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        of(&reference::LinearInputs {
            rows: self.rows,
            cols: self.cols,
            dims: self.dims,
            hidden: &n.real("hidden").unwrap_or_default(),
            weights: &n.real("weights").unwrap_or_default(),
            bias: n.real("bias").as_deref(),
            targets: &n.labels("targets"),
            class_mask: n.flags("class_mask").as_deref(),
            sample_weight: n.real("sample_weight").as_deref(),
            class_weight: n.real("class_weight").as_deref(),
            state: n.real("state").as_deref(),
            grad_loss: n.real("grad_loss").as_deref(),
        })
    }
}

impl Case for LinearCase {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let size = 3.0 / (dims as f64).sqrt();
        let whole = self.chooses();
        let mut normal = |count: usize, dtype: DType, size: f64| -> Vec<f64> {
            let one = |_| match whole {
                true => rng.normal().round(),
                false => rounded(dtype, size * rng.normal()),
            };
            (0..count).map(one).collect()
        };
        let hidden = normal(rows * dims, self.dtypes.0, 1.0);
        let weights = normal(cols * dims, self.dtypes.1, size);
        let bias = self.bias.then(|| normal(cols, DType::F32, 1.0));
        let positives = |i: usize| [0.02, 0.0, 0.3, 1.0][i / cols % 4];
        let targets: Vec<bool> = (0..rows * cols).map(|i| rng.chance(positives(i))).collect();
        let mut some = |count: usize, low: f64| -> Vec<f64> {
            let all = rng.many(count, low, 2.0).into_iter();
            all.map(|value| rounded(DType::F32, value)).collect()
        };
        let grad_loss = some(self.losses(), -2.0);
        let mut sample_weight = self.sides.then(|| some(rows, 0.1));
        let class_weight = self.sides.then(|| some(cols, 0.1));
        for weight in sample_weight.iter_mut().flatten().skip(2).step_by(4) {
            *weight = 0.0;
        }
        let class_mask = self.sides.then(|| {
            let flags: Vec<bool> = (0..cols).map(|_| rng.chance(0.8)).collect();
            from_flags(&flags)
        });
        let mut n = Numbers::default();
        n.put("hidden", self.dtypes.0, (rows, dims), hidden);
        n.put("weights", self.dtypes.1, (cols, dims), weights);
        n.put_vector("bias", DType::F32, bias);
        let names = TargetNames::TARGETS;
        n.put_labels(names, self.form, (rows, cols), from_flags(&targets));
        n.put_vector("class_mask", DType::U8, class_mask);
        n.put_vector("class_weight", DType::F32, class_weight);
        n.put_vector("sample_weight", DType::F32, sample_weight);
        n.put_vector("grad_loss", DType::F32, Some(grad_loss));
        if self.mode == LinearMode::Adagrad {
            let state = rng.many(cols, 0.0, 0.1).into_iter();
            let state = state.map(|value| rounded(DType::F32, value)).collect();
            n.put_vector("state", DType::F32, Some(state));
        }
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let truth = self.reference::<f64, _>(n, |inputs| self.config.reference(inputs))?;
        let naive = self.reference::<f32, _>(n, |inputs| self.config.reference(inputs))?;
        let mode = self.mode;
        let steps = matches!(mode, LinearMode::Sgd | LinearMode::Adagrad);
        let all = matches!(mode, LinearMode::All | LinearMode::Same);
        let types = match mode {
            LinearMode::Same => self.dtypes,
            _ => (DType::F32, DType::F32),
        };
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let mut outputs = Vec::new();
        if all || steps || matches!(mode, LinearMode::Loss | LinearMode::Top) {
            let (t, f) = (truth.loss, naive.loss);
            outputs.push(Output::near("loss", DType::F32, (1, self.losses()), t, f));
        }
        if all || steps || mode == LinearMode::Hidden {
            let (t, f) = (truth.grad_hidden, naive.grad_hidden);
            outputs.push(Output::near("grad_hidden", types.0, (rows, dims), t, f));
        }
        if all || mode == LinearMode::Weights {
            let (t, f) = (truth.grad_weights, naive.grad_weights);
            outputs.push(Output::near("grad_weights", types.1, (cols, dims), t, f));
            if self.bias {
                let (t, f) = (truth.grad_bias, naive.grad_bias);
                outputs.push(Output::near("grad_bias", DType::F32, (1, cols), t, f));
            }
        }
        if steps {
            let (t, f) = (truth.weights, naive.weights);
            let weights = Output::near("weights", self.dtypes.1, (cols, dims), t, f);
            // Those of 16 bits are rounded by chance, which has a test of its own.
            let kept = vec![self.dtypes.1 == DType::F32; cols * dims];
            outputs.push(weights.over(Some("weights")).keeping(kept));
        }
        if mode == LinearMode::Adagrad {
            let (t, f) = (truth.state, naive.state);
            let state = Output::near("state", DType::F32, (1, cols), t, f);
            outputs.push(state.over(Some("state")));
        }
        if self.chooses() {
            let count = chosen(cols);
            let (labels, scores) =
                self.reference::<f64, _>(n, |inputs| reference::top(inputs, count))?;
            let shape = (rows, count);
            let exactly = |name, dtype, values: Vec<f64>| {
                Output::near(name, dtype, shape, Vec::new(), Vec::new()).exactly(values)
            };
            let labels = labels.into_iter().map(f64::from).collect();
            outputs.push(exactly("top_labels", DType::U32, labels));
            outputs.push(exactly("top_scores", DType::F32, scores));
        }
        Ok(outputs)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        Ok(vec![prepare(&self.config, cx, tensors)?])
    }
}

/// The layer at a shape, with up to 16 positives a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearWorkload {
    /// The loss, and how large tiles are.
    pub config: Linear<AnyLoss>,
    /// Element type of hidden states and weights.
    pub dtype: DType,
    /// Whether gradients to hidden states and weights are computed too, in f32; with an update, a step of the weights.
    pub gradient: bool,
    /// Samples.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Components of a hidden state.
    pub dims: usize,
}

impl LinearWorkload {
    fn numbers(&self) -> Result<Numbers, Error> {
        self.config.check()?;
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        check_shape(rows, cols)?;
        check_shape(rows, dims)?;
        check_shape(cols, dims)?;
        let mut rng = Rng(1);
        let mut normal = |count: usize, size: f64| -> Vec<f64> {
            (0..count)
                .map(|_| rounded(self.dtype, size * rng.normal()))
                .collect()
        };
        let hidden = normal(rows * dims, 1.0);
        let weights = normal(cols * dims, 3.0 / (dims as f64).sqrt());
        let mut targets = vec![false; rows * cols];
        for (i, row) in targets.chunks_mut(cols).enumerate() {
            for _ in 0..i % 17 {
                row[rng.below(cols)] = true;
            }
        }
        let mut n = Numbers::default();
        n.put("hidden", self.dtype, (rows, dims), hidden);
        n.put("weights", self.dtype, (cols, dims), weights);
        let targets = from_flags(&targets);
        n.put_labels(TargetNames::TARGETS, SPARSE, (rows, cols), targets);
        if self.config.update.is_some_and(Update::has_state) {
            n.put_vector("state", DType::F32, Some(vec![0.0; cols]));
        }
        Ok(n)
    }
}

impl Workload for LinearWorkload {
    fn settings(&self) -> String {
        format!("{:?}", self.config)
    }

    fn elements(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    fn input_bytes(&self) -> u64 {
        (self.rows + self.cols) as u64 * self.dims as u64 * self.dtype.size()
    }

    fn flops(&self) -> Option<u64> {
        let products = if self.gradient { 3 } else { 1 };
        Some(2 * products * self.elements() * self.dims as u64)
    }

    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let numbers = self.numbers()?;
        let losses = match self.config.loss.reduction() {
            Reduction::None => self.rows,
            _ => 1,
        };
        let mut outputs = vec![("loss", (1, losses))];
        if self.gradient {
            outputs.push(("grad_hidden", (self.rows, self.dims)));
            if self.config.update.is_none() {
                outputs.push(("grad_weights", (self.cols, self.dims)));
            }
        }
        let mut config = self.config;
        config.update = config.update.filter(|_| self.gradient);
        Work::new(gpu, &numbers, &outputs, move |cx, tensors| {
            prepare(&config, cx, tensors)
        })
    }

    fn on_host(&self) -> Result<Reference, Error> {
        let numbers = self.numbers()?;
        let case = *self;
        Ok(Box::new(move || {
            let out = black_box(case.config.reference(&reference::LinearInputs {
                rows: case.rows,
                cols: case.cols,
                dims: case.dims,
                hidden: numbers.get("hidden"),
                weights: numbers.get("weights"),
                targets: numbers.get("targets"),
                ..reference::LinearInputs::default()
            })?);
            Ok(out.loss.first().copied().unwrap_or(0.0))
        }))
    }
}
