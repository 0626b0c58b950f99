//! The balance: its kernel, and from a call to its dispatches.

use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::live::{self, Becomes, Field, Given, Live, Setting};
use crate::device::module::{Constant, Module, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{Dispatches, Draft, Scratch, Target, bindings, to_u32};
use crate::device::prepared;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::{self, Adds, Gradient, tensor};
use crate::kernels::view::{View, Viewed};
use crate::losses::balance::{Balance, BalanceState, DWA_MOST};
use std::mem::offset_of;

/// What balancing reads.
#[derive(Clone, Copy, Debug)]
pub struct BalanceInputs<'a> {
    /// f32 `[K]`.
    pub losses: Tensor<'a>,
    /// State or parameters, f32; a seed is u32 `[2]`, low word first. A history and a seed are read and written.
    pub state: Option<BalanceState<Tensor<'a>>>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
    /// Settings that lie on the device: `gamma` of the adaptive weights, `temperature` of DWA.
    pub settings: &'a [Setting<'a>],
}

/// What balancing writes; what is absent is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceOutputs<'a> {
    /// f32 `[K]`.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[K]`: the gradient to the losses.
    pub grad_losses: Option<Gradient<'a>>,
    /// f32 `[K]`: the gradient to `theta` of `Uncertainty`.
    pub grad_log_variances: Option<Gradient<'a>>,
}

impl Balance {
    /// Checks the call and makes what it needs: one dispatch, no scratch; one more and some for a gradient that is added.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &BalanceInputs<'_>,
        outputs: &BalanceOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let (bytes, live) = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs, &live)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

bindings! {
    /// What the kernel reaches.
    struct BalanceBindings {
        1: losses,
        2: upstream,
        3: state,
        4: weights,
        5: grad_losses,
        6: loss,
        7: grad_state,
    }
}

uniform! {
    /// Parameters of the kernel.
    struct BalanceParams {
        /// The losses.
        losses: View,
        /// In the binding of the losses: how much each is made of; one of 0 does not count.
        counts: View,
        /// The upstream gradient.
        upstream: View,
        /// History, log variances, seed or weights.
        state: View,
        /// The weights.
        weights: View,
        /// The gradient to the losses.
        grad_losses: View,
        /// The weighted sum.
        loss: View,
        /// The gradient to the log variances.
        grad_state: View,
        /// Losses.
        count: u32,
        /// One of `BALANCE_KINDS`.
        kind: u32,
        /// Whether the gradient goes through the weights too.
        attach: u32,
        /// `gamma`, or the temperature: what is divided by before the softmax.
        divisor: f32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
    }
}

constants! {
    /// How the kernel calls the balances.
    BALANCE_KINDS {
        BALANCE_ADAPTIVE = 0,
        BALANCE_DWA = 1,
        BALANCE_UNCERTAINTY = 2,
        BALANCE_RANDOM = 3,
        BALANCE_FIXED = 4,
    }
}

const RATIO: &[(&str, Constant)] = &[("DWA_MOST", Constant::Real(DWA_MOST))];

static BALANCE: Program = Program {
    name: "balance",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/best.wgsl")),
        Piece::File(wgsl!("shared/best_group.wgsl")),
        Piece::File(wgsl!("shared/nested.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/noise.wgsl")),
        Piece::File(wgsl!("balance/balance.wgsl")),
    ],
    entries: &["balance"],
    constants: &[BALANCE_KINDS, RATIO],
    bindings: BalanceBindings::NAMES,
    mirrors: &[&[View::MIRROR, BalanceParams::MIRROR]],
};

/// Every module of the balance.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![BALANCE.module(workgroup)]
}

/// What the kernel reads and writes.
pub(crate) struct Bound<'a> {
    pub(crate) count: usize,
    pub(crate) losses: Viewed<'a>,
    /// In the binding of the losses, how much each is made of.
    pub(crate) counts: View,
    pub(crate) upstream: Viewed<'a>,
    pub(crate) state: Viewed<'a>,
    pub(crate) weights: Viewed<'a>,
    pub(crate) grad_losses: Viewed<'a>,
    pub(crate) loss: Viewed<'a>,
    pub(crate) grad_state: Viewed<'a>,
}

/// Adds the dispatch.
pub(crate) fn push<'a>(
    dispatches: &mut Dispatches<'a, '_>,
    config: &Balance,
    bound: &Bound<'a>,
) -> Result<(), Error> {
    let (kind, attach, divisor) = match *config {
        Balance::Adaptive { gamma, attach } => (BALANCE_ADAPTIVE, attach, gamma),
        Balance::Dwa { temperature } => (BALANCE_DWA, false, temperature),
        Balance::Uncertainty => (BALANCE_UNCERTAINTY, false, 1.0),
        Balance::Random => (BALANCE_RANDOM, false, 1.0),
        Balance::Fixed => (BALANCE_FIXED, false, 1.0),
    };
    let params = BalanceParams {
        losses: bound.losses.1,
        counts: bound.counts,
        upstream: bound.upstream.1,
        state: bound.state.1,
        weights: bound.weights.1,
        grad_losses: bound.grad_losses.1,
        loss: bound.loss.1,
        grad_state: bound.grad_state.1,
        count: to_u32(bound.count as u64, "losses")?,
        kind,
        attach: u32::from(attach),
        divisor,
        nan: f32::NAN.to_bits(),
    };
    let bindings = BalanceBindings {
        losses: bound.losses.0,
        upstream: bound.upstream.0,
        state: bound.state.0,
        weights: bound.weights.0,
        grad_losses: bound.grad_losses.0,
        loss: bound.loss.0,
        grad_state: bound.grad_state.0,
    };
    let module = BALANCE.module(dispatches.target.variant.workgroup);
    dispatches.push(module, "balance", 1, |_| params, bindings)
}

