//! Contrastive losses over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, check_len};
use crate::host::engine::Engine;
use crate::host::gpu::{Answer, Gpu};
use crate::host::targets::{check_lists, counted_lists};
use crate::host::values::{
    REFERENCE_BYTES, Values, Wanted, check_each, check_room, check_upstream, narrow, wide,
};
use crate::kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, RelationInputs, RelationOutputs, Relations,
};
use crate::kernels::gradient::Gradient;
use crate::losses::contrastive::{Contrastive, ContrastiveReduction, KEY_MASK_ALONE};
use crate::losses::labels::{TargetNames, Targets};
use crate::reference;
use std::borrow::Cow;

/// Label sets as plain slices: flags, 0 or 1; bits, of which those behind the last label do not count; or lists.
pub type LabelSets<'a> = Targets<&'a [u8], &'a [u32]>;

/// Keys of their own: another view, another encoder, a queue.
#[derive(Clone, Copy, Debug)]
pub struct KeyEmbeddings<'a> {
    /// Keys.
    pub rows: usize,
    /// `rows * dims` values.
    pub embeddings: Values<'a>,
    /// Their label sets, in any form.
    pub labels: LabelSets<'a>,
}

/// What a contrastive loss takes, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    /// Anchors.
    pub rows: usize,
    /// Dimensions of an embedding.
    pub dims: usize,
    /// How many labels there are.
    pub classes: usize,
    /// `rows * dims` values.
    pub embeddings: Values<'a>,
    /// The label sets, in any form.
    pub labels: LabelSets<'a>,
    /// Absent: the anchors are the keys, and each is left out of its own row.
    pub keys: Option<KeyEmbeddings<'a>>,
    /// With keys: for each anchor the key that is the anchor itself, or -1.
    pub self_index: Option<&'a [i32]>,
    /// `rows` flags, 0 where a sample is left out, whatever it holds: as an anchor, and as a key where the anchors are the
    /// keys.
    pub row_mask: Option<&'a [u8]>,
    /// A flag for each key, 0 where it is left out; needs keys.
    pub key_mask: Option<&'a [u8]>,
    /// Bits of each anchor's positives among the keys, `ceil(keys / 32)` words an anchor; of
    /// [`Weighting::Given`](crate::losses::contrastive::Weighting::Given).
    pub positives: Option<&'a [u32]>,
    /// Likewise: bits of the keys that an anchor sees.
    pub pair_mask: Option<&'a [u32]>,
    /// A weight for each label, finite and not negative; of MulSupCon alone.
    pub label_weight: Option<&'a [f32]>,
    /// Upstream gradient: one, or without a reduction `rows`.
    pub grad_loss: Option<&'a [f32]>,
}

/// What came out. What was not wanted, or does not exist, is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContrastiveResult {
    /// One, or without a reduction `rows`.
    pub loss: Vec<f32>,
    /// `rows`: each anchor's own loss, 0 where it is inactive.
    pub loss_rows: Vec<f32>,
    /// `rows * dims`.
    pub grad_embeddings: Vec<f32>,
    /// `keys * dims`, where there are keys.
    pub grad_keys: Vec<f32>,
    /// One.
    pub grad_temperature: Vec<f32>,
    /// One, where the loss has a bias.
    pub grad_bias: Vec<f32>,
}

/// Label sets on the device.
struct Sets {
    buffers: Targets<wgpu::Buffer>,
    rows: usize,
    classes: usize,
    /// How many entries lists have.
    entries: usize,
}

impl Sets {
    fn upload(gpu: &Gpu, sets: LabelSets<'_>, rows: usize, classes: usize) -> Result<Sets, Error> {
        let (buffers, entries) = match sets {
            Targets::Dense(flags) => (Targets::Dense(gpu.upload(flags)?), 0),
            Targets::Bits(words) => {
                // Bits behind the last label are no labels.
                let mut words = Cow::Borrowed(words);
                let per_row = classes.div_ceil(32).max(1);
                let rest = classes % 32;
                if rest > 0 {
                    for row in words.to_mut().chunks_mut(per_row) {
                        row[per_row - 1] &= (1 << rest) - 1;
                    }
                }
                (Targets::Bits(gpu.put(&words)?), 0)
            }
            Targets::Sparse { offsets, indices } => {
                let buffers = Targets::Sparse {
                    offsets: gpu.put(offsets)?,
                    indices: gpu.put(indices)?,
                };
                (buffers, indices.len())
            }
        };
        Ok(Sets {
            buffers,
            rows,
            classes,
            entries,
        })
    }

