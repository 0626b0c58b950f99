//! Cases whose labels, or keys, lie in shards, as on several devices: the same numbers, and the same truth, as where they lie
//! together.

use crate::check::case::{Case, Depth, Layout, Output};
use crate::check::contrastive::{self, ContrastiveCase, Others, contrastive_cases};
use crate::check::linear::{self, LinearCase, LinearMode, linear_cases};
use crate::check::numbers::{Numbers, SPARSE};
use crate::check::rng::Rng;
use crate::check::rows::case::call;
use crate::check::rows::{RowCase, row_cases};
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::contrastive::call::{
    ContrastiveInputs, ContrastiveOutputs, Keys, LabelCountInputs, LabelCountOutputs, LabelCounts,
};
use crate::kernels::gradient::Gradient;
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::contrastive::Weighting;
use crate::losses::labels::{Targets, Threshold};
use crate::rowwise::Mergeable;
use std::fmt;
use std::ops::Range;

/// How accumulators of the shards come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// In the order of the labels.
    Straight,
    /// In the other order.
    Reversed,
    /// All but the last in a group, whose accumulators are made one first.
    Grouped,
}

/// Shards of labels, and how their accumulators come together.
#[derive(Clone, Debug, PartialEq)]
pub struct Meeting {
    order: Order,
    /// Where shards end; some are empty.
    ends: Vec<usize>,
}

impl fmt::Display for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shards to {:?} {:?}", self.ends, self.order)
    }
}

impl Meeting {
    /// Of so many labels that may be cut at multiples of `whole`; number `i` of a table.
    fn new(i: usize, (cols, whole): (usize, usize), seed: u64) -> Meeting {
        let shards = [2, 5, 1, 3, 9][i % 5];
        let order = match shards {
            1 => Order::Straight,
            _ => [Order::Straight, Order::Reversed, Order::Grouped][i % 3],
        };
        let mut rng = Rng(seed);
        let cut = |_| rng.below(cols + 1) / whole * whole;
        let mut ends: Vec<usize> = (1..shards).map(cut).collect();
        ends.push(cols);
        ends.sort_unstable();
        Meeting { order, ends }
    }

    fn shards(&self) -> impl Iterator<Item = Range<usize>> {
        let firsts = std::iter::once(0).chain(self.ends.iter().copied());
        firsts.zip(&self.ends).map(|(first, end)| first..*end)
    }

    /// Both halves of all shards, with `rows` rows whose accumulators have so many words. The second half may be several calls.
    fn prepare(
        &self,
        cx: &Context,
        (rows, words): (usize, usize),
        partial: impl Fn(&Range<usize>, Tensor<'_>) -> Result<Prepared, Error>,
        folded: impl Fn(Tensor<'_>, Tensor<'_>) -> Result<Prepared, Error>,
        merged: impl Fn(usize, &Range<usize>, Tensor<'_>) -> Result<Vec<Prepared>, Error>,
    ) -> Result<Vec<Prepared>, Error> {
        let count = self.ends.len();
        let buffer = |shards: usize| {
            cx.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("accumulators"),
                size: 4 * (shards * rows * words).max(1) as u64,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let (each, groups) = (buffer(count), buffer(2));
        let held = |buffer, shards| Tensor::matrix(buffer, DType::F32, shards, rows * words);
        let one = |buffer, shard: usize| {
            let first = (shard * rows * words) as u64;
            Tensor::matrix(buffer, DType::F32, rows, words).with_offset(first)
        };
        let mut calls = Vec::new();
        for (i, shard) in self.shards().enumerate() {
            let to = match self.order {
                Order::Straight => one(&each, i),
                Order::Reversed => one(&each, count - 1 - i),
                Order::Grouped if i + 1 == count => one(&groups, 1),
                Order::Grouped => one(&each, i),
            };
            calls.push(partial(&shard, to)?);
        }
        let met = match self.order {
            Order::Straight | Order::Reversed => held(&each, count),
            Order::Grouped => {
                let group = held(&each, count - 1);
                calls.push(folded(group, one(&groups, 0))?);
                held(&groups, 2)
            }
        };
        for (i, shard) in self.shards().enumerate() {
            calls.extend(merged(i, &shard, met)?);
        }
        Ok(calls)
    }
}

/// A shard's columns.
fn of_cols<'a>(all: Tensor<'a>, shard: &Range<usize>) -> Tensor<'a> {
    all.of_cols(shard.start, shard.len())
}

/// Targets of a shard: of bits, whose words have 32.
fn targets_of<'a>(all: Targets<Tensor<'a>>, shard: &Range<usize>) -> Targets<Tensor<'a>> {
    match all {
        Targets::Dense(t) => Targets::Dense(of_cols(t, shard)),
        Targets::Bits(t) => Targets::Bits(t.of_cols(shard.start / 32, shard.len().div_ceil(32))),
        sparse @ Targets::Sparse { .. } => sparse,
    }
}

