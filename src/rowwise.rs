//! What all row losses have in common, and any of them, for code that chooses one at run time.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::prepared::{self, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::linear;
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::kernels::linear::plan::Shards;
use crate::kernels::rows::call::{RowInputs, RowOutputs, check_with};
use crate::kernels::rows::loss::Row;
use crate::kernels::rows::shards;
use crate::kernels::rows::table::by_label;
use crate::losses::bce::Bce;
use crate::losses::bp_mll::BpMll;
use crate::losses::linear::Linear;
use crate::losses::per_label::{Asl, Dice, Focal, Hill, Splc};
use crate::losses::reduction::Reduction;
use crate::losses::shards::Accumulator;
use crate::losses::softmax_ce::SoftmaxCe;
use crate::losses::takes::{Takes, TargetKind};
use crate::losses::wdl::Wdl;
use crate::losses::zlpr::Zlpr;
use crate::reference;

/// A loss of rows: what [`Zlpr`], [`Bce`] and their kin have in common, for code that takes any.
pub trait Rowwise {
    /// Checks the settings alone.
    ///
    /// # Errors
    /// Names the setting.
    fn check(&self) -> Result<(), Error>;

    /// How the rows' losses become the result.
    fn reduction(&self) -> Reduction;

    /// What it takes beside logits and targets, and what the targets mean to it.
    fn takes(&self) -> Takes;

    /// What the targets mean to this loss.
    fn target_kind(&self) -> TargetKind {
        self.takes().targets
    }

    /// Checks the call and makes what it needs.
    ///
    /// # Errors
    /// Every error there can be.
    fn prepare(
        &self,
        cx: &Context,
        inputs: &RowInputs<'_>,
        outputs: &RowOutputs<'_>,
    ) -> Result<Prepared, Error>;

    /// The same on the CPU.
    ///
    /// # Errors
    /// Wrong lengths.
    fn reference<T: reference::Real>(
        &self,
        inputs: &reference::RowInputs<'_, T>,
    ) -> Result<reference::RowOutputs<T>, Error>;
}

/// Gives losses their [`Rowwise`].
macro_rules! rowwise {
    ($($loss:ident: $reference:path,)*) => {$(
        impl Rowwise for $loss {
            fn check(&self) -> Result<(), Error> {
                $loss::check(self)
            }

            fn reduction(&self) -> Reduction {
                self.reduction
            }

            fn takes(&self) -> Takes {
                $loss::takes(self)
            }

            fn prepare(
                &self,
                cx: &Context,
                inputs: &RowInputs<'_>,
                outputs: &RowOutputs<'_>,
            ) -> Result<Prepared, Error> {
                $loss::prepare(self, cx, inputs, outputs)
            }

            fn reference<T: reference::Real>(
                &self,
                inputs: &reference::RowInputs<'_, T>,
            ) -> Result<reference::RowOutputs<T>, Error> {
                $reference(self, inputs)
            }
        }
    )*};
}

macro_rules! any_loss {
    ($($loss:ident: $doc:literal, $reference:path;)*) => {
        rowwise! { $($loss: $reference,)* }

        /// Any of the row losses with its settings.
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum AnyLoss {
            $(#[doc = $doc] $loss($loss),)*
        }

        impl AnyLoss {
            /// The loss as the kernels see it, where it is one of the rows alone.
            fn of_rows(&self) -> Option<Row> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.of_rows(),)*
                }
            }

            /// The same with another reduction.
            pub fn with_reduction(self, reduction: Reduction) -> Self {
                match self {
                    $(AnyLoss::$loss(loss) => AnyLoss::$loss(loss.with_reduction(reduction)),)*
                }
            }
        }

        impl Rowwise for AnyLoss {
            fn check(&self) -> Result<(), Error> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.check(),)*
                }
            }

            fn reduction(&self) -> Reduction {
                match self {
                    $(AnyLoss::$loss(loss) => loss.reduction(),)*
                }
            }

            fn takes(&self) -> Takes {
                match self {
                    $(AnyLoss::$loss(loss) => loss.takes(),)*
                }
            }

            fn prepare(
                &self,
                cx: &Context,
                inputs: &RowInputs<'_>,
                outputs: &RowOutputs<'_>,
            ) -> Result<Prepared, Error> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.prepare(cx, inputs, outputs),)*
                }
            }

            fn reference<T: reference::Real>(
                &self,
                inputs: &reference::RowInputs<'_, T>,
            ) -> Result<reference::RowOutputs<T>, Error> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.reference(inputs),)*
                }
            }
        }

        $(impl From<$loss> for AnyLoss {
            fn from(loss: $loss) -> Self {
                AnyLoss::$loss(loss)
            }
        })*
    };
}

