//! The constraint module and HCAL for measuring: data from a seed, a prepared call, the reference of the same.

use crate::check::arena::{encode, rounded};
use crate::check::bench::Work;
use crate::check::data::Rng;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs};
use crate::kernels::mcm::{McmInputs, McmOutputs};
use crate::losses::hcal::Hcal;
use crate::losses::hierarchy::{Hierarchy, Levels};
use crate::losses::labels::{Noise, Seed, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference;
use std::hint::black_box;
use std::time::Instant;

/// What a benchmark's reference computes: the loss, of the first row without a reduction.
pub type Reference = Box<dyn Fn() -> Result<f64, Error>>;

/// The constraint module at a shape, in a random tree whose nodes have some ten ancestors, with one leaf and its
/// ancestors positive in each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McmBench {
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

/// HCAL at a shape: three levels, each of an eighth of the classes of the one before, seeded noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HcalBench {
    /// Settings.
    pub config: Hcal,
    /// Element type of features and prototypes.
    pub dtype: DType,
    /// Whether the gradients are computed too.
    pub gradient: bool,
    /// Samples.
    pub rows: usize,
    /// Classes of the finest level.
    pub cols: usize,
    /// Components of a feature vector.
    pub dim: usize,
}

/// The bytes of values in an element type.
fn bytes(dtype: DType, values: &[f64]) -> Vec<u8> {
    let one = |v: &f64| encode(dtype, *v).into_iter().take(dtype.size() as usize);
    values.iter().flat_map(one).collect()
}

fn numbers(rng: &mut Rng, dtype: DType, n: usize, size: f64) -> Vec<f64> {
    (0..n)
        .map(|_| rounded(dtype, size * rng.normal()))
        .collect()
}

fn check(rows: usize, cols: usize, most: usize) -> Result<(), Error> {
    match rows.checked_mul(cols).and_then(|all| all.checked_mul(most)) {
        Some(all) if all > 0 && u32::try_from(all).is_ok() => Ok(()),
        _ => Err(Error::shape(
            "shape",
            "at least 1 and fewer than 2^32 elements",
            format!("{rows}x{cols}"),
        )),
    }
}

impl McmBench {
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
        check(self.rows, self.cols, 1)?;
        let mut rng = Rng::new(1);
        let hierarchy = self.hierarchy(&mut rng)?;
        let logits = numbers(&mut rng, self.dtype, self.rows * self.cols, 3.0);
        let mut targets = vec![false; self.rows * self.cols];
        for row in targets.chunks_mut(self.cols) {
            let leaf = rng.uniform(0.0, self.cols as f64) as usize;
            for node in hierarchy.ancestors(leaf) {
                row[*node as usize] = true;
            }
        }
        Ok((hierarchy, logits, targets))
    }

    /// Puts the data on the device and prepares the call.
    ///
    /// # Errors
    /// Bad settings, device errors.
    pub fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let (hierarchy, logits, targets) = self.data()?;
        let (rows, cols) = (self.rows, self.cols);
        let all = (rows * cols) as u64;
        let logits = gpu.upload(&bytes(self.dtype, &logits))?;
        let flags: Vec<u8> = targets.into_iter().map(u8::from).collect();
        let targets = gpu.upload(&flags)?;
        let words = gpu.upload(bytemuck::cast_slice(&hierarchy.words()))?;
        let losses = match self.config.reduction {
            Reduction::None => rows,
            Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
        };
        let loss = gpu.zeros(4 * losses as u64)?;
        let grad = gpu.zeros(if self.gradient { 4 * all } else { 0 })?;
        let words = Tensor::vector(&words, DType::U32, hierarchy.words_len());
        let dense = Tensor::matrix(&targets, DType::U8, rows, cols);
        let inputs = McmInputs {
            logits: Tensor::matrix(&logits, self.dtype, rows, cols),
            targets: Some(Targets::Dense(dense)),
            hierarchy: hierarchy.on_device(words)?,
            grad_loss: None,
        };
        let outputs = McmOutputs {
            loss: Some(Tensor::vector(&loss, DType::F32, losses)),
            grad_logits: self
                .gradient
                .then(|| Tensor::matrix(&grad, DType::F32, rows, cols)),
            probabilities: None,
        };
        let began = Instant::now();
        let call = self.config.prepare(gpu.context(), &inputs, &outputs)?;
        let prepare = began.elapsed();
        let moved = all * (self.dtype.size() + 1) + 4 * hierarchy.words_len() as u64 + grad.size();
        Ok(Work::new(call, moved, prepare, loss))
    }

    /// The same on the host.
    ///
    /// # Errors
    /// Bad settings.
    pub fn on_host(&self) -> Result<Reference, Error> {
        let (hierarchy, logits, targets) = self.data()?;
        let (config, rows) = (self.config, self.rows);
        Ok(Box::new(move || {
            let inputs = reference::McmInputs {
                rows,
                logits: &logits,
                targets: &targets,
                grad_loss: None,
            };
            Ok(black_box(reference::mcm(&config, &hierarchy, &inputs)?).loss[0])
        }))
    }
}

