//! Cases of the constraint module: graph x element type x target form, the rest running through its values beside them.

use crate::check::Outcome;
use crate::check::arena::{Arena, Place, rounded};
use crate::check::compare::compare;
use crate::check::data::Rng;
use crate::check::rows::{Data, Depth, Form, Layout};
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::mcm::{McmInputs, McmOutputs};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::Targets;
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference;
use std::fmt;

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

/// One case of the constraint module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McmCase {
    /// Settings.
    pub config: Mcm,
    /// Its hierarchy.
    pub graph: Graph,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets, any but [`Form::Csr`].
    pub form: Form,
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
            "mcm {:?} {} targets={:?} {:?} {:?} upstream={} {:?} {:?} {}x{} seed={}",
            self.graph,
            self.dtype,
            self.form,
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
                    Form::U8,
                    Form::Bits,
                    Form::Float(dtype),
                    Form::Float(DType::F16),
                ];
                let (rows, cols) = SHAPES[(turn * 3) % SHAPES.len()];
                cases.push(McmCase {
                    config: Mcm {
                        row_mean: turn % 3 != 2,
                        reduction: reductions[turn % 4],
                    },
                    graph,
                    dtype,
                    form: forms[(turn / 2) % 4],
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

fn graph(case: &McmCase, rng: &mut Rng) -> Result<Hierarchy, Error> {
    let n = case.cols;
    // Numbers that say nothing about the place in the graph.
    let mut name: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        name.swap(i, rng.uniform(0.0, i as f64 + 1.0) as usize);
    }
    let mut edges = Vec::new();
    for child in 1..n {
        let mut pick = || rng.uniform(0.0, child as f64) as usize;
        let parents = match case.graph {
            Graph::Flat => vec![],
            Graph::Tree => vec![pick()],
            Graph::Dag => vec![pick(), pick(), pick()],
            Graph::Chain => vec![child - 1],
            Graph::Star => vec![0],
        };
        for (i, parent) in parents.iter().enumerate() {
            if !parents[..i].contains(parent) {
                edges.push([name[child], name[*parent]]);
            }
        }
    }
    Hierarchy::from_edges(n, &edges)
}

fn reference_of<T: reference::Real>(
    case: &McmCase,
    hierarchy: &Hierarchy,
    logits: &[f64],
    targets: &[bool],
    grad_loss: Option<&[f64]>,
) -> Result<reference::McmOutputs<T>, Error> {
    let real = |v: &[f64]| -> Vec<T> { v.iter().map(|x| T::from_f64(*x)).collect() };
    reference::mcm(
        &case.config,
        hierarchy,
        &reference::McmInputs {
            rows: case.rows,
            logits: &real(logits),
            targets,
            grad_loss: grad_loss.map(real).as_deref(),
        },
    )
}

pub(super) fn run(gpu: &Gpu, case: &McmCase) -> Result<Outcome, Error> {
    let mut rng = Rng::new(case.seed);
    let hierarchy = graph(case, &mut rng)?;
    let (rows, cols) = (case.rows, case.cols);
    let spread = match (case.data, case.dtype) {
        (Data::Large, DType::F16) => 1.5e4,
        (Data::Large, _) => 3e3,
        (Data::Normal | Data::Edges, _) => 3.0,
    };
    let mut logits = Vec::new();
    let mut targets = Vec::new();
    for row in 0..rows {
        for col in 0..cols {
            let first = col == row % cols;
            let logit = match (case.data, row % 6) {
                // Ties, all over the row or between the two zeros.
                (Data::Edges, 0) => 0.5,
                (Data::Edges, 1) => [0.0, -0.0][col % 2],
                (Data::Edges, 2) if first => f64::NAN,
                (Data::Edges, 3) if first => f64::INFINITY,
                (Data::Edges, 4) => f64::NEG_INFINITY,
                _ => spread * rng.normal(),
            };
            logits.push(rounded(case.dtype, logit));
            targets.push(rng.chance([0.3, 0.0, 1.0][row % 3]));
        }
    }
    let each = case.config.reduction == Reduction::None;
    let losses = if each { rows } else { 1 };
    let upstream: Option<Vec<f64>> = case.upstream.then(|| {
        let one = |_| rounded(DType::F32, rng.uniform(-2.0, 2.0));
        (0..losses).map(one).collect()
    });
    let truth = reference_of::<f64>(case, &hierarchy, &logits, &targets, upstream.as_deref())?;
    let naive = reference_of::<f32>(case, &hierarchy, &logits, &targets, upstream.as_deref())?;

    let mut arena = Arena::new(case.layout == Layout::Together);
    let logits_at = arena.put(case.dtype, rows, cols, &logits);
    let numbers: Vec<f64> = targets.iter().map(|y| f64::from(u8::from(*y))).collect();
    let targets_at = match case.form {
        Form::Float(dtype) => arena.put(dtype, rows, cols, &numbers),
        Form::Bits => {
            let words = cols.div_ceil(32);
            let mut bits = vec![0; rows * words];
            for i in (0..rows * cols).filter(|i| targets[*i]) {
                bits[i / cols * words + i % cols / 32] |= 1 << (i % cols % 32);
            }
            arena.put_words(rows, words, &bits)
        }
        Form::U8 | Form::Csr => arena.put(DType::U8, rows, cols, &numbers),
    };
    let words = hierarchy.words();
    let hierarchy_at = arena.put_words(1, words.len(), &words);
    let upstream_at = upstream
        .as_ref()
        .map(|v| arena.put(DType::F32, 1, v.len(), v));
    let mode = case.mode;
    let loss = matches!(mode, McmMode::All | McmMode::BothSame | McmMode::Loss)
        .then(|| arena.output(DType::F32, 1, losses));
    let grad_dtype = if mode == McmMode::BothSame {
        case.dtype
    } else {
        DType::F32
    };
    let grad = matches!(mode, McmMode::All | McmMode::BothSame | McmMode::Gradient)
        .then(|| arena.output(grad_dtype, rows, cols));
    let probabilities = matches!(mode, McmMode::All | McmMode::Probabilities)
        .then(|| arena.output(DType::F32, rows, cols));
    arena.upload(gpu)?;
    let tensor = |place: &Place| arena.tensor(place);
    let inputs = McmInputs {
        logits: tensor(&logits_at),
        targets: match case.form {
            _ if mode == McmMode::Probabilities => None,
            Form::Bits => Some(Targets::Bits(tensor(&targets_at))),
            Form::U8 | Form::Csr | Form::Float(_) => Some(Targets::Dense(tensor(&targets_at))),
        },
        hierarchy: hierarchy.on_device(tensor(&hierarchy_at))?,
        grad_loss: upstream_at.as_ref().map(tensor),
    };
    let outputs = McmOutputs {
        loss: loss.as_ref().map(tensor),
        grad_logits: grad.as_ref().map(tensor),
        probabilities: probabilities.as_ref().map(tensor),
    };
    let call = case.config.prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])?;

    let expected = [
        ("loss", loss, DType::F32, &truth.loss, &naive.loss),
        (
            "grad_logits",
            grad,
            grad_dtype,
            &truth.grad_logits,
            &naive.grad_logits,
        ),
        (
            "probabilities",
            probabilities,
            DType::F32,
            &truth.probabilities,
            &naive.probabilities,
        ),
    ];
    let places: Vec<Place> = expected.iter().filter_map(|e| e.1).collect();
    let found = match arena.read(gpu, &places) {
        Ok(found) => found,
        Err(error) if error.kind() == crate::ErrorKind::Buffer => {
            return Ok(Outcome::Failed(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let mut worst: f64 = 0.0;
    let present = expected.iter().filter(|e| e.1.is_some());
    for ((name, _, dtype, truth, naive), found) in present.zip(&found) {
        match compare(name, *dtype, found, truth, naive, 0.0) {
            Ok(share) => worst = worst.max(share),
            Err(message) => return Ok(Outcome::Failed(message)),
        }
    }
    Ok(Outcome::Passed(worst))
}
