//! From a checked call of the balance to its dispatch.

use crate::device::context::Context;
use crate::device::prepared as call;
use crate::device::prepared::{Bind, Prepared};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::shader::Program;
use crate::kernels::steps::{Steps, bind_all, bind_any, check_apart, word};
use crate::losses::balance::{Balance, BalanceState};
use bytemuck::{Pod, Zeroable};

/// What balancing reads.
#[derive(Clone, Copy, Debug)]
pub struct BalanceInputs<'a> {
    /// f32 `[K]`.
    pub losses: Tensor<'a>,
    /// State or parameters, f32; a seed is u32 `[2]`, low word first. A history and a seed are read and written.
    pub state: Option<BalanceState<Tensor<'a>>>,
    /// Upstream gradient, f32 `[1]`; absent: 1.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What balancing writes; what is absent is not written.
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceOutputs<'a> {
    /// f32 `[K]`.
    pub weights: Option<Tensor<'a>>,
    /// f32 `[1]`.
    pub loss: Option<Tensor<'a>>,
    /// f32 `[K]`: the gradient to the losses.
    pub grad_losses: Option<Tensor<'a>>,
    /// f32 `[K]`: the gradient to `theta` of `Uncertainty`.
    pub grad_log_variances: Option<Tensor<'a>>,
}

impl Balance {
    /// Checks the call and makes what it needs: one dispatch, no scratch.
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
        prepare(cx, self, inputs, outputs)
    }
}

/// Mirror of `BalanceParams` in shaders/balance/balance.wgsl, which says what each is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct BalanceParams {
    count: u32,
    kind: u32,
    attach: u32,
    first: f32,
    losses_offset: u32,
    counts_offset: u32,
    want_counts: u32,
    upstream_offset: u32,
    want_upstream: u32,
    state_offset: u32,
    weights_offset: u32,
    want_weights: u32,
    grad_losses_offset: u32,
    want_grad_losses: u32,
    loss_offset: u32,
    want_loss: u32,
    grad_state_offset: u32,
    want_grad_state: u32,
    nan: u32,
    pad: u32,
}

