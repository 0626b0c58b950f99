//! A last layer with its loss over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::{Answer, Gpu};
use crate::host::targets::{TargetBuffers, check_lists, counted_lists};
use crate::host::values::{
    Dense, REFERENCE_BYTES, Values, Wanted, check_each, check_room, check_upstream, narrow, wide,
};
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::linear::{Linear, MOST_CHOSEN, Update};
use crate::losses::reduction::Reduction;
use crate::reference;
use crate::rowwise::{AnyLoss, Rowwise};
use half::{bf16, f16};

/// What a last layer takes, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct LinearRows<'a> {
    /// Samples.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Components of a hidden state.
    pub dims: usize,
    /// `rows * dims` numbers.
    pub hidden: Values<'a>,
    /// `cols * dims` numbers.
    pub weights: Values<'a>,
    /// `cols` numbers.
    pub bias: Option<&'a [f32]>,
    /// The targets, as bits or lists. Needed for everything but predictions.
    pub targets: Option<Targets<&'a [u32]>>,
    /// `cols` flags, not 0 where the class counts.
    pub class_mask: Option<&'a [u8]>,
    /// `rows` weights.
    pub sample_weight: Option<&'a [f32]>,
    /// `cols` weights, not negative.
    pub class_weight: Option<&'a [f32]>,
    /// `cols` numbers, not negative, for an update that has such; absent: zeros.
    pub state: Option<&'a [f32]>,
    /// Upstream gradient: one, or without a reduction one or `rows`.
    pub grad_loss: Option<&'a [f32]>,
}

impl<'a> LinearRows<'a> {
    /// Hidden states and weights, nothing optional.
    pub fn new(
        (rows, cols, dims): (usize, usize, usize),
        hidden: Values<'a>,
        weights: Values<'a>,
    ) -> Self {
        LinearRows {
            rows,
            cols,
            dims,
            hidden,
            weights,
            bias: None,
            targets: None,
            class_mask: None,
            sample_weight: None,
            class_weight: None,
            state: None,
            grad_loss: None,
        }
    }
}

/// What came out. What was not wanted, or does not exist, is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinearResult {
    /// One, or without a reduction `rows`; none where there are no targets.
    pub loss: Vec<f32>,
    /// `rows * dims`.
    pub grad_hidden: Vec<f32>,
    /// `cols * dims`; none with an update.
    pub grad_weights: Vec<f32>,
    /// `cols`, where there is a bias.
    pub grad_bias: Vec<f32>,
    /// With an update: `cols * dims` weights after it, rounded to their type.
    pub weights: Vec<f32>,
    /// With an update that has such: `cols` numbers after it.
    pub state: Vec<f32>,
    /// `rows` times as many as are wanted: the labels of the greatest logits.
    pub top_labels: Vec<u32>,
    /// These logits.
    pub top_scores: Vec<f32>,
}