    fn view(&self) -> Targets<Tensor<'_>> {
        let (rows, classes) = (self.rows, self.classes);
        match &self.buffers {
            Targets::Dense(flags) => {
                Targets::Dense(Tensor::matrix(flags, DType::U8, rows, classes))
            }
            Targets::Bits(words) => Targets::Bits(Tensor::matrix(
                words,
                DType::U32,
                rows,
                classes.div_ceil(32),
            )),
            Targets::Sparse { offsets, indices } => Targets::Sparse {
                offsets: Tensor::vector(offsets, DType::U32, rows + 1),
                indices: Tensor::vector(indices, DType::U32, self.entries),
            },
        }
    }
}

/// Whether a mask, if there is one, leaves a row in.
fn has(mask: Option<&[u8]>, row: usize) -> bool {
    mask.is_none_or(|mask| mask[row] != 0)
}

/// Checks label sets, but for the labels of rows that a mask leaves out.
fn check_sets(
    sets: LabelSets<'_>,
    names: TargetNames,
    (rows, classes): (usize, usize),
    mask: Option<&[u8]>,
) -> Result<(), Error> {
    match sets {
        Targets::Dense(flags) => {
            check_len(names.dense, rows.saturating_mul(classes), flags.len())?;
            let sets = flags.chunks(classes.max(1)).enumerate();
            for (row, set) in sets.filter(|(row, _)| has(mask, *row)) {
                if let Some(label) = set.iter().position(|y| *y > 1) {
                    let found = format!("{} at [{row}, {label}]", set[label]);
                    return Err(Error::value(names.dense, "0 or 1", found));
                }
            }
            Ok(())
        }
        Targets::Bits(words) => {
            let all = rows.saturating_mul(classes.div_ceil(32));
            check_len(names.bits, all, words.len())
        }
        Targets::Sparse { offsets, indices } => {
            let shape = (rows, classes);
            check_lists(names, shape, offsets, indices, |row| has(mask, row))
        }
    }
}

fn dense(
    sets: LabelSets<'_>,
    rows: usize,
    classes: usize,
    mask: Option<&[u8]>,
) -> Result<Vec<bool>, Error> {
    // Of lists there may be far more flags than indices.
    check_room("labels", rows.saturating_mul(classes))?;
    match sets {
        Targets::Dense(flags) => Ok(flags.iter().map(|y| *y != 0).collect()),
        Targets::Bits(words) => reference::dense_from_bits(rows, classes, words),
        Targets::Sparse { offsets, indices } => {
            let (offsets, indices) = counted_lists(offsets, indices, |row| has(mask, row));
            reference::dense_from_sparse(rows, classes, &offsets, &indices)
        }
    }
}

impl<'a> Embeddings<'a> {
    /// Embeddings with sets of `classes` labels, nothing optional.
    pub fn new(
        rows: usize,
        dims: usize,
        classes: usize,
        embeddings: Values<'a>,
        labels: LabelSets<'a>,
    ) -> Self {
        Embeddings {
            rows,
            dims,
            classes,
            embeddings,
            labels,
            keys: None,
            self_index: None,
            row_mask: None,
            key_mask: None,
            positives: None,
            pair_mask: None,
            label_weight: None,
            grad_loss: None,
        }
    }

    fn check_masks(&self) -> Result<(), Error> {
        if self.key_mask.is_some() && self.keys.is_none() {
            return Err(Error::refused("key_mask", KEY_MASK_ALONE));
        }
        let keys = self.keys.map_or(0, |keys| keys.rows);
        for (name, rows, mask) in [
            ("row_mask", self.rows, self.row_mask),
            ("key_mask", keys, self.key_mask),
        ] {
            if let Some(mask) = mask {
                check_len(name, rows, mask.len())?;
            }
        }
        Ok(())
    }

    fn check_sets(&self) -> Result<(), Error> {
        // Rows without dimensions or labels have no values that would bound them.
        let rows = [
            ("embeddings", self.rows),
            ("keys", self.keys.map_or(0, |keys| keys.rows)),
        ];
        for (name, rows) in rows {
            if u32::try_from(rows).is_err() {
                return Err(Error::shape(name, "fewer than 2^32 rows", rows));
            }
        }
        self.check_masks()?;
        let (names, shape) = (TargetNames::LABELS, (self.rows, self.classes));
        check_sets(self.labels, names, shape, self.row_mask)?;
        if let Some(keys) = &self.keys {
            let (names, shape) = (TargetNames::KEY_LABELS, (keys.rows, self.classes));
            check_sets(keys.labels, names, shape, self.key_mask)?;
        }
        let Some(index) = self.self_index else {
            return Ok(());
        };
        let Some(keys) = &self.keys else {
            return Err(Error::refused("self_index", "needs keys"));
        };
        check_len("self_index", self.rows, index.len())?;
        let expected = format!("-1 or a key below {}", keys.rows);
        let good = |key: &i32| *key == -1 || usize::try_from(*key).is_ok_and(|k| k < keys.rows);
        let mut keys = index.iter().enumerate();
        match keys.find(|(i, key)| has(self.row_mask, *i) && !good(key)) {
            Some((i, key)) => {
                let found = format!("{key} at [{i}]");
                Err(Error::value("self_index", expected, found))
            }
            None => Ok(()),
        }
    }

