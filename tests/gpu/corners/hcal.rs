//! HCAL.

use super::{COMPONENTS, TINY, finish, near_all};
use libtest_mimic::Failed;
use wgloss::host::{Engine, Gpu, HcalBatch, Values, Wanted};
use wgloss::losses::hcal::Aggregation;
use wgloss::reference::{HcalInputs, HcalOutputs, Real, hcal as by_definition};
use wgloss::{Balance, BalanceState, Error, Hcal, Levels, Noise};

const SAMPLES: usize = 5;
const DIM: usize = 3;
const CLASSES: [usize; 2] = [3, 2];
const PARENTS: [u32; 3] = [0, 0, 1];
/// The last sample has no label, and counts for nothing.
const LABELS: [u32; 2 * SAMPLES] = [
    0,
    1,
    2,
    0,
    Levels::NONE, //
    0,
    0,
    1,
    0,
    Levels::NONE,
];
const FEATURES: [f32; SAMPLES * DIM] = [
    0.5, -1.25, 2.0, //
    -0.75, 0.25, 1.0, //
    1.5, 0.5, -0.5, //
    0.25, -1.0, 0.75, //
    -1.0, -0.5, 0.5,
];
const PROTOTYPES: [f32; 5 * DIM] = [
    1.0, 0.25, 1.25, //
    -0.5, 0.75, 0.25, //
    1.25, 1.0, -0.75, //
    0.5, -0.25, 1.0, //
    0.75, 1.25, -1.0,
];

/// Features and prototypes, and what is odd about them.
struct Batch {
    name: String,
    features: Vec<f32>,
    prototypes: Vec<f32>,
}

/// The same with some numbers of about an odd size.
fn with(plain: &[f32], places: std::ops::Range<usize>, odd: f32) -> Vec<f32> {
    let mut values = plain.to_vec();
    for value in &mut values[places] {
        *value = match odd {
            _ if odd.is_finite() => 0.5 * *value * odd,
            _ => value.signum() * odd,
        };
    }
    values
}

fn batches() -> Vec<Batch> {
    let mut all = Vec::new();
    for odd in COMPONENTS {
        for (what, places) in [
            ("component", 1..2),
            ("feature", 0..DIM),
            ("feature without label", 4 * DIM..5 * DIM),
            ("every feature", 0..SAMPLES * DIM),
        ] {
            all.push(Batch {
                name: format!("{odd:e} in {what}"),
                features: with(&FEATURES, places, odd),
                prototypes: PROTOTYPES.to_vec(),
            });
        }
        for (what, places) in [
            ("prototype of level 1", DIM..2 * DIM),
            ("prototype of level 2", 3 * DIM..4 * DIM),
            ("every prototype", 0..5 * DIM),
        ] {
            all.push(Batch {
                name: format!("{odd:e} in {what}"),
                features: FEATURES.to_vec(),
                prototypes: with(&PROTOTYPES, places, odd),
            });
        }
    }
    all
}

type State = Option<BalanceState<&'static [f32], u64>>;

fn balances() -> Vec<(Balance, State)> {
    let mut all = Vec::new();
    for v in [1e-6, 0.5, 1e30] {
        for attach in [false, true] {
            all.push((Balance::Adaptive { gamma: v, attach }, None));
        }
        for history in [&[0.0_f32; 4], &[1.0, 1e30, 1e-30, 1e-20]] {
            let state = BalanceState::History(&history[..]);
            all.push((Balance::Dwa { temperature: v }, Some(state)));
        }
    }
    for theta in [&[0.0, 0.0_f32], &[-80.0, 80.0], &[30.0, 1e4]] {
        let state = BalanceState::LogVariances(&theta[..]);
        all.push((Balance::Uncertainty, Some(state)));
    }
    for weights in [&[0.0, 0.0_f32], &[TINY, 1e4], &[1e30, 0.0]] {
        let state = BalanceState::Weights(&weights[..]);
        all.push((Balance::Fixed, Some(state)));
    }
    all.push((Balance::Random, Some(BalanceState::Seed(7))));
    all
}

/// A call's settings.
#[derive(Clone, Copy)]
struct Settings {
    config: Hcal,
    noise: Option<u64>,
    balance: State,
}

fn settings() -> Vec<(String, Settings)> {
    let plain = Settings {
        config: Hcal::default(),
        noise: None,
        balance: None,
    };
    let mut all = Vec::new();
    for aggregation in [Aggregation::SampleMean, Aggregation::Tree] {
        for temperature in [1e-6, 1e-3, 1.0, 1e4, 1e30, f32::MAX] {
            let config = Hcal::default()
                .with_temperature(temperature)
                .with_aggregation(aggregation);
            all.push((
                format!("temperature {temperature:e} {aggregation:?}"),
                Settings { config, ..plain },
            ));
        }
    }
    for epsilon in [0.0, 1e-30, 1.0, 1e4, 1e15] {
        let config = Hcal::default().with_epsilon(epsilon);
        all.push((
            format!("epsilon {epsilon:e}"),
            Settings {
                config,
                noise: Some(3),
                ..plain
            },
        ));
    }
    for (kind, balance) in balances() {
        let config = Hcal::default().with_balance(kind);
        all.push((
            format!("{kind:?} with {balance:?}"),
            Settings {
                config,
                balance,
                ..plain
            },
        ));
    }
    all
}