impl LinearRows<'_> {
    /// Whether a sample counts: none does whose weight is 0, whatever it holds.
    fn counts(&self, row: usize) -> bool {
        self.sample_weight.is_none_or(|weights| weights[row] != 0.0)
    }

    /// Checks lengths, and the values that lie here on the host.
    fn check(&self, layer: &Linear<AnyLoss>, top: usize) -> Result<(), Error> {
        layer.check()?;
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let product = |subject, a: usize, b: usize| {
            let fits = |n: &usize| *n < u32::MAX as usize;
            a.checked_mul(b)
                .filter(|all| fits(all) && fits(&a) && fits(&b))
                .ok_or_else(|| {
                    Error::shape(subject, "fewer than 2^32 elements", format!("[{a}, {b}]"))
                })
        };
        product("hidden", rows, cols)?;
        if dims == 0 {
            return Err(Error::shape("hidden", "at least one component", "none"));
        }
        check_len("hidden", product("hidden", rows, dims)?, self.hidden.len())?;
        check_len(
            "weights",
            product("weights", cols, dims)?,
            self.weights.len(),
        )?;
        let lens = [
            ("bias", cols, self.bias.map(<[_]>::len)),
            ("class_mask", cols, self.class_mask.map(<[_]>::len)),
            ("sample_weight", rows, self.sample_weight.map(<[_]>::len)),
            ("class_weight", cols, self.class_weight.map(<[_]>::len)),
            ("state", cols, self.state.map(<[_]>::len)),
        ];
        for (name, expected, found) in lens {
            check_len(name, expected, found.unwrap_or(expected))?;
        }
        let names = TargetNames::TARGETS;
        match self.targets {
            Some(Targets::Bits(words)) => {
                check_len(names.bits, rows * cols.div_ceil(32), words.len())?;
            }
            Some(Targets::Sparse { offsets, indices }) => {
                let counts = |row| self.counts(row);
                check_lists(names, (rows, cols), offsets, indices, counts)?;
            }
            Some(Targets::Dense(_)) => {
                return Err(Error::refused(
                    names.dense,
                    "takes labels as bits or as lists",
                ));
            }
            None if top == 0 || layer.update.is_some() => {
                let reason = "needed to compute the loss or its gradient";
                return Err(Error::refused(names.dense, reason));
            }
            None => {}
        }
        let finite = |w: &f32| w.is_finite();
        let weight = |w: &f32| w.is_finite() && *w >= 0.0;
        let sample = self.sample_weight.unwrap_or(&[]);
        check_each("sample_weight", sample, rows, "finite weights", finite)?;
        for (name, values) in [("class_weight", self.class_weight), ("state", self.state)] {
            let expected = "finite numbers, not negative";
            check_each(name, values.unwrap_or(&[]), cols, expected, weight)?;
        }
        if self.state.is_some() && !layer.update.is_some_and(Update::has_state) {
            return Err(Error::refused("state", "belongs to Adagrad alone"));
        }
        let most = cols.min(MOST_CHOSEN);
        if top > most {
            return Err(Error::value("top_k", format!("at most {most} labels"), top));
        }
        let each = layer.loss.reduction() == Reduction::None;
        check_upstream(self.grad_loss, each.then_some(rows))
    }

    fn on_gpu(
        &self,
        gpu: &Gpu,
        layer: &Linear<AnyLoss>,
        (wanted, top): (Wanted, usize),
    ) -> Result<Answer<LinearResult>, Error> {
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let given = self.targets.map(|targets| match targets {
            Targets::Bits(words) => Targets::Bits(words),
            Targets::Sparse { offsets, indices } => Targets::Sparse { offsets, indices },
            Targets::Dense(words) => Targets::Dense(Dense::Integers(words)),
        });
        let targets = given
            .map(|targets| TargetBuffers::upload(gpu, targets))
            .transpose()?;
        let hidden = gpu.upload(self.hidden.bytes())?;
        let weights = gpu.upload(self.weights.bytes())?;
        let class_mask = gpu.upload(self.class_mask.unwrap_or(&[]))?;
        let learns = self.targets.is_some();
        let gradients = wanted == Wanted::Gradients && learns;
        let update = layer.update.filter(|_| gradients);
        let zeros = vec![0.0; cols];
        let state = match update {
            Some(update) if update.has_state() => Some(self.state.unwrap_or(&zeros)),
            _ => None,
        };
        let reals = [
            self.bias,
            self.sample_weight,
            self.class_weight,
            state,
            self.grad_loss,
        ];
        let mut buffers = Vec::new();
        for values in reals {
            buffers.push(gpu.put(values.unwrap_or(&[]))?);
        }
        let real =
            |i: usize| reals[i].map(|values| Tensor::vector(&buffers[i], DType::F32, values.len()));
        let weight_tensor = Tensor::matrix(&weights, self.weights.dtype(), cols, dims);
        let inputs = LinearInputs {
            bias: real(0),
            targets: targets.as_ref().map(|targets| targets.tensors(rows, cols)),
            class_mask: self
                .class_mask
                .map(|_| Tensor::vector(&class_mask, DType::U8, cols)),
            sample_weight: real(1),
            class_weight: real(2),
            state: real(3),
            grad_loss: real(4),
            ..LinearInputs::new(
                Tensor::matrix(&hidden, self.hidden.dtype(), rows, dims),
                weight_tensor,
            )
        };
        let losses = match layer.loss.reduction() {
            _ if !learns => 0,
            Reduction::None => rows,
            _ => 1,
        };
        let to_weights = gradients && update.is_none();
        let to_bias = gradients && self.bias.is_some();
        let lens = [
            losses,
            if gradients { rows * dims } else { 0 },
            if to_weights { cols * dims } else { 0 },
            if to_bias { cols } else { 0 },
            rows * top,
            rows * top,
        ];
        let mut results = Vec::new();
        for len in lens {
            results.push(gpu.numbers(len)?);
        }
        let real_of = |i: usize, rows, cols| Tensor::matrix(&results[i], DType::F32, rows, cols);
        let outputs = LinearOutputs {
            loss: learns.then(|| real_of(0, 1, losses)),
            grad_hidden: gradients.then(|| real_of(1, rows, dims).into()),
            grad_weights: to_weights.then(|| real_of(2, cols, dims).into()),
            grad_bias: to_bias.then(|| real_of(3, 1, cols).into()),
            top_labels: (top > 0).then(|| Tensor::matrix(&results[4], DType::U32, rows, top)),
            top_scores: (top > 0).then(|| real_of(5, rows, top)),
        };
        let layer = Linear { update, ..*layer };
        let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
        let mut reads: Vec<_> = results.iter().zip(lens).collect();
        reads.push((&buffers[3], state.map_or(0, <[f32]>::len)));
        // Two weights of 16 bits are a word.
        let stored = if update.is_some() { cols * dims } else { 0 };
        let dtype = self.weights.dtype();
        let words = (stored * dtype.size() as usize).div_ceil(4);
        reads.push((&weights, words));
        Ok(Answer::coming(
            gpu.send_call(&call, &reads)?,
            move |mut read| {
                Ok(LinearResult {
                    loss: read.next(),
                    grad_hidden: read.next(),
                    grad_weights: read.next(),
                    grad_bias: read.next(),
                    top_labels: read.next(),
                    top_scores: read.next(),
                    state: read.next(),
                    weights: match dtype {
                        DType::F16 => {
                            let all = read.next::<f16>().into_iter();
                            all.take(stored).map(f32::from).collect()
                        }
                        DType::Bf16 => {
                            let all = read.next::<bf16>().into_iter();
                            all.take(stored).map(f32::from).collect()
                        }
                        _ => read.next(),
                    },
                })
            },
        ))
    }

    fn on_reference(
        &self,
        layer: &Linear<AnyLoss>,
        (wanted, top): (Wanted, usize),
    ) -> Result<LinearResult, Error> {
        let (rows, cols, dims) = (self.rows, self.cols, self.dims);
        let elements = self.hidden.len() + self.weights.len() + rows * cols;
        check_room("hidden", elements.saturating_mul(REFERENCE_BYTES))?;
        let targets = match self.targets {
            Some(Targets::Bits(words)) => reference::dense_from_bits(rows, cols, words)?,
            Some(Targets::Sparse { offsets, indices }) => {
                let (offsets, indices) = counted_lists(offsets, indices, |row| self.counts(row));
                reference::dense_from_sparse(rows, cols, &offsets, &indices)?
            }
            Some(Targets::Dense(_)) | None => Vec::new(),
        };
        let targets: Vec<f64> = targets.into_iter().map(f64::from).collect();
        let set = |flags: &[u8]| -> Vec<bool> { flags.iter().map(|flag| *flag != 0).collect() };
        let (hidden, weights) = (self.hidden.to_f64(), self.weights.to_f64());
        let bias = self.bias.map(wide);
        let class_mask = self.class_mask.map(set);
        let sample_weight = self.sample_weight.map(wide);
        let class_weight = self.class_weight.map(wide);
        let state = self.state.map(wide);
        let grad_loss = self.grad_loss.map(wide);
        let inputs = reference::LinearInputs {
            rows,
            cols,
            dims,
            hidden: &hidden,
            weights: &weights,
            bias: bias.as_deref(),
            targets: &targets,
            class_mask: class_mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
            class_weight: class_weight.as_deref(),
            state: state.as_deref(),
            grad_loss: grad_loss.as_deref(),
        };
        let mut result = LinearResult::default();
        if top > 0 {
            let (labels, scores) = reference::top(&inputs, top)?;
            (result.top_labels, result.top_scores) = (labels, narrow(scores));
        }
        if self.targets.is_none() {
            return Ok(result);
        }
        let out = layer.reference(&inputs)?;
        result.loss = narrow(out.loss);
        if wanted == Wanted::Loss {
            return Ok(result);
        }
        result.grad_hidden = narrow(out.grad_hidden);
        if self.bias.is_some() {
            result.grad_bias = narrow(out.grad_bias);
        }
        if layer.update.is_none() {
            result.grad_weights = narrow(out.grad_weights);
            return Ok(result);
        }
        let by_chance = |(i, value): (usize, f32)| {
            let (label, d) = ((i / dims) as u32, (i % dims) as u32);
            match self.weights {
                Values::F32(_) => value,
                Values::F16(_) => reference::f16_by_chance(value, layer.seed, label, d).to_f32(),
                Values::Bf16(_) => reference::bf16_by_chance(value, layer.seed, label, d).to_f32(),
            }
        };
        let after = narrow(out.weights).into_iter().enumerate();
        result.weights = after.map(by_chance).collect();
        result.state = narrow(out.state);
        Ok(result)
    }
}