    /// Checks lengths, and the values that lie here on the host: flags, indices, offsets.
    fn check(&self, loss: &Contrastive) -> Result<(), Error> {
        let values = |rows: usize| rows.saturating_mul(self.dims);
        check_len("embeddings", values(self.rows), self.embeddings.len())?;
        if let Some(keys) = &self.keys {
            check_len("keys", values(keys.rows), keys.embeddings.len())?;
        }
        self.check_sets()?;
        loss.check_pairs(self.self_index.is_some())?;
        loss.check_label_weight(self.label_weight.is_some())?;
        loss.check_given(self.positives.is_some(), self.pair_mask.is_some())?;
        let words = self.keys().div_ceil(32);
        for (name, bits) in [("positives", self.positives), ("pair_mask", self.pair_mask)] {
            if let Some(bits) = bits {
                check_len(name, self.rows.saturating_mul(words), bits.len())?;
            }
        }
        if let Some(weights) = self.label_weight {
            let (name, expected) = ("label_weight", "finite weights, not negative");
            check_len(name, self.classes, weights.len())?;
            check_each(name, weights, self.classes, expected, |w| {
                w.is_finite() && *w >= 0.0
            })?;
        }
        let each = loss.reduction == ContrastiveReduction::None;
        check_upstream(self.grad_loss, each.then_some(self.rows))
    }

    /// The result of an empty batch, however many labels or dimensions nothing has.
    fn of_nothing(&self, loss: &Contrastive, wanted: Wanted) -> ContrastiveResult {
        let gradients = wanted == Wanted::Gradients;
        let zeros = |len: usize| vec![0.0; if gradients { len } else { 0 }];
        ContrastiveResult {
            loss: match loss.reduction {
                ContrastiveReduction::None => Vec::new(),
                _ => vec![0.0],
            },
            grad_keys: zeros(self.keys.map_or(0, |keys| keys.embeddings.len())),
            grad_temperature: zeros(1),
            grad_bias: zeros(loss.has_bias().into()),
            ..ContrastiveResult::default()
        }
    }

    /// How many keys there are.
    fn keys(&self) -> usize {
        self.keys.map_or(self.rows, |keys| keys.rows)
    }

