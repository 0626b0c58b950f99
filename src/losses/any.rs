//! Any of the row losses, for code that chooses one at run time.

use super::rows::{RowInputs, RowOutputs, Rowwise, TargetKind};
use crate::{
    Asl, Bce, Context, Dice, Error, Focal, Hill, Prepared, Reduction, Wdl, Zlpr, reference,
};

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