any_loss! {
    Zlpr: "The ZLPR family.", reference::zlpr;
    BpMll: "BP-MLL.", reference::bp_mll;
    Bce: "Binary cross-entropy.", reference::bce;
    Focal: "Focal loss.", reference::focal;
    Asl: "Asymmetric loss.", reference::asl;
    Hill: "Hill loss.", reference::hill;
    Splc: "SPLC.", reference::splc;
    Dice: "Soft dice.", reference::dice;
    SoftmaxCe: "Softmax cross-entropy of several labels.", reference::softmax_ce;
    Wdl: "Weighted difference.", reference::wdl;
}

/// A row loss under a name.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// What the command and the tables call it.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Whether it is meant to be given a threshold: then it is TLPR.
    pub threshold: bool,
    plain: fn() -> AnyLoss,
}

impl Entry {
    /// The loss in its default settings.
    pub fn loss(&self) -> AnyLoss {
        (self.plain)()
    }

    /// The entry with this name.
    pub fn named(name: &str) -> Option<&'static Entry> {
        CATALOG.iter().find(|entry| entry.name == name)
    }
}

const fn entry(name: &'static str, summary: &'static str, plain: fn() -> AnyLoss) -> Entry {
    Entry {
        name,
        summary,
        threshold: false,
        plain,
    }
}

/// Every row loss. What goes through all of them, the command, checks, benchmarks and tests, goes through this.
#[rustfmt::skip]
pub const CATALOG: &[Entry] = &[
    entry("zlpr", "ZLPR of hard labels", || Zlpr::hard().into()),
    entry("zlpr-soft", "ZLPR of soft labels", || Zlpr::soft().into()),
    entry("zlpr-kl", "KL divergence of two logit vectors", || Zlpr::kl_symmetric(1.0).into()),
    Entry { threshold: true, ..entry("tlpr", "ZLPR with a learned threshold", || Zlpr::hard().into()) },
    entry("lsep", "Log-sum-exp pairwise", || Zlpr::lsep().into()),
    entry("two-way", "Two-way loss", || Zlpr::two_way(4.0, 1.0).into()),
    entry("bp-mll", "BP-MLL, the mean over pairs", || BpMll::default().into()),
    entry("bce", "Binary cross-entropy", || Bce::default().into()),
    entry("focal", "Focal loss", || Focal::default().into()),
    entry("asl", "Asymmetric loss", || Asl::default().into()),
    entry("hill", "Hill loss", || Hill::default().into()),
    entry("splc", "SPLC: Hill's positives, negatives that look like positives corrected", || Splc::default().into()),
    entry("dice", "Soft dice over the labels of a row", || Dice::default().into()),
    entry("softmax-ce", "Softmax cross-entropy of several labels", || SoftmaxCe::default().into()),
    entry("wdl", "Weighted difference", || Wdl::default().into()),
];

/// Losses of rows whose labels may lie on several devices, a shard of them on each:
/// [`losses::shards`](crate::losses::shards) says how. WDL and the halves over classes are refused.
pub trait Mergeable: Copy + Into<AnyLoss> {
    /// How its accumulators lie: what has to agree between the shards.
    ///
    /// # Errors
    /// Settings; a loss whose rows do not merge from parts.
    fn accumulator(self) -> Result<Accumulator, Error> {
        merged_row(self).map(|(_, row)| shards::layout(&row))
    }

