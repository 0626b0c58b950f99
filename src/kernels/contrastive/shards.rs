//! Anchors whose keys are on several devices, or come in several calls. What tiles of keys are to each other within a call, the
//! keys of devices are between calls: `pairs` makes of a device's keys sums for each anchor, which the caller carries to where
//! the anchors are; `meet` puts those of all devices together, in their order, and what follows is as in any other call, for
//! the gradients by the keys that the call has.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::plan::{Dispatches, Scratch, to_u32};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::accumulators::{Among, WORDS, leave, meet};
use crate::kernels::contrastive::call::{ContrastiveInputs, ContrastiveOutputs};
use crate::kernels::contrastive::params::{PairParams, PairRecord, PairSide};
use crate::kernels::contrastive::plan::prepare;
use crate::losses::contrastive::{Contrastive, ContrastiveReduction, Denominator};
use crate::losses::shards::Accumulator;

impl Contrastive {
    /// How the accumulators of an anchor lie.
    ///
    /// # Errors
    /// Settings, and [`Denominator::OnePositive`], which has none.
    pub fn accumulator(&self) -> Result<Accumulator, Error> {
        self.check()?;
        self.check_parts(true)?;
        let loss = match self.denominator {
            Denominator::Sigmoid => "contrastive pairs",
            Denominator::Negatives => "contrastive negatives",
            Denominator::All | Denominator::OnePositive => "contrastive",
        };
        Ok(Accumulator {
            loss,
            version: 1,
            words: WORDS,
        })
    }

    /// The first half of a call whose keys are some of all: for each anchor an accumulator of these, `accumulators`, f32
    /// `[N, words]`, of which some words are whole numbers, to be moved as bytes. Keys may be absent here too: then the anchors
    /// are these keys. MulSupCon needs `label_counts`.
    ///
    /// # Errors
    /// As [`prepare`](Contrastive::prepare), and [`Denominator::OnePositive`].
    pub fn prepare_partial(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        accumulators: Tensor<'_>,
    ) -> Result<Prepared, Error> {
        self.accumulator()?;
        let mut all = Inspection::default();
        let shape = Shape::Matrix(inputs.embeddings.rows(), WORDS);
        all.writes("accumulators", accumulators, &[DType::F32], shape)?;
        // A reduction is for the second half.
        let sums = self.with_reduction(ContrastiveReduction::Sum);
        let among = Among::Leaves(accumulators);
        prepare(
            cx,
            &sums,
            inputs,
            &ContrastiveOutputs::default(),
            (all, among),
        )
    }

    /// The second half, from the accumulators of all keys, f32 `[R, N * words]`, one device's behind the other's: the loss of
    /// these anchors and the gradients to temperature and bias, which are the same whichever keys the call has; the gradient to
    /// the embeddings by these keys, to be added up over the calls, and that to these keys by these anchors.
    ///
    /// # Errors
    /// As [`prepare`](Contrastive::prepare), and [`Denominator::OnePositive`].
    pub fn prepare_merged(
        &self,
        cx: &Context,
        inputs: &ContrastiveInputs<'_>,
        accumulators: Tensor<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.accumulator()?;
        let all = met(inputs.embeddings.rows(), accumulators)?;
        let among = Among::Meets(accumulators);
        prepare(cx, self, inputs, outputs, (all, among))
    }

    /// Makes one accumulator an anchor, `folded`, f32 `[N, words]`, of those of some devices: for groups of devices that send on
    /// only one.
    ///
    /// # Errors
    /// Shapes, element types, buffers, and [`Denominator::OnePositive`].
    pub fn prepare_folded(
        &self,
        cx: &Context,
        accumulators: Tensor<'_>,
        folded: Tensor<'_>,
    ) -> Result<Prepared, Error> {
        self.accumulator()?;
        let rows = folded.rows();
        let mut all = met(rows, accumulators)?;
        let shape = Shape::Matrix(rows, WORDS);
        all.writes("folded", folded, &[DType::F32], shape)?;
        let bytes = all.finish()?;
        let stride = u64::from(to_u32(rows as u64, "folded")?).div_ceil(4);
        let base = PairParams {
            own: PairSide {
                rows: rows as u32,
                ..PairSide::default()
            },
            record: PairRecord {
                stride: stride as u32,
                ..PairRecord::default()
            },
            ..PairParams::default()
        };
        let mut scratch = Scratch::default();
        let records = scratch.take(WORDS as u64 * 4 * stride)?.bind();
        let mut steps = Dispatches::new(cx.target());
        meet(&mut steps, self.denominator, accumulators, base, records)?;
        leave(&mut steps, self.denominator, folded, base, records)?;
        prepared::build(cx, steps.draft(&scratch, 1).moving(bytes))
    }
}

/// The accumulators of some devices, checked.
fn met(rows: usize, accumulators: Tensor<'_>) -> Result<Inspection<'_>, Error> {
    let mut all = Inspection::default();
    let each = ("device", rows.saturating_mul(WORDS));
    all.reads_each("accumulators", accumulators, each)?;
    Ok(all)
}
