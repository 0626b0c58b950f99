//! The constraint module over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::engine::Engine;
use crate::host::gpu::{Answer, Gpu};
use crate::host::rows::Rows;
use crate::host::targets::TargetBuffers;
use crate::host::values::{Dense, REFERENCE_BYTES, Values, Wanted, check_room, narrow, wide};
use crate::kernels::gradient::Gradient;
use crate::kernels::mcm::call::{McmInputs, McmOutputs};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::Targets;
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::losses::takes::{Takes, TargetKind};
use crate::reference;

/// What the constraint module takes, as plain slices, row-major, with as many columns as the hierarchy has nodes.
#[derive(Clone, Copy, Debug)]
pub struct McmRows<'a> {
    /// Rows (samples).
    pub rows: usize,
    /// `rows * nodes` logits.
    pub logits: Values<'a>,
    /// The targets, which are hard: numbers are exactly 0 or 1 where they count.
    pub targets: Targets<Dense<'a>, &'a [u32]>,
    /// `nodes` flags, not 0 where the class counts.
    pub class_mask: Option<&'a [u8]>,
    /// `rows * nodes` flags, not 0 where the element counts.
    pub mask: Option<&'a [u8]>,
    /// `rows` weights.
    pub sample_weight: Option<&'a [f32]>,
    /// `nodes` weights, not negative.
    pub class_weight: Option<&'a [f32]>,
    /// Upstream gradient: one, or without a reduction one or `rows`.
    pub grad_loss: Option<&'a [f32]>,
}

/// What came out. What was not wanted is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct McmResult {
    /// One, or without a reduction `rows`.
    pub loss: Vec<f32>,
    /// `rows * nodes`.
    pub grad_logits: Vec<f32>,
    /// `rows * nodes` constrained probabilities.
    pub probabilities: Vec<f32>,
}

impl<'a> McmRows<'a> {
    /// Logits and targets, nothing optional.
    pub fn new(rows: usize, logits: Values<'a>, targets: Targets<Dense<'a>, &'a [u32]>) -> Self {
        McmRows {
            rows,
            logits,
            targets,
            class_mask: None,
            mask: None,
            sample_weight: None,
            class_weight: None,
            grad_loss: None,
        }
    }