    fn index_bytes(&self) -> &'a [u8] {
        // -1 is the largest u32.
        bytemuck::cast_slice(self.self_index.unwrap_or(&[]))
    }

    fn on_gpu(
        &self,
        gpu: &Gpu,
        loss: &Contrastive,
        wanted: Wanted,
    ) -> Result<Answer<ContrastiveResult>, Error> {
        let (n, dims) = (self.rows, self.dims);
        let embeddings = gpu.upload(self.embeddings.bytes())?;
        let sets = Sets::upload(gpu, self.labels, n, self.classes)?;
        let keys = match &self.keys {
            Some(keys) => Some((
                gpu.upload(keys.embeddings.bytes())?,
                Sets::upload(gpu, keys.labels, keys.rows, self.classes)?,
                keys,
            )),
            None => None,
        };
        let index = gpu.upload(self.index_bytes())?;
        let row_mask = gpu.upload(self.row_mask.unwrap_or(&[]))?;
        let key_mask = gpu.upload(self.key_mask.unwrap_or(&[]))?;
        let positives = gpu.put(self.positives.unwrap_or(&[]))?;
        let pair_mask = gpu.put(self.pair_mask.unwrap_or(&[]))?;
        let pairs = |bits| Tensor::matrix(bits, DType::U32, n, self.keys().div_ceil(32));
        let label_weight = gpu.put(self.label_weight.unwrap_or(&[]))?;
        let upstream = gpu.put(self.grad_loss.unwrap_or(&[]))?;
        let inputs = ContrastiveInputs {
            embeddings: Tensor::matrix(&embeddings, self.embeddings.dtype(), n, dims),
            classes: self.classes,
            labels: sets.view(),
            keys: keys.as_ref().map(|(buffer, sets, keys)| Keys {
                embeddings: Tensor::matrix(buffer, keys.embeddings.dtype(), keys.rows, dims),
                labels: sets.view(),
            }),
            self_index: self
                .self_index
                .map(|_| Tensor::vector(&index, DType::U32, n)),
            self_offset: None,
            row_mask: self
                .row_mask
                .map(|mask| Tensor::vector(&row_mask, DType::U8, mask.len())),
            key_mask: self
                .key_mask
                .map(|mask| Tensor::vector(&key_mask, DType::U8, mask.len())),
            positives: self.positives.map(|_| pairs(&positives)),
            pair_mask: self.pair_mask.map(|_| pairs(&pair_mask)),
            label_weight: self
                .label_weight
                .map(|weights| Tensor::vector(&label_weight, DType::F32, weights.len())),
            label_counts: None,
            grad_loss: self
                .grad_loss
                .map(|grad| Tensor::vector(&upstream, DType::F32, grad.len())),
            settings: &[],
        };
        let gradients = wanted == Wanted::Gradients;
        let loss_len = match loss.reduction {
            ContrastiveReduction::None => n,
            _ => 1,
        };
        let m = self.keys.map_or(0, |keys| keys.rows);
        let if_wanted = |len: usize| if gradients { len } else { 0 };
        let lens = [
            loss_len,
            if_wanted(n),
            if_wanted(n * dims),
            if_wanted(m * dims),
            if_wanted(1),
            if_wanted(loss.has_bias().into()),
        ];
        let mut buffers = Vec::new();
        for len in lens {
            buffers.push(gpu.numbers(len)?);
        }
        let matrix = |i: usize, rows, cols| {
            let tensor = Tensor::matrix(&buffers[i], DType::F32, rows, cols);
            Gradient::To(tensor)
        };
        let outputs = ContrastiveOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, loss_len)),
            loss_rows: gradients.then(|| Tensor::vector(&buffers[1], DType::F32, n)),
            grad_embeddings: gradients.then(|| matrix(2, n, dims)),
            grad_keys: (gradients && self.keys.is_some()).then(|| matrix(3, m, dims)),
            grad_temperature: gradients.then(|| matrix(4, 1, 1)),
            grad_bias: (gradients && loss.has_bias()).then(|| matrix(5, 1, 1)),
            count: None,
        };
        let call = loss.prepare(gpu.context(), &inputs, &outputs)?;
        let reads: Vec<_> = buffers.iter().zip(lens).collect();
        Ok(Answer::coming(gpu.send_call(&call, &reads)?, |mut read| {
            Ok(ContrastiveResult {
                loss: read.next(),
                loss_rows: read.next(),
                grad_embeddings: read.next(),
                grad_keys: read.next(),
                grad_temperature: read.next(),
                grad_bias: read.next(),
            })
        }))
    }

    /// Computes on the reference with these settings.
    fn with_reference<R>(
        &self,
        work: impl FnOnce(&reference::ContrastiveInputs<'_, f64>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let labels = dense(self.labels, self.rows, self.classes, self.row_mask)?;
        let (keys, key_labels) = match &self.keys {
            Some(keys) => (
                keys.embeddings.to_f64(),
                dense(keys.labels, keys.rows, self.classes, self.key_mask)?,
            ),
            None => (Vec::new(), Vec::new()),
        };
        let index: Option<Vec<Option<usize>>> = self
            .self_index
            .map(|index| index.iter().map(|key| usize::try_from(*key).ok()).collect());
        let flags = |mask: &[u8]| mask.iter().map(|flag| *flag != 0).collect::<Vec<_>>();
        let (row_mask, key_mask) = (self.row_mask.map(flags), self.key_mask.map(flags));
        let pairs = |bits: Option<&[u32]>| {
            let all = bits.map(|bits| reference::dense_from_bits(self.rows, self.keys(), bits));
            all.transpose()
        };
        let (positives, pair_mask) = (pairs(self.positives)?, pairs(self.pair_mask)?);
        let label_weight = self.label_weight.map(wide);
        let grad = self.grad_loss.map(wide);
        work(&reference::ContrastiveInputs {
            rows: self.rows,
            dims: self.dims,
            classes: self.classes,
            embeddings: &self.embeddings.to_f64(),
            labels: &labels,
            keys: self.keys.map(|k| reference::ContrastiveKeys {
                rows: k.rows,
                embeddings: &keys,
                labels: &key_labels,
            }),
            self_index: index.as_deref(),
            row_mask: row_mask.as_deref(),
            key_mask: key_mask.as_deref(),
            positives: positives.as_deref(),
            pair_mask: pair_mask.as_deref(),
            label_weight: label_weight.as_deref(),
            grad_loss: grad.as_deref(),
        })
    }

    fn on_reference(&self, loss: &Contrastive, wanted: Wanted) -> Result<ContrastiveResult, Error> {
        let elements = self.keys.map_or(0, |keys| keys.embeddings.len());
        let elements = elements.saturating_add(self.embeddings.len());
        check_room("embeddings", elements.saturating_mul(REFERENCE_BYTES))?;
        let out = self.with_reference(|inputs| reference::contrastive(loss, inputs))?;
        let mut result = ContrastiveResult {
            loss: narrow(out.loss),
            ..ContrastiveResult::default()
        };
        if wanted == Wanted::Gradients {
            result.loss_rows = narrow(out.loss_rows);
            result.grad_embeddings = narrow(out.grad_embeddings);
            result.grad_keys = narrow(out.grad_keys);
            result.grad_temperature = narrow(out.grad_temperature);
            result.grad_bias = narrow(out.grad_bias);
        }
        Ok(result)
    }

    /// `rows * 5` counts of the relations of label sets; embeddings are not looked at.
    fn relations(&self, gpu: Option<&Gpu>) -> Result<Answer<Vec<u32>>, Error> {
        self.check_sets()?;
        let Some(gpu) = gpu else {
            return self.with_reference(reference::relations).map(Answer::Here);
        };
        let n = self.rows;
        let sets = Sets::upload(gpu, self.labels, n, self.classes)?;
        let keys = match &self.keys {
            Some(keys) => Some(Sets::upload(gpu, keys.labels, keys.rows, self.classes)?),
            None => None,
        };
        let index = gpu.upload(self.index_bytes())?;
        let counts = gpu.numbers(n.saturating_mul(5))?;
        let inputs = RelationInputs {
            rows: n,
            classes: self.classes,
            labels: sets.view(),
            keys: keys.as_ref().map(|keys| (keys.rows, keys.view())),
            self_index: self
                .self_index
                .map(|_| Tensor::vector(&index, DType::U32, n)),
        };
        let outputs = RelationOutputs {
            relations: Tensor::matrix(&counts, DType::U32, n, 5),
        };
        let call = Relations.prepare(gpu.context(), &inputs, &outputs)?;
        let sent = gpu.send_call(&call, &[(&counts, n.saturating_mul(5))])?;
        Ok(Answer::coming(sent, |mut read| Ok(read.next())))
    }
}

