//! Contrastive losses over plain slices.

use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::host::Gpu;
use crate::host::rows::{Labels, Values, Wanted, every, length};
use crate::kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, LabelSets, RelationInputs, Relations,
};
use crate::losses::contrastive::{Contrastive, ContrastiveReduction};
use crate::reference;
use std::borrow::Cow;

/// Keys of their own: another view, another encoder, a queue.
#[derive(Clone, Copy, Debug)]
pub struct KeyEmbeddings<'a> {
    /// Keys.
    pub rows: usize,
    /// `rows * dims` values.
    pub embeddings: Values<'a>,
    /// Their label sets, in any form but [`Labels::Values`].
    pub labels: Labels<'a>,
}

/// What a contrastive loss takes, as plain slices, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    /// Anchors.
    pub rows: usize,
    /// Dimensions of an embedding.
    pub dims: usize,
    /// How many labels there are.
    pub labels: usize,
    /// `rows * dims` values.
    pub embeddings: Values<'a>,
    /// The label sets, in any form but [`Labels::Values`].
    pub sets: Labels<'a>,
    /// Absent: the anchors are the keys, and each is left out of its own row.
    pub keys: Option<KeyEmbeddings<'a>>,
    /// With keys: for each anchor the key that is the anchor itself, or -1.
    pub self_index: Option<&'a [i32]>,
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
}

/// Label sets on the device.
struct Sets {
    first: wgpu::Buffer,
    second: wgpu::Buffer,
    form: Form,
    rows: usize,
    labels: usize,
}

enum Form {
    Dense,
    Bits,
    Sparse(usize),
}

impl Sets {
    fn upload(gpu: &Gpu, sets: Labels<'_>, rows: usize, labels: usize) -> Result<Sets, Error> {
        let (first, second, form): (Cow<'_, [u8]>, &[u32], Form) = match sets {
            Labels::Flags(flags) => (flags.into(), &[], Form::Dense),
            Labels::Bits(words) => {
                // Bits behind the last label are no labels.
                let mut words = words.to_vec();
                let per_row = labels.div_ceil(32).max(1);
                let rest = labels % 32;
                for row in words.chunks_mut(per_row).filter(|_| rest > 0) {
                    row[per_row - 1] &= (1 << rest) - 1;
                }
                let bytes: &[u8] = bytemuck::cast_slice(&words);
                (bytes.to_vec().into(), &[], Form::Bits)
            }
            Labels::Sparse { offsets, indices } => {
                let bytes: &[u8] = bytemuck::cast_slice(offsets);
                (bytes.into(), indices, Form::Sparse(indices.len()))
            }
            // Refused before.
            Labels::Values(values) => (values.bytes().into(), &[], Form::Dense),
        };
        Ok(Sets {
            first: gpu.upload(&first)?,
            second: gpu.upload(bytemuck::cast_slice(second))?,
            form,
            rows,
            labels,
        })
    }

    fn view(&self) -> LabelSets<'_> {
        let (rows, labels) = (self.rows, self.labels);
        let words = labels.div_ceil(32);
        match self.form {
            Form::Dense => LabelSets::Dense(Tensor::matrix(&self.first, DType::U8, rows, labels)),
            Form::Bits => LabelSets::Bits(Tensor::matrix(&self.first, DType::U32, rows, words)),
            Form::Sparse(indices) => LabelSets::Sparse {
                offsets: Tensor::vector(&self.first, DType::U32, rows + 1),
                indices: Tensor::vector(&self.second, DType::U32, indices),
                labels,
            },
        }
    }
}

fn check_sets(sets: Labels<'_>, keys: bool, rows: usize, labels: usize) -> Result<(), Error> {
    let name = |plain, key| if keys { key } else { plain };
    let all = rows.saturating_mul(labels);
    match sets {
        Labels::Flags(flags) => {
            let name = name("labels", "key_labels");
            length(name, flags.len(), all)?;
            every(name, flags, labels, "0 or 1", |y| *y <= 1)
        }
        Labels::Bits(words) => {
            let all = rows.saturating_mul(labels.div_ceil(32));
            length(name("label_bits", "key_label_bits"), words.len(), all)
        }
        Labels::Sparse { offsets, indices } => reference::check_csr(rows, labels, offsets, indices)
            .map_err(|error| {
                error.about(match error.subject() {
                    "offsets" => name("label_offsets", "key_label_offsets"),
                    _ => name("label_indices", "key_label_indices"),
                })
            }),
        Labels::Values(_) => Err(Error::new(
            ErrorKind::DType,
            name("labels", "key_labels"),
            "flags, bits or lists",
            "real numbers",
        )),
    }
}

