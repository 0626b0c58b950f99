//! Cases of the contrastive losses: every weighting, with element type, form of the label sets, keys, reduction, outputs,
//! layout, shape and kinds of data running through all their values beside it.

use crate::check::Outcome;
use crate::check::arena::{Arena, Place, encode, rounded};
use crate::check::bench::Work;
use crate::check::compare::compare;
use crate::check::data::Rng;
use crate::check::rows::{Depth, Form, Layout};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, RelationInputs, RelationOutputs, Relations,
};
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Normalizer, Placement, Weighting,
};
use crate::losses::labels::Targets;
use crate::reference;
use std::fmt;
use std::hint::black_box;
use std::time::Instant;

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
    pub form: Form,
    /// Whom the anchors are compared with.
    pub others: Others,
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
            form: Form::U8,
            others: match loss.weighting {
                Weighting::Paired => Others::Indexed(rows),
                _ => Others::Same,
            },
            asked: Asked::All,
            layout: Layout::Apart,
            points: Points::Normal,
            rows,
            dims,
            labels,
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
            "{} {} sets={:?} {:?} {:?} {:?} {:?} {:?} tile={} {}x{} labels={} seed={}",
            self.name,
            self.dtype,
            self.form,
            self.others,
            self.loss.reduction,
            self.asked,
            self.layout,
            self.points,
            self.loss.tile_bytes,
            self.rows,
            self.dims,
            self.labels,
            self.seed
        )
    }
}

/// Every weighting by its name.
fn members() -> [(&'static str, Contrastive); 10] {
    use {Normalizer::*, Placement::*};
    [
        ("simdis", Contrastive::sim_dis()),
        ("simdis-ksum", Contrastive::sim_dis_at(Outside, KSum)),
        (
            "simdis-numerator",
            Contrastive::sim_dis_at(Numerator, Count),
        ),
        ("simdis-both", Contrastive::sim_dis_at(Both, Count)),
        ("any", Contrastive::sup_con_any()),
        ("all", Contrastive::sup_con_all()),
        ("mulsupcon", Contrastive::mul_sup_con()),
        ("mulsupcon-sum", Contrastive::mul_sup_con_sum()),
        ("jaccard", Contrastive::jaccard()),
        ("paired", Contrastive::info_nce()),
    ]
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
                    temperature: match points {
                        Points::Sharp => 0.01,
                        _ => [0.07, 0.5, 0.1][turn % 3],
                    },
                    normalize: points != Points::Raw,
                    reduction: [
                        ContrastiveReduction::MeanActive,
                        ContrastiveReduction::None,
                        ContrastiveReduction::Sum,
                        ContrastiveReduction::MeanLabels,
                        ContrastiveReduction::MeanAll,
                    ][(turn / 3) % 5],
                    // Now and then tiles of single blocks.
                    tile_bytes: if turn % 4 == 1 { 0 } else { loss.tile_bytes },
                    ..loss
                },
                dtype: [DType::F32, DType::F16, DType::Bf16][(turn / 2) % 3],
                form: [Form::U8, Form::Bits, Form::Csr][(turn / 3) % 3],
                others: match (loss.weighting, others) {
                    (Weighting::Paired, _) => Others::Indexed(m),
                    (_, others) => others,
                },
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
                form: Form::Csr,
                others,
                seed: 900 + i as u64,
                ..plain
            });
        }
    }
    cases
}

/// A contrastive loss at a shape, to be measured: normal embeddings in f32, sets of up to eight labels as bits, the anchors
/// among themselves, loss and gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContrastiveBench {
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

impl ContrastiveBench {
    /// The embeddings, rounded to their type, and the labels of each row.
    fn data(&self) -> (Vec<f64>, Vec<Vec<usize>>) {
        let mut rng = Rng::new(1);
        let values = (0..self.rows * self.dims).map(|_| rounded(self.dtype, rng.normal()));
        let values = values.collect();
        let mut sets = Vec::new();
        for row in 0..self.rows {
            let few = (1 + row % 8).min(self.labels);
            let label = |_| rng.uniform(0.0, self.labels as f64) as usize;
            sets.push((0..few).map(label).collect());
        }
        (values, sets)
    }

