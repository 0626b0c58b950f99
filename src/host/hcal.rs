//! HCAL over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::balance::check_state;
use crate::host::engine::Engine;
use crate::host::gpu::{Answer, Gpu};
use crate::host::values::{REFERENCE_BYTES, Values, Wanted, check_room, narrow, seed_words, wide};
use crate::kernels::gradient::Gradient;
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs};
use crate::losses::balance::BalanceState;
use crate::losses::hcal::Hcal;
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{Noise, Seed};
use crate::reference;

/// What HCAL takes, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct HcalBatch<'a> {
    /// Samples.
    pub samples: usize,
    /// Components of a feature vector.
    pub dim: usize,
    /// `samples * dim` values.
    pub features: Values<'a>,
    /// For each level `classes * dim` values.
    pub prototypes: &'a [Values<'a>],
    /// `levels * samples` labels, [`Levels::NONE`] where there is none.
    pub labels: &'a [u32],
    /// The perturbation of the prototypes: for each level `classes * dim` values, or a seed; absent: none.
    pub noise: Option<Noise<&'a [Vec<f32>], u64>>,
    /// State or parameters of the balance. What the call makes of a history is not given back.
    pub balance: Option<BalanceState<&'a [f32], u64>>,
    /// Upstream gradient; absent: 1.
    pub grad_loss: Option<f32>,
}

/// What came out. Gradients that were not wanted are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HcalResult {
    /// The loss of each level.
    pub losses: Vec<f32>,
    /// Their weights.
    pub weights: Vec<f32>,
    /// The weighted sum.
    pub loss: f32,
    /// `samples * dim`.
    pub grad_features: Vec<f32>,
    /// For each level `classes * dim`.
    pub grad_prototypes: Vec<Vec<f32>>,
    /// With uncertainty weighting: one for each level.
    pub grad_log_variances: Vec<f32>,
    /// Of each level a class for each sample.
    pub predictions: Vec<Vec<u32>>,
    /// Samples, samples with a violation, violations of each link from a level to the next.
    pub violations: Vec<u32>,
}

impl HcalResult {
    /// The share of samples with a violation; 0 of none.
    pub fn hvr(&self) -> f32 {
        match self.violations[..] {
            [samples, broken, ..] if samples > 0 => (f64::from(broken) / f64::from(samples)) as f32,
            _ => 0.0,
        }
    }
}