fn dense(sets: Labels<'_>, rows: usize, labels: usize) -> Result<Vec<bool>, Error> {
    match sets {
        Labels::Flags(flags) => Ok(flags.iter().map(|y| *y != 0).collect()),
        Labels::Bits(words) => reference::dense_from_bits(rows, labels, words),
        Labels::Sparse { offsets, indices } => {
            reference::dense_from_csr(rows, labels, offsets, indices)
        }
        Labels::Values(_) => Ok(Vec::new()),
    }
}

impl<'a> Embeddings<'a> {
    /// Embeddings and flags of `labels` labels, nothing optional.
    pub fn new(
        rows: usize,
        dims: usize,
        labels: usize,
        embeddings: Values<'a>,
        sets: Labels<'a>,
    ) -> Self {
        Embeddings {
            rows,
            dims,
            labels,
            embeddings,
            sets,
            keys: None,
            self_index: None,
            grad_loss: None,
        }
    }

    fn check_sets(&self) -> Result<(), Error> {
        check_sets(self.sets, false, self.rows, self.labels)?;
        if let Some(keys) = &self.keys {
            check_sets(keys.labels, true, keys.rows, self.labels)?;
        }
        let Some(index) = self.self_index else {
            return Ok(());
        };
        let Some(keys) = &self.keys else {
            return Err(Error::value("self_index", "keys beside it", "none"));
        };
        length("self_index", index.len(), self.rows)?;
        let expected = format!("-1 or a key below {}", keys.rows);
        let good = |key: &i32| *key == -1 || usize::try_from(*key).is_ok_and(|k| k < keys.rows);
        match index.iter().position(|key| !good(key)) {
            Some(i) => {
                let found = format!("{} at [{i}]", index[i]);
                Err(Error::value("self_index", expected, found))
            }
            None => Ok(()),
        }
    }