    /// Prepares the call and brings the data to the device.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`]; device errors.
    pub fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let (rows, dims) = (self.rows, self.dims);
        let words = self.labels.div_ceil(32);
        let (values, sets) = self.data();
        let mut bits = vec![0_u32; rows * words];
        for (row, set) in sets.iter().enumerate() {
            for label in set {
                bits[row * words + label / 32] |= 1 << (label % 32);
            }
        }
        let size = self.dtype.size() as usize;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| encode(self.dtype, *v).into_iter().take(size))
            .collect();
        let (x, bits) = (
            gpu.upload(&bytes)?,
            gpu.upload(bytemuck::cast_slice(&bits))?,
        );
        let (loss, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (rows * dims) as u64)?);
        let inputs = ContrastiveInputs::new(
            Tensor::matrix(&x, self.dtype, rows, dims),
            self.labels,
            Targets::Bits(Tensor::matrix(&bits, DType::U32, rows, words)),
        );
        let outputs = ContrastiveOutputs {
            loss: Some(Tensor::vector(&loss, DType::F32, 1)),
            grad_embeddings: self
                .gradient
                .then(|| Tensor::matrix(&grad, DType::F32, rows, dims)),
            ..ContrastiveOutputs::default()
        };
        let began = Instant::now();
        let call = self.loss.prepare(gpu.context(), &inputs, &outputs)?;
        let took = began.elapsed();
        // What a caller has: embeddings and sets read once, the gradient and the loss written.
        let written = if self.gradient {
            4 * rows * dims + 4
        } else {
            4
        };
        let moved = x.size() + bits.size() + written as u64;
        Ok(Work::new(call, moved, took, loss))
    }

    /// Computes loss and gradient of the same data on the reference, in f64, each time it is called, and returns the loss.
    ///
    /// # Errors
    /// Bad settings.
    pub fn on_host(&self) -> Result<impl Fn() -> Result<f64, Error> + use<>, Error> {
        self.loss.check()?;
        let bench = *self;
        let (values, lists) = self.data();
        let mut sets = vec![false; self.rows * self.labels];
        for (row, set) in lists.iter().enumerate() {
            for label in set {
                sets[row * self.labels + label] = true;
            }
        }
        Ok(move || {
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
        })
    }
}

/// The numbers of a case, as they are after rounding to their element types.
struct Numbers {
    x: [Vec<f64>; 2],
    sets: [Vec<bool>; 2],
    own: Option<Vec<Option<usize>>>,
    grad_loss: Vec<f64>,
}

fn numbers(case: &ContrastiveCase) -> Numbers {
    let mut rng = Rng::new(case.seed);
    let counts = [case.rows, case.keys().unwrap_or(0)];
    let pool: Vec<usize> = (0..case.labels.min(12))
        .map(|i| i * case.labels / case.labels.min(12))
        .collect();
    let mut x: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut sets: [Vec<bool>; 2] = [Vec::new(), Vec::new()];
    for side in 0..2 {
        for row in 0..counts[side] {
            let scale = match (case.points, row % 7) {
                (Points::Raw, _) => 0.3,
                (Points::Edges, 0) => 0.0,
                (Points::Edges, 1) => match case.dtype {
                    DType::F16 => 1e-6,
                    _ => 1e-14,
                },
                (Points::Edges, 2) => match case.dtype {
                    DType::F16 => 1e4,
                    _ => 1e25,
                },
                _ => 2.0,
            };
            for d in 0..case.dims {
                let value = match (case.points, row % 3) {
                    // The row before once more.
                    (Points::Sharp, 2) => x[side][(row - 1) * case.dims + d],
                    _ => rounded(case.dtype, scale * rng.normal()),
                };
                x[side].push(value);
            }
            let mut set = vec![false; case.labels];
            let few = match (case.points, row % 6) {
                (Points::Edges, 0 | 3 | 4) | (_, 5) => 0.0,
                (_, 0) => 0.15,
                (_, 1) => 0.9,
                _ => 0.3,
            };
            for label in &pool {
                set[*label] = rng.chance(few);
            }
            if row % 6 == 4 && row > 2 {
                set.copy_from_slice(&sets[side][(row - 2) * case.labels..(row - 1) * case.labels]);
            }
            sets[side].extend(set);
        }
    }
    // The first keys are anchors once more.
    let m = counts[1];
    let own = matches!(case.others, Others::Indexed(_)).then(|| {
        let mut own = Vec::new();
        for row in 0..case.rows {
            own.push((m > 0 && row % 5 != 4).then_some((row * 3 + 1) % m.max(1)));
        }
        own
    });
    let upstream = match case.loss.reduction {
        ContrastiveReduction::None => case.rows,
        _ => 1,
    };
    let grad_loss = (0..upstream)
        .map(|_| rounded(DType::F32, rng.uniform(-2.0, 2.0)))
        .collect();
    Numbers {
        x,
        sets,
        own,
        grad_loss,
    }
}

