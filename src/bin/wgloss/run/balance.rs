//! `wgloss run balance`: weights for several losses.

use crate::engine::EngineArgs;
use crate::options::{BalanceOptions, Kind, value_name};
use crate::report::{Report, json_number};
use crate::tensors::{Output, TensorFile};
use serde_json::json;
use wgloss::host::Wanted;
use wgloss::{BalanceState, Error};

/// For the help.
pub const TENSORS: &str = "\
Tensors that are read:
  losses          [K] reals
  previous        [K] reals, dwa: the losses of the call before
  before          [K] reals, dwa: those of the call before that; zeros where there was none
  log_variance    [K] reals, uncertainty
  grad_loss       [1]: the upstream gradient; absent: one
Tensors that are written with -o, F32:
  weights         [K]
  loss            []
  grad_losses     [K], the weights being constants
  grad_log_variance  [K], uncertainty
In the line of JSON losses and kind stand in place of the sizes.";

/// Computes the weights of a file.
pub fn run(
    options: &BalanceOptions,
    file: &TensorFile,
    engine: &EngineArgs,
    wanted: Wanted,
) -> Result<Report, Error> {
    let config = options.configure()?;
    let count = match *file.shape("losses")? {
        [count] => count,
        ref shape => return Err(Error::shape("losses", "[K]", format!("{shape:?}"))),
    };
    for (kind, tensors) in [
        (Kind::Dwa, &["previous", "before"][..]),
        (Kind::Uncertainty, &["log_variance"]),
    ] {
        if options.kind != kind {
            file.refuse(tensors, format!("needs --kind {}", value_name(kind)))?;
        }
    }
    let each = |tensor: &str| -> Result<Vec<f32>, Error> {
        file.expect(tensor, &[count])?;
        file.floats(tensor)
    };
    let losses = each("losses")?;
    let kept = match options.kind {
        Kind::Dwa => [each("previous")?, each("before")?].concat(),
        Kind::Uncertainty => each("log_variance")?,
        Kind::Softmax | Kind::Random => Vec::new(),
    };
    let state = match options.kind {
        Kind::Softmax => None,
        Kind::Dwa => Some(BalanceState::History(&kept[..])),
        Kind::Uncertainty => Some(BalanceState::LogVariances(&kept[..])),
        Kind::Random => options.seed.map(BalanceState::Seed),
    };
    let above = file.grad_loss(None)?;
    let above = above.and_then(|values| values.first().copied());
    let (engine, result) =
        engine.compute(|engine| engine.balance(&config, &losses, state, above))?;
    let mut outputs = Vec::new();
    if wanted == Wanted::Gradients {
        outputs.push(Output::reals("weights", vec![count], result.weights));
        outputs.push(Output::reals("loss", vec![], vec![result.loss]));
        outputs.push(Output::reals(
            "grad_losses",
            vec![count],
            result.grad_losses,
        ));
        if options.kind == Kind::Uncertainty {
            let grad = result.grad_log_variances;
            outputs.push(Output::reals("grad_log_variance", vec![count], grad));
        }
    }
    Ok(Report {
        engine,
        loss: json_number(result.loss),
        fields: vec![
            ("losses", json!(count)),
            ("kind", json!(value_name(options.kind))),
            ("reduction", json!(options.reduction())),
        ],
        outputs,
    })
}
