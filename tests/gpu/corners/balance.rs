//! Weights of losses.

use super::{LARGE, ODD, TINY, finish, near_all};
use libtest_mimic::Failed;
use wgloss::host::{Engine, Gpu};
use wgloss::reference::{BalanceInputs, BalanceOutputs, Real, balance as by_definition};
use wgloss::{Balance, BalanceState, Error};

const COUNT: usize = 4;
type State<'a> = BalanceState<&'a [f32], u64>;

/// Each odd loss among others, then nothing else.
fn losses() -> Vec<[f32; COUNT]> {
    let mut all = Vec::new();
    for odd in ODD.into_iter().chain([f32::NAN]) {
        all.push([0.5, odd, 2.0, 0.25]);
        if odd.abs() != LARGE {
            // Of several, no sum is a number of f32.
            all.push([odd; COUNT]);
        }
    }
    all
}

fn cases() -> Vec<(String, Balance, Option<State<'static>>)> {
    let mut all = Vec::new();
    for v in [1e-6, 1e-3, 0.5, 1e3, 1e30, f32::MAX] {
        for attach in [false, true] {
            let kind = Balance::Adaptive { gamma: v, attach };
            all.push((format!("adaptive {v:e} attach {attach}"), kind, None));
        }
        for &history in HISTORIES {
            let kind = Balance::Dwa { temperature: v };
            let name = format!("dwa {v:e} with {history:?}");
            all.push((name, kind, Some(BalanceState::History(history))));
        }
    }
    for &theta in THETAS {
        let state = BalanceState::LogVariances(theta);
        let name = format!("uncertainty of {theta:?}");
        all.push((name, Balance::Uncertainty, Some(state)));
    }
    for &weights in WEIGHTS {
        let state = BalanceState::Weights(weights);
        all.push((format!("fixed {weights:?}"), Balance::Fixed, Some(state)));
    }
    for seed in [0, u64::MAX] {
        let state = BalanceState::Seed(seed);
        all.push((format!("random of {seed}"), Balance::Random, Some(state)));
    }
    all
}

const HISTORIES: &[&[f32]] = &[
    &[0.0; 2 * COUNT],
    &[1.0, 2.0, 3.0, 4.0, 2.0, 2.0, 2.0, 2.0],
    &[1e-30, 1e30, LARGE, TINY, 1e-30, 1e-20, 1.0, TINY],
    &[1.0, LARGE, LARGE, 1.0, 1.0, TINY, LARGE, LARGE],
];
const THETAS: &[&[f32]] = &[
    &[0.0; COUNT],
    &[-80.0, 80.0, -1e-4, TINY],
    &[-1e4, 1e4, 100.0, -100.0],
    &[3e30, 1e4, 80.0, 1e30],
];
const WEIGHTS: &[&[f32]] = &[
    &[0.0; COUNT],
    &[TINY, 1e-20, 1e4, 0.0],
    &[1.0, 0.0, 1e38, 1.0],
];

fn reference<T: Real>(
    config: &Balance,
    losses: &[f32],
    state: Option<State<'_>>,
) -> Result<BalanceOutputs<T>, Error> {
    let wide =
        |values: &[f32]| -> Vec<T> { values.iter().map(|v| T::from_f64(f64::from(*v))).collect() };
    let kept = match state {
        Some(
            BalanceState::History(values)
            | BalanceState::LogVariances(values)
            | BalanceState::Weights(values),
        ) => wide(values),
        _ => Vec::new(),
    };
    by_definition(
        config,
        &BalanceInputs {
            losses: &wide(losses),
            present: None,
            state: state.map(|state| state.map(|_| &kept[..], |seed| seed)),
            grad_loss: None,
        },
    )
}

pub fn balance(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for (name, config, state) in cases() {
        for losses in losses() {
            let found = Engine::on(gpu.clone()).balance(&config, &losses, state, None)?;
            let truth = reference::<f64>(&config, &losses, state)?;
            let naive = reference::<f32>(&config, &losses, state)?;
            for (what, found, naive, truth) in [
                ("weights", &found.weights, &naive.weights, &truth.weights),
                (
                    "loss",
                    &vec![found.loss],
                    &vec![naive.loss],
                    &vec![truth.loss],
                ),
                (
                    "grad_losses",
                    &found.grad_losses,
                    &naive.grad_losses,
                    &truth.grad_losses,
                ),
                (
                    "grad_log_variances",
                    &found.grad_log_variances,
                    &naive.grad_log_variances,
                    &truth.grad_log_variances,
                ),
            ] {
                let name = format!("{name}: {what} in [{losses:?}]");
                near_all(&name, COUNT, (found, naive, truth), &[0.0], &mut failures);
            }
        }
    }
    finish(failures)
}
