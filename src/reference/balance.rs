//! Weights for several losses.

use crate::error::{Error, check_len};
use crate::losses::balance::{Balance, BalanceState, DWA_MOST};
use crate::reference::noise::uniforms;
use crate::reference::real::{Real, sum};

/// What balancing takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct BalanceInputs<'a, T> {
    /// The losses.
    pub losses: &'a [T],
    /// As many flags, `false` where a loss is absent; none: all count.
    pub present: Option<&'a [bool]>,
    /// State or parameters.
    pub state: Option<BalanceState<&'a [T], u64>>,
    /// The gradient that arrives from above; absent: 1.
    pub grad_loss: Option<T>,
}

/// What balancing gives.
#[derive(Clone, Debug, PartialEq)]
pub struct BalanceOutputs<T> {
    /// The weights.
    pub weights: Vec<T>,
    /// The weighted sum.
    pub loss: T,
    /// The gradient to the losses.
    pub grad_losses: Vec<T>,
    /// With [`Balance::Uncertainty`]: the gradient to the log variances.
    pub grad_log_variances: Vec<T>,
    /// With [`Balance::Dwa`]: the history for the next call.
    pub history: Vec<T>,
}

/// Weighs losses; see [`crate::losses::balance`] for the formulas.
///
/// # Errors
/// Settings out of range, wrong lengths.
pub fn balance<T: Real>(
    config: &Balance,
    inputs: &BalanceInputs<'_, T>,
) -> Result<BalanceOutputs<T>, Error> {
    config.check()?;
    let losses = inputs.losses;
    let n = losses.len();
    check_len("counts", n, inputs.present.map_or(n, <[_]>::len))?;
    config.check_state(inputs.state.as_ref())?;
    let (mut history, mut log_variances, mut fixed): (&[T], &[T], &[T]) = (&[], &[], &[]);
    let mut seed = 0;
    match inputs.state {
        None => {}
        Some(BalanceState::History(values)) => {
            check_len("history", 2 * n, values.len())?;
            history = values;
        }
        Some(BalanceState::LogVariances(values)) => {
            check_len("log_variances", n, values.len())?;
            log_variances = values;
        }
        Some(BalanceState::Weights(values)) => {
            check_len("level_weights", n, values.len())?;
            fixed = values;
        }
        Some(BalanceState::Seed(value)) => seed = value,
    }
    let counts = |k: &usize| inputs.present.is_none_or(|present| present[*k]);
    let here: Vec<usize> = (0..n).filter(counts).collect();
    let upstream = inputs.grad_loss.unwrap_or(T::one());
    let number = |value: f32| T::from_f64(f64::from(value));
    let half = T::from_f64(0.5);
    let mut out = BalanceOutputs {
        weights: vec![T::zero(); n],
        loss: T::zero(),
        grad_losses: vec![T::zero(); n],
        grad_log_variances: Vec::new(),
        history: Vec::new(),
    };
    let scores: Vec<T> = match *config {
        Balance::Adaptive { .. } => here.iter().map(|&k| losses[k]).collect(),
        Balance::Dwa { .. } => {
            let rate = |&k: &usize| {
                let (last, before) = (history[k], history[n + k]);
                let known = last > T::zero() && before > T::zero();
                let rate = if known { last / before } else { T::one() };
                rate.min(number(DWA_MOST))
            };
            here.iter().map(rate).collect()
        }
        Balance::Uncertainty | Balance::Fixed => Vec::new(),
        Balance::Random => here.iter().map(|&k| normal(seed, k)).collect(),
    };
    if *config == Balance::Uncertainty {
        out.grad_log_variances = vec![T::zero(); n];
        for &k in &here {
            let theta = log_variances[k];
            out.weights[k] = half * (-theta).exp();
            out.loss = out.loss + half * theta;
            out.grad_log_variances[k] = upstream * (half - out.weights[k] * losses[k]);
        }
    } else if *config == Balance::Fixed {
        out.weights = fixed.to_vec();
    } else {
        let largest = scores.iter().copied().fold(T::neg_infinity(), T::max);
        // Divided after the shift: a quotient alone may be too large.
        let divisor = match *config {
            Balance::Adaptive { gamma, .. } => number(gamma),
            Balance::Dwa { temperature } => number(temperature),
            _ => T::one(),
        };
        let powers: Vec<T> = scores
            .iter()
            .map(|&score| ((score - largest) / divisor).exp())
            .collect();
        let all = sum(powers.iter().copied());
        let sums_to = match config {
            Balance::Dwa { .. } => T::from_f64(here.len() as f64),
            _ => T::one(),
        };
        for (&k, &power) in here.iter().zip(&powers) {
            out.weights[k] = sums_to * power / all;
        }
    }
    out.loss = out.loss + sum(here.iter().map(|&k| out.weights[k] * losses[k]));
    for &k in &here {
        let through_weight = match *config {
            Balance::Adaptive {
                gamma,
                attach: true,
            } => T::one() + (losses[k] - out.loss) / number(gamma),
            _ => T::one(),
        };
        out.grad_losses[k] = upstream * out.weights[k] * through_weight;
    }
    if let Balance::Dwa { .. } = config {
        out.history = history.to_vec();
        for &k in &here {
            out.history[n + k] = out.history[k];
            out.history[k] = losses[k];
        }
    }
    if here.iter().any(|&k| !losses[k].is_finite()) {
        out.loss = T::nan();
        for &k in &here {
            out.grad_losses[k] = T::nan();
        }
        for &k in here.iter().filter(|_| *config != Balance::Fixed) {
            out.weights[k] = T::nan();
        }
        for &k in here.iter().filter(|_| *config == Balance::Uncertainty) {
            out.grad_log_variances[k] = T::nan();
        }
    }
    Ok(out)
}

/// A normal number, by Box and Muller.
fn normal<T: Real>(seed: u64, k: usize) -> T {
    let (u, v) = uniforms(seed, k as u32);
    let radius = (T::from_f64(-2.0) * T::from_f64(u).ln()).sqrt();
    radius * T::from_f64(std::f64::consts::TAU * v).cos()
}
