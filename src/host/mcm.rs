//! The constraint module over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::Gpu;
use crate::host::values::{
    REFERENCE_BYTES, Values, Wanted, check_each, check_room, check_upstream, narrow, wide,
};
use crate::kernels::mcm::{McmInputs, McmOutputs};
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::Targets;
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use crate::reference;

/// What the constraint module takes, as plain slices, row-major, with as many columns as the hierarchy has nodes.
#[derive(Clone, Copy, Debug)]
pub struct McmRows<'a> {
    /// Rows (samples).
    pub rows: usize,
    /// `rows * nodes` logits.
    pub logits: Values<'a>,
    /// `rows * nodes` flags, 0 or 1.
    pub targets: &'a [u8],
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

impl McmRows<'_> {
    fn check(&self, config: &Mcm, hierarchy: &Hierarchy) -> Result<(), Error> {
        let cols = hierarchy.nodes();
        let all = self.rows.saturating_mul(cols);
        if all > u32::MAX as usize {
            return Err(Error::shape(
                "logits",
                "fewer than 2^32 elements",
                format!("[{}, {cols}]", self.rows),
            ));
        }
        check_len("logits", all, self.logits.len())?;
        check_len("targets", all, self.targets.len())?;
        check_each("targets", self.targets, cols, "0 or 1", |y| *y <= 1)?;
        let each = config.reduction == Reduction::None;
        check_upstream(self.grad_loss, each.then_some(self.rows))
    }

    fn on_gpu(
        &self,
        gpu: &Gpu,
        config: &Mcm,
        hierarchy: &Hierarchy,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        let (rows, cols) = (self.rows, hierarchy.nodes());
        let logits = gpu.upload(self.logits.bytes())?;
        let targets = gpu.upload(self.targets)?;
        let words = gpu.put(&hierarchy.words())?;
        let grad_loss = gpu.put(self.grad_loss.unwrap_or(&[]))?;
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
        let dense = Tensor::matrix(&targets, DType::U8, rows, cols);
        let inputs = McmInputs {
            logits: Tensor::matrix(&logits, self.logits.dtype(), rows, cols),
            targets: Some(Targets::Dense(dense)),
            hierarchy: hierarchy.on_device(words)?,
            grad_loss: self
                .grad_loss
                .map(|grad| Tensor::vector(&grad_loss, DType::F32, grad.len())),
        };
        let matrix = |buffer| gradients.then(|| Tensor::matrix(buffer, DType::F32, rows, cols));
        let outputs = McmOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, losses)),
            grad_logits: matrix(&buffers[1]),
            probabilities: matrix(&buffers[2]),
        };
        gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
        let read = |i: usize| gpu.read(&buffers[i], lens[i]);
        Ok(McmResult {
            loss: read(0)?,
            grad_logits: read(1)?,
            probabilities: read(2)?,
        })
    }

    fn on_reference(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        let elements = self.logits.len();
        check_room("logits", elements.saturating_mul(REFERENCE_BYTES))?;
        let targets: Vec<bool> = self.targets.iter().map(|y| *y != 0).collect();
        let out = reference::mcm(
            config,
            hierarchy,
            &reference::McmInputs {
                rows: self.rows,
                logits: &self.logits.to_f64(),
                targets: &targets,
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
    pub fn mcm(
        &self,
        config: &Mcm,
        hierarchy: &Hierarchy,
        rows: &McmRows<'_>,
        wanted: Wanted,
    ) -> Result<McmResult, Error> {
        config.check()?;
        rows.check(config, hierarchy)?;
        if rows.rows == 0 {
            // However many classes nothing has.
            return Ok(McmResult {
                loss: match config.reduction {
                    Reduction::None => Vec::new(),
                    _ => vec![0.0],
                },
                ..McmResult::default()
            });
        }
        match self.gpu() {
            Some(gpu) => rows.on_gpu(gpu, config, hierarchy, wanted),
            None => rows.on_reference(config, hierarchy, wanted),
        }
    }
}
