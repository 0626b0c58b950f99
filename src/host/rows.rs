//! Losses of rows over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use crate::kernels::rows::call::{Gradient, RowInputs, RowOutputs, Targets, Threshold};
use crate::kernels::rows::permutation::Permutation as Order;
use crate::losses::labels::TargetKind;
use crate::losses::reduction::Reduction;
use crate::losses::wdl;
use crate::losses::wdl::Wdl;
use crate::reference;
use crate::reference::Permutation;
use crate::rowwise::Rowwise;
use half::{bf16, f16};

/// Real numbers in one of the three element types.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// f32.
    F32(&'a [f32]),
    /// f16.
    F16(&'a [f16]),
    /// bf16.
    Bf16(&'a [bf16]),
}

impl<'a> Values<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::F16(v) => v.len(),
            Values::Bf16(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their element type.
    pub fn dtype(&self) -> DType {
        match self {
            Values::F32(_) => DType::F32,
            Values::F16(_) => DType::F16,
            Values::Bf16(_) => DType::Bf16,
        }
    }

    /// The same numbers as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Values::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::F16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::Bf16(v) => v.iter().map(|x| f64::from(*x)).collect(),
        }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Values::F32(v) => bytemuck::cast_slice(v),
            Values::F16(v) => bytemuck::cast_slice(v),
            Values::Bf16(v) => bytemuck::cast_slice(v),
        }
    }
}

/// Targets of `rows * cols` labels.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// `rows * cols` flags, 0 or 1.
    Flags(&'a [u8]),
    /// `rows * cols` numbers: soft labels in `[0, 1]`, for WDL not negative, exactly 0 or 1 for losses of hard labels, or
    /// other logits.
    Values(Values<'a>),
    /// `rows * ceil(cols/32)` words: label `l` is bit `l % 32` of word `l / 32`.
    Bits(&'a [u32]),
    /// The positives of row `r` are `indices[offsets[r]..offsets[r + 1]]`.
    Sparse {
        /// `rows + 1` offsets, from 0, not falling.
        offsets: &'a [u32],
        /// Labels.
        indices: &'a [u32],
    },
}

/// A threshold of TLPR.
#[derive(Clone, Copy, Debug)]
pub enum Thresholds<'a> {
    /// One for the batch.
    Batch(f32),
    /// One per row.
    Row(&'a [f32]),
    /// One per label.
    Label(&'a [f32]),
}

/// What a loss of rows takes, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Rows (samples).
    pub rows: usize,
    /// Columns (labels).
    pub cols: usize,
    /// `rows * cols` logits.
    pub logits: Values<'a>,
    /// The targets.
    pub labels: Labels<'a>,
    /// `cols` flags, not 0 where the class counts.
    pub class_mask: Option<&'a [u8]>,
    /// `rows * cols` flags, not 0 where the element counts.
    pub mask: Option<&'a [u8]>,
    /// `rows` weights.
    pub sample_weight: Option<&'a [f32]>,
    /// `cols` weights, not negative.
    pub class_weight: Option<&'a [f32]>,
    /// Threshold of TLPR.
    pub threshold: Option<Thresholds<'a>>,
    /// WDL: the order of the labels in its adjacent form. Seeded ones are made on the GPU.
    pub permutation: Permutation<'a>,
    /// WDL: as many values as [`Wdl::theta_shape`](crate::Wdl::theta_shape) says.
    pub theta: Option<&'a [f32]>,
    /// WDL: makes it the bounded form.
    pub theta0: Option<f32>,
    /// Upstream gradient: one, or without a reduction `rows`.
    pub grad_loss: Option<&'a [f32]>,
}

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The loss alone.
    Loss,
    /// The loss and every gradient there is.
    Gradients,
}

/// What came out. What was not wanted, or does not exist, is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowsResult {
    /// One, or without a reduction `rows`.
    pub loss: Vec<f32>,
    /// `rows * cols`.
    pub grad_logits: Vec<f32>,
    /// `rows * cols`: to float targets of a loss of soft labels, or to the other logits.
    pub grad_targets: Vec<f32>,
    /// As many as the threshold has.
    pub grad_threshold: Vec<f32>,
    /// As many as `theta` has.
    pub grad_theta: Vec<f32>,
    /// One where there is a `theta0`.
    pub grad_theta0: Vec<f32>,
}

