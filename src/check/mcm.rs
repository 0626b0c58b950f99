//! The constraint module: its cases (graph x element type x target form, the rest running through its values beside
//! them), and how it is measured.

use crate::check::case::{Case, Data, Depth, Layout, Output};
use crate::check::measure::{Reference, Work, Workload, check_shape};
use crate::check::numbers::{
    Numbers, SPARSE, TargetForm, form_name, form_type, from_flags, in_words, rounded,
};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::mcm::call::{McmInputs, McmOutputs};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference;
use std::fmt;
use std::hint::black_box;

/// Shape of a case's hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// No edge.
    Flat,
    /// A random tree.
    Tree,
    /// Up to three parents a node.
    Dag,
    /// Each node below the one before.
    Chain,
    /// All below one node.
    Star,
}

/// What a case asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McmMode {
    /// Loss, gradient in f32, probabilities.
    All,
    /// Loss and gradient in the logits' type.
    BothSame,
    /// The loss alone.
    Loss,
    /// The gradient alone, in f32.
    Gradient,
    /// Probabilities alone, without targets.
    Probabilities,
}

/// Which masks and weights a case has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct McmSides {
    /// A mask by class.
    pub class_mask: bool,
    /// A mask by element.
    pub mask: bool,
    /// Weights of rows, some of them 0.
    pub sample_weight: bool,
    /// Weights of classes, one of them 0.
    pub class_weight: bool,
}

impl McmSides {
    /// None.
    pub const NONE: McmSides = McmSides {
        class_mask: false,
        mask: false,
        sample_weight: false,
        class_weight: false,
    };
    /// All of them.
    pub const ALL: McmSides = McmSides {
        class_mask: true,
        mask: true,
        sample_weight: true,
        class_weight: true,
    };
}

impl fmt::Display for McmSides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("class_mask", self.class_mask),
            ("mask", self.mask),
            ("sample_weight", self.sample_weight),
            ("class_weight", self.class_weight),
        ];
        let names: Vec<&str> = all
            .iter()
            .filter(|(_, has)| *has)
            .map(|(n, _)| *n)
            .collect();
        write!(f, "[{}]", names.join(" "))
    }
}

/// One case of the constraint module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McmCase {
    /// Settings.
    pub config: Mcm,
    /// Its hierarchy.
    pub graph: Graph,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: TargetForm,
    /// Masks and weights.
    pub sides: McmSides,
    /// What is asked for.
    pub mode: McmMode,
    /// Whether there is an upstream gradient.
    pub upstream: bool,
    /// How the tensors lie.
    pub layout: Layout,
    /// What the numbers are like.
    pub data: Data,
    /// Rows.
    pub rows: usize,
    /// Classes.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl fmt::Display for McmCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mcm {:?} {} targets={} {} {:?} {:?} upstream={} {:?} {:?} {}x{} seed={}",
            self.graph,
            self.dtype,
            form_name(self.form),
            self.sides,
            self.config.reduction,
            self.mode,
            self.upstream,
            self.layout,
            self.data,
            self.rows,
            self.cols,
            self.seed
        )
    }
}

/// Shapes: the reason beside each.
const SHAPES: &[(usize, usize)] = &[
    (3, 1),   // one class
    (7, 5),   // several rows a word in 16 bits
    (5, 63),  // no class with more descendants than a lane takes
    (4, 65),  // one that may have
    (9, 130), // odd
    (2, 700), // lists longer than a workgroup
    (65, 33), // many rows
];