impl HcalBatch<'_> {
    fn check(&self, config: &Hcal, levels: &Levels) -> Result<(), Error> {
        let (samples, dim) = (self.samples, self.dim);
        let elements = samples.saturating_mul(dim);
        if elements > u32::MAX as usize || dim == 0 {
            return Err(Error::shape(
                "features",
                "at least one component, and fewer than 2^32 elements",
                format!("[{samples}, {dim}]"),
            ));
        }
        check_len("features", elements, self.features.len())?;
        let each = |name: &str, lens: Vec<usize>| -> Result<(), Error> {
            if lens.len() != levels.len() {
                return Err(Error::shape(
                    name,
                    format!("{} levels", levels.len()),
                    lens.len(),
                ));
            }
            for (k, (len, classes)) in lens.into_iter().zip(levels.classes()).enumerate() {
                let name = format!("{name}_{}", k + 1);
                check_len(&name, classes.saturating_mul(dim), len)?;
            }
            Ok(())
        };
        each(
            "prototypes",
            self.prototypes.iter().map(Values::len).collect(),
        )?;
        if let Some(Noise::Given(noise)) = self.noise {
            each("noise", noise.iter().map(Vec::len).collect())?;
            for (k, noise) in noise.iter().enumerate() {
                if let Some(at) = noise.iter().position(|v| !v.is_finite()) {
                    return Err(Error::value(
                        format!("noise_{}", k + 1),
                        "finite values",
                        format!("{} at [{}, {}]", noise[at], at / dim, at % dim),
                    ));
                }
            }
        }
        check_state(&config.balance, levels.len(), self.balance)?;
        config.check_labels(levels, samples, self.labels)
    }

    fn on_gpu(
        &self,
        gpu: &Gpu,
        config: &Hcal,
        levels: &Levels,
        wanted: Wanted,
    ) -> Result<Answer<HcalResult>, Error> {
        let (samples, dim, m) = (self.samples, self.dim, levels.len());
        let features = gpu.upload(self.features.bytes())?;
        let labels = gpu.put(self.labels)?;
        let parents = gpu.put(&levels.words())?;
        let each = |k: usize| (levels.classes()[k], dim);
        let mut prototypes = Vec::new();
        for values in self.prototypes {
            prototypes.push(gpu.upload(values.bytes())?);
        }
        let mut noise = Vec::new();
        if let Some(Noise::Given(values)) = self.noise {
            for values in values {
                noise.push(gpu.put(values)?);
            }
        }
        let seed = gpu.put(&match self.noise {
            Some(Noise::Seeded(seed)) => seed_words(seed),
            Some(Noise::Given(_)) | None => [0; 2],
        })?;
        let balance = match self.balance {
            Some(BalanceState::Seed(seed)) => gpu.put(&seed_words(seed))?,
            state => gpu.put(state.and_then(BalanceState::numbers).unwrap_or(&[]))?,
        };
        let grad_loss = gpu.put(&[self.grad_loss.unwrap_or(1.0)])?;

        let gradients = wanted == Wanted::Gradients;
        let zeros = |len: usize| gpu.numbers(len);
        let grad_log_variances = zeros(m)?;
        let log_variances = matches!(self.balance, Some(BalanceState::LogVariances(_)));
        let one = zeros(1)?;
        let (losses, weights) = (zeros(m)?, zeros(m)?);
        let predictions = zeros(m * samples)?;
        let violations = zeros(m + 1)?;
        let grad_features = zeros(if gradients { samples * dim } else { 0 })?;
        let mut grads = Vec::new();
        for k in 0..m {
            let (classes, dim) = each(k);
            grads.push(zeros(if gradients { classes * dim } else { 0 })?);
        }

        let dtypes: Vec<DType> = self.prototypes.iter().map(Values::dtype).collect();
        let single = vec![DType::F32; m];
        let prototypes = matrices(&prototypes, &dtypes, levels, dim);
        let noise = matrices(&noise, &single, levels, dim);
        let grad_prototypes = matrices(&grads, &single, levels, dim);
        let grad_prototypes: Vec<_> = grad_prototypes.into_iter().map(Gradient::To).collect();
        let vector = |buffer, len| Tensor::vector(buffer, DType::F32, len);
        let inputs = HcalInputs {
            features: Tensor::matrix(&features, self.features.dtype(), samples, dim),
            prototypes: &prototypes,
            labels: Some(Tensor::matrix(&labels, DType::U32, m, samples)),
            levels: levels.on_device(Tensor::vector(&parents, DType::U32, levels.words_len()))?,
            noise: self.noise.map(|given| match given {
                Noise::Given(_) => Noise::Given(&noise[..]),
                Noise::Seeded(_) => {
                    Noise::Seeded(Seed::fixed(Tensor::vector(&seed, DType::U32, 2)))
                }
            }),
            balance: self.balance.map(|state| {
                let seed = |_| Tensor::vector(&balance, DType::U32, 2);
                state.map(|values| vector(&balance, values.len()), seed)
            }),
            grad_loss: Some(vector(&grad_loss, 1)),
            settings: &[],
        };
        let outputs = HcalOutputs {
            losses: Some(vector(&losses, m)),
            weights: Some(vector(&weights, m)),
            loss: Some(vector(&one, 1)),
            grad_features: gradients
                .then(|| Tensor::matrix(&grad_features, DType::F32, samples, dim).into()),
            grad_prototypes: gradients.then_some(&grad_prototypes[..]),
            grad_log_variances: (gradients && log_variances)
                .then(|| vector(&grad_log_variances, m).into()),
            predictions: Some(Tensor::matrix(&predictions, DType::U32, m, samples)),
            violations: Some(Tensor::vector(&violations, DType::U32, m + 1)),
        };
        let call = config.prepare(gpu.context(), &inputs, &outputs)?;

        let if_wanted = |wanted: bool, len: usize| if wanted { len } else { 0 };
        let mut reads = vec![
            (&losses, m),
            (&weights, m),
            (&one, 1),
            (&predictions, m * samples),
            (&violations, m + 1),
            (&grad_features, if_wanted(gradients, samples * dim)),
            (
                &grad_log_variances,
                if_wanted(gradients && log_variances, m),
            ),
        ];
        for (k, buffer) in grads.iter().enumerate().filter(|_| gradients) {
            let (classes, dim) = each(k);
            reads.push((buffer, classes * dim));
        }
        let sent = gpu.send_call(&call, &reads)?;
        let levels = if_wanted(gradients, m);
        Ok(Answer::coming(sent, move |mut read| {
            Ok(HcalResult {
                losses: read.next(),
                weights: read.next(),
                loss: read.next().first().copied().unwrap_or(0.0),
                predictions: {
                    let all: Vec<u32> = read.next();
                    let level = |k: usize| all[k * samples..][..samples].to_vec();
                    (0..m).map(level).collect()
                },
                violations: read.next(),
                grad_features: read.next(),
                grad_log_variances: read.next(),
                grad_prototypes: (0..levels).map(|_| read.next()).collect(),
            })
        }))
    }

    fn on_reference(
        &self,
        config: &Hcal,
        levels: &Levels,
        wanted: Wanted,
    ) -> Result<HcalResult, Error> {
        let all = self.prototypes.iter().map(Values::len).sum::<usize>();
        // Each level has its own of what is made of the samples.
        let samples = self.features.len().saturating_mul(levels.len());
        let elements = all.saturating_add(samples);
        check_room("features", elements.saturating_mul(REFERENCE_BYTES))?;
        let prototypes: Vec<Vec<f64>> = self.prototypes.iter().map(Values::to_f64).collect();
        let prototypes: Vec<&[f64]> = prototypes.iter().map(Vec::as_slice).collect();
        let noise: Vec<Vec<f64>> = match self.noise {
            Some(Noise::Given(noise)) => noise.iter().map(|v| wide(v)).collect(),
            Some(Noise::Seeded(_)) | None => Vec::new(),
        };
        let noise: Vec<&[f64]> = noise.iter().map(Vec::as_slice).collect();
        let state = wide(self.balance.and_then(BalanceState::numbers).unwrap_or(&[]));
        let out = reference::hcal(
            config,
            levels,
            &reference::HcalInputs {
                samples: self.samples,
                dim: self.dim,
                features: &self.features.to_f64(),
                prototypes: &prototypes,
                labels: self.labels,
                noise: self.noise.map(|given| match given {
                    Noise::Given(_) => Noise::Given(&noise[..]),
                    Noise::Seeded(seed) => Noise::Seeded(seed),
                }),
                balance: self
                    .balance
                    .map(|given| given.map(|_| &state[..], |seed| seed)),
                grad_loss: self.grad_loss.map(f64::from),
            },
        )?;
        let mut result = HcalResult {
            losses: narrow(out.losses),
            weights: narrow(out.weights),
            loss: out.loss as f32,
            predictions: out.predictions,
            violations: out.violations,
            ..HcalResult::default()
        };
        if wanted == Wanted::Gradients {
            result.grad_features = narrow(out.grad_features);
            result.grad_prototypes = out.grad_prototypes.into_iter().map(narrow).collect();
            result.grad_log_variances = narrow(out.grad_log_variances);
        }
        Ok(result)
    }
}