/// The same of a gradient.
fn gradient_of<'a>(gradient: Option<Gradient<'a>>, shard: &Range<usize>) -> Option<Gradient<'a>> {
    gradient.map(|gradient| gradient.part(|t| of_cols(t, shard)))
}

/// The same of one whose rows the shard has.
fn rows_of<'a>(gradient: Option<Gradient<'a>>, shard: &Range<usize>) -> Option<Gradient<'a>> {
    gradient.map(|gradient| gradient.part(|t| t.of_rows(shard.start, shard.len())))
}

/// What is added to what another call has written.
fn added(gradient: Gradient<'_>) -> Gradient<'_> {
    match gradient {
        Gradient::To(t) => Gradient::AddTo(t),
        other => other,
    }
}

/// A case whose labels, keys or samples lie in shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharded<C, P = Meeting> {
    /// What is computed.
    pub case: C,
    /// Where its shards are.
    pub at: P,
}

/// A case that can be computed in shards: the calls of all of them, in order.
pub(super) trait InShards<P>: Case {
    fn calls(
        &self,
        at: &P,
        cx: &Context,
        numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error>;
}

impl<C: fmt::Display, P: fmt::Display> fmt::Display for Sharded<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.case, self.at)
    }
}

impl<C: InShards<P>, P: fmt::Display + Send + Sync> Case for Sharded<C, P> {
    fn name(&self) -> &'static str {
        self.case.name()
    }

    fn layout(&self) -> Layout {
        self.case.layout()
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        self.case.numbers()
    }

    fn outputs(&self, numbers: &Numbers) -> Result<Vec<Output>, Error> {
        self.case.outputs(numbers)
    }

    fn prepare(
        &self,
        cx: &Context,
        numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        self.case.calls(&self.at, cx, numbers, tensors)
    }

    fn judge(&self, numbers: &Numbers, found: &Numbers) -> Result<(), String> {
        self.case.judge(numbers, found)
    }
}

/// A case of a loss of rows whose labels are in shards.
pub type ShardedRows = Sharded<RowCase>;
/// A case of a fused last layer whose labels are.
pub type ShardedLinear = Sharded<LinearCase>;
/// A case of a contrastive loss whose keys are.
pub type ShardedContrastive = Sharded<ContrastiveCase>;

fn row_inputs<'a>(all: &RowInputs<'a>, shard: &Range<usize>) -> RowInputs<'a> {
    let of = |t: Tensor<'a>| of_cols(t, shard);
    RowInputs {
        logits: of(all.logits),
        targets: targets_of(all.targets, shard),
        class_mask: all.class_mask.map(of),
        mask: all.mask.map(of),
        class_weight: all.class_weight.map(of),
        weight: all.weight.map(of),
        pos_weight: all.pos_weight.map(of),
        alpha: all.alpha.map(of),
        threshold: all.threshold.map(|threshold| match threshold {
            Threshold::Label(t) => Threshold::Label(of(t)),
            other => other,
        }),
        ..*all
    }
}

impl InShards<Meeting> for RowCase {
    fn calls(
        &self,
        at: &Meeting,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let case = self;
        let (all, outputs) = call(case.threshold, case.wdl.order, case.mode, tensors)?;
        let by_label = matches!(all.threshold, Some(Threshold::Label(_)));
        let size = (case.rows, case.loss.accumulator()?.words);
        let partial = |shard: &Range<usize>, to: Tensor<'_>| {
            case.loss.prepare_partial(cx, &row_inputs(&all, shard), to)
        };
        let merged = |i: usize, shard: &Range<usize>, met: Tensor<'_>| {
            let outputs = RowOutputs {
                grad_logits: gradient_of(outputs.grad_logits, shard),
                grad_targets: gradient_of(outputs.grad_targets, shard),
                grad_threshold: match by_label {
                    true => gradient_of(outputs.grad_threshold, shard),
                    // The same of all shards, and added once.
                    false => outputs.grad_threshold.filter(|_| i == 0),
                },
                ..outputs
            };
            let inputs = row_inputs(&all, shard);
            Ok(vec![case.loss.prepare_merged(cx, &inputs, met, &outputs)?])
        };
        let folded = |from: Tensor<'_>, to: Tensor<'_>| case.loss.prepare_folded(cx, from, to);
        at.prepare(cx, size, partial, folded, merged)
    }
}