fn with_reference<T: reference::Real, R>(
    case: &ContrastiveCase,
    n: &Numbers,
    work: impl FnOnce(&reference::ContrastiveInputs<'_, T>) -> Result<R, Error>,
) -> Result<R, Error> {
    let real = |v: &[f64]| -> Vec<T> { v.iter().map(|x| T::from_f64(*x)).collect() };
    let [x, keys] = [real(&n.x[0]), real(&n.x[1])];
    let grad = real(&n.grad_loss);
    work(&reference::ContrastiveInputs {
        rows: case.rows,
        dims: case.dims,
        classes: case.labels,
        embeddings: &x,
        labels: &n.sets[0],
        keys: case.keys().map(|rows| reference::ContrastiveKeys {
            rows,
            embeddings: &keys,
            labels: &n.sets[1],
        }),
        self_index: n.own.as_deref(),
        grad_loss: Some(&grad),
    })
}

/// Label sets on the device.
fn put_sets(
    arena: &mut Arena,
    form: Form,
    rows: usize,
    labels: usize,
    sets: &[bool],
) -> (Place, Option<Place>) {
    match form {
        Form::Bits => {
            let words = labels.div_ceil(32);
            let mut bits = vec![0; rows * words];
            for (i, _) in sets.iter().enumerate().filter(|(_, y)| **y) {
                bits[i / labels * words + i % labels / 32] |= 1 << (i % labels % 32);
            }
            (arena.put_words(rows, words, &bits), None)
        }
        Form::Csr => {
            let mut offsets = vec![0];
            let mut indices = Vec::new();
            for row in 0..rows {
                // Backwards and, now and then, twice: neither order nor repeats matter.
                let set = &sets[row * labels..(row + 1) * labels];
                for label in (0..labels).rev().filter(|label| set[*label]) {
                    indices.extend(std::iter::repeat_n(label as u32, 1 + label % 2));
                }
                offsets.push(indices.len() as u32);
            }
            let offsets = arena.put_words(1, rows + 1, &offsets);
            (offsets, Some(arena.put_words(1, indices.len(), &indices)))
        }
        Form::U8 | Form::Float(_) => {
            let flags: Vec<f64> = sets.iter().map(|y| f64::from(u8::from(*y))).collect();
            (arena.put(DType::U8, rows, labels, &flags), None)
        }
    }
}

fn view<'a>(arena: &'a Arena, form: Form, places: &(Place, Option<Place>)) -> Targets<Tensor<'a>> {
    match (form, places) {
        (Form::Bits, (words, _)) => Targets::Bits(arena.tensor(words)),
        (_, (offsets, Some(indices))) => Targets::Sparse {
            offsets: arena.tensor(offsets),
            indices: arena.tensor(indices),
        },
        (_, (flags, None)) => Targets::Dense(arena.tensor(flags)),
    }
}

