//! What the contrastive losses read and write on the device, and the checks of it.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::plan;
use crate::kernels::steps::check_apart;
use crate::kernels::targets::check_targets;
use crate::losses::contrastive::{Contrastive, ContrastiveReduction};
use crate::losses::labels::{TargetNames, Targets};

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
        self.check_pairs(inputs.self_index.is_some())?;
        outputs.check(self.reduction, inputs)?;
        plan::build(cx, self, inputs, outputs)
    }
}

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
    /// Their label sets. Dense ones are u8, not 0 where the row has the label; words are u32. Bits behind the last label
    /// must be 0. Lists are not checked: indices beyond the last label are ignored, offsets are kept within `indices`.
    pub labels: Targets<Tensor<'a>>,
    /// Absent: the embeddings are the keys, and each is left out of its own row.
    pub keys: Option<Keys<'a>>,
    /// u32 `[N]`: the key that is the anchor itself, and is left out of its row (with
    /// [`Weighting::Paired`](crate::losses::contrastive::Weighting::Paired): its positive). `u32::MAX` (-1 as i32), and
    /// whatever is no key: none.
    pub self_index: Option<Tensor<'a>>,
    /// Upstream gradient, f32 `[1]`, or `[N]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
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
            grad_loss: None,
        }
    }

    fn check(&self, reduction: ContrastiveReduction) -> Result<(), Error> {
        const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::Bf16];
        let (rows, dims) = (self.embeddings.rows(), self.embeddings.cols());
        self.embeddings.check("embeddings", FLOATS)?;
        check_sets(&self.labels, TargetNames::LABELS, rows, self.classes)?;
        if let Some(keys) = &self.keys {
            keys.embeddings.check("keys", FLOATS)?;
            keys.embeddings
                .check_shape("keys", keys.embeddings.rows(), dims)?;
            let (names, rows) = (TargetNames::KEY_LABELS, keys.embeddings.rows());
            check_sets(&keys.labels, names, rows, self.classes)?;
        }
        check_index(self.self_index, self.keys.is_some(), rows)?;
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
        all.extend(self.labels.named(TargetNames::LABELS));
        if let Some(keys) = &self.keys {
            all.extend(keys.labels.named(TargetNames::KEY_LABELS));
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
                return Err(Error::refused("grad_keys", "needs keys"));
            };
            t.check("grad_keys", f32s)?;
            t.check_shape("grad_keys", keys.embeddings.rows(), dims)?;
            written.push(("grad_keys", t));
        }
        if written.is_empty() {
            return Err(Error::refused("outputs", "at least one is needed"));
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

impl Relations {
    /// Checks the call and makes what it needs.
    ///
    /// # Errors
    /// As [`Contrastive::prepare`].
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &RelationInputs<'_>,
        outputs: &RelationOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let (rows, classes) = (inputs.rows, inputs.classes);
        check_sets(&inputs.labels, TargetNames::LABELS, rows, classes)?;
        let mut read = Vec::new();
        read.extend(inputs.labels.named(TargetNames::LABELS));
        if let Some((rows, labels)) = &inputs.keys {
            check_sets(labels, TargetNames::KEY_LABELS, *rows, classes)?;
            read.extend(labels.named(TargetNames::KEY_LABELS));
        }
        check_index(inputs.self_index, inputs.keys.is_some(), rows)?;
        read.extend(inputs.self_index.map(|t| ("self_index", t)));
        let relations = outputs.relations;
        relations.check("relations", &[DType::U32])?;
        relations.check_shape("relations", rows, 5)?;
        check_apart(&[("relations", relations)], &read)?;
        plan::build_relations(cx, inputs, &relations)
    }
}

/// Checks the label sets of some rows.
fn check_sets(
    sets: &Targets<Tensor<'_>>,
    names: TargetNames,
    rows: usize,
    classes: usize,
) -> Result<(), Error> {
    check_targets(sets, names, (rows, classes), &[DType::U8])
}

/// Checks the numbers of the keys that are the anchors themselves.
fn check_index(index: Option<Tensor<'_>>, keys: bool, rows: usize) -> Result<(), Error> {
    let Some(index) = index else {
        return Ok(());
    };
    if !keys {
        return Err(Error::refused("self_index", "needs keys"));
    }
    index.check("self_index", &[DType::U32])?;
    index.check_len("self_index", rows)
}
