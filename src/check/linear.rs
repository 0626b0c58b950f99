//! The fused last layer: its cases (loss x element type, the rest running through its values beside them).

use crate::check::case::{Case, Depth, Layout, Output};
use crate::check::numbers::{Numbers, SPARSE, TargetForm, form_name, from_flags, rounded};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::kernels::gradient::Gradient;
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::losses::bce::Bce;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::linear::Linear;
use crate::losses::reduction::Reduction;
use crate::losses::zlpr::Zlpr;
use crate::reference;
use crate::rowwise::{AnyLoss, CATALOG, Rowwise};
use std::fmt;

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

/// The cases.
pub fn linear_cases(depth: Depth) -> Vec<LinearCase> {
    let types = [DType::F32, DType::F16, DType::Bf16];
    let reductions = [
        Reduction::Mean,
        Reduction::None,
        Reduction::Sum,
        Reduction::MeanOver(7.5),
        Reduction::MeanElements,
        Reduction::MeanActive,
    ];
    let modes = [
        LinearMode::All,
        LinearMode::Same,
        LinearMode::Loss,
        LinearMode::Hidden,
        LinearMode::Weights,
    ];
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 4,
        Depth::Full => 30,
    };
    let mut cases = Vec::new();
    let mut turn = 0;
    for (name, loss) in losses() {
        for _ in 0..repeats {
            let reduction = reductions[turn % 6];
            // Not every loss has every reduction.
            let reduced = loss.with_reduction(reduction);
            let loss = match reduced.check() {
                Ok(()) => reduced,
                Err(_) => loss.with_reduction(reductions[turn % 4]),
            };
            let (rows, cols, dims) = SHAPES[(turn * 3) % SHAPES.len()];
            cases.push(LinearCase {
                name,
                config: Linear::new(loss).with_tile_bytes(TILES[(turn + turn / 3) % 3]),
                dtypes: (types[turn % 3], types[(turn / 2) % 3]),
                form: [SPARSE, Targets::Bits(())][(turn / 2) % 2],
                bias: turn % 3 != 0,
                sides: turn % 4 == 1,
                mode: modes[turn % 5],
                layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                rows,
                cols,
                dims,
                seed: 9000 + turn as u64,
            });
            turn += 1;
        }
    }
    cases
}

/// Prepares the layer on the tensors that there are, by their names.
fn prepare(config: &Linear<AnyLoss>, cx: &Context, t: &Tensors) -> Result<Prepared, Error> {
    let inputs = LinearInputs {
        bias: t.find("bias"),
        class_mask: t.find("class_mask"),
        class_weight: t.find("class_weight"),
        sample_weight: t.find("sample_weight"),
        grad_loss: t.find("grad_loss"),
        ..LinearInputs::new(
            t.get("hidden")?,
            t.get("weights")?,
            t.labels(TargetNames::TARGETS)?,
        )
    };
    let gradient = |name| t.find(name).map(Gradient::To);
    let outputs = LinearOutputs {
        loss: t.find("loss"),
        grad_hidden: gradient("grad_hidden"),
        grad_weights: gradient("grad_weights"),
        grad_bias: gradient("grad_bias"),
    };
    config.prepare(cx, &inputs, &outputs)
}

impl LinearCase {
    fn losses(&self) -> usize {
        match self.config.loss.reduction() {
            Reduction::None => self.rows,
            _ => 1,
        }
    }

    fn reference<T: reference::Real>(
        &self,
        n: &Numbers,
    ) -> Result<reference::LinearOutputs<T>, Error> {
        self.config.reference(&reference::LinearInputs {
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
        let mut normal = |count: usize, dtype: DType, size: f64| -> Vec<f64> {
            (0..count)
                .map(|_| rounded(dtype, size * rng.normal()))
                .collect()
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
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let truth = self.reference::<f64>(n)?;
        let naive = self.reference::<f32>(n)?;
        let mode = self.mode;
        let all = matches!(mode, LinearMode::All | LinearMode::Same);
        let types = match mode {
            LinearMode::Same => self.dtypes,
            _ => (DType::F32, DType::F32),
        };
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let mut outputs = Vec::new();
        if all || mode == LinearMode::Loss {
            let (t, f) = (truth.loss, naive.loss);
            outputs.push(Output::near("loss", DType::F32, (1, self.losses()), t, f));
        }
        if all || mode == LinearMode::Hidden {
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
