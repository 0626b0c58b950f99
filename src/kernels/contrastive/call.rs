//! What the contrastive losses read and write on the device, and the checks of it.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::plan;
use crate::kernels::steps::check_apart;
use crate::losses::contrastive::{Contrastive, ContrastiveReduction, Weighting};

impl Contrastive {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        inputs.check(self.reduction)?;
        if self.weighting == Weighting::Paired && inputs.self_index.is_none() {
            return Err(Error::value("self_index", "each anchor's pair", "none"));
        }
        outputs.check(self.reduction, inputs)?;
        plan::build(cx, self, inputs, outputs)
    }
}

/// Label sets of some rows. All forms give equal results for equal sets.
#[derive(Clone, Copy, Debug)]
pub enum LabelSets<'a> {
    /// u8 `[N, L]`, not 0 where the row has the label.
    Dense(Tensor<'a>),
    /// u32 `[N, ceil(L/32)]`: label `l` is bit `l % 32` of word `l / 32`. Bits behind the last label are labels too.
    Bits(Tensor<'a>),
    /// The labels of row `r` are `indices[offsets[r]..offsets[r + 1]]`, in any order, repeats allowed. The values
    /// lie on the device and are not checked: indices beyond the last label are ignored, offsets are kept within
    /// `indices`.
    Sparse {
        /// u32 `[N + 1]`.
        offsets: Tensor<'a>,
        /// u32 `[number of labels of all rows]`.
        indices: Tensor<'a>,
        /// How many labels there are.
        labels: usize,
    },
}

impl<'a> LabelSets<'a> {
    /// Words of a row's set as bits.
    pub(crate) fn words(&self) -> usize {
        match self {
            LabelSets::Dense(t) => t.cols().div_ceil(32),
            LabelSets::Bits(t) => t.cols(),
            LabelSets::Sparse { labels, .. } => labels.div_ceil(32),
        }
    }

    /// What errors call the tensors.
    pub(crate) fn names(&self, keys: bool) -> [&'static str; 2] {
        match (self, keys) {
            (LabelSets::Dense(_), false) => ["labels", ""],
            (LabelSets::Bits(_), false) => ["label_bits", ""],
            (LabelSets::Sparse { .. }, false) => ["label_offsets", "label_indices"],
            (LabelSets::Dense(_), true) => ["key_labels", ""],
            (LabelSets::Bits(_), true) => ["key_label_bits", ""],
            (LabelSets::Sparse { .. }, true) => ["key_label_offsets", "key_label_indices"],
        }
    }

    fn tensors(&self) -> [Option<Tensor<'a>>; 2] {
        match self {
            LabelSets::Dense(t) | LabelSets::Bits(t) => [Some(*t), None],
            LabelSets::Sparse {
                offsets, indices, ..
            } => [Some(*offsets), Some(*indices)],
        }
    }

    fn named(&self, keys: bool) -> impl Iterator<Item = (&'static str, Tensor<'a>)> + use<'a> {
        let all = self.names(keys).into_iter().zip(self.tensors());
        all.filter_map(|(name, tensor)| tensor.map(|t| (name, t)))
    }

    pub(crate) fn check(&self, keys: bool, rows: usize) -> Result<(), Error> {
        let [name, second] = self.names(keys);
        match self {
            LabelSets::Dense(t) => {
                t.check(name, &[DType::U8])?;
                t.check_shape(name, rows, t.cols())
            }
            LabelSets::Bits(t) => {
                t.check(name, &[DType::U32])?;
                t.check_shape(name, rows, t.cols())
            }
            LabelSets::Sparse {
                offsets, indices, ..
            } => {
                offsets.check(name, &[DType::U32])?;
                offsets.check_len(name, rows.saturating_add(1))?;
                indices.check(second, &[DType::U32])?;
                indices.check_len(second, indices.cols())
            }
        }
    }
}

/// Checks that anchors and keys have sets of the same width.
pub(crate) fn check_widths(anchors: &LabelSets<'_>, keys: &LabelSets<'_>) -> Result<(), Error> {
    if anchors.words() == keys.words() {
        return Ok(());
    }
    let width = |words: usize| format!("sets of {words} words of 32 labels");
    Err(Error::shape(
        keys.names(true)[0],
        width(anchors.words()),
        width(keys.words()),
    ))
}

/// Keys of their own: another view, another encoder, a queue.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `[M, D]`, f32, f16 or bf16.
    pub embeddings: Tensor<'a>,
    /// Their label sets, as wide as the anchors'.
    pub labels: LabelSets<'a>,
}

/// What a contrastive loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct ContrastiveInputs<'a> {
    /// `[N, D]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub embeddings: Tensor<'a>,
    /// Their label sets.
    pub labels: LabelSets<'a>,
    /// Absent: the embeddings are the keys, and each is left out of its own row.
    pub keys: Option<Keys<'a>>,
    /// u32 `[N]`: the key that is the anchor itself, and is left out of its row ([`Weighting::Paired`]: its positive).
    /// `u32::MAX` (-1 as i32), and whatever is no key: none.
    pub self_index: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[N]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

impl<'a> ContrastiveInputs<'a> {
    /// Embeddings and labels, nothing optional.
    pub fn new(embeddings: Tensor<'a>, labels: LabelSets<'a>) -> Self {
        ContrastiveInputs {
            embeddings,
            labels,
            keys: None,
            self_index: None,
            grad_loss: None,
        }
    }