    /// The first half: of the labels of this shard, whose logits, targets, masks and weights `inputs` has, an accumulator for
    /// each row: `accumulators`, f32 `[B, words]`, of which some words are whole numbers, to be moved as bytes.
    ///
    /// # Errors
    /// As `prepare`, and a loss whose rows do not merge from parts.
    fn prepare_partial(
        self,
        cx: &Context,
        inputs: &RowInputs<'_>,
        accumulators: Tensor<'_>,
    ) -> Result<Prepared, Error> {
        let (loss, row) = merged_row(self)?;
        let mut all = Inspection::default();
        let shape = Shape::Matrix(inputs.logits.rows(), shards::layout(&row).words);
        all.writes("accumulators", accumulators, &[DType::F32], shape)?;
        let outputs = RowOutputs::default();
        let given = check_with(
            all,
            &loss.takes(),
            loss.reduction(),
            row.live,
            inputs,
            &outputs,
        )?;
        let (row, inputs) = by_label(row, inputs);
        let draft = shards::partial(cx.target(), &row, &inputs, &given, accumulators)?;
        prepared::build(cx, draft)
    }

    /// The second half: from the accumulators of all shards, f32 `[R, B * words]`, one shard's behind the other's as an
    /// all-gather leaves them, the loss and the gradients of this shard's labels. Every shard has the same loss, and the same
    /// gradient to thresholds of rows or of the batch.
    ///
    /// # Errors
    /// As `prepare`, and a loss whose rows do not merge from parts.
    fn prepare_merged(
        self,
        cx: &Context,
        inputs: &RowInputs<'_>,
        accumulators: Tensor<'_>,
        outputs: &RowOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let (loss, row) = merged_row(self)?;
        let all = met(&row, inputs.logits.rows(), accumulators)?;
        let given = check_with(
            all,
            &loss.takes(),
            loss.reduction(),
            row.live,
            inputs,
            outputs,
        )?;
        let (row, inputs) = by_label(row, inputs);
        let target = cx.target();
        let draft = shards::merged(target, &row, &inputs, outputs, &given, accumulators)?;
        prepared::build(cx, draft)
    }

    /// Makes one accumulator a row, `folded`, f32 `[B, words]`, of those of some shards: for groups of devices that send on only
    /// one.
    ///
    /// # Errors
    /// Shapes, element types, buffers, a loss whose rows do not merge from parts.
    fn prepare_folded(
        self,
        cx: &Context,
        accumulators: Tensor<'_>,
        folded: Tensor<'_>,
    ) -> Result<Prepared, Error> {
        let (_, row) = merged_row(self)?;
        let words = shards::layout(&row).words;
        let mut all = met(&row, folded.rows(), accumulators)?;
        let shape = Shape::Matrix(folded.rows(), words);
        all.writes("folded", folded, &[DType::F32], shape)?;
        let bytes = all.finish()?;
        let draft = shards::folded(cx.target(), &row, accumulators, folded)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

impl<L: Copy + Into<AnyLoss>> Mergeable for L {}

/// The loss, and as the kernels see it, where rows merge from parts.
fn merged_row(loss: impl Into<AnyLoss>) -> Result<(AnyLoss, Row), Error> {
    let loss = loss.into();
    loss.check()?;
    let row = loss.of_rows().ok_or_else(Accumulator::refused)?;
    Ok((loss, row))
}

/// The accumulators of some shards, checked.
fn met<'a>(row: &Row, rows: usize, accumulators: Tensor<'a>) -> Result<Inspection<'a>, Error> {
    let words = shards::layout(row).words;
    let mut all = Inspection::default();
    let each = ("shard", rows.saturating_mul(words));
    all.reads_each("accumulators", accumulators, each)?;
    Ok(all)
}

impl<L: Copy + Into<AnyLoss>> Linear<L> {
    /// Checks the settings alone.
    ///
    /// # Errors
    /// Names the setting, or the loss where it is none of rows of hard labels.
    pub fn check(&self) -> Result<(), Error> {
        self.row().map(|_| ())
    }