/// The prototypes of each level.
fn levels_of<T>(prototypes: &[T]) -> [&[T]; 2] {
    let (first, second) = prototypes.split_at(CLASSES[0] * DIM);
    [first, second]
}

fn reference<T: Real + Default>(
    settings: &Settings,
    levels: &Levels,
    batch: &Batch,
) -> Result<HcalOutputs<T>, Error> {
    let wide =
        |values: &[f32]| -> Vec<T> { values.iter().map(|v| T::from_f64(f64::from(*v))).collect() };
    let kept = match settings.balance {
        Some(
            BalanceState::History(values)
            | BalanceState::LogVariances(values)
            | BalanceState::Weights(values),
        ) => wide(values),
        _ => Vec::new(),
    };
    by_definition(
        &settings.config,
        levels,
        &HcalInputs {
            samples: SAMPLES,
            dim: DIM,
            features: &wide(&batch.features),
            prototypes: &levels_of(&wide(&batch.prototypes)),
            labels: &LABELS,
            noise: settings.noise.map(Noise::Seeded),
            balance: settings
                .balance
                .map(|state| state.map(|_| &kept[..], |seed| seed)),
            grad_loss: None,
        },
    )
}

fn compare(
    gpu: &Gpu,
    (name, settings): (&str, &Settings),
    batch: &Batch,
    failures: &mut Vec<String>,
) -> Result<(), Failed> {
    let levels = Levels::new(&CLASSES, &[&PARENTS])?;
    let given = HcalBatch {
        samples: SAMPLES,
        dim: DIM,
        features: Values::F32(&batch.features),
        prototypes: &levels_of(&batch.prototypes).map(Values::F32),
        labels: &LABELS,
        noise: settings.noise.map(Noise::Seeded),
        balance: settings.balance,
        grad_loss: None,
    };
    let found =
        Engine::on(gpu.clone()).hcal(&settings.config, &levels, &given, Wanted::Gradients)?;
    let truth = reference::<f64>(settings, &levels, batch)?;
    let naive = reference::<f32>(settings, &levels, batch)?;
    for (what, width, found, naive, truth) in [
        ("losses", 1, &found.losses, &naive.losses, &truth.losses),
        ("weights", 2, &found.weights, &naive.weights, &truth.weights),
        (
            "loss",
            1,
            &vec![found.loss],
            &vec![naive.loss],
            &vec![truth.loss],
        ),
        (
            "grad_features",
            DIM,
            &found.grad_features,
            &naive.grad_features,
            &truth.grad_features,
        ),
        (
            "grad_prototypes",
            DIM,
            &found.grad_prototypes.concat(),
            &naive.grad_prototypes.concat(),
            &truth.grad_prototypes.concat(),
        ),
        (
            "grad_log_variances",
            2,
            &found.grad_log_variances,
            &naive.grad_log_variances,
            &truth.grad_log_variances,
        ),
    ] {
        let name = format!("{name}: {what} in [{}]", batch.name);
        near_all(
            &name,
            width,
            (found, naive, truth),
            &[0.0; 5 * DIM],
            failures,
        );
    }
    // A device may take the smallest numbers for 0.
    let mut numbers = batch.features.iter().chain(&batch.prototypes);
    let predicted = (&found.predictions, &found.violations);
    let expected = (&truth.predictions, &truth.violations);
    if predicted != expected && !numbers.any(|v| v.is_subnormal()) {
        failures.push(format!(
            "{name}: predictions in [{}]: {predicted:?}, expected {expected:?}",
            batch.name
        ));
    }
    Ok(())
}

pub fn hcal(gpu: &Gpu) -> Result<(), Failed> {
    let mut failures = Vec::new();
    let batches = batches();
    let all = settings();
    for batch in &batches {
        for noise in [None, Some(3)] {
            let plain = Settings { noise, ..all[0].1 };
            let config = Hcal::default();
            let name = format!("noise {noise:?}");
            compare(
                gpu,
                (&name, &Settings { config, ..plain }),
                batch,
                &mut failures,
            )?;
        }
    }
    for (name, settings) in &all {
        for batch in batches
            .iter()
            .filter(|batch| SOME.contains(&&batch.name[..]))
        {
            compare(gpu, (name, settings), batch, &mut failures)?;
        }
    }
    finish(failures)
}

/// Those that are compared in every setting.
const SOME: [&str; 5] = [
    "0e0 in every feature",
    "1e-4 in every prototype",
    "3e4 in every feature",
    "NaN in component",
    "NaN in feature without label",
];
