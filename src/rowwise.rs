//! What all row losses have in common, and any of them, for code that chooses one at run time.

use crate::device::context::Context;
use crate::device::prepared::{self, Prepared};
use crate::error::Error;
use crate::kernels::linear;
use crate::kernels::linear::call::{LinearInputs, LinearOutputs};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::loss::Row;
use crate::losses::bce::Bce;
use crate::losses::bp_mll::BpMll;
use crate::losses::linear::Linear;
use crate::losses::per_label::{Asl, Dice, Focal, Hill, Splc};
use crate::losses::reduction::Reduction;
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
            /// The loss as the kernels see it, where it is one of the rows and of labels.
            fn of_labels(&self) -> Option<Row> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.of_labels(),)*
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
        loss.of_labels().ok_or_else(Linear::<L>::refused)
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
        let row = self.row()?;
        let (live, bytes) = linear::call::check(&self.layer(), &row, inputs, outputs)?;
        let target = cx.target();
        let draft = linear::plan::plan(target, &row, &self.layer(), inputs, outputs, &live)?;
        prepared::build(cx, draft.moving(bytes))
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