    fn row(&self) -> Result<Row, Error> {
        let loss: AnyLoss = self.loss.into();
        loss.check()?;
        self.check_layer()?;
        let labels = loss.target_kind() != TargetKind::Logits;
        let row = loss.of_rows().filter(|_| labels);
        row.ok_or_else(Linear::<L>::refused)
    }

    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
    /// with other tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &LinearInputs<'_>,
        outputs: &LinearOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let layer = self.layer();
        let all = Inspection::default();
        build_linear(
            cx,
            (&layer, &self.row()?),
            all,
            inputs,
            outputs,
            Shards::Alone,
        )
    }

    /// How the accumulators of its loss lie, where labels are on several devices: [`losses::shards`](crate::losses::shards).
    ///
    /// # Errors
    /// Settings.
    pub fn accumulator(&self) -> Result<Accumulator, Error> {
        self.row().map(|row| shards::layout(&row))
    }

    /// The first half of a call whose labels are a shard of all, with their weights, bias, masks and targets: an accumulator for
    /// each row, as [`Mergeable::prepare_partial`] makes them. Weights stay as they are.
    ///
    /// # Errors
    /// As [`prepare`](Linear::prepare).
    pub fn prepare_partial(
        &self,
        cx: &Context,
        inputs: &LinearInputs<'_>,
        accumulators: Tensor<'_>,
    ) -> Result<Prepared, Error> {
        let row = self.row()?;
        if inputs.targets.is_none() {
            let reason = "needed to compute the loss or its gradient";
            return Err(Error::refused("targets", reason));
        }
        let mut all = Inspection::default();
        let shape = Shape::Matrix(inputs.hidden.rows(), shards::layout(&row).words);
        all.writes("accumulators", accumulators, &[DType::F32], shape)?;
        let layer = Linear {
            update: None,
            ..self.layer()
        };
        // What belongs to the update is for the second half.
        let inputs = LinearInputs {
            state: None,
            ..*inputs
        };
        let (outputs, to) = (LinearOutputs::default(), Shards::Leave(accumulators));
        build_linear(cx, (&layer, &row), all, &inputs, &outputs, to)
    }

    /// The second half, from the accumulators of all shards as [`Mergeable::prepare_merged`] takes them: the loss, and of this
    /// shard's labels the gradients and the step of their weights. The gradient to the hidden states is what this shard's labels
    /// have in it, and to be added up over the shards; labels that are chosen are this shard's, by their numbers in it.
    ///
    /// # Errors
    /// As [`prepare`](Linear::prepare).
    pub fn prepare_merged(
        &self,
        cx: &Context,
        inputs: &LinearInputs<'_>,
        accumulators: Tensor<'_>,
        outputs: &LinearOutputs<'_>,
    ) -> Result<Prepared, Error> {
        let (layer, row) = (self.layer(), self.row()?);
        let all = met(&row, inputs.hidden.rows(), accumulators)?;
        let from = Shards::Meet(accumulators);
        build_linear(cx, (&layer, &row), all, inputs, outputs, from)
    }

    /// The same on the CPU, all logits stored.
    ///
    /// # Errors
    /// Wrong lengths, settings, a loss that is none of rows of hard labels.
    pub fn reference<T: reference::Real>(
        &self,
        inputs: &reference::LinearInputs<'_, T>,
    ) -> Result<reference::LinearOutputs<T>, Error> {
        self.check()?;
        let loss: AnyLoss = self.loss.into();
        reference::linear(&self.layer(), inputs, |logits| loss.reference(logits))
    }
}

/// A call of a last layer, beside tensors that have been checked.
fn build_linear<'a>(
    cx: &Context,
    (layer, row): (&Linear<()>, &Row),
    all: Inspection<'a>,
    inputs: &LinearInputs<'a>,
    outputs: &LinearOutputs<'a>,
    shards: Shards<'a>,
) -> Result<Prepared, Error> {
    let (live, bytes) = linear::call::check(all, layer, row, inputs, outputs)?;
    let target = cx.target();
    let draft = linear::plan::plan(target, row, layer, inputs, outputs, &live, shards)?;
    prepared::build(cx, draft.moving(bytes))
}