    fn check(&self, reduction: ContrastiveReduction) -> Result<(), Error> {
        const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];
        let (rows, dims) = (self.embeddings.rows(), self.embeddings.cols());
        self.embeddings.check("embeddings", FLOATS)?;
        self.labels.check(false, rows)?;
        if let Some(keys) = &self.keys {
            keys.embeddings.check("keys", FLOATS)?;
            keys.embeddings
                .check_shape("keys", keys.embeddings.rows(), dims)?;
            keys.labels.check(true, keys.embeddings.rows())?;
            check_widths(&self.labels, &keys.labels)?;
        }
        if let Some(index) = &self.self_index {
            if self.keys.is_none() {
                return Err(Error::value("self_index", "keys beside it", "none"));
            }
            index.check("self_index", &[DType::U32])?;
            index.check_len("self_index", rows)?;
        }
        if let Some(grad) = &self.grad_loss {
            grad.check("grad_loss", &[DType::F32])?;
            let one = reduction != ContrastiveReduction::None || grad.cols() == 1;
            grad.check_len("grad_loss", if one { 1 } else { rows })?;
        }
        Ok(())
    }

    /// Every tensor by the name that errors give it.
    fn named(&self) -> Vec<(&'static str, Tensor<'a>)> {
        let mut all = vec![("embeddings", self.embeddings)];
        all.extend(self.labels.named(false));
        if let Some(keys) = &self.keys {
            all.extend(keys.labels.named(true));
            all.push(("keys", keys.embeddings));
        }
        all.extend(self.self_index.map(|t| ("self_index", t)));
        all.extend(self.grad_loss.map(|t| ("grad_loss", t)));
        all
    }
}

/// What a contrastive loss writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastiveOutputs<'a> {
    /// f32 `[1]`, or `[N]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[N]`: each anchor's own loss, 0 where it is inactive.
    pub loss_rows: Option<Tensor<'a>>,
    /// f32 `[N, D]`.
    pub grad_embeddings: Option<Tensor<'a>>,
    /// f32 `[M, D]`; needs keys of their own. Leave it out to detach them.
    pub grad_keys: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub grad_temperature: Option<Tensor<'a>>,
}

impl<'a> ContrastiveOutputs<'a> {
    fn check(
        &self,
        reduction: ContrastiveReduction,
        inputs: &ContrastiveInputs<'a>,
    ) -> Result<(), Error> {
        let (rows, dims) = (inputs.embeddings.rows(), inputs.embeddings.cols());
        let f32s = &[DType::F32];
        let loss_len = match reduction {
            ContrastiveReduction::None => rows,
            _ => 1,
        };
        let mut written = Vec::new();
        for (name, tensor, shape) in [
            ("loss", self.loss, (1, loss_len)),
            ("loss_rows", self.loss_rows, (1, rows)),
            ("grad_embeddings", self.grad_embeddings, (rows, dims)),
            ("grad_temperature", self.grad_temperature, (1, 1)),
        ] {
            if let Some(t) = tensor {
                t.check(name, f32s)?;
                match shape {
                    (1, len) if name != "grad_embeddings" => t.check_len(name, len)?,
                    (rows, cols) => t.check_shape(name, rows, cols)?,
                }
                written.push((name, t));
            }
        }
        if let Some(t) = self.grad_keys {
            let Some(keys) = &inputs.keys else {
                return Err(Error::value("grad_keys", "keys of their own", "none"));
            };
            t.check("grad_keys", f32s)?;
            t.check_shape("grad_keys", keys.embeddings.rows(), dims)?;
            written.push(("grad_keys", t));
        }
        if written.is_empty() {
            return Err(Error::value("outputs", "at least one", "none"));
        }
        check_apart(&written, &inputs.named())
    }
}

/// How often each relation of label sets occurs, for each anchor: a kernel of its own, to look at a batch with.
///
/// The five columns, with `S` the anchor's labels and `T` the key's: R1 nothing shared (also where a set is empty), R2
/// equal, R3 shared, but neither contains the other, R4 `T` strictly inside `S`, R5 `S` strictly inside `T`. Their sum is
/// the number of keys less the anchor itself. Scratch: the sets as bits and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relations;

/// What [`Relations`] reads: label sets as [`ContrastiveInputs`] has them.
#[derive(Clone, Copy, Debug)]
pub struct RelationInputs<'a> {
    /// Anchors.
    pub rows: usize,
    /// Their label sets.
    pub labels: LabelSets<'a>,
    /// Keys and their label sets; absent: the anchors are the keys.
    pub keys: Option<(usize, LabelSets<'a>)>,
    /// u32 `[N]`: the key that is the anchor itself, if any.
    pub self_index: Option<Tensor<'a>>,
}

impl Relations {
    /// Checks the call and makes what it needs. `counts` is u32 `[N, 5]`.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`].
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RelationInputs<'_>,
        counts: &Tensor<'_>,
    ) -> Result<Prepared, Error> {
        inputs.labels.check(false, inputs.rows)?;
        let mut read = Vec::new();
        read.extend(inputs.labels.named(false));
        if let Some((rows, labels)) = &inputs.keys {
            labels.check(true, *rows)?;
            check_widths(&inputs.labels, labels)?;
            read.extend(labels.named(true));
        }
        if let Some(index) = &inputs.self_index {
            if inputs.keys.is_none() {
                return Err(Error::value("self_index", "keys beside it", "none"));
            }
            index.check("self_index", &[DType::U32])?;
            index.check_len("self_index", inputs.rows)?;
            read.push(("self_index", *index));
        }
        counts.check("relations", &[DType::U32])?;
        counts.check_shape("relations", inputs.rows, 5)?;
        check_apart(&[("relations", *counts)], &read)?;
        plan::build_relations(cx, inputs, counts)
    }
}