impl<'a> Rows<'a> {
    /// Logits and labels, nothing optional.
    pub fn new(rows: usize, cols: usize, logits: Values<'a>, labels: Labels<'a>) -> Self {
        Rows {
            rows,
            cols,
            logits,
            labels,
            class_mask: None,
            mask: None,
            sample_weight: None,
            class_weight: None,
            threshold: None,
            permutation: Permutation::None,
            theta: None,
            theta0: None,
            grad_loss: None,
        }
    }

    /// Checks lengths, and the values that lie here on the host: that soft targets are in `[0, 1]`, indices in range,
    /// offsets rising, weights finite, permutations permutations.
    pub(super) fn check<L: Rowwise>(&self, loss: &L) -> Result<(), Error> {
        let (rows, cols) = (self.rows, self.cols);
        let (kind, reduction) = (loss.target_kind(), loss.reduction());
        let Some(all) = rows
            .checked_mul(cols)
            .filter(|all| *all < u32::MAX as usize)
        else {
            return Err(Error::shape(
                "logits",
                "fewer than 2^32 elements",
                format!("[{rows}, {cols}]"),
            ));
        };
        length("logits", self.logits.len(), all)?;
        match (self.labels, kind) {
            (_, TargetKind::Logits) if !matches!(self.labels, Labels::Values(_)) => {
                return Err(Error::new(
                    ErrorKind::DType,
                    "other",
                    "dense logits",
                    "targets of another form",
                ));
            }
            (Labels::Flags(flags), _) => {
                length("targets", flags.len(), all)?;
                every("targets", flags, cols, "0 or 1", |y| *y <= 1)?;
            }
            (Labels::Values(values), TargetKind::Logits) => {
                length("other", values.len(), all)?;
                if values.dtype() != self.logits.dtype() {
                    return Err(Error::new(
                        ErrorKind::DType,
                        "other",
                        self.logits.dtype(),
                        values.dtype(),
                    ));
                }
            }
            (Labels::Values(values), TargetKind::Soft) => {
                length("targets", values.len(), all)?;
                let values = values.to_f64();
                every("targets", &values, cols, "values in [0, 1]", |t| {
                    (0.0..=1.0).contains(t)
                })?;
            }
            (Labels::Values(values), TargetKind::Hard) => {
                length("targets", values.len(), all)?;
                let values = values.to_f64();
                let expected = "0 or 1 (this loss takes hard labels)";
                every("targets", &values, cols, expected, |t| {
                    *t == 0.0 || *t == 1.0
                })?;
            }
            (Labels::Values(values), TargetKind::Proportions) => {
                length("targets", values.len(), all)?;
                let values = values.to_f64();
                every(
                    "targets",
                    &values,
                    cols,
                    "finite values, not negative",
                    |t| t.is_finite() && *t >= 0.0,
                )?;
            }
            (Labels::Bits(words), _) => {
                length("target_bits", words.len(), rows * cols.div_ceil(32))?;
            }
            (Labels::Sparse { offsets, indices }, _) => {
                reference::check_csr(rows, cols, offsets, indices)
                    .map_err(|error| error.about(format!("target_{}", error.subject())))?;
            }
        }
        if let Some(mask) = self.class_mask {
            length("class_mask", mask.len(), cols)?;
        }
        if let Some(mask) = self.mask {
            length("mask", mask.len(), all)?;
        }
        if let Some(weight) = self.sample_weight {
            length("sample_weight", weight.len(), rows)?;
            every("sample_weight", weight, rows, "finite weights", |w| {
                w.is_finite()
            })?;
        }
        if let Some(weight) = self.class_weight {
            length("class_weight", weight.len(), cols)?;
            every(
                "class_weight",
                weight,
                cols,
                "finite weights, not negative",
                |w| w.is_finite() && *w >= 0.0,
            )?;
        }
        match self.threshold {
            Some(Thresholds::Row(t)) => length("threshold", t.len(), rows)?,
            Some(Thresholds::Label(t)) => length("threshold", t.len(), cols)?,
            Some(Thresholds::Batch(_)) | None => {}
        }
        self.check_wdl(loss.wdl())?;
        match self.grad_loss {
            Some(grad) if reduction != Reduction::None || grad.len() != rows => {
                length("grad_loss", grad.len(), 1)?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Checks what WDL alone takes.
    fn check_wdl(&self, config: Option<Wdl>) -> Result<(), Error> {
        let Some(config) = config else {
            for (name, given) in [
                ("permutation", self.permutation != Permutation::None),
                ("theta", self.theta.is_some()),
                ("theta0", self.theta0.is_some()),
            ] {
                if given {
                    return Err(Error::value(name, "none with this loss", "one"));
                }
            }
            return Ok(());
        };
        if config.form == wdl::Form::Adjacent {
            reference::check_permutation(self.rows, self.cols, self.permutation)?;
        }
        let (sets, len) = config.theta_shape(self.cols);
        if let Some(theta) = self.theta {
            length("theta", theta.len(), sets.saturating_mul(len))?;
            every("theta", theta, len, "finite values", |t| t.is_finite())?;
        }
        match self.theta0 {
            Some(theta0) if !theta0.is_finite() => {
                Err(Error::value("theta0", "a finite value", theta0))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn on_gpu<L: Rowwise>(
        &self,
        gpu: &Gpu,
        loss: &L,
        wanted: Wanted,
    ) -> Result<RowsResult, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let all = rows * cols;
        let logits = gpu.upload(self.logits.bytes())?;
        let (first, second) = match self.labels {
            Labels::Flags(flags) => (flags, &[][..]),
            Labels::Values(values) => (values.bytes(), &[][..]),
            Labels::Bits(words) => (bytemuck::cast_slice(words), &[][..]),
            Labels::Sparse { offsets, indices } => (bytemuck::cast_slice(offsets), indices),
        };
        let (first, second) = (
            gpu.upload(first)?,
            gpu.upload(bytemuck::cast_slice(second))?,
        );
        let targets = match self.labels {
            Labels::Flags(_) => Targets::Dense(Tensor::matrix(&first, DType::U8, rows, cols)),
            Labels::Values(v) => Targets::Dense(Tensor::matrix(&first, v.dtype(), rows, cols)),
            Labels::Bits(_) => {
                Targets::Bits(Tensor::matrix(&first, DType::U32, rows, cols.div_ceil(32)))
            }
            Labels::Sparse { offsets, indices } => Targets::Sparse {
                offsets: Tensor::vector(&first, DType::U32, offsets.len()),
                indices: Tensor::vector(&second, DType::U32, indices.len()),
            },
        };
        let mask = gpu.upload(self.mask.unwrap_or(&[]))?;

        // The small tensors share one buffer, so that one binding reaches them all.
        let mut bytes = Vec::new();
        let mut place = |tensor: &[u8]| {
            let at = bytes.len() as u64;
            bytes.extend_from_slice(tensor);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            at
        };
        let threshold = self.threshold.as_ref().map_or(&[][..], Thresholds::values);
        let class_mask_at = place(self.class_mask.unwrap_or(&[]));
        let class_weight_at = place(bytemuck::cast_slice(self.class_weight.unwrap_or(&[])));
        let sample_weight_at = place(bytemuck::cast_slice(self.sample_weight.unwrap_or(&[])));
        let threshold_at = place(bytemuck::cast_slice(threshold));
        let grad_loss_at = place(bytemuck::cast_slice(self.grad_loss.unwrap_or(&[])));
        let theta0_at = place(bytemuck::cast_slice(self.theta0.as_slice()));
        let sides = gpu.upload(&bytes)?;
        let side = |at: u64, values: &[f32]| {
            Tensor::vector(&sides, DType::F32, values.len()).offset(at / 4)
        };
        let order = match self.permutation {
            Permutation::None => gpu.upload(&[])?,
            Permutation::Batch(all) | Permutation::PerRow(all) => {
                gpu.upload(bytemuck::cast_slice(all))?
            }
            Permutation::Seeded { seed, .. } => {
                gpu.upload(bytemuck::cast_slice(&[seed as u32, (seed >> 32) as u32]))?
            }
        };
        let thetas = self.theta.unwrap_or(&[]);
        let theta = gpu.upload(bytemuck::cast_slice(thetas))?;
        let (sets, len) = loss.wdl().map_or((1, 0), |config| config.theta_shape(cols));
        let inputs = RowInputs {
            permutation: match self.permutation {
                Permutation::None => None,
                Permutation::Batch(_) => {
                    Some(Order::Batch(Tensor::vector(&order, DType::U32, cols)))
                }
                Permutation::PerRow(_) => Some(Order::PerRow(Tensor::matrix(
                    &order,
                    DType::U32,
                    rows,
                    cols,
                ))),
                Permutation::Seeded { per_row, .. } => Some(Order::Seeded {
                    seed: Tensor::vector(&order, DType::U32, 2),
                    per_row,
                    advance: false,
                }),
            },
            theta: self
                .theta
                .map(|_| Tensor::matrix(&theta, DType::F32, sets, len)),
            theta0: self
                .theta0
                .as_ref()
                .map(|v| side(theta0_at, std::slice::from_ref(v))),
            logits: Tensor::matrix(&logits, self.logits.dtype(), rows, cols),
            targets,
            class_mask: self
                .class_mask
                .map(|_| Tensor::vector(&sides, DType::U8, cols).offset(class_mask_at)),
            mask: self
                .mask
                .map(|_| Tensor::matrix(&mask, DType::U8, rows, cols)),
            sample_weight: self.sample_weight.map(|v| side(sample_weight_at, v)),
            class_weight: self.class_weight.map(|v| side(class_weight_at, v)),
            threshold: self.threshold.map(|kind| {
                let tensor = side(threshold_at, threshold);
                match kind {
                    Thresholds::Batch(_) => Threshold::Batch(tensor),
                    Thresholds::Row(_) => Threshold::Row(tensor),
                    Thresholds::Label(_) => Threshold::Label(tensor),
                }
            }),
            grad_loss: self.grad_loss.map(|v| side(grad_loss_at, v)),
        };

        let gradients = wanted == Wanted::Gradients;
        let float_targets = matches!(self.labels, Labels::Values(_));
        let to_targets = gradients && float_targets && loss.target_kind() != TargetKind::Hard;
        let loss_len = match loss.reduction() {
            Reduction::None => rows,
            Reduction::Sum | Reduction::Mean | Reduction::MeanOver(_) => 1,
        };
        let lens = [
            loss_len,
            if gradients { all } else { 0 },
            if to_targets { all } else { 0 },
            if gradients { threshold.len() } else { 0 },
            if gradients { thetas.len() } else { 0 },
            usize::from(gradients && self.theta0.is_some()),
        ];
        let buffers = [
            gpu.zeros(4 * lens[0] as u64)?,
            gpu.zeros(4 * lens[1] as u64)?,
            gpu.zeros(4 * lens[2] as u64)?,
            gpu.zeros(4 * lens[3] as u64)?,
            gpu.zeros(4 * lens[4] as u64)?,
            gpu.zeros(4 * lens[5] as u64)?,
        ];
        let matrix = |buffer| Tensor::matrix(buffer, DType::F32, rows, cols);
        let outputs = RowOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, loss_len)),
            grad_logits: gradients.then(|| Gradient::To(matrix(&buffers[1]))),
            grad_targets: to_targets.then(|| matrix(&buffers[2])),
            grad_threshold: (gradients && self.threshold.is_some())
                .then(|| Tensor::vector(&buffers[3], DType::F32, threshold.len())),
            grad_theta: (gradients && self.theta.is_some())
                .then(|| Tensor::matrix(&buffers[4], DType::F32, sets, len)),
            grad_theta0: (gradients && self.theta0.is_some())
                .then(|| Tensor::vector(&buffers[5], DType::F32, 1)),
        };
        gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
        let read = |i: usize| -> Result<Vec<f32>, Error> {
            let bytes = gpu.download(&buffers[i], 4 * lens[i] as u64)?;
            Ok(bytemuck::pod_collect_to_vec(&bytes))
        };
        Ok(RowsResult {
            loss: read(0)?,
            grad_logits: read(1)?,
            grad_targets: read(2)?,
            grad_threshold: read(3)?,
            grad_theta: read(4)?,
            grad_theta0: read(5)?,
        })
    }

    /// The targets as dense numbers, whatever their form.
    pub fn dense_targets(&self) -> Result<Vec<f64>, Error> {
        let flags = |flags: Vec<bool>| flags.into_iter().map(f64::from).collect();
        Ok(match self.labels {
            Labels::Flags(y) => y.iter().map(|y| f64::from(u8::from(*y != 0))).collect(),
            Labels::Values(values) => values.to_f64(),
            Labels::Bits(words) => flags(reference::dense_from_bits(self.rows, self.cols, words)?),
            Labels::Sparse { offsets, indices } => flags(reference::dense_from_csr(
                self.rows, self.cols, offsets, indices,
            )?),
        })
    }

    pub(super) fn on_reference<L: Rowwise>(
        &self,
        loss: &L,
        wanted: Wanted,
    ) -> Result<RowsResult, Error> {
        let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|x| f64::from(*x)).collect() };
        let set = |v: &[u8]| -> Vec<bool> { v.iter().map(|x| *x != 0).collect() };
        let logits = self.logits.to_f64();
        let targets = self.dense_targets()?;
        let class_mask = self.class_mask.map(set);
        let mask = self.mask.map(set);
        let sample_weight = self.sample_weight.map(wide);
        let class_weight = self.class_weight.map(wide);
        let grad_loss = self.grad_loss.map(wide);
        let theta = self.theta.map(wide);
        let threshold = wide(self.threshold.as_ref().map_or(&[][..], Thresholds::values));
        let out = loss.reference(&reference::RowInputs::<f64> {
            rows: self.rows,
            cols: self.cols,
            logits: &logits,
            targets: &targets,
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
            class_weight: class_weight.as_deref(),
            threshold: match self.threshold {
                None => reference::Threshold::None,
                Some(Thresholds::Batch(t)) => reference::Threshold::Scalar(f64::from(t)),
                Some(Thresholds::Row(_)) => reference::Threshold::PerRow(&threshold),
                Some(Thresholds::Label(_)) => reference::Threshold::PerLabel(&threshold),
            },
            permutation: self.permutation,
            theta: theta.as_deref(),
            theta0: self.theta0.map(f64::from),
            grad_loss: grad_loss.as_deref(),
        })?;
        let narrow = |v: Vec<f64>| -> Vec<f32> { v.into_iter().map(|x| x as f32).collect() };
        let mut result = RowsResult {
            loss: narrow(out.loss),
            ..RowsResult::default()
        };
        if wanted == Wanted::Gradients {
            result.grad_logits = narrow(out.grad_logits);
            result.grad_threshold = narrow(out.grad_threshold);
            result.grad_theta0 = narrow(out.grad_theta0);
            if self.theta.is_some() {
                result.grad_theta = narrow(out.grad_theta);
            }
            if matches!(self.labels, Labels::Values(_)) {
                result.grad_targets = narrow(out.grad_targets);
            }
        }
        Ok(result)
    }
}

impl Thresholds<'_> {
    fn values(&self) -> &[f32] {
        match self {
            Thresholds::Batch(t) => std::slice::from_ref(t),
            Thresholds::Row(t) | Thresholds::Label(t) => t,
        }
    }
}

pub(super) fn length(name: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::shape(
        name,
        format!("{expected} elements"),
        format!("{found} elements"),
    ))
}

/// Checks each value; the message has the first that fails and its place.
pub(super) fn every<T: std::fmt::Display>(
    name: &str,
    values: &[T],
    cols: usize,
    expected: &str,
    good: impl Fn(&T) -> bool,
) -> Result<(), Error> {
    match values.iter().position(|value| !good(value)) {
        None => Ok(()),
        Some(i) => Err(Error::value(
            name,
            expected,
            format!(
                "{} at [{}, {}]",
                values[i],
                i / cols.max(1),
                i % cols.max(1)
            ),
        )),
    }
}