impl ShardedRows {
    /// The case in shards, where its rows merge from parts; lists of labels are left out, since each shard would have its own.
    pub(super) fn of(i: usize, case: RowCase) -> Option<ShardedRows> {
        let taken = case.loss.accumulator().is_ok() && case.form != SPARSE;
        let whole = if case.form == Targets::Bits(()) {
            32
        } else {
            1
        };
        taken.then(|| ShardedRows {
            case,
            at: Meeting::new(i, (case.cols, whole), case.seed),
        })
    }
}

/// The table of losses of rows in shards.
pub fn sharded_rows(depth: Depth) -> Vec<ShardedRows> {
    let cases = row_cases(depth).into_iter().enumerate();
    cases
        .filter_map(|(i, case)| ShardedRows::of(i, case))
        .collect()
}

fn linear_inputs<'a>(all: &LinearInputs<'a>, shard: &Range<usize>) -> LinearInputs<'a> {
    let of = |t: Tensor<'a>| of_cols(t, shard);
    LinearInputs {
        weights: all.weights.of_rows(shard.start, shard.len()),
        bias: all.bias.map(of),
        targets: all.targets.map(|targets| targets_of(targets, shard)),
        class_mask: all.class_mask.map(of),
        class_weight: all.class_weight.map(of),
        state: all.state.map(of),
        ..*all
    }
}

impl InShards<Meeting> for LinearCase {
    fn calls(
        &self,
        at: &Meeting,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let layer = &self.config;
        let (all, outputs) = linear::call(tensors)?;
        let size = (self.rows, layer.accumulator()?.words);
        let partial = |shard: &Range<usize>, to: Tensor<'_>| {
            layer.prepare_partial(cx, &linear_inputs(&all, shard), to)
        };
        // What a shard's labels have in the gradient to hidden states is added to what those before have.
        let merged = |i: usize, shard: &Range<usize>, met: Tensor<'_>| {
            let outputs = LinearOutputs {
                grad_hidden: (outputs.grad_hidden)
                    .map(|grad| if i == 0 { grad } else { added(grad) }),
                grad_weights: rows_of(outputs.grad_weights, shard),
                grad_bias: gradient_of(outputs.grad_bias, shard),
                ..outputs
            };
            let inputs = linear_inputs(&all, shard);
            Ok(vec![layer.prepare_merged(cx, &inputs, met, &outputs)?])
        };
        let folded = |from: Tensor<'_>, to: Tensor<'_>| layer.loss.prepare_folded(cx, from, to);
        at.prepare(cx, size, partial, folded, merged)
    }
}

impl ShardedLinear {
    /// The case in shards, where labels are bits and none are chosen; what is added up over shards is not rounded in between.
    pub(super) fn of(i: usize, case: LinearCase) -> Option<ShardedLinear> {
        let left_out = [LinearMode::Same, LinearMode::Top, LinearMode::TopAlone];
        let taken = case.form == Targets::Bits(()) && !left_out.contains(&case.mode);
        taken.then(|| ShardedLinear {
            case,
            at: Meeting::new(i, (case.cols, 32), case.seed),
        })
    }
}

/// The table of last layers in shards.
pub fn sharded_linear(depth: Depth) -> Vec<ShardedLinear> {
    let cases = linear_cases(depth).into_iter().enumerate();
    cases
        .filter_map(|(i, case)| ShardedLinear::of(i, case))
        .collect()
}

/// Sets of some rows. Offsets of lists stay as they are: they are into the lists of all.
fn sets_of<'a>(all: Targets<Tensor<'a>>, rows: &Range<usize>) -> Targets<Tensor<'a>> {
    match all {
        Targets::Dense(t) => Targets::Dense(t.of_rows(rows.start, rows.len())),
        Targets::Bits(t) => Targets::Bits(t.of_rows(rows.start, rows.len())),
        Targets::Sparse { offsets, indices } => Targets::Sparse {
            offsets: offsets.of_cols(rows.start, rows.len() + 1),
            indices,
        },
    }
}

