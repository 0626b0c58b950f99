//! The kernel table of the row losses: which kernel each runs, with which settings.

use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::error::Error;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::call::{check_inputs, check_outputs};
use crate::kernels::rows::plan;
use crate::kernels::shader::RowLoss;
use crate::losses::bce::Bce;
use crate::losses::per_label::{Asl, Dice, Focal, Hill};
use crate::losses::reduction::Reduction;
use crate::losses::takes::Takes;
use crate::losses::wdl::Wdl;
use crate::losses::zlpr::{Form, Zlpr};

/// A row loss with its settings, as the kernels see them.
pub(crate) struct RowSpec {
    pub(crate) loss: RowLoss,
    /// The loss's own settings, as its WGSL names them.
    pub(crate) first: f32,
    pub(crate) second: f32,
    pub(crate) third: f32,
    pub(crate) smoothing: f32,
    pub(crate) row_mean: bool,
    /// WDL, which has stages and inputs of its own.
    pub(crate) wdl: Option<Wdl>,
    pub(crate) reduction: Reduction,
}

impl Zlpr {
    pub(crate) fn spec(&self) -> RowSpec {
        let (loss, first, second) = match self.form {
            Form::Hard => (RowLoss::ZlprHard, 1.0, 1.0),
            Form::Soft => (RowLoss::ZlprSoft, 1.0, 1.0),
            Form::Joint { t_pos, t_neg } => (RowLoss::ZlprJoint, 1.0 / t_pos, 1.0 / t_neg),
            Form::KlSymmetric { beta } => (RowLoss::KlSymmetric, beta, 0.0),
            Form::KlExcess => (RowLoss::KlExcess, 0.0, 0.0),
        };
        RowSpec {
            loss,
            first,
            second,
            third: 0.0,
            smoothing: self.smoothing,
            row_mean: false,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Bce {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::Bce,
            first: self.pos_weight,
            second: 0.0,
            third: 0.0,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Focal {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::Focal,
            first: self.gamma,
            second: self.alpha,
            third: 0.0,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Asl {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::Asl,
            first: self.gamma_pos,
            second: self.gamma_neg,
            third: self.margin,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Hill {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::Hill,
            first: self.lambda,
            second: self.margin,
            third: self.gamma,
            smoothing: self.smoothing,
            row_mean: self.row_mean,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Dice {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::Dice,
            first: self.smooth,
            second: f32::from(u8::from(self.squared)),
            third: 0.0,
            smoothing: 0.0,
            row_mean: false,
            wdl: None,
            reduction: self.reduction,
        }
    }
}

impl Wdl {
    pub(crate) fn spec(&self) -> RowSpec {
        RowSpec {
            loss: RowLoss::WdlGradient,
            first: 1.0,
            second: self.epsilon,
            third: self.lambda_ratio,
            smoothing: 0.0,
            row_mean: false,
            wdl: Some(*self),
            reduction: self.reduction,
        }
    }
}

/// Checks a call, plans it and makes what it needs.
fn prepare(
    cx: &Context,
    spec: &RowSpec,
    takes: &Takes,
    inputs: &RowInputs<'_>,
    outputs: &RowOutputs<'_>,
) -> Result<Prepared, Error> {
    check_inputs(takes, spec.reduction, inputs)?;
    check_outputs(takes, spec.reduction, inputs, outputs)?;
    plan::build(cx, spec, inputs, outputs)
}

/// Gives a loss with a `check` and a `spec` its `prepare`.
macro_rules! prepare {
    ($($loss:ident)*) => {$(
        impl $loss {
            /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
            ///
            /// # Errors
            /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs
            /// with other tensors, limits of the device. Nothing has been written then.
            pub fn prepare(
                &self,
                cx: &Context,
                inputs: &RowInputs<'_>,
                outputs: &RowOutputs<'_>,
            ) -> Result<Prepared, Error> {
                self.check()?;
                prepare(cx, &self.spec(), &self.takes(), inputs, outputs)
            }
        }
    )*};
}

prepare!(Zlpr Bce Focal Asl Hill Dice Wdl);
