//! Metrics over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::Gpu;
use crate::host::rows::Rows;
use crate::host::targets::TargetBuffers;
use crate::host::values::{Dense, REFERENCE_BYTES, Values, check_room};
use crate::kernels::metrics::{MetricsInputs, MetricsOutputs};
use crate::losses::labels::Targets;
use crate::losses::metrics::{MetricValues, Metrics};
use crate::losses::reduction::Reduction;
use crate::losses::takes::{Takes, TargetKind};
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
    /// The targets, which are hard: flags and numbers are exactly 0 or 1 where they count.
    pub targets: Targets<Dense<'a>, &'a [u32]>,
    /// `cols` flags, not 0 where the label counts.
    pub class_mask: Option<&'a [u8]>,
    /// `rows * cols` flags, not 0 where the element counts.
    pub mask: Option<&'a [u8]>,
    /// `rows` flags, not 0 where the row counts.
    pub row_mask: Option<&'a [u8]>,
}

impl<'a> MetricsRows<'a> {
    /// Logits and targets, nothing optional.
    pub fn new(
        rows: usize,
        cols: usize,
        logits: Values<'a>,
        targets: Targets<Dense<'a>, &'a [u32]>,
    ) -> Self {
        MetricsRows {
            rows,
            cols,
            logits,
            targets,
            class_mask: None,
            mask: None,
            row_mask: None,
        }
    }

    /// The same for a loss of rows, which takes and refuses the same: a row that is left out weighs nothing.
    fn of_loss<'b>(&'b self, weights: &'b [f32]) -> Rows<'b> {
        Rows {
            class_mask: self.class_mask,
            mask: self.mask,
            sample_weight: self.row_mask.map(|_| weights),
            ..Rows::new(self.rows, self.cols, self.logits, self.targets)
        }
    }

    /// The mask of rows as weights.
    fn weights(&self) -> Vec<f32> {
        let row_mask = self.row_mask.unwrap_or(&[]);
        row_mask.iter().map(|flag| f32::from(*flag)).collect()
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(row_mask) = self.row_mask {
            check_len("row_mask", self.rows, row_mask.len())?;
        }
        let takes = Takes::targets(TargetKind::Hard);
        self.of_loss(&self.weights()).check(&takes, Reduction::Sum)
    }

    fn on_gpu(&self, gpu: &Gpu, config: &Metrics) -> Result<MetricValues, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let logits = gpu.upload(self.logits.bytes())?;
        let targets = TargetBuffers::upload(gpu, self.targets)?;
        let masks = [self.class_mask, self.mask, self.row_mask];
        let [class_mask, mask, row_mask] = masks.map(|mask| gpu.upload(mask.unwrap_or(&[])));
        let (class_mask, mask, row_mask) = (class_mask?, mask?, row_mask?);
        let len = config.words_len(cols);
        let words = gpu.numbers(len)?;
        let logits = Tensor::matrix(&logits, self.logits.dtype(), rows, cols);
        let flags = |buffer, len| Tensor::vector(buffer, DType::U8, len);
        let inputs = MetricsInputs {
            class_mask: self.class_mask.map(|_| flags(&class_mask, cols)),
            mask: self
                .mask
                .map(|_| Tensor::matrix(&mask, DType::U8, rows, cols)),
            row_mask: self.row_mask.map(|_| flags(&row_mask, rows)),
            ..MetricsInputs::new(logits, targets.tensors(rows, cols))
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
        let targets = self.of_loss(&self.weights()).dense_targets()?;
        let targets: Vec<bool> = targets.iter().map(|y| *y > 0.5).collect();
        let set = |flags: &[u8]| -> Vec<bool> { flags.iter().map(|flag| *flag != 0).collect() };
        reference::metrics(
            config,
            &reference::MetricsInputs {
                rows: self.rows,
                cols: self.cols,
                logits: &self.logits.to_f64(),
                targets: &targets,
                class_mask: self.class_mask.map(set).as_deref(),
                mask: self.mask.map(set).as_deref(),
                row_mask: self.row_mask.map(set).as_deref(),
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