impl Engine {
    /// Computes a last layer with its loss, where there are targets, and the gradients that are wanted, or what an update
    /// makes of the weights; and as many labels of the greatest logits of each sample as `top` says.
    ///
    /// # Errors
    /// Wrong lengths or values, a loss that is none of rows of hard labels, device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn linear(
        &self,
        layer: &Linear<AnyLoss>,
        rows: &LinearRows<'_>,
        wanted: Wanted,
        top: usize,
    ) -> Result<LinearResult, Error> {
        self.begin_linear(layer, rows, wanted, top)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn linear_async(
        &self,
        layer: &Linear<AnyLoss>,
        rows: &LinearRows<'_>,
        wanted: Wanted,
        top: usize,
    ) -> Result<LinearResult, Error> {
        let begun = self.begin_linear(layer, rows, wanted, top)?;
        begun.done().await
    }

    fn begin_linear(
        &self,
        layer: &Linear<AnyLoss>,
        rows: &LinearRows<'_>,
        wanted: Wanted,
        top: usize,
    ) -> Result<Answer<LinearResult>, Error> {
        rows.check(layer, top)?;
        match self.gpu() {
            Some(gpu) => rows.on_gpu(gpu, layer, (wanted, top)),
            None => rows.on_reference(layer, (wanted, top)).map(Answer::Here),
        }
    }
}