impl Engine {
    /// Computes a contrastive loss: the result, and the gradients that are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values (indices out of range, ...), device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn contrastive(
        &self,
        loss: &Contrastive,
        rows: &Embeddings<'_>,
        wanted: Wanted,
    ) -> Result<ContrastiveResult, Error> {
        self.begin_contrastive(loss, rows, wanted)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn contrastive_async(
        &self,
        loss: &Contrastive,
        rows: &Embeddings<'_>,
        wanted: Wanted,
    ) -> Result<ContrastiveResult, Error> {
        let begun = self.begin_contrastive(loss, rows, wanted)?;
        begun.done().await
    }

    fn begin_contrastive(
        &self,
        loss: &Contrastive,
        rows: &Embeddings<'_>,
        wanted: Wanted,
    ) -> Result<Answer<ContrastiveResult>, Error> {
        loss.check()?;
        rows.check(loss)?;
        if rows.rows == 0 {
            return Ok(Answer::Here(rows.of_nothing(loss, wanted)));
        }
        match self.gpu() {
            Some(gpu) => rows.on_gpu(gpu, loss, wanted),
            None => rows.on_reference(loss, wanted).map(Answer::Here),
        }
    }

    /// Counts how often each of the five relations of label sets occurs among each anchor's keys: five numbers an
    /// anchor, in the order of [`Relations`](crate::Relations). The embeddings are not looked at.
    ///
    /// # Errors
    /// Wrong lengths or values, device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn relations(&self, rows: &Embeddings<'_>) -> Result<Vec<u32>, Error> {
        self.begin_relations(rows)?.wait()
    }

    /// The same without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// The same.
    pub async fn relations_async(&self, rows: &Embeddings<'_>) -> Result<Vec<u32>, Error> {
        self.begin_relations(rows)?.done().await
    }

    fn begin_relations(&self, rows: &Embeddings<'_>) -> Result<Answer<Vec<u32>>, Error> {
        for (name, mask) in [("row_mask", rows.row_mask), ("key_mask", rows.key_mask)] {
            if mask.is_some() {
                return Err(Error::refused(name, "relations take no masks"));
            }
        }
        match rows.rows {
            0 => rows.check_sets().map(|()| Answer::Here(Vec::new())),
            _ => rows.relations(self.gpu()),
        }
    }
}