/// Runs a case of the contrastive losses on a device, in the variant it is set to: the loss, and the relations of its
/// label sets.
pub(super) fn run(gpu: &Gpu, case: &ContrastiveCase) -> Result<Outcome, Error> {
    let n = numbers(case);
    let truth = with_reference::<f64, _>(case, &n, |inputs| {
        reference::contrastive(&case.loss, inputs)
    })?;
    let naive = with_reference::<f32, _>(case, &n, |inputs| {
        reference::contrastive(&case.loss, inputs)
    })?;
    let relations = with_reference::<f64, _>(case, &n, reference::relations)?;
    let (rows, dims, labels) = (case.rows, case.dims, case.labels);

    let mut arena = Arena::new(case.layout == Layout::Together);
    let x = arena.put(case.dtype, rows, dims, &n.x[0]);
    let sets = put_sets(&mut arena, case.form, rows, labels, &n.sets[0]);
    let keys = case.keys().map(|m| {
        // Keys have a form of their own where the anchors' is dense.
        let form = if case.form == Form::U8 {
            Form::Bits
        } else {
            case.form
        };
        let x = arena.put(case.dtype, m, dims, &n.x[1]);
        (x, form, put_sets(&mut arena, form, m, labels, &n.sets[1]))
    });
    let own = n.own.as_ref().map(|own| {
        let words: Vec<u32> = own
            .iter()
            .map(|k| k.map_or(u32::MAX, |k| k as u32))
            .collect();
        arena.put_words(1, rows, &words)
    });
    let grad_loss = arena.put(DType::F32, 1, n.grad_loss.len(), &n.grad_loss);
    let mut output = |wanted: bool, rows: usize, cols: usize| {
        wanted.then(|| arena.output(DType::F32, rows, cols))
    };
    let all = case.asked == Asked::All;
    let loss = output(case.asked != Asked::Gradient, 1, truth.loss.len());
    let loss_rows = output(all, 1, rows);
    let grad = output(case.asked != Asked::Loss, rows, dims);
    let grad_keys = output(all && keys.is_some(), case.keys().unwrap_or(0), dims);
    let grad_temperature = output(all, 1, 1);
    let counts = arena.put_words(rows, 5, &vec![u32::MAX; 5 * rows]);
    arena.upload(gpu)?;

    let tensor = |place: &Place| arena.tensor(place);
    let inputs = ContrastiveInputs {
        embeddings: tensor(&x),
        classes: labels,
        labels: view(&arena, case.form, &sets),
        keys: keys.as_ref().map(|(x, form, sets)| Keys {
            embeddings: tensor(x),
            labels: view(&arena, *form, sets),
        }),
        self_index: own.as_ref().map(tensor),
        grad_loss: Some(tensor(&grad_loss)),
    };
    let outputs = ContrastiveOutputs {
        loss: loss.as_ref().map(tensor),
        loss_rows: loss_rows.as_ref().map(tensor),
        grad_embeddings: grad.as_ref().map(tensor),
        grad_keys: grad_keys.as_ref().map(tensor),
        grad_temperature: grad_temperature.as_ref().map(tensor),
    };
    let call = case.loss.prepare(gpu.context(), &inputs, &outputs)?;
    let relation_inputs = RelationInputs {
        rows,
        classes: labels,
        labels: inputs.labels,
        keys: inputs
            .keys
            .map(|keys| (keys.embeddings.rows(), keys.labels)),
        self_index: inputs.self_index,
    };
    let relation_outputs = RelationOutputs {
        relations: tensor(&counts),
    };
    let look = Relations.prepare(gpu.context(), &relation_inputs, &relation_outputs)?;
    gpu.run(&[&call, &look])?;

    // What cancels in the temperature's gradient: each anchor's slopes sum to nothing.
    let steep: f64 = 1.0 / f64::from(case.loss.temperature);
    let expected = [
        ("loss", loss, &truth.loss, &naive.loss),
        ("loss_rows", loss_rows, &truth.loss_rows, &naive.loss_rows),
        (
            "grad_embeddings",
            grad,
            &truth.grad_embeddings,
            &naive.grad_embeddings,
        ),
        ("grad_keys", grad_keys, &truth.grad_keys, &naive.grad_keys),
        (
            "grad_temperature",
            grad_temperature,
            &truth.grad_temperature,
            &naive.grad_temperature,
        ),
    ];
    let mut places: Vec<Place> = expected
        .iter()
        .filter_map(|(_, place, ..)| *place)
        .collect();
    places.push(counts);
    let mut found = match arena.read(gpu, &places) {
        Ok(found) => found.into_iter(),
        Err(error) if error.kind() == crate::ErrorKind::Buffer => {
            return Ok(Outcome::Failed(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let mut worst: f64 = 0.0;
    for (name, place, truth, naive) in expected {
        if place.is_none() {
            continue;
        }
        let found = found.next().unwrap_or_default();
        let magnitude = match name {
            "loss" | "loss_rows" => steep,
            _ => 0.0,
        };
        match compare(name, DType::F32, &found, truth, naive, magnitude) {
            Ok(share) => worst = worst.max(share),
            Err(message) => return Ok(Outcome::Failed(message)),
        }
    }
    let found = found.next().unwrap_or_default();
    match found
        .iter()
        .zip(&relations)
        .position(|(f, r)| *f != f64::from(*r))
    {
        None if found.len() == relations.len() => Ok(Outcome::Passed(worst)),
        at => Ok(Outcome::Failed(format!(
            "relations: {found:?} at {at:?}, expected {relations:?}"
        ))),
    }
}