/// The cases.
pub fn mcm_cases(depth: Depth) -> Vec<McmCase> {
    let reductions = [
        Reduction::Mean,
        Reduction::None,
        Reduction::Sum,
        Reduction::MeanOver(7.5),
    ];
    let modes = [
        McmMode::All,
        McmMode::BothSame,
        McmMode::Loss,
        McmMode::Gradient,
        McmMode::Probabilities,
    ];
    let datas = [Data::Normal, Data::Edges, Data::Large];
    let none = McmSides::NONE;
    let sides = [
        none,
        McmSides::ALL,
        McmSides {
            class_mask: true,
            ..none
        },
        none,
        McmSides {
            class_weight: true,
            ..none
        },
        McmSides { mask: true, ..none },
        McmSides {
            sample_weight: true,
            ..none
        },
    ];
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 2,
        Depth::Full => 8,
    };
    let mut cases = Vec::new();
    let mut turn = 0;
    for graph in [
        Graph::Dag,
        Graph::Tree,
        Graph::Star,
        Graph::Chain,
        Graph::Flat,
    ] {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            for _ in 0..repeats {
                let forms = [
                    Targets::Dense([DType::U8, DType::U32][(turn / 10) % 2]),
                    Targets::Bits(()),
                    Targets::Dense(dtype),
                    Targets::Dense(DType::F16),
                    SPARSE,
                ];
                let (rows, cols) = SHAPES[(turn * 3) % SHAPES.len()];
                cases.push(McmCase {
                    config: Mcm {
                        row_mean: turn % 3 != 2,
                        reduction: reductions[turn % 4],
                    },
                    graph,
                    dtype,
                    form: forms[(turn / 2) % 5],
                    sides: sides[turn % 7],
                    mode: modes[turn % 5],
                    upstream: turn % 7 != 0,
                    layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                    data: datas[(turn + turn / 3) % 3],
                    rows,
                    cols,
                    seed: 5000 + turn as u64,
                });
                turn += 1;
            }
        }
    }
    cases
}

/// Numbers of the loss, and of the gradient to it.
fn loss_len(config: &Mcm, rows: usize) -> usize {
    match config.reduction {
        Reduction::None => rows,
        _ => 1,
    }
}

/// Prepares the loss on the tensors that there are, by their names. Without `targets` it computes probabilities alone.
fn prepare(
    config: &Mcm,
    hierarchy: &Hierarchy,
    targets: bool,
    cx: &Context,
    t: &Tensors,
) -> Result<Prepared, Error> {
    let inputs = McmInputs {
        targets: match targets {
            true => Some(t.labels(TargetNames::TARGETS)?),
            false => None,
        },
        class_mask: t.find("class_mask"),
        mask: t.find("mask"),
        sample_weight: t.find("sample_weight"),
        class_weight: t.find("class_weight"),
        grad_loss: t.find("grad_loss"),
        ..McmInputs::new(t.get("logits")?, hierarchy.on_device(t.get("hierarchy")?)?)
    };
    let outputs = McmOutputs {
        loss: t.find("loss"),
        grad_logits: t.gradient("grad_logits"),
        probabilities: t.find("probabilities"),
    };
    config.prepare(cx, &inputs, &outputs)
}

impl McmCase {
    /// The hierarchy, from the first of the case's numbers.
    fn hierarchy(&self, rng: &mut Rng) -> Result<Hierarchy, Error> {
        // Numbers that say nothing about the place in the graph.
        let name = rng.permutation(self.cols);
        let mut edges = Vec::new();
        for child in 1..self.cols {
            let mut pick = || rng.below(child);
            let parents = match self.graph {
                Graph::Flat => vec![],
                Graph::Tree => vec![pick()],
                Graph::Dag => vec![pick(), pick(), pick()],
                Graph::Chain => vec![child - 1],
                Graph::Star => vec![0],
            };
            for (i, parent) in parents.iter().enumerate() {
                if !parents[..i].contains(parent) {
                    edges.push([name[child] as u32, name[*parent] as u32]);
                }
            }
        }
        Hierarchy::from_edges(self.cols, &edges)
    }

    fn reference<T: reference::Real>(
        &self,
        hierarchy: &Hierarchy,
        n: &Numbers,
    ) -> Result<reference::McmOutputs<T>, Error> {
        reference::mcm(
            &self.config,
            hierarchy,
            &reference::McmInputs {
                rows: self.rows,
                logits: &n.real("logits").unwrap_or_default(),
                targets: &n.real("targets").unwrap_or_default(),
                class_mask: n.flags("class_mask").as_deref(),
                mask: n.flags("mask").as_deref(),
                sample_weight: n.real("sample_weight").as_deref(),
                class_weight: n.real("class_weight").as_deref(),
                grad_loss: n.real("grad_loss").as_deref(),
            },
        )
    }
}