/// What the kernel reads and writes.
pub(crate) struct Bound<'a> {
    pub(crate) count: usize,
    /// The losses, and where in that binding they and perhaps their counts begin.
    pub(crate) losses: (Bind<'a>, u32),
    pub(crate) counts: Option<u32>,
    pub(crate) upstream: Option<(Bind<'a>, u32)>,
    pub(crate) state: Option<(Bind<'a>, u32)>,
    pub(crate) weights: Option<(Bind<'a>, u32)>,
    pub(crate) grad_losses: Option<(Bind<'a>, u32)>,
    pub(crate) loss: Option<(Bind<'a>, u32)>,
    pub(crate) grad_state: Option<(Bind<'a>, u32)>,
}

/// Adds the dispatch.
pub(crate) fn push<'a>(
    steps: &mut Steps<'a>,
    config: &Balance,
    bound: &Bound<'a>,
) -> Result<(), Error> {
    let (kind, attach, first) = match *config {
        Balance::Adaptive { gamma, attach } => (0, attach, gamma),
        Balance::Dwa { temperature } => (1, false, temperature),
        Balance::Uncertainty => (2, false, 1.0),
        Balance::Random => (3, false, 1.0),
    };
    let bind = |of: &Option<(Bind<'a>, u32)>| of.map_or(Bind::Nothing, |(bind, _)| bind);
    let at = |of: &Option<(Bind<'a>, u32)>| of.map_or(0, |(_, at)| at);
    let want = |of: &Option<(Bind<'a>, u32)>| u32::from(of.is_some());
    let params = BalanceParams {
        count: word(bound.count as u64, "losses")?,
        kind,
        attach: u32::from(attach),
        first,
        losses_offset: bound.losses.1,
        counts_offset: bound.counts.unwrap_or(0),
        want_counts: u32::from(bound.counts.is_some()),
        upstream_offset: at(&bound.upstream),
        want_upstream: want(&bound.upstream),
        state_offset: at(&bound.state),
        weights_offset: at(&bound.weights),
        want_weights: want(&bound.weights),
        grad_losses_offset: at(&bound.grad_losses),
        want_grad_losses: want(&bound.grad_losses),
        loss_offset: at(&bound.loss),
        want_loss: want(&bound.loss),
        grad_state_offset: at(&bound.grad_state),
        want_grad_state: want(&bound.grad_state),
        nan: f32::NAN.to_bits(),
        pad: 0,
    };
    let bindings = [
        bound.losses.0,
        bind(&bound.upstream),
        bind(&bound.state),
        bind(&bound.weights),
        bind(&bound.grad_losses),
        bind(&bound.loss),
        bind(&bound.grad_state),
    ];
    steps.push(Program::Balance, "balance", 1, |_, _| params, bindings)
}

/// Checks the state that a balance of `count` losses takes. Whether it is written comes with it.
pub(crate) fn check_state<'a>(
    config: &Balance,
    count: usize,
    state: &Option<BalanceState<Tensor<'a>>>,
) -> Result<Option<(&'static str, Tensor<'a>, bool)>, Error> {
    config.check_state(state.as_ref())?;
    let (name, tensor, dtype, len, written) = match *state {
        None => return Ok(None),
        Some(BalanceState::History(t)) => ("history", t, DType::F32, 2 * count, true),
        Some(BalanceState::LogVariances(t)) => ("log_variances", t, DType::F32, count, false),
        Some(BalanceState::Seed(t)) => ("seed", t, DType::U32, 2, true),
    };
    tensor.check(name, &[dtype])?;
    tensor.check_len(name, len)?;
    Ok(Some((name, tensor, written)))
}

/// Checks a call, plans it and makes what it needs.
fn prepare(
    cx: &Context,
    config: &Balance,
    inputs: &BalanceInputs<'_>,
    outputs: &BalanceOutputs<'_>,
) -> Result<Prepared, Error> {
    let count = inputs.losses.cols();
    inputs.losses.check("losses", &[DType::F32])?;
    inputs.losses.check_len("losses", count)?;
    if count == 0 {
        return Err(Error::shape("losses", "at least one", 0));
    }
    let mut read = vec![("losses".to_owned(), inputs.losses)];
    let mut written = Vec::new();
    let state = check_state(config, count, &inputs.state)?;
    if let Some((name, tensor, writes)) = state {
        let list = if writes { &mut written } else { &mut read };
        list.push((name.to_owned(), tensor));
    }
    if let Some(grad_loss) = inputs.grad_loss {
        grad_loss.check("grad_loss", &[DType::F32])?;
        grad_loss.check_len("grad_loss", 1)?;
        read.push(("grad_loss".into(), grad_loss));
    }
    if outputs.grad_log_variances.is_some() && *config != Balance::Uncertainty {
        return Err(Error::refused(
            "grad_log_variances",
            "uncertainty weighting alone has one",
        ));
    }
    let mut any = false;
    for (name, tensor, len) in [
        ("weights", outputs.weights, count),
        ("loss", outputs.loss, 1),
        ("grad_losses", outputs.grad_losses, count),
        ("grad_log_variances", outputs.grad_log_variances, count),
    ] {
        if let Some(tensor) = tensor {
            tensor.check(name, &[DType::F32])?;
            tensor.check_len(name, len)?;
            written.push((name.to_owned(), tensor));
            any = true;
        }
    }
    if !any {
        return Err(Error::refused("outputs", "at least one is needed"));
    }
    check_apart(&written, &read)?;
    let caps = cx.caps();
    let mut steps = Steps::new(cx);
    push(
        &mut steps,
        config,
        &Bound {
            count,
            losses: bind_all("losses", &inputs.losses, caps)?,
            counts: None,
            upstream: bind_any("grad_loss", inputs.grad_loss, caps)?,
            state: bind_any("state", state.map(|(_, tensor, _)| tensor), caps)?,
            weights: bind_any("weights", outputs.weights, caps)?,
            grad_losses: bind_any("grad_losses", outputs.grad_losses, caps)?,
            loss: bind_any("loss", outputs.loss, caps)?,
            grad_state: bind_any("grad_log_variances", outputs.grad_log_variances, caps)?,
        },
    )?;
    call::build(cx, steps.drafts, 0, 1)
}
