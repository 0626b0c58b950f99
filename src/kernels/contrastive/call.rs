//! What the contrastive losses read and write on the device, and the checks of it.

use crate::device::inspect::{Inspection, Shape};
use crate::device::live::Setting;
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Gradient};
use crate::kernels::targets::{FLAGS, inspect_targets};
use crate::losses::contrastive::KEY_MASK_ALONE;
use crate::losses::labels::{TargetNames, Targets};

/// From so many labels on, an f32 cannot hold how many two sets share beside two bits of the mask.
const MOST_MASKED: usize = 1 << 22;

/// Keys of their own: another view, another encoder, a queue.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `[M, D]`, f32, f16 or bf16.
    pub embeddings: Tensor<'a>,
    /// Their label sets, in any form.
    pub labels: Targets<Tensor<'a>>,
}

/// What a contrastive loss reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct ContrastiveInputs<'a> {
    /// `[N, D]`, f32, f16 or bf16. Computed and summed in f32 whatever the type.
    pub embeddings: Tensor<'a>,
    /// How many labels there are.
    pub classes: usize,
    /// Their label sets. Dense ones are u8, u32 or the words of i32, not 0 where the row has the label; words are u32.
    /// Bits behind the last label must be 0. Lists are not checked: indices beyond the last label are ignored, offsets are
    /// kept within `indices`.
    pub labels: Targets<Tensor<'a>>,
    /// Absent: the embeddings are the keys, and each is left out of its own row.
    pub keys: Option<Keys<'a>>,
    /// u32 `[N]`: the key that is the anchor itself, and is left out of its row (with
    /// [`Weighting::Paired`](crate::losses::contrastive::Weighting::Paired): its positive). `u32::MAX` (-1 as i32), and
    /// whatever is no key: none.
    pub self_index: Option<Tensor<'a>>,
    /// In place of `self_index`, where anchor `i` is key `self_offset + i`: anchors of one device among the keys of all. The sum
    /// is taken modulo 2^32, and whatever is no key is none: where the keys are some of all, from number `b` on, and the first
    /// anchor is key `a` of all, it is `a.wrapping_sub(b)`.
    pub self_offset: Option<u32>,
    /// u8 `[N]`, 0 where a sample is left out: whatever it holds, it is no anchor, and where the anchors are the keys, no
    /// key either.
    pub row_mask: Option<Tensor<'a>>,
    /// u8 `[M]`, 0 where a key is left out; needs keys.
    pub key_mask: Option<Tensor<'a>>,
    /// u32 `[N, ceil(M/32)]`: bit `a % 32` of word `a / 32` of row `i` is 1 where key `a` is a positive of anchor `i`. Of
    /// [`Weighting::Given`](crate::losses::contrastive::Weighting::Given), which needs it.
    pub positives: Option<Tensor<'a>>,
    /// u32 `[N, ceil(M/32)]`, likewise: 0 where anchor `i` does not see key `a`. Not with MulSupCon, nor with 2^22 labels and
    /// more.
    pub pair_mask: Option<Tensor<'a>>,
    /// f32 `[L]`, finite and not negative: what each label weighs. Of
    /// [`Weighting::MulSupCon`](crate::losses::contrastive::Weighting::MulSupCon) alone.
    pub label_weight: Option<Tensor<'a>>,
    /// u32 `[L]`: how many keys have each label, where these are on several devices, or come in several calls: the sum of what
    /// [`LabelCounts`] counts of each. Of [`Weighting::MulSupCon`](crate::losses::contrastive::Weighting::MulSupCon) alone, which
    /// else counts the keys of the call. A key that is the anchor itself has its labels and its mask here; which one it is
    /// `self_offset` says, wherever that key lies.
    pub label_counts: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[N]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
    /// Settings that lie on the device: `temperature`, which is learnt with
    /// [`grad_temperature`](ContrastiveOutputs::grad_temperature), the `bias` of the sigmoid, learnt with
    /// [`grad_bias`](ContrastiveOutputs::grad_bias), and Jaccard's `threshold`. With a mean, `count`, at least 1: what the mean is
    /// over, where anchors lie on several devices: how many anchors, active ones, or labels there are on all of them.
    pub settings: &'a [Setting<'a>],
}

impl<'a> ContrastiveInputs<'a> {
    /// Embeddings with sets of `classes` labels, nothing optional.
    pub fn new(embeddings: Tensor<'a>, classes: usize, labels: Targets<Tensor<'a>>) -> Self {
        ContrastiveInputs {
            embeddings,
            classes,
            labels,
            keys: None,
            self_index: None,
            self_offset: None,
            row_mask: None,
            key_mask: None,
            positives: None,
            pair_mask: None,
            label_weight: None,
            label_counts: None,
            grad_loss: None,
            settings: &[],
        }
    }