impl Case for McmCase {
    fn name(&self) -> &'static str {
        "mcm"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let hierarchy = self.hierarchy(&mut rng)?;
        let (rows, cols) = (self.rows, self.cols);
        let scale = self.data.scale(self.dtype);
        let mut logits = Vec::new();
        let mut targets = Vec::new();
        for row in 0..rows {
            for col in 0..cols {
                let first = col == row % cols;
                let logit = match (self.data, row % 6) {
                    // Ties, all over the row or between the two zeros.
                    (Data::Edges, 0) => 0.5,
                    (Data::Edges, 1) => [0.0, -0.0][col % 2],
                    (Data::Edges, 2) if first => f64::NAN,
                    (Data::Edges, 3) if first => f64::INFINITY,
                    (Data::Edges, 4) => f64::NEG_INFINITY,
                    _ => scale * rng.normal(),
                };
                logits.push(rounded(self.dtype, logit));
                targets.push(f64::from(u8::from(rng.chance([0.3, 0.0, 1.0][row % 3]))));
            }
        }
        let McmSides {
            class_mask,
            mask,
            sample_weight,
            class_weight,
        } = self.sides;
        let mut flags = |count: usize| {
            let one = |_| rng.chance(0.7);
            from_flags(&(0..count).map(one).collect::<Vec<bool>>())
        };
        let class_mask = class_mask.then(|| flags(cols));
        let mask = mask.then(|| flags(rows * cols));
        let mut weights = |count: usize, low: f64| -> Vec<f64> {
            let all = rng.many(count, low, 2.0).into_iter();
            all.map(|weight| rounded(DType::F32, weight)).collect()
        };
        let mut sample_weight = sample_weight.then(|| weights(rows, -0.5));
        for weight in sample_weight.iter_mut().flatten().skip(2).step_by(4) {
            *weight = 0.0;
        }
        let mut class_weight = class_weight.then(|| weights(cols, 1e-4));
        if let Some(weight) = class_weight.as_mut().and_then(|w| w.get_mut(cols / 2)) {
            *weight = 0.0;
        }
        let mut targets = in_words(self.form, targets);
        // What does not count may be anything.
        let any: &[f64] = match self.form {
            Targets::Dense(dtype) if dtype.is_float() => &[f64::NAN, -1.0, 1.0, 0.3, 0.7],
            Targets::Dense(_) => &[255.0, 1.0, 2.0],
            Targets::Bits(()) | Targets::Sparse { .. } => &[],
        };
        let absent = |flags: &Option<Vec<f64>>, i: usize| {
            flags.as_ref().is_some_and(|flags| flags[i] == 0.0)
        };
        for i in (0..rows * cols).filter(|_| !any.is_empty()) {
            let (row, col) = (i / cols, i % cols);
            if absent(&class_mask, col) || absent(&mask, i) || absent(&sample_weight, row) {
                targets[i] = rounded(form_type(self.form), any[i % any.len()]);
            }
        }
        let upstream = self.upstream.then(|| {
            let all = rng.many(loss_len(&self.config, rows), -2.0, 2.0);
            all.into_iter().map(|v| rounded(DType::F32, v)).collect()
        });
        let words = hierarchy.words();
        let mut n = Numbers::default();
        n.put("logits", self.dtype, (rows, cols), logits);
        let names = TargetNames::TARGETS;
        n.put_labels(names, self.form, (rows, cols), targets);
        n.put_words("hierarchy", (1, words.len()), &words);
        n.put_vector("class_mask", DType::U8, class_mask);
        if let Some(mask) = mask {
            n.put("mask", DType::U8, (rows, cols), mask);
        }
        n.put_vector("sample_weight", DType::F32, sample_weight);
        n.put_vector("class_weight", DType::F32, class_weight);
        n.put_vector("grad_loss", DType::F32, upstream);
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let hierarchy = self.hierarchy(&mut Rng(self.seed))?;
        let truth = self.reference::<f64>(&hierarchy, n)?;
        let naive = self.reference::<f32>(&hierarchy, n)?;
        let mode = self.mode;
        let (losses, shape) = (loss_len(&self.config, self.rows), (self.rows, self.cols));
        let mut outputs = Vec::new();
        if matches!(mode, McmMode::All | McmMode::BothSame | McmMode::Loss) {
            let (t, f) = (truth.loss, naive.loss);
            outputs.push(Output::near("loss", DType::F32, (1, losses), t, f));
        }
        if matches!(mode, McmMode::All | McmMode::BothSame | McmMode::Gradient) {
            let (t, f) = (truth.grad_logits, naive.grad_logits);
            let dtype = match mode {
                McmMode::BothSame => self.dtype,
                _ => DType::F32,
            };
            outputs.push(Output::near("grad_logits", dtype, shape, t, f));
        }
        if matches!(mode, McmMode::All | McmMode::Probabilities) {
            let (t, f) = (truth.probabilities, naive.probabilities);
            outputs.push(Output::near("probabilities", DType::F32, shape, t, f));
        }
        Ok(outputs)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let hierarchy = self.hierarchy(&mut Rng(self.seed))?;
        let targets = self.mode != McmMode::Probabilities;
        let call = prepare(&self.config, &hierarchy, targets, cx, tensors)?;
        Ok(vec![call])
    }
}