/// A matrix of each level's classes in a buffer each.
fn matrices<'a>(
    buffers: &'a [wgpu::Buffer],
    dtypes: &[DType],
    levels: &Levels,
    dim: usize,
) -> Vec<Tensor<'a>> {
    let each = buffers.iter().zip(dtypes).zip(levels.classes());
    each.map(|((buffer, dtype), classes)| Tensor::matrix(buffer, *dtype, *classes, dim))
        .collect()
}

impl Engine {
    /// Computes HCAL: losses, weights, predictions and violations, and the gradients where they are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values (labels out of range or, in a tree, not each other's parents), device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn hcal(
        &self,
        config: &Hcal,
        levels: &Levels,
        batch: &HcalBatch<'_>,
        wanted: Wanted,
    ) -> Result<HcalResult, Error> {
        self.begin_hcal(config, levels, batch, wanted)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn hcal_async(
        &self,
        config: &Hcal,
        levels: &Levels,
        batch: &HcalBatch<'_>,
        wanted: Wanted,
    ) -> Result<HcalResult, Error> {
        let begun = self.begin_hcal(config, levels, batch, wanted)?;
        begun.done().await
    }

    fn begin_hcal(
        &self,
        config: &Hcal,
        levels: &Levels,
        batch: &HcalBatch<'_>,
        wanted: Wanted,
    ) -> Result<Answer<HcalResult>, Error> {
        config.check()?;
        batch.check(config, levels)?;
        match self.gpu() {
            Some(gpu) => batch.on_gpu(gpu, config, levels, wanted),
            None => {
                let found = batch.on_reference(config, levels, wanted);
                found.map(Answer::Here)
            }
        }
    }
}
