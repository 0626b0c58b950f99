//! Losses of rows over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::Gpu;
use crate::host::targets::{TargetBuffers, check_lists, counted_lists};
use crate::host::values::{
    Counted, Dense, REFERENCE_BYTES, Values, Wanted, check_counted, check_each, check_room,
    check_upstream, narrow, seed_words, wide,
};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::labels::{Order, Seed, TargetNames, Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::{Gives, Takes, TargetKind};
use crate::reference;
use crate::rowwise::Rowwise;

/// What errors say of weights.
const WEIGHTS: &str = "finite weights, not negative";

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
    pub targets: Targets<Dense<'a>, &'a [u32]>,
    /// `cols` flags, not 0 where the class counts.
    pub class_mask: Option<&'a [u8]>,
    /// `rows * cols` flags, not 0 where the element counts.
    pub mask: Option<&'a [u8]>,
    /// `rows` weights.
    pub sample_weight: Option<&'a [f32]>,
    /// `cols` weights, not negative.
    pub class_weight: Option<&'a [f32]>,
    /// `rows * cols` weights, not negative.
    pub weight: Option<Values<'a>>,
    /// BCE: `cols` weights of the positive sides, not negative, in place of the setting.
    pub pos_weight: Option<&'a [f32]>,
    /// Focal: `cols` weights of the positive sides, in `[0, 1]`, in place of the setting.
    pub alpha: Option<&'a [f32]>,
    /// Threshold of TLPR.
    pub threshold: Option<Threshold<&'a [f32]>>,
    /// WDL: the order of the labels in its adjacent form. Seeded ones are made on the GPU.
    pub permutation: Option<Order<&'a [u32], u64>>,
    /// WDL: as many values as [`Wdl::theta_shape`](crate::Wdl::theta_shape) says.
    pub theta: Option<&'a [f32]>,
    /// WDL: makes it the bounded form.
    pub theta0: Option<f32>,
    /// Upstream gradient: one, or without a reduction `rows`.
    pub grad_loss: Option<&'a [f32]>,
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
    /// Logits and targets, nothing optional.
    pub fn new(
        rows: usize,
        cols: usize,
        logits: Values<'a>,
        targets: Targets<Dense<'a>, &'a [u32]>,
    ) -> Self {
        Rows {
            rows,
            cols,
            logits,
            targets,
            class_mask: None,
            mask: None,
            sample_weight: None,
            class_weight: None,
            weight: None,
            pos_weight: None,
            alpha: None,
            threshold: None,
            permutation: None,
            theta: None,
            theta0: None,
            grad_loss: None,
        }
    }

    /// Which elements count.
    fn counted(&self) -> Counted<'_> {
        Counted {
            cols: self.cols,
            class_mask: self.class_mask,
            mask: self.mask,
            sample_weight: self.sample_weight,
        }
    }

    /// Checks lengths, and the values that lie here on the host: that soft targets that count are in `[0, 1]`, indices in
    /// range, offsets rising, weights finite, permutations permutations.
    pub(super) fn check(&self, takes: &Takes, reduction: Reduction) -> Result<(), Error> {
        let (rows, cols) = (self.rows, self.cols);
        let Some(all) = rows
            .checked_mul(cols)
            .filter(|all| *all < u32::MAX as usize && rows.max(cols) <= u32::MAX as usize)
        else {
            return Err(Error::shape(
                "logits",
                "fewer than 2^32 elements, rows and labels",
                format!("[{rows}, {cols}]"),
            ));
        };
        check_len("logits", all, self.logits.len())?;
        takes.targets.check_form(&self.targets)?;
        takes.check(Gives {
            threshold: self.threshold.is_some(),
            permutation: self.permutation.is_some(),
            theta: self.theta.is_some(),
            theta0: self.theta0.is_some(),
            weight: self.weight.is_some(),
            pos_weight: self.pos_weight.is_some(),
            alpha: self.alpha.is_some(),
        })?;
        let lens = [
            ("class_mask", cols, self.class_mask.map(<[_]>::len)),
            ("mask", all, self.mask.map(<[_]>::len)),
            ("sample_weight", rows, self.sample_weight.map(<[_]>::len)),
            ("class_weight", cols, self.class_weight.map(<[_]>::len)),
            ("weight", all, self.weight.map(|weight| weight.len())),
            ("pos_weight", cols, self.pos_weight.map(<[_]>::len)),
            ("alpha", cols, self.alpha.map(<[_]>::len)),
        ];
        for (name, expected, found) in lens {
            check_len(name, expected, found.unwrap_or(expected))?;
        }
        self.check_targets(takes)?;
        if let Some(weight) = self.sample_weight {
            let sums = takes.columns;
            let good = |w: &f32| w.is_finite() && (*w >= 0.0 || !sums);
            let expected = if sums { WEIGHTS } else { "finite weights" };
            check_each("sample_weight", weight, rows, expected, good)?;
        }
        for (name, weight) in [
            ("class_weight", self.class_weight),
            ("pos_weight", self.pos_weight),
        ] {
            let good = |w: &f32| w.is_finite() && *w >= 0.0;
            check_each(name, weight.unwrap_or(&[]), cols, WEIGHTS, good)?;
        }
        if let Some(weight) = self.weight {
            let good = |w: &f64| w.is_finite() && *w >= 0.0;
            check_counted("weight", &weight.to_f64(), &self.counted(), WEIGHTS, good)?;
        }
        if let Some(alpha) = self.alpha {
            let good = |a: &f32| (0.0..=1.0).contains(a);
            check_each("alpha", alpha, cols, "values in [0, 1]", good)?;
        }
        if let Some(threshold) = self.threshold {
            let len = threshold.len_of(rows, cols);
            check_len("threshold", len, threshold.values().len())?;
        }
        if let Some(order) = self.permutation {
            let counted = self.counted();
            reference::check_order(rows, cols, order, |row| counted.has_row(row))?;
        }
        if let (Some(theta), Some(shape)) = (self.theta, takes.theta) {
            let (sets, len) = shape.of(cols);
            check_len("theta", sets.saturating_mul(len), theta.len())?;
            check_each("theta", theta, len, "finite values", |t| t.is_finite())?;
        }
        if let Some(theta0) = self.theta0.filter(|t| !t.is_finite()) {
            return Err(Error::value("theta0", "a finite value", theta0));
        }
        check_upstream(
            self.grad_loss,
            (reduction == Reduction::None).then_some(takes.losses(rows, cols)),
        )
    }

    /// Checks the targets.
    fn check_targets(&self, takes: &Takes) -> Result<(), Error> {
        let kind = takes.targets;
        let counted = self.counted();
        let (rows, cols, names) = (self.rows, self.cols, kind.names());
        let name = names.dense;
        let values = match self.targets {
            Targets::Bits(words) => {
                return check_len(names.bits, rows * cols.div_ceil(32), words.len());
            }
            Targets::Sparse { offsets, indices } => {
                let counts = |row| counted.has_row(row);
                return check_lists(names, (rows, cols), offsets, indices, counts);
            }
            Targets::Dense(Dense::Flags(flags)) if kind != TargetKind::Logits => {
                check_len(name, rows * cols, flags.len())?;
                return check_counted(name, flags, &counted, "0 or 1", |y| *y <= 1);
            }
            Targets::Dense(Dense::Integers(integers)) if kind != TargetKind::Logits => {
                return check_len(name, rows * cols, integers.len());
            }
            Targets::Dense(Dense::Flags(_)) => {
                let (expected, found) = (self.logits.dtype(), DType::U8);
                return Err(Error::new(ErrorKind::DType, name, expected, found));
            }
            Targets::Dense(Dense::Integers(_)) => {
                let (expected, found) = (self.logits.dtype(), DType::U32);
                return Err(Error::new(ErrorKind::DType, name, expected, found));
            }
            Targets::Dense(Dense::Values(values)) => values,
        };
        check_len(name, rows * cols, values.len())?;
        let (expected, good): (_, fn(&f64) -> bool) = match kind {
            TargetKind::Hard => ("0 or 1 (this loss takes hard labels)", |t| {
                *t == 0.0 || *t == 1.0
            }),
            TargetKind::Soft => ("values in [0, 1]", |t| (0.0..=1.0).contains(t)),
            TargetKind::Proportions if !takes.counts => (
                "values in [0, 1] (counts make the presence term unbounded: they need lambda_presence 0)",
                |t| (0.0..=1.0).contains(t),
            ),
            TargetKind::Proportions => ("finite values, not negative", |t| {
                t.is_finite() && *t >= 0.0
            }),
            TargetKind::Logits if values.dtype() == self.logits.dtype() => return Ok(()),
            TargetKind::Logits => {
                let (expected, found) = (self.logits.dtype(), values.dtype());
                return Err(Error::new(ErrorKind::DType, name, expected, found));
            }
        };
        check_counted(name, &values.to_f64(), &counted, expected, good)
    }

    fn on_gpu<L: Rowwise>(&self, gpu: &Gpu, loss: &L, wanted: Wanted) -> Result<RowsResult, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let all = rows * cols;
        let logits = gpu.upload(self.logits.bytes())?;
        let targets = TargetBuffers::upload(gpu, self.targets)?;
        let mask = gpu.upload(self.mask.unwrap_or(&[]))?;
        let weight = gpu.upload(self.weight.map_or(&[][..], |weight| weight.bytes()))?;

        // The small tensors share one buffer, so that one binding reaches them all.
        let mut bytes = Vec::new();
        let mut place = |tensor: &[u8]| {
            let at = bytes.len() as u64;
            bytes.extend_from_slice(tensor);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            at
        };
        let threshold = self.threshold.map_or(&[][..], Threshold::values);
        let class_mask_at = place(self.class_mask.unwrap_or(&[]));
        let class_weight_at = place(bytemuck::cast_slice(self.class_weight.unwrap_or(&[])));
        let by_label = self.pos_weight.or(self.alpha).unwrap_or(&[]);
        let by_label_at = place(bytemuck::cast_slice(by_label));
        let sample_weight_at = place(bytemuck::cast_slice(self.sample_weight.unwrap_or(&[])));
        let threshold_at = place(bytemuck::cast_slice(threshold));
        let grad_loss_at = place(bytemuck::cast_slice(self.grad_loss.unwrap_or(&[])));
        let theta0_at = place(bytemuck::cast_slice(self.theta0.as_slice()));
        let sides = gpu.upload(&bytes)?;
        let side = |at: u64, values: &[f32]| {
            Tensor::vector(&sides, DType::F32, values.len()).with_offset(at / 4)
        };
        let order = match self.permutation {
            None => gpu.upload(&[])?,
            Some(Order::Batch(all) | Order::PerRow(all)) => gpu.put(all)?,
            Some(Order::Seeded { seed, .. }) => gpu.put(&seed_words(seed))?,
        };
        let thetas = self.theta.unwrap_or(&[]);
        let theta = gpu.put(thetas)?;
        let (sets, len) = loss.takes().theta.map_or((1, 0), |shape| shape.of(cols));
        let inputs = RowInputs {
            permutation: self.permutation.map(|given| match given {
                Order::Batch(_) => Order::Batch(Tensor::vector(&order, DType::U32, cols)),
                Order::PerRow(_) => Order::PerRow(Tensor::matrix(&order, DType::U32, rows, cols)),
                Order::Seeded { scope, .. } => Order::Seeded {
                    seed: Seed::fixed(Tensor::vector(&order, DType::U32, 2)),
                    scope,
                },
            }),
            theta: self
                .theta
                .map(|_| Tensor::matrix(&theta, DType::F32, sets, len)),
            theta0: self
                .theta0
                .as_ref()
                .map(|v| side(theta0_at, std::slice::from_ref(v))),
            logits: Tensor::matrix(&logits, self.logits.dtype(), rows, cols),
            targets: targets.tensors(rows, cols),
            class_mask: self
                .class_mask
                .map(|_| Tensor::vector(&sides, DType::U8, cols).with_offset(class_mask_at)),
            mask: self
                .mask
                .map(|_| Tensor::matrix(&mask, DType::U8, rows, cols)),
            sample_weight: self.sample_weight.map(|v| side(sample_weight_at, v)),
            class_weight: self.class_weight.map(|v| side(class_weight_at, v)),
            weight: self
                .weight
                .map(|values| Tensor::matrix(&weight, values.dtype(), rows, cols)),
            pos_weight: self.pos_weight.map(|v| side(by_label_at, v)),
            alpha: self.alpha.map(|v| side(by_label_at, v)),
            threshold: self
                .threshold
                .map(|t| t.map(|values| side(threshold_at, values))),
            grad_loss: self.grad_loss.map(|v| side(grad_loss_at, v)),
            settings: &[],
        };

        let gradients = wanted == Wanted::Gradients;
        let to_targets = gradients && self.has_target_gradient(&loss.takes());
        let loss_len = match loss.reduction() {
            Reduction::None => loss.takes().losses(rows, cols),
            _ => 1,
        };
        let lens = [
            loss_len,
            if gradients { all } else { 0 },
            if to_targets { all } else { 0 },
            if gradients { threshold.len() } else { 0 },
            if gradients { thetas.len() } else { 0 },
            usize::from(gradients && self.theta0.is_some()),
        ];
        let mut buffers = Vec::new();
        for len in lens {
            buffers.push(gpu.numbers(len)?);
        }
        let matrix = |buffer, rows, cols| Tensor::matrix(buffer, DType::F32, rows, cols).into();
        let outputs = RowOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, loss_len)),
            grad_logits: gradients.then(|| matrix(&buffers[1], rows, cols)),
            grad_targets: to_targets.then(|| matrix(&buffers[2], rows, cols)),
            grad_threshold: (gradients && self.threshold.is_some())
                .then(|| matrix(&buffers[3], 1, threshold.len())),
            grad_theta: (gradients && self.theta.is_some()).then(|| matrix(&buffers[4], sets, len)),
            grad_theta0: (gradients && self.theta0.is_some()).then(|| matrix(&buffers[5], 1, 1)),
        };
        gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
        let read = |i: usize| gpu.read(&buffers[i], lens[i]);
        Ok(RowsResult {
            loss: read(0)?,
            grad_logits: read(1)?,
            grad_targets: read(2)?,
            grad_threshold: read(3)?,
            grad_theta: read(4)?,
            grad_theta0: read(5)?,
        })
    }

    /// Whether there is a gradient to the targets.
    fn has_target_gradient(&self, takes: &Takes) -> bool {
        let real = matches!(self.targets, Targets::Dense(Dense::Values(_)));
        real && takes.targets.has_gradient()
    }

    /// The targets as dense numbers, whatever their form. Lists of rows of weight 0 are taken for empty.
    ///
    /// # Errors
    /// Lengths, offsets and indices that are wrong.
    pub fn dense_targets(&self) -> Result<Vec<f64>, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let flags = |flags: Vec<bool>| flags.into_iter().map(f64::from).collect();
        Ok(match self.targets {
            Targets::Dense(Dense::Flags(y)) => {
                y.iter().map(|y| f64::from(u8::from(*y != 0))).collect()
            }
            Targets::Dense(Dense::Integers(y)) => flags(y.iter().map(|y| *y != 0).collect()),
            Targets::Dense(Dense::Values(values)) => values.to_f64(),
            Targets::Bits(words) => flags(reference::dense_from_bits(rows, cols, words)?),
            Targets::Sparse { offsets, indices } => {
                let (names, counted) = (TargetNames::TARGETS, self.counted());
                check_lists(names, (rows, cols), offsets, indices, |row| {
                    counted.has_row(row)
                })?;
                let (offsets, indices) =
                    counted_lists(offsets, indices, |row| counted.has_row(row));
                flags(reference::dense_from_sparse(
                    rows, cols, &offsets, &indices,
                )?)
            }
        })
    }

    /// The result of an empty batch, however many labels nothing has.
    fn of_nothing(&self, takes: &Takes, reduction: Reduction, wanted: Wanted) -> RowsResult {
        let gradients = wanted == Wanted::Gradients;
        let zeros = |len: usize| vec![0.0; if gradients { len } else { 0 }];
        RowsResult {
            loss: match reduction {
                Reduction::None => vec![0.0; takes.losses(0, self.cols)],
                _ => vec![0.0],
            },
            grad_threshold: zeros(self.threshold.map_or(0, |t| t.values().len())),
            grad_theta: zeros(self.theta.map_or(0, <[f32]>::len)),
            grad_theta0: zeros(usize::from(self.theta0.is_some())),
            ..RowsResult::default()
        }
    }

    fn on_reference<L: Rowwise>(&self, loss: &L, wanted: Wanted) -> Result<RowsResult, Error> {
        let elements = self.logits.len();
        check_room("logits", elements.saturating_mul(REFERENCE_BYTES))?;
        let set = |v: &[u8]| -> Vec<bool> { v.iter().map(|x| *x != 0).collect() };
        let logits = self.logits.to_f64();
        let targets = self.dense_targets()?;
        let class_mask = self.class_mask.map(set);
        let mask = self.mask.map(set);
        let sample_weight = self.sample_weight.map(wide);
        let class_weight = self.class_weight.map(wide);
        let weight = self.weight.map(|values| values.to_f64());
        let (pos_weight, alpha) = (self.pos_weight.map(wide), self.alpha.map(wide));
        let grad_loss = self.grad_loss.map(wide);
        let theta = self.theta.map(wide);
        let threshold = wide(self.threshold.map_or(&[][..], Threshold::values));
        let out = loss.reference(&reference::RowInputs::<f64> {
            rows: self.rows,
            cols: self.cols,
            logits: &logits,
            targets: &targets,
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
            class_weight: class_weight.as_deref(),
            weight: weight.as_deref(),
            pos_weight: pos_weight.as_deref(),
            alpha: alpha.as_deref(),
            threshold: self.threshold.map(|t| t.map(|_| &threshold[..])),
            permutation: self.permutation,
            theta: theta.as_deref(),
            theta0: self.theta0.map(f64::from),
            grad_loss: grad_loss.as_deref(),
        })?;
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
            if self.has_target_gradient(&loss.takes()) {
                result.grad_targets = narrow(out.grad_targets);
            }
        }
        Ok(result)
    }
}

impl Engine {
    /// Computes a loss of rows: the result, and the gradients that are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values (targets out of range, indices beyond the labels, ...), what the loss does not take,
    /// device errors.
    pub fn rows<L: Rowwise>(
        &self,
        loss: &L,
        rows: &Rows<'_>,
        wanted: Wanted,
    ) -> Result<RowsResult, Error> {
        loss.check()?;
        rows.check(&loss.takes(), loss.reduction())?;
        if rows.rows == 0 {
            return Ok(rows.of_nothing(&loss.takes(), loss.reduction(), wanted));
        }
        match self.gpu() {
            Some(gpu) => rows.on_gpu(gpu, loss, wanted),
            None => rows.on_reference(loss, wanted),
        }
    }
}