    /// Checks lengths, and the values that lie here on the host: flags, indices, offsets.
    pub(super) fn check(&self, reduction: ContrastiveReduction) -> Result<(), Error> {
        let values = |rows: usize| rows.saturating_mul(self.dims);
        length("embeddings", self.embeddings.len(), values(self.rows))?;
        if let Some(keys) = &self.keys {
            length("keys", keys.embeddings.len(), values(keys.rows))?;
        }
        self.check_sets()?;
        match self.grad_loss {
            Some(grad) if reduction != ContrastiveReduction::None || grad.len() != self.rows => {
                length("grad_loss", grad.len(), 1)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn index_bytes(&self) -> &'a [u8] {
        // -1 is the largest u32.
        bytemuck::cast_slice(self.self_index.unwrap_or(&[]))
    }

    pub(super) fn on_gpu(
        &self,
        gpu: &Gpu,
        loss: &Contrastive,
        wanted: Wanted,
    ) -> Result<ContrastiveResult, Error> {
        let (n, dims) = (self.rows, self.dims);
        let embeddings = gpu.upload(self.embeddings.bytes())?;
        let sets = Sets::upload(gpu, self.sets, n, self.labels)?;
        let keys = match &self.keys {
            Some(keys) => Some((
                gpu.upload(keys.embeddings.bytes())?,
                Sets::upload(gpu, keys.labels, keys.rows, self.labels)?,
                keys,
            )),
            None => None,
        };
        let index = gpu.upload(self.index_bytes())?;
        let upstream = gpu.upload(bytemuck::cast_slice(self.grad_loss.unwrap_or(&[])))?;
        let inputs = ContrastiveInputs {
            embeddings: Tensor::matrix(&embeddings, self.embeddings.dtype(), n, dims),
            labels: sets.view(),
            keys: keys.as_ref().map(|(buffer, sets, keys)| Keys {
                embeddings: Tensor::matrix(buffer, keys.embeddings.dtype(), keys.rows, dims),
                labels: sets.view(),
            }),
            self_index: self
                .self_index
                .map(|_| Tensor::vector(&index, DType::U32, n)),
            grad_loss: self
                .grad_loss
                .map(|grad| Tensor::vector(&upstream, DType::F32, grad.len())),
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
        ];
        let mut buffers = Vec::new();
        for len in lens {
            buffers.push(gpu.zeros(4 * len as u64)?);
        }
        let outputs = ContrastiveOutputs {
            loss: Some(Tensor::vector(&buffers[0], DType::F32, loss_len)),
            loss_rows: gradients.then(|| Tensor::vector(&buffers[1], DType::F32, n)),
            grad_embeddings: gradients.then(|| Tensor::matrix(&buffers[2], DType::F32, n, dims)),
            grad_keys: (gradients && self.keys.is_some())
                .then(|| Tensor::matrix(&buffers[3], DType::F32, m, dims)),
            grad_temperature: gradients.then(|| Tensor::vector(&buffers[4], DType::F32, 1)),
        };
        gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
        let read = |i: usize| -> Result<Vec<f32>, Error> {
            let bytes = gpu.download(&buffers[i], 4 * lens[i] as u64)?;
            Ok(bytemuck::pod_collect_to_vec(&bytes))
        };
        Ok(ContrastiveResult {
            loss: read(0)?,
            loss_rows: read(1)?,
            grad_embeddings: read(2)?,
            grad_keys: read(3)?,
            grad_temperature: read(4)?,
        })
    }

    /// Computes on the reference with these settings.
    fn with_reference<R>(
        &self,
        work: impl FnOnce(&reference::ContrastiveInputs<'_, f64>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let sets = dense(self.sets, self.rows, self.labels)?;
        let (keys, key_sets) = match &self.keys {
            Some(keys) => (
                keys.embeddings.to_f64(),
                dense(keys.labels, keys.rows, self.labels)?,
            ),
            None => (Vec::new(), Vec::new()),
        };
        let index: Option<Vec<Option<usize>>> = self
            .self_index
            .map(|index| index.iter().map(|key| usize::try_from(*key).ok()).collect());
        let grad: Option<Vec<f64>> = self
            .grad_loss
            .map(|grad| grad.iter().map(|g| f64::from(*g)).collect());
        work(&reference::ContrastiveInputs {
            rows: self.rows,
            dims: self.dims,
            labels: self.labels,
            embeddings: &self.embeddings.to_f64(),
            sets: &sets,
            keys: self.keys.map(|k| reference::ContrastiveKeys {
                rows: k.rows,
                embeddings: &keys,
                sets: &key_sets,
            }),
            self_index: index.as_deref(),
            grad_loss: grad.as_deref(),
        })
    }

    pub(super) fn on_reference(
        &self,
        loss: &Contrastive,
        wanted: Wanted,
    ) -> Result<ContrastiveResult, Error> {
        let out = self.with_reference(|inputs| reference::contrastive(loss, inputs))?;
        let narrow = |v: Vec<f64>| -> Vec<f32> { v.into_iter().map(|x| x as f32).collect() };
        let mut result = ContrastiveResult {
            loss: narrow(out.loss),
            ..ContrastiveResult::default()
        };
        if wanted == Wanted::Gradients {
            result.loss_rows = narrow(out.loss_rows);
            result.grad_embeddings = narrow(out.grad_embeddings);
            result.grad_keys = narrow(out.grad_keys);
            result.grad_temperature = narrow(out.grad_temperature);
        }
        Ok(result)
    }

    /// `rows * 5` counts of the relations of label sets; embeddings are not looked at.
    pub(super) fn relations(&self, gpu: Option<&Gpu>) -> Result<Vec<u32>, Error> {
        self.check_sets()?;
        let Some(gpu) = gpu else {
            return self.with_reference(reference::relations);
        };
        let n = self.rows;
        let sets = Sets::upload(gpu, self.sets, n, self.labels)?;
        let keys = match &self.keys {
            Some(keys) => Some(Sets::upload(gpu, keys.labels, keys.rows, self.labels)?),
            None => None,
        };
        let index = gpu.upload(self.index_bytes())?;
        let counts = gpu.zeros(20 * n as u64)?;
        let inputs = RelationInputs {
            rows: n,
            labels: sets.view(),
            keys: keys.as_ref().map(|keys| (keys.rows, keys.view())),
            self_index: self
                .self_index
                .map(|_| Tensor::vector(&index, DType::U32, n)),
        };
        let output = Tensor::matrix(&counts, DType::U32, n, 5);
        gpu.run(&[&Relations.prepare(gpu.context(), &inputs, &output)?])?;
        let bytes = gpu.download(&counts, 20 * n as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}
