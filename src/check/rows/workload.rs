//! A loss of rows, to be measured.

use crate::check::measure::{Reference, Work, Workload, check_shape, period, tile};
use crate::check::numbers::{TargetForm, encode, form_type, rounded};
use crate::check::rng::Rng;
use crate::check::rows::case::{Mode, loss_len, plain_form, prepare, theta_shape};
use crate::check::tensors::Tensors;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::losses::labels::{Order, Scope, TargetNames, Targets, Threshold};
use crate::losses::takes::TargetKind;
use crate::reference;
use crate::rowwise::{AnyLoss, Rowwise};
use std::hint::black_box;

/// Most positives of a row: a sample has a handful of labels, however many there are.
const POSITIVES: usize = 16;

/// A row loss at a shape: normal logits times 3, up to 16 positives a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowWorkload {
    /// The loss, with its reduction.
    pub loss: AnyLoss,
    /// Its threshold.
    pub threshold: Option<Threshold<()>>,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: TargetForm,
    /// What is computed.
    pub mode: Mode,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

/// The numbers of a workload on the host.
#[derive(Default)]
struct OnHost {
    logits: Vec<f64>,
    targets: Vec<f64>,
}

/// The first rows as the device has them, before they begin again.
#[derive(Default)]
struct Block {
    logits: Vec<u8>,
    targets: Vec<u8>,
}