/// All anchors with some of the keys; where there are none of their own, the anchors as keys.
fn anchor_inputs<'a>(
    all: &ContrastiveInputs<'a>,
    shard: &Range<usize>,
    label_counts: Option<Tensor<'a>>,
) -> ContrastiveInputs<'a> {
    let keys = all.keys.unwrap_or(Keys {
        embeddings: all.embeddings,
        labels: all.labels,
    });
    let mask = match all.keys {
        Some(_) => all.key_mask,
        None => all.row_mask,
    };
    let words = shard.start / 32..shard.end.div_ceil(32).max(shard.start / 32);
    let of_pairs = |t: Tensor<'a>| of_cols(t, &words);
    ContrastiveInputs {
        keys: Some(Keys {
            embeddings: keys.embeddings.of_rows(shard.start, shard.len()),
            labels: sets_of(keys.labels, shard),
        }),
        self_offset: all
            .keys
            .is_none()
            .then(|| 0_u32.wrapping_sub(shard.start as u32)),
        key_mask: mask.map(|t| of_cols(t, shard)),
        positives: all.positives.map(of_pairs),
        pair_mask: all.pair_mask.map(of_pairs),
        label_counts,
        ..*all
    }
}

impl InShards<Meeting> for ContrastiveCase {
    fn calls(
        &self,
        at: &Meeting,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let loss = &self.loss;
        let all = contrastive::inputs(tensors, self.labels)?;
        let outputs = contrastive::outputs(tensors);
        let counts = cx.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("label counts"),
            size: 4 * self.labels.max(1) as u64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let counts = Tensor::vector(&counts, DType::U32, self.labels);
        let (keys, labels, mask) = match &all.keys {
            Some(keys) => (keys.embeddings.rows(), keys.labels, all.key_mask),
            None => (self.rows, all.labels, all.row_mask),
        };
        let mut calls = vec![self.relations(cx, tensors)?];
        let by_label = matches!(loss.weighting, Weighting::MulSupCon { .. });
        if by_label {
            let inputs = LabelCountInputs {
                rows: keys,
                classes: self.labels,
                labels,
                row_mask: mask,
            };
            calls.push(LabelCounts.prepare(cx, &inputs, &LabelCountOutputs { counts })?);
        }
        let inputs = |shard: &Range<usize>| anchor_inputs(&all, shard, by_label.then_some(counts));
        let size = (self.rows, loss.accumulator()?.words);
        let partial = |shard: &Range<usize>, to: Tensor<'_>| {
            let of_sums = ContrastiveInputs {
                grad_loss: None,
                ..inputs(shard)
            };
            loss.prepare_partial(cx, &of_sums, to)
        };
        let merged = |i: usize, shard: &Range<usize>, met: Tensor<'_>| {
            let own = ContrastiveOutputs {
                grad_embeddings: (outputs.grad_embeddings)
                    .map(|grad| if i == 0 { grad } else { added(grad) }),
                grad_keys: rows_of(outputs.grad_keys, shard),
                // The same whichever keys there are, and added once.
                grad_temperature: outputs.grad_temperature.filter(|_| i == 0),
                grad_bias: outputs.grad_bias.filter(|_| i == 0),
                ..outputs
            };
            let mut calls = vec![loss.prepare_merged(cx, &inputs(shard), met, &own)?];
            if let Some(grad) = outputs.grad_embeddings.filter(|_| all.keys.is_none()) {
                // As keys the same rows have a gradient more.
                let as_keys = ContrastiveOutputs {
                    grad_keys: rows_of(Some(added(grad)), shard),
                    ..ContrastiveOutputs::default()
                };
                calls.push(loss.prepare_merged(cx, &inputs(shard), met, &as_keys)?);
            }
            Ok(calls)
        };
        let folded = |from: Tensor<'_>, to: Tensor<'_>| loss.prepare_folded(cx, from, to);
        calls.extend(at.prepare(cx, size, partial, folded, merged)?);
        Ok(calls)
    }
}

impl ShardedContrastive {
    /// The case in shards, where an anchor has one denominator or none, and no tensor names keys by their numbers among all; pairs
    /// that have bits are cut at whole words.
    pub(super) fn of(i: usize, case: ContrastiveCase) -> Option<ShardedContrastive> {
        let keys = match case.others {
            Others::Same => case.rows,
            Others::Keys(m) => m,
            Others::Indexed(_) => return None,
        };
        let said = case.pairs_masked || case.loss.weighting == Weighting::Given;
        let whole = if said { 32 } else { 1 };
        case.loss.accumulator().is_ok().then(|| ShardedContrastive {
            case,
            at: Meeting::new(i, (keys, whole), case.seed),
        })
    }
}

/// The table of contrastive losses whose keys are in shards.
pub fn sharded_contrastive(depth: Depth) -> Vec<ShardedContrastive> {
    let cases = contrastive_cases(depth).into_iter().enumerate();
    cases
        .filter_map(|(i, case)| ShardedContrastive::of(i, case))
        .collect()
}