    /// The same for a loss of rows of `cols` labels, which takes and refuses the same.
    fn of_labels(&self, cols: usize) -> Rows<'a> {
        Rows {
            class_mask: self.class_mask,
            mask: self.mask,
            sample_weight: self.sample_weight,
            class_weight: self.class_weight,
            grad_loss: self.grad_loss,
            ..Rows::new(self.rows, cols, self.logits, self.targets)
        }
    }

    /// The targets as dense numbers, as they are: of one that does not count it matters whether it is 1.
    fn dense_targets(&self, cols: usize) -> Result<Vec<f64>, Error> {
        match self.targets {
            Targets::Dense(Dense::Flags(y)) => Ok(y.iter().map(|y| f64::from(*y)).collect()),
            Targets::Dense(Dense::Integers(y)) => Ok(y.iter().map(|y| f64::from(*y)).collect()),
            _ => self.of_labels(cols).dense_targets(),
        }
    }

    fn on_gpu(
        &self,
        gpu: &Gpu,
        config: &Mcm,
        hierarchy: &Hierarchy,
        wanted: Wanted,
    ) -> Result<Answer<McmResult>, Error> {
        let (rows, cols) = (self.rows, hierarchy.nodes());
        let logits = gpu.upload(self.logits.bytes())?;
        let targets = TargetBuffers::upload(gpu, self.targets)?;
        let words = gpu.put(&hierarchy.words())?;
        let class_mask = gpu.upload(self.class_mask.unwrap_or(&[]))?;
        let mask = gpu.upload(self.mask.unwrap_or(&[]))?;
        let reals = [self.sample_weight, self.class_weight, self.grad_loss];
        let [sample_weight, class_weight, grad_loss] =
            reals.map(|values| gpu.put(values.unwrap_or(&[])));
        let reals_on_gpu = [sample_weight?, class_weight?, grad_loss?];
        let real = |i: usize| {
            let buffer: &wgpu::Buffer = &reals_on_gpu[i];
            reals[i].map(|values| Tensor::vector(buffer, DType::F32, values.len()))
        };
        let gradients = wanted == Wanted::Gradients;
        let losses = match config.reduction {
            Reduction::None => rows,
            _ => 1,
        };
        let all = if gradients { rows * cols } else { 0 };
        let lens = [losses, all, all];
        let [loss, grad, probabilities] = lens.map(|len| gpu.numbers(len));
        let buffers = [loss?, grad?, probabilities?];
        let words = Tensor::vector(&words, DType::U32, hierarchy.words_len());
        let logits = Tensor::matrix(&logits, self.logits.dtype(), rows, cols);
        let inputs = McmInputs {
            targets: Some(targets.tensors(rows, cols)),
            class_mask: self
                .class_mask
                .map(|_| Tensor::vector(&class_mask, DType::U8, cols)),
            mask: self
                .mask
                .map(|_| Tensor::matrix(&mask, DType::U8, rows, cols)),
            sample_weight: real(0),
            class_weight: real(1),
            grad_loss: real(2),
            ..McmInputs::new(logits, hierarchy.on_device(words)?)
        };
        let matrix = |buffer| gradients.then(|| Tensor::matrix(buffer, DType::F32, rows, cols));
        let outputs = McmOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, losses)),
            grad_logits: matrix(&buffers[1]).map(Gradient::To),
            probabilities: matrix(&buffers[2]),
        };
        let call = config.prepare(gpu.context(), &inputs, &outputs)?;
        let reads: Vec<_> = buffers.iter().zip(lens).collect();
        Ok(Answer::coming(gpu.send_call(&call, &reads)?, |mut read| {
            Ok(McmResult {
                loss: read.next(),
                grad_logits: read.next(),
                probabilities: read.next(),
            })
        }))
    }

    fn on_reference(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        let elements = self.logits.len();
        check_room("logits", elements.saturating_mul(REFERENCE_BYTES))?;
        let set = |flags: &[u8]| -> Vec<bool> { flags.iter().map(|flag| *flag != 0).collect() };
        let out = reference::mcm(
            config,
            hierarchy,
            &reference::McmInputs {
                rows: self.rows,
                logits: &self.logits.to_f64(),
                targets: &self.dense_targets(hierarchy.nodes())?,
                class_mask: self.class_mask.map(set).as_deref(),
                mask: self.mask.map(set).as_deref(),
                sample_weight: self.sample_weight.map(wide).as_deref(),
                class_weight: self.class_weight.map(wide).as_deref(),
                grad_loss: self.grad_loss.map(wide).as_deref(),
            },
        )?;
        let mut result = McmResult {
            loss: narrow(out.loss),
            ..McmResult::default()
        };
        if wanted == Wanted::Gradients {
            result.grad_logits = narrow(out.grad_logits);
            result.probabilities = narrow(out.probabilities);
        }
        Ok(result)
    }
}

impl Engine {
    /// Computes the constraint module: the loss, and the gradient and the probabilities where gradients are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values, device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn mcm(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        rows: &McmRows<'_>,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        self.begin_mcm(config, hierarchy, rows, wanted)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn mcm_async(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        rows: &McmRows<'_>,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        let begun = self.begin_mcm(config, hierarchy, rows, wanted)?;
        begun.done().await
    }

    fn begin_mcm(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        rows: &McmRows<'_>,
        wanted: Wanted,
    ) -> Result<Answer<McmResult>, Error> {
        config.check()?;
        let takes = Takes::targets(TargetKind::Hard);
        let of_labels = rows.of_labels(hierarchy.nodes());
        of_labels.check(&takes, config.reduction)?;
        if rows.rows == 0 {
            // However many classes nothing has.
            return Ok(Answer::Here(McmResult {
                loss: match config.reduction {
                    Reduction::None => Vec::new(),
                    _ => vec![0.0],
                },
                ..McmResult::default()
            }));
        }
        match self.gpu() {
            Some(gpu) => rows.on_gpu(gpu, config, hierarchy, wanted),
            None => {
                let found = rows.on_reference(config, hierarchy, wanted);
                found.map(Answer::Here)
            }
        }
    }
}