/// Checks the state that a balance of `count` losses takes. Errors call its tensor by its name behind `prefix`.
pub(crate) fn inspect_state<'a>(
    tensors: &mut Inspection<'a>,
    prefix: &str,
    config: &Balance,
    count: usize,
    state: &Option<BalanceState<Tensor<'a>>>,
) -> Result<(), Error> {
    config.check_state(state.as_ref())?;
    let (name, tensor, dtype, len, moves) = match *state {
        None => return Ok(()),
        Some(BalanceState::History(t)) => ("history", t, DType::F32, 2 * count, true),
        Some(BalanceState::LogVariances(t)) => ("log_variances", t, DType::F32, count, false),
        Some(BalanceState::Seed(t)) => ("seed", t, DType::U32, 2, true),
        Some(BalanceState::Weights(t)) => ("level_weights", t, DType::F32, count, false),
    };
    let name = match state {
        // The name that files have for it too.
        Some(BalanceState::Weights(_)) => name.to_owned(),
        _ => format!("{prefix}{name}"),
    };
    let shape = Shape::Vector(len);
    match moves {
        true => tensors.moves_on(name, tensor, &[dtype], shape),
        false => tensors.reads(name, tensor, &[dtype], shape),
    }
}

/// The tensor of a state.
pub(crate) fn state_tensor<'a>(state: &Option<BalanceState<Tensor<'a>>>) -> Option<Tensor<'a>> {
    match *state {
        Some(BalanceState::Seed(t)) => Some(t),
        Some(state) => state.numbers(),
        None => None,
    }
}

/// The settings of a balance that can come from buffers.
pub(crate) fn live(config: &Balance) -> &'static [Live] {
    const DIVISOR: &[Field] = &[Field::of::<BalanceParams>(
        offset_of!(BalanceParams, divisor),
        Becomes::ITSELF,
    )];
    const GAMMA: &[Live] = &[Live {
        name: "gamma",
        fields: DIVISOR,
    }];
    const TEMPERATURE: &[Live] = &[Live {
        name: "temperature",
        fields: DIVISOR,
    }];
    match config {
        Balance::Adaptive { .. } => GAMMA,
        Balance::Dwa { .. } => TEMPERATURE,
        _ => &[],
    }
}

/// Checks the tensors of a call, and gives their bytes, and the settings that are among them.
fn inspect<'a>(
    config: &Balance,
    inputs: &BalanceInputs<'a>,
    outputs: &BalanceOutputs<'a>,
) -> Result<(u64, Given<'a>), Error> {
    let count = inputs.losses.cols();
    let each = Shape::Vector(count);
    let f32s = &[DType::F32];
    let mut tensors = Inspection::default();
    tensors.reads("losses", inputs.losses, f32s, each)?;
    if count == 0 {
        return Err(Error::shape("losses", "at least one", 0));
    }
    inspect_state(&mut tensors, "", config, count, &inputs.state)?;
    tensors.grad_loss(inputs.grad_loss, None)?;
    if outputs.grad_log_variances.is_some() && *config != Balance::Uncertainty {
        return Err(Error::refused(
            "grad_log_variances",
            "uncertainty weighting alone has one",
        ));
    }
    tensors.writes("weights", outputs.weights, f32s, each)?;
    tensors.writes("loss", outputs.loss, f32s, Shape::Vector(1))?;
    let (to_losses, to_state) = (outputs.grad_losses, outputs.grad_log_variances);
    gradient::inspect(&mut tensors, "grad_losses", to_losses, f32s, each)?;
    gradient::inspect(&mut tensors, "grad_log_variances", to_state, f32s, each)?;
    let given = live::inspect(&mut tensors, inputs.settings, live(config))?;
    Ok((tensors.finish()?, given))
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Balance,
    inputs: &BalanceInputs<'a>,
    outputs: &BalanceOutputs<'a>,
    settings: &Given<'a>,
) -> Result<Draft<'a>, Error> {
    let mut scratch = Scratch::default();
    let mut adds = Adds::default();
    let (to_losses, to_state) = (outputs.grad_losses, outputs.grad_log_variances);
    let grad_losses = adds.place(&mut scratch, "grad_losses", to_losses)?;
    let grad_state = adds.place(&mut scratch, "grad_log_variances", to_state)?;
    let bound = Bound {
        count: inputs.losses.cols(),
        losses: target.view_all("losses", inputs.losses)?,
        counts: View::default(),
        upstream: target.view_all("grad_loss", inputs.grad_loss)?,
        state: target.view_all("state", state_tensor(&inputs.state))?,
        weights: target.view_all("weights", outputs.weights)?,
        grad_losses: target.view_all("grad_losses", tensor(grad_losses))?,
        loss: target.view_all("loss", outputs.loss)?,
        grad_state: target.view_all("grad_log_variances", tensor(grad_state))?,
    };
    let mut dispatches = Dispatches::new(target);
    dispatches.push_settings(settings)?;
    push(&mut dispatches, config, &bound)?;
    adds.push(&mut dispatches)?;
    Ok(dispatches.draft(&scratch, 1))
}
