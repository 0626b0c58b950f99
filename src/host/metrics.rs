//! Metrics over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::Gpu;
use crate::host::values::{REFERENCE_BYTES, Values, check_each, check_room};
use crate::kernels::metrics::{MetricsInputs, MetricsOutputs};
use crate::losses::labels::Targets;
use crate::losses::metrics::{MetricValues, Metrics};
use crate::reference;

/// What metrics take, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct MetricsRows<'a> {
    /// Rows (samples).
    pub rows: usize,
    /// Columns (labels).
    pub cols: usize,
    /// `rows * cols` logits.
    pub logits: Values<'a>,
    /// `rows * cols` flags, 0 or 1.
    pub targets: &'a [u8],
}

impl MetricsRows<'_> {
    fn check(&self) -> Result<(), Error> {
        let all = self.rows.saturating_mul(self.cols);
        if all > u32::MAX as usize {
            return Err(Error::shape(
                "logits",
                "fewer than 2^32 elements",
                format!("[{}, {}]", self.rows, self.cols),
            ));
        }
        check_len("logits", all, self.logits.len())?;
        check_len("targets", all, self.targets.len())?;
        check_each("targets", self.targets, self.cols, "0 or 1", |y| *y <= 1)
    }

    fn on_gpu(&self, gpu: &Gpu, config: &Metrics) -> Result<MetricValues, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let logits = gpu.upload(self.logits.bytes())?;
        let targets = gpu.upload(self.targets)?;
        let len = config.words_len(cols);
        let words = gpu.numbers(len)?;
        let inputs = MetricsInputs {
            logits: Tensor::matrix(&logits, self.logits.dtype(), rows, cols),
            targets: Targets::Dense(Tensor::matrix(&targets, DType::U8, rows, cols)),
        };
        let outputs = MetricsOutputs {
            words: Tensor::vector(&words, DType::U32, len),
        };
        gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
        config.values(cols, &gpu.read(&words, len)?)
    }

    fn on_reference(&self, config: &Metrics) -> Result<MetricValues, Error> {
        let elements = self.logits.len();
        check_room("logits", elements.saturating_mul(REFERENCE_BYTES))?;
        let targets: Vec<bool> = self.targets.iter().map(|y| *y != 0).collect();
        reference::metrics(
            config,
            &reference::MetricsInputs {
                rows: self.rows,
                cols: self.cols,
                logits: &self.logits.to_f64(),
                targets: &targets,
            },
        )
    }
}

impl Engine {
    /// Computes the metrics of all rows.
    ///
    /// # Errors
    /// Settings, wrong lengths or values, device errors.
    pub fn metrics(&self, config: &Metrics, rows: &MetricsRows<'_>) -> Result<MetricValues, Error> {
        config.check()?;
        rows.check()?;
        // However many labels nothing has.
        match self.gpu().filter(|_| rows.rows > 0) {
            Some(gpu) => rows.on_gpu(gpu, config),
            None => rows.on_reference(config),
        }
    }
}