/// The constraint module at a shape, in a random tree whose nodes have some ten ancestors, with one leaf and its
/// ancestors positive in each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McmWorkload {
    /// Settings.
    pub config: Mcm,
    /// Element type of the logits.
    pub dtype: DType,
    /// Whether the gradient is computed too, in f32.
    pub gradient: bool,
    /// Rows.
    pub rows: usize,
    /// Classes.
    pub cols: usize,
}

impl McmWorkload {
    fn hierarchy(&self, rng: &mut Rng) -> Result<Hierarchy, Error> {
        let edge = |child: usize| {
            let parent = rng.uniform(0.0, (child as f64 / 1.6).max(1.0)) as u32;
            [child as u32, parent]
        };
        let edges: Vec<[u32; 2]> = (1..self.cols).map(edge).collect();
        Hierarchy::from_edges(self.cols, &edges)
    }

    fn data(&self) -> Result<(Hierarchy, Vec<f64>, Vec<bool>), Error> {
        self.config.check()?;
        check_shape(self.rows, self.cols)?;
        let mut rng = Rng(1);
        let hierarchy = self.hierarchy(&mut rng)?;
        let logit = |_| rounded(self.dtype, 3.0 * rng.normal());
        let logits = (0..self.rows * self.cols).map(logit).collect();
        let mut targets = vec![false; self.rows * self.cols];
        for row in targets.chunks_mut(self.cols) {
            for node in hierarchy.ancestors(rng.below(self.cols)) {
                row[*node as usize] = true;
            }
        }
        Ok((hierarchy, logits, targets))
    }
}

impl Workload for McmWorkload {
    fn settings(&self) -> String {
        format!("{:?}", self.config)
    }

    fn elements(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    fn input_bytes(&self) -> u64 {
        self.elements() * self.dtype.size()
    }

    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let (hierarchy, logits, targets) = self.data()?;
        let shape = (self.rows, self.cols);
        let words = hierarchy.words();
        let mut n = Numbers::default();
        n.put("logits", self.dtype, shape, logits);
        n.put("targets", DType::U8, shape, from_flags(&targets));
        n.put_words("hierarchy", (1, words.len()), &words);
        let loss = ("loss", (1, loss_len(&self.config, self.rows)));
        let outputs = [loss, ("grad_logits", shape)];
        let outputs = if self.gradient {
            &outputs[..]
        } else {
            &outputs[..1]
        };
        let config = self.config;
        Work::new(gpu, &n, outputs, move |cx, tensors| {
            prepare(&config, &hierarchy, true, cx, tensors)
        })
    }

    fn on_host(&self) -> Result<Reference, Error> {
        let (hierarchy, logits, targets) = self.data()?;
        let targets = from_flags(&targets);
        let (config, rows) = (self.config, self.rows);
        Ok(Box::new(move || {
            let inputs = reference::McmInputs {
                rows,
                logits: &logits,
                targets: &targets,
                ..reference::McmInputs::default()
            };
            let out = black_box(reference::mcm(&config, &hierarchy, &inputs)?);
            Ok(out.loss.first().copied().unwrap_or(0.0))
        }))
    }
}
