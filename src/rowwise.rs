//! What all row losses have in common, and any of them, for code that chooses one at run time.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::bce::Bce;
use crate::losses::labels::TargetKind;
use crate::losses::per_label::{Asl, Dice, Focal, Hill};
use crate::losses::reduction::Reduction;
use crate::losses::wdl::Wdl;
use crate::losses::zlpr::{Form, Zlpr};
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

    /// What the targets mean to this loss.
    fn target_kind(&self) -> TargetKind;

    /// The settings of WDL, the one loss that takes a permutation and weights to learn.
    fn wdl(&self) -> Option<Wdl> {
        None
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

/// Gives losses their [`Rowwise`]: what the targets mean, and the reference.
macro_rules! rowwise {
    ($($loss:ident, $kind:expr, $reference:path;)*) => {$(
        impl Rowwise for $loss {
            fn check(&self) -> Result<(), Error> {
                $loss::check(self)
            }

            fn reduction(&self) -> Reduction {
                self.reduction
            }

            fn target_kind(&self) -> TargetKind {
                let kind: fn(&$loss) -> TargetKind = $kind;
                kind(self)
            }

            fn wdl(&self) -> Option<Wdl> {
                match AnyLoss::from(*self) {
                    AnyLoss::Wdl(config) => Some(config),
                    _ => None,
                }
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
    Zlpr, |loss| match loss.form {
        Form::Hard | Form::Joint { .. } => TargetKind::Hard,
        Form::Soft => TargetKind::Soft,
        Form::KlSymmetric { .. } | Form::KlExcess => TargetKind::Logits,
    }, reference::zlpr;
    Bce, |_| TargetKind::Soft, reference::bce;
    Focal, |_| TargetKind::Soft, reference::focal;
    Asl, |_| TargetKind::Soft, reference::asl;
    Hill, |_| TargetKind::Soft, reference::hill;
    Dice, |_| TargetKind::Soft, reference::dice;
    Wdl, |_| TargetKind::Proportions, reference::wdl;
}

macro_rules! any_loss {
    ($($loss:ident: $doc:literal,)*) => {
        /// Any of the row losses with its settings.
        #[derive(Clone, Copy, Debug, PartialEq)]
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

            fn target_kind(&self) -> TargetKind {
                match self {
                    $(AnyLoss::$loss(loss) => loss.target_kind(),)*
                }
            }

            fn wdl(&self) -> Option<Wdl> {
                match self {
                    $(AnyLoss::$loss(loss) => loss.wdl(),)*
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
