//! What all row losses have in common, and any of them, for code that chooses one at run time.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::bce::Bce;
use crate::losses::per_label::{Asl, Dice, Focal, Hill};
use crate::losses::reduction::Reduction;
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

/// Gives losses their [`Rowwise`]: what they take, and the reference.
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

rowwise! {
    Zlpr: reference::zlpr,
    Bce: reference::bce,
    Focal: reference::focal,
    Asl: reference::asl,
    Hill: reference::hill,
    Dice: reference::dice,
    Wdl: reference::wdl,
}

macro_rules! any_loss {
    ($($loss:ident: $doc:literal,)*) => {
        /// Any of the row losses with its settings.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum AnyLoss {
            $(#[doc = $doc] $loss($loss),)*
        }

        impl AnyLoss {
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
    Zlpr: "The ZLPR family.",
    Bce: "Binary cross-entropy.",
    Focal: "Focal loss.",
    Asl: "Asymmetric loss.",
    Hill: "Hill loss.",
    Dice: "Soft dice.",
    Wdl: "Weighted difference.",
}