impl RowWorkload {
    /// f32 logits, byte targets (other logits where the loss takes those), loss and gradient.
    pub fn plain(loss: AnyLoss, rows: usize, cols: usize) -> Self {
        RowWorkload {
            loss,
            threshold: None,
            dtype: DType::F32,
            form: plain_form(&loss),
            mode: Mode::Both,
            rows,
            cols,
            seed: 1,
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.loss.check()?;
        check_shape(self.rows, self.cols)
    }

    /// Positives of each row; as many in all of them, so that the size of sparse targets is known beforehand.
    fn positives(&self) -> usize {
        (self.cols / 4).clamp(1, POSITIVES)
    }

    /// Passes the logits and targets of a row on, as they are after rounding to their element types. Every row has its
    /// own stream of numbers, until they begin again.
    fn row<E>(
        &self,
        row: usize,
        mut each: impl FnMut(usize, f64, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let row = row % period(self.rows, self.cols);
        let mut rng = Rng(self.seed.wrapping_add((row as u64) << 32));
        let kind = self.loss.target_kind();
        let target_type = form_type(self.form);
        let real = self.form == Targets::Dense(target_type);
        let soft = real && matches!(kind, TargetKind::Soft | TargetKind::Proportions);
        let positives = self.positives();
        // One positive in each of as many equal parts of the row.
        let mut part = 0;
        let mut next = 0;
        for col in 0..self.cols {
            if part < positives && col == part * self.cols / positives {
                let end = (part + 1) * self.cols / positives;
                next = (col + rng.uniform(0.0, (end - col) as f64) as usize).min(end - 1);
                part += 1;
            }
            let logit = 3.0 * rng.normal();
            let target = match kind {
                TargetKind::Logits => logit + 0.9 * rng.normal(),
                _ if soft && col == next => rng.uniform(0.5, 1.0),
                _ if soft => rng.uniform(0.0, 0.1),
                _ => f64::from(u8::from(col == next)),
            };
            each(
                col,
                rounded(self.dtype, logit),
                rounded(target_type, target),
            )?;
        }
        Ok(())
    }

    fn thresholds(&self) -> Vec<f64> {
        let mut rng = Rng(self.seed.wrapping_add(u64::MAX >> 1));
        let count = self.threshold.map_or(0, |t| t.len_of(self.rows, self.cols));
        let all = rng.many(count, -1.0, 1.0).into_iter();
        all.map(|value| rounded(DType::F32, value)).collect()
    }

    /// Element type of the gradient, where there is one.
    fn gradient(&self) -> Option<DType> {
        self.mode.gradient(self.dtype)
    }

    /// Tensors for the call, all of zeros.
    fn tensors(&self, gpu: &Gpu) -> Result<Tensors, Error> {
        let (rows, cols) = (self.rows, self.cols);
        let mut all = Tensors::default();
        let mut put = |name: &str, dtype: DType, shape: (usize, usize)| -> Result<(), Error> {
            let buffer = gpu.zeros((shape.0 * shape.1) as u64 * dtype.size())?;
            all.put_matrix(name, &buffer, dtype, shape);
            Ok(())
        };
        put("logits", self.dtype, (rows, cols))?;
        let names = TargetNames::TARGETS;
        match self.form {
            Targets::Dense(dtype) => put(names.dense, dtype, (rows, cols))?,
            Targets::Bits(()) => put(names.bits, DType::U32, (rows, cols.div_ceil(32)))?,
            Targets::Sparse { .. } => {
                put(names.offsets, DType::U32, (1, rows + 1))?;
                put(names.indices, DType::U32, (1, rows * self.positives()))?;
            }
        }
        if self.mode != Mode::Gradient {
            put("loss", DType::F32, (1, loss_len(&self.loss, rows, cols)))?;
        }
        let gradient = self.gradient();
        if let Some(dtype) = gradient.filter(|_| self.mode != Mode::InPlace) {
            put("grad_logits", dtype, (rows, cols))?;
        }
        if let Some(threshold) = self.threshold {
            let shape = (1, threshold.len_of(rows, cols));
            put("threshold", DType::F32, shape)?;
            if gradient.is_some() {
                put("grad_threshold", DType::F32, shape)?;
            }
        }
        // WDL: a seed of zeros and weights of 1 cost what all others do.
        if self.order().is_some() {
            put("permutation", DType::U32, (1, 2))?;
        }
        if self.loss.takes().theta.is_some() {
            let shape = theta_shape(&self.loss, cols);
            put("theta", DType::F32, shape)?;
            if gradient.is_some() {
                put("grad_theta", DType::F32, shape)?;
            }
        }
        Ok(all)
    }

    /// The order of the labels, where the loss needs one.
    fn order(&self) -> Option<Order<(), ()>> {
        self.loss.takes().permutation.then_some(Order::Seeded {
            seed: (),
            scope: Scope::Batch,
        })
    }

    /// Brings the logits, in place of which stands `logits` where the call overwrites them, and the targets to the device.
    fn fill(&self, gpu: &Gpu, tensors: &Tensors, logits: &wgpu::Buffer) -> Result<(), Error> {
        let names = TargetNames::TARGETS;
        let mut block = Block::default();
        for row in 0..period(self.rows, self.cols) {
            let mut word: u32 = 0;
            self.row(row, |col, logit, target| -> Result<(), Error> {
                block.logits.extend(bytes(self.dtype, logit));
                match self.form {
                    Targets::Dense(dtype) => block.targets.extend(bytes(dtype, target)),
                    Targets::Bits(()) => {
                        word |= u32::from(target > 0.5) << (col % 32);
                        if col % 32 == 31 || col + 1 == self.cols {
                            let word = std::mem::take(&mut word);
                            block.targets.extend(word.to_le_bytes());
                        }
                    }
                    Targets::Sparse { .. } if target > 0.5 => {
                        block.targets.extend((col as u32).to_le_bytes());
                    }
                    Targets::Sparse { .. } => {}
                }
                Ok(())
            })?;
        }
        let offsets = (0..=self.rows).map(|row| ((row * self.positives()) as u32).to_le_bytes());
        let offsets: Vec<u8> = offsets.flatten().collect();
        let thresholds = self.thresholds().into_iter();
        let thresholds = thresholds.flat_map(|value| bytes(DType::F32, value));
        let thresholds: Vec<u8> = thresholds.collect();
        tile(gpu, &block.logits, logits)?;
        for (name, block) in [
            (names.dense, &block.targets),
            (names.bits, &block.targets),
            (names.indices, &block.targets),
            (names.offsets, &offsets),
            ("threshold", &thresholds),
        ] {
            if let Some(buffer) = tensors.buffer(name) {
                tile(gpu, block, buffer)?;
            }
        }
        Ok(())
    }

    fn numbers(&self) -> Result<OnHost, Error> {
        self.check()?;
        let mut made = OnHost::default();
        for row in 0..self.rows {
            self.row(row, |_, logit, target| -> Result<(), Error> {
                made.logits.push(logit);
                made.targets.push(target);
                Ok(())
            })?;
        }
        Ok(made)
    }
}

/// An element as the device has it.
fn bytes(dtype: DType, value: f64) -> impl Iterator<Item = u8> {
    encode(dtype, value).into_iter().take(dtype.size() as usize)
}

fn missing(name: &str) -> Error {
    Error::refused(name, "the call has no such tensor")
}

impl Workload for RowWorkload {
    fn settings(&self) -> String {
        format!("{:?}", self.loss)
    }

    fn elements(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    fn input_bytes(&self) -> u64 {
        self.elements() * self.dtype.size()
    }

    /// Prepares the call and brings the data to the device, in this order: what the device cannot do costs no data.
    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        self.check()?;
        let tensors = self.tensors(gpu)?;
        let (bench, order) = (*self, self.order());
        let mut work = Work::on(gpu, tensors, move |cx, tensors| {
            let (loss, threshold) = (&bench.loss, bench.threshold);
            prepare(loss, threshold, order, bench.mode, cx, tensors)
        })?;
        let tensors = work.tensors();
        let logits = tensors.buffer("logits").ok_or_else(|| missing("logits"))?;
        match self.mode {
            Mode::InPlace => {
                let original = gpu.zeros(logits.size())?;
                self.fill(gpu, tensors, &original)?;
                work.overwrites(original);
            }
            Mode::Loss | Mode::Gradient | Mode::Both | Mode::BothSame => {
                self.fill(gpu, tensors, logits)?;
            }
        }
        Ok(work)
    }

    fn on_host(&self) -> Result<Reference, Error> {
        let data = self.numbers()?;
        let (bench, thresholds) = (*self, self.thresholds());
        let order = self.order().map(|_| Order::Seeded {
            seed: 0,
            scope: Scope::Batch,
        });
        Ok(Box::new(move || {
            let out = bench.loss.reference(&reference::RowInputs::<f64> {
                rows: bench.rows,
                cols: bench.cols,
                logits: &data.logits,
                targets: &data.targets,
                threshold: bench.threshold.map(|form| form.map(|()| &thresholds[..])),
                permutation: order,
                ..reference::RowInputs::default()
            })?;
            Ok(black_box(out).loss.first().copied().unwrap_or(0.0))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::bce::Bce;
    use crate::losses::zlpr::Zlpr;

    #[test]
    fn rows_have_as_many_positives_as_promised_and_numbers_of_their_own() -> Result<(), Error> {
        for cols in [1, 2, 3, 14, 64, 65, 983] {
            let bench = RowWorkload::plain(AnyLoss::Bce(Bce::default()), 3, cols);
            let data = bench.numbers()?;
            assert_eq!(data.logits.len(), 3 * cols);
            for row in data.targets.chunks(cols) {
                let positives = row.iter().filter(|y| **y == 1.0).count();
                assert_eq!(positives, bench.positives(), "{cols} labels");
                assert!(row.iter().all(|y| *y == 0.0 || *y == 1.0));
            }
            assert_ne!(data.logits[..cols], data.logits[cols..2 * cols]);
        }
        Ok(())
    }

    #[test]
    fn soft_targets_are_soft_and_empty_shapes_refused() -> Result<(), Error> {
        let soft = RowWorkload {
            form: Targets::Dense(DType::F16),
            ..RowWorkload::plain(AnyLoss::Zlpr(Zlpr::soft()), 2, 50)
        };
        let data = soft.numbers()?;
        assert!(data.targets.iter().all(|t| (0.0..=1.0).contains(t)));
        assert!(data.targets.iter().any(|t| *t > 0.0 && *t < 0.1));
        assert!(soft.on_host()?()? > 0.0);
        for (rows, cols) in [(0, 5), (5, 0), (1 << 20, 1 << 20), (usize::MAX, 2)] {
            assert!(RowWorkload { rows, cols, ..soft }.numbers().is_err());
        }
        Ok(())
    }
}
