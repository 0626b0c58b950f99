//! What the contrastive losses read and write on the device, and the checks of it.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::params::RELATION_KINDS;
use crate::kernels::contrastive::{plan, relations};
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
        let per_anchor = self.reduction == ContrastiveReduction::None;
        let mut tensors = Inspection::default();
        inputs.inspect(per_anchor, &mut tensors)?;
        if self.weighting == Weighting::Paired && inputs.self_index.is_none() {
            return Err(Error::value("self_index", "each anchor's pair", "none"));
        }
        outputs.inspect(per_anchor, inputs, &mut tensors)?;
        tensors.finish()?;
        prepared::build(cx, plan::plan(cx.target(), self, inputs, outputs)?)
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

    /// Checks them as those of `rows` rows.
    fn inspect(&self, keys: bool, rows: usize, tensors: &mut Inspection<'a>) -> Result<(), Error> {
        let [name, second] = self.names(keys);
        match *self {
            LabelSets::Dense(t) => {
                tensors.reads(name, t, &[DType::U8], Shape::Matrix(rows, t.cols()))
            }
            LabelSets::Bits(t) => {
                tensors.reads(name, t, &[DType::U32], Shape::Matrix(rows, t.cols()))
            }
            LabelSets::Sparse {
                offsets, indices, ..
            } => {
                let behind = Shape::Vector(rows.saturating_add(1));
                tensors.reads(name, offsets, &[DType::U32], behind)?;
                let all = Shape::Vector(indices.cols());
                tensors.reads(second, indices, &[DType::U32], all)
            }
        }
    }
}

/// Checks that anchors and keys have sets of the same width.
fn check_widths(anchors: &LabelSets<'_>, keys: &LabelSets<'_>) -> Result<(), Error> {
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

    fn inspect(&self, per_anchor: bool, tensors: &mut Inspection<'a>) -> Result<(), Error> {
        let (rows, dims) = (self.embeddings.rows(), self.embeddings.cols());
        let shape = Shape::Matrix(rows, dims);
        tensors.reads("embeddings", self.embeddings, FLOATS, shape)?;
        self.labels.inspect(false, rows, tensors)?;
        if let Some(keys) = &self.keys {
            let key_rows = keys.embeddings.rows();
            let shape = Shape::Matrix(key_rows, dims);
            tensors.reads("keys", keys.embeddings, FLOATS, shape)?;
            keys.labels.inspect(true, key_rows, tensors)?;
            check_widths(&self.labels, &keys.labels)?;
        }
        inspect_index(self.self_index, self.keys.is_some(), rows, tensors)?;
        tensors.grad_loss(self.grad_loss, per_anchor.then_some(rows))
    }
}

/// Checks which key each anchor is.
fn inspect_index<'a>(
    index: Option<Tensor<'a>>,
    has_keys: bool,
    rows: usize,
    tensors: &mut Inspection<'a>,
) -> Result<(), Error> {
    if index.is_some() && !has_keys {
        return Err(Error::value("self_index", "keys beside it", "none"));
    }
    tensors.reads("self_index", index, &[DType::U32], Shape::Vector(rows))
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
    fn inspect(
        &self,
        per_anchor: bool,
        inputs: &ContrastiveInputs<'a>,
        tensors: &mut Inspection<'a>,
    ) -> Result<(), Error> {
        let (rows, dims) = (inputs.embeddings.rows(), inputs.embeddings.cols());
        let loss_len = if per_anchor { rows } else { 1 };
        for (name, tensor, shape) in [
            ("loss", self.loss, Shape::Vector(loss_len)),
            ("loss_rows", self.loss_rows, Shape::Vector(rows)),
            (
                "grad_embeddings",
                self.grad_embeddings,
                Shape::Matrix(rows, dims),
            ),
            ("grad_temperature", self.grad_temperature, Shape::Vector(1)),
        ] {
            tensors.writes(name, tensor, &[DType::F32], shape)?;
        }
        if let Some(t) = self.grad_keys {
            let Some(keys) = &inputs.keys else {
                return Err(Error::value("grad_keys", "keys of their own", "none"));
            };
            let shape = Shape::Matrix(keys.embeddings.rows(), dims);
            tensors.writes("grad_keys", t, &[DType::F32], shape)?;
        }
        Ok(())
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
        let rows = inputs.rows;
        let mut tensors = Inspection::default();
        inputs.labels.inspect(false, rows, &mut tensors)?;
        if let Some((key_rows, labels)) = &inputs.keys {
            labels.inspect(true, *key_rows, &mut tensors)?;
            check_widths(&inputs.labels, labels)?;
        }
        inspect_index(inputs.self_index, inputs.keys.is_some(), rows, &mut tensors)?;
        let shape = Shape::Matrix(rows, RELATION_KINDS as usize);
        tensors.writes("relations", *counts, &[DType::U32], shape)?;
        tensors.finish()?;
        prepared::build(cx, relations::plan(cx.target(), inputs, counts)?)
    }
}