/// The data of an [`HcalBench`].
struct HcalData {
    levels: Levels,
    features: Vec<f64>,
    prototypes: Vec<Vec<f64>>,
    labels: Vec<u32>,
}

impl HcalBench {
    fn data(&self) -> Result<HcalData, Error> {
        self.config.check()?;
        check(self.rows, self.dim, 1)?;
        check(self.cols, self.dim, 1)?;
        let classes = [self.cols, self.cols.div_ceil(8), self.cols.div_ceil(64)];
        let parents = [0, 1].map(|k| (0..classes[k] as u32).map(|c| c / 8).collect::<Vec<u32>>());
        let levels = Levels::new(&classes, &[&parents[0], &parents[1]])?;
        let mut rng = Rng::new(1);
        let one = |_| rng.uniform(0.0, self.cols as f64) as u32;
        let fine: Vec<u32> = (0..self.rows).map(one).collect();
        let up = |shift: u32| fine.iter().map(move |c| c >> shift);
        let labels = up(0).chain(up(3)).chain(up(6)).collect();
        let mut rng = Rng::new(2);
        let mut matrix = |n: usize| numbers(&mut rng, self.dtype, n * self.dim, 1.0);
        Ok(HcalData {
            features: matrix(self.rows),
            prototypes: classes.iter().map(|n| matrix(*n)).collect(),
            levels,
            labels,
        })
    }

    /// Puts the data on the device and prepares the call.
    ///
    /// # Errors
    /// Bad settings, device errors.
    pub fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let data = self.data()?;
        let (rows, dim) = (self.rows, self.dim);
        let levels = &data.levels;
        let features = gpu.upload(&bytes(self.dtype, &data.features))?;
        let labels = gpu.upload(bytemuck::cast_slice(&data.labels))?;
        let parents = gpu.upload(bytemuck::cast_slice(&levels.words()))?;
        let seed = gpu.zeros(8)?;
        let loss = gpu.zeros(4)?;
        let size = |n: usize| {
            if self.gradient {
                (4 * n * dim) as u64
            } else {
                0
            }
        };
        let grad_features = gpu.zeros(size(rows))?;
        let mut prototypes = Vec::new();
        let mut grads = Vec::new();
        for (values, classes) in data.prototypes.iter().zip(levels.classes()) {
            prototypes.push(gpu.upload(&bytes(self.dtype, values))?);
            grads.push(gpu.zeros(size(*classes))?);
        }
        let prototypes: Vec<Tensor<'_>> = prototypes
            .iter()
            .zip(levels.classes())
            .map(|(buffer, n)| Tensor::matrix(buffer, self.dtype, *n, dim))
            .collect();
        let grad_tensors: Vec<Tensor<'_>> = grads
            .iter()
            .zip(levels.classes())
            .map(|(buffer, n)| Tensor::matrix(buffer, DType::F32, *n, dim))
            .collect();
        let inputs = HcalInputs {
            features: Tensor::matrix(&features, self.dtype, rows, dim),
            prototypes: &prototypes,
            labels: Some(Tensor::matrix(&labels, DType::U32, 3, rows)),
            levels: levels.on_device(Tensor::vector(&parents, DType::U32, levels.words_len()))?,
            noise: Some(Noise::Seeded(Seed::fixed(Tensor::vector(
                &seed,
                DType::U32,
                2,
            )))),
            balance: None,
            grad_loss: None,
        };
        let outputs = HcalOutputs {
            loss: Some(Tensor::vector(&loss, DType::F32, 1)),
            grad_features: self
                .gradient
                .then(|| Tensor::matrix(&grad_features, DType::F32, rows, dim)),
            grad_prototypes: self.gradient.then_some(&grad_tensors[..]),
            ..HcalOutputs::default()
        };
        let began = Instant::now();
        let call = self.config.prepare(gpu.context(), &inputs, &outputs)?;
        let prepare = began.elapsed();
        let classes: usize = levels.classes().iter().sum();
        let vectors = ((rows + classes) * dim) as u64;
        let moved = vectors * self.dtype.size() + if self.gradient { 4 * vectors } else { 0 };
        Ok(Work::new(call, moved, prepare, loss))
    }

    /// The same on the host.
    ///
    /// # Errors
    /// Bad settings.
    pub fn on_host(&self) -> Result<Reference, Error> {
        let data = self.data()?;
        let bench = *self;
        Ok(Box::new(move || {
            let prototypes: Vec<&[f64]> = data.prototypes.iter().map(Vec::as_slice).collect();
            let inputs = reference::HcalInputs {
                samples: bench.rows,
                dim: bench.dim,
                features: &data.features,
                prototypes: &prototypes,
                labels: &data.labels,
                noise: Some(Noise::Seeded(0)),
                ..reference::HcalInputs::default()
            };
            Ok(black_box(reference::hcal(&bench.config, &data.levels, &inputs)?).loss)
        }))
    }
}