    pub(super) fn inspect(
        &self,
        per_anchor: bool,
        tensors: &mut Inspection<'a>,
    ) -> Result<(), Error> {
        let (rows, dims) = (self.embeddings.rows(), self.embeddings.cols());
        let shape = Shape::Matrix(rows, dims);
        let flags = &[DType::U8];
        let names = TargetNames::LABELS;
        tensors.reads("embeddings", self.embeddings, FLOATS, shape)?;
        inspect_targets(tensors, &self.labels, names, (rows, self.classes), FLAGS)?;
        if let Some(keys) = &self.keys {
            let (names, key_rows) = (TargetNames::KEY_LABELS, keys.embeddings.rows());
            let shape = Shape::Matrix(key_rows, dims);
            tensors.reads("keys", keys.embeddings, FLOATS, shape)?;
            inspect_targets(
                tensors,
                &keys.labels,
                names,
                (key_rows, self.classes),
                FLAGS,
            )?;
        }
        inspect_index(self.self_index, self.keys.is_some(), rows, tensors)?;
        if self.self_offset.is_some() && (self.keys.is_none() || self.self_index.is_some()) {
            let reason = "needs keys, and stands in place of self_index";
            return Err(Error::refused("self_offset", reason));
        }
        tensors.reads("row_mask", self.row_mask, flags, Shape::Vector(rows))?;
        if let Some(mask) = self.key_mask {
            let Some(keys) = &self.keys else {
                return Err(Error::refused("key_mask", KEY_MASK_ALONE));
            };
            let shape = Shape::Vector(keys.embeddings.rows());
            tensors.reads("key_mask", mask, flags, shape)?;
        }
        let others = self.keys.map_or(rows, |keys| keys.embeddings.rows());
        let pairs = Shape::Matrix(rows, others.div_ceil(32));
        tensors.reads("positives", self.positives, &[DType::U32], pairs)?;
        tensors.reads("pair_mask", self.pair_mask, &[DType::U32], pairs)?;
        if self.pair_mask.is_some() && self.classes >= MOST_MASKED {
            let expected = format!("fewer than {MOST_MASKED} beside a pair_mask");
            return Err(Error::shape("labels", expected, self.classes));
        }
        let shape = Shape::Vector(self.classes);
        tensors.reads("label_weight", self.label_weight, &[DType::F32], shape)?;
        tensors.reads("label_counts", self.label_counts, &[DType::U32], shape)?;
        if self.label_counts.is_some() && self.self_index.is_some() {
            let reason = "beside label_counts, self_offset says which key an anchor is";
            return Err(Error::refused("self_index", reason));
        }
        tensors.grad_loss(self.grad_loss, per_anchor.then_some(rows))
    }
}

/// Checks which key each anchor is.
pub(super) fn inspect_index<'a>(
    index: Option<Tensor<'a>>,
    has_keys: bool,
    rows: usize,
    tensors: &mut Inspection<'a>,
) -> Result<(), Error> {
    if index.is_some() && !has_keys {
        return Err(Error::refused("self_index", "needs keys"));
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
    pub grad_embeddings: Option<Gradient<'a>>,
    /// f32 `[M, D]`; needs keys of their own. Leave it out to detach them.
    pub grad_keys: Option<Gradient<'a>>,
    /// f32 `[1]`.
    pub grad_temperature: Option<Gradient<'a>>,
    /// f32 `[1]`; needs [`Denominator::Sigmoid`](crate::Denominator::Sigmoid).
    pub grad_bias: Option<Gradient<'a>>,
    /// f32 `[1]`; needs a mean: how many of these anchors, or of their labels, it is over, whatever the setting `count` says. The
    /// sum of it over several devices is what the setting takes.
    pub count: Option<Tensor<'a>>,
}

impl<'a> ContrastiveOutputs<'a> {
    pub(super) fn inspect(
        &self,
        per_anchor: bool,
        inputs: &ContrastiveInputs<'a>,
        tensors: &mut Inspection<'a>,
    ) -> Result<(), Error> {
        let (rows, dims) = (inputs.embeddings.rows(), inputs.embeddings.cols());
        let loss_len = if per_anchor { rows } else { 1 };
        for (name, tensor, shape) in [
            ("count", self.count, Shape::Vector(1)),
            ("loss", self.loss, Shape::Vector(loss_len)),
            ("loss_rows", self.loss_rows, Shape::Vector(rows)),
        ] {
            tensors.writes(name, tensor, &[DType::F32], shape)?;
        }
        for (name, gradient, shape) in [
            (
                "grad_embeddings",
                self.grad_embeddings,
                Shape::Matrix(rows, dims),
            ),
            ("grad_temperature", self.grad_temperature, Shape::Vector(1)),
            ("grad_bias", self.grad_bias, Shape::Vector(1)),
        ] {
            gradient::inspect(tensors, name, gradient, &[DType::F32], shape)?;
        }
        if self.grad_keys.is_some() {
            let Some(keys) = &inputs.keys else {
                return Err(Error::refused("grad_keys", "needs keys"));
            };
            let shape = Shape::Matrix(keys.embeddings.rows(), dims);
            gradient::inspect(tensors, "grad_keys", self.grad_keys, &[DType::F32], shape)?;
        }
        Ok(())
    }
}

/// How many keys have each label: what [`ContrastiveInputs::label_counts`] is the sum of, over all devices. Scratch: the sets as
/// bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelCounts;

/// What [`LabelCounts`] reads: keys' label sets as [`ContrastiveInputs`] has them.
#[derive(Clone, Copy, Debug)]
pub struct LabelCountInputs<'a> {
    /// Keys.
    pub rows: usize,
    /// How many labels there are.
    pub classes: usize,
    /// Their label sets.
    pub labels: Targets<Tensor<'a>>,
    /// u8 `[rows]`, 0 where a key is left out.
    pub row_mask: Option<Tensor<'a>>,
}

/// What [`LabelCounts`] writes.
#[derive(Clone, Copy, Debug)]
pub struct LabelCountOutputs<'a> {
    /// u32 `[L]`.
    pub counts: Tensor<'a>,
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
    /// How many labels there are.
    pub classes: usize,
    /// The anchors' label sets.
    pub labels: Targets<Tensor<'a>>,
    /// Keys and their label sets; absent: the anchors are the keys.
    pub keys: Option<(usize, Targets<Tensor<'a>>)>,
    /// u32 `[N]`: the key that is the anchor itself, if any.
    pub self_index: Option<Tensor<'a>>,
}

/// What [`Relations`] writes.
#[derive(Clone, Copy, Debug)]
pub struct RelationOutputs<'a> {
    /// u32 `[N, 5]`.
    pub relations: Tensor<'a>,
}
