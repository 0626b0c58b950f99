//! HCAL and balance beyond the case table.

use crate::regimes::narrow;
use crate::{Test, table};
use libtest_mimic::Failed;
use wgloss::check::{HcalCase, HcalMode, Layout};
use wgloss::host::{Engine, Gpu, HcalBatch, Values, Wanted};
use wgloss::losses::hcal::Aggregation;
use wgloss::reference;
use wgloss::{
    Balance, BalanceInputs, BalanceOutputs, BalanceState, DType, Hcal, HcalInputs, HcalOutputs,
    Levels, Noise, Seed, Tensor,
};

pub const TESTS: &[Test] = &[
    ("hcal/golden_values", golden),
    ("hcal/windows_of_small_bindings", windows),
    ("hcal/a_hundred_thousand_classes", many_classes),
    (
        "hcal/more_elements_than_groups_in_a_dimension",
        many_samples,
    ),
    ("hcal/empty_batch_and_bit_identical_repeats", repeats),
    ("hcal/nan_reaches_what_depends_on_it", not_numbers),
    ("hcal/an_epoch_counts_without_reading_back", epoch),
    ("hcal/fixed_weights_may_change_between_steps", fixed_weights),
    ("balance/each_kind_is_the_reference", balances),
];

const PLAIN: HcalCase = HcalCase {
    config: Hcal {
        temperature: 0.1,
        aggregation: Aggregation::Tree,
        balance: Balance::Adaptive {
            gamma: 0.5,
            attach: false,
        },
        epsilon: 0.05,
        scores: 1 << 24,
    },
    noise: Some(Noise::Seeded(())),
    dtypes: (DType::F32, DType::F32),
    mode: HcalMode::All,
    missing: 0.1,
    layout: Layout::Apart,
    size: 1.0,
    samples: 20,
    dim: 12,
    classes: &[30, 7, 3],
    seed: 1,
};

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let first = [1.0, 2.0, 2.0, 2.0, -1.0, 2.0, 2.0, 2.0, -1.0];
    let second = [1.0, 0.0, 1.0, 0.0, 2.0, -1.0];
    let features = [3.0, 4.0, 0.0, 0.0, 3.0, 4.0, 4.0, 0.0, 3.0, -3.0, 0.0, 4.0];
    let batch = HcalBatch {
        samples: 4,
        dim: 3,
        features: Values::F32(&features),
        prototypes: &[Values::F32(&first), Values::F32(&second)],
        labels: &[0, 1, 2, 2, 0, 0, 1, 1],
        noise: None,
        balance: None,
        grad_loss: None,
    };
    let engine = Engine::on(gpu.clone());
    let result = engine.hcal(&Hcal::default(), &levels, &batch, Wanted::Gradients)?;
    for (what, found, expected) in [
        ("l_1", result.losses[0], 6.081623126648),
        ("l_2", result.losses[1], 4.635045305294),
        ("lambda_1", result.weights[0], 0.947507056964),
        ("L", result.loss, 6.005687999474),
    ] {
        let good = (f64::from(found) - expected).abs() <= 3e-6 * expected;
        if !good {
            return Err(format!("{what} is {found}, expected {expected}").into());
        }
    }
    Ok(())
}

/// Prototypes, scores and gradients in several windows, by bindings of 64 KiB.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let small = narrow(gpu, 64 << 10)?;
    let mut cases = Vec::new();
    for (noise, dtype, scores) in [
        (Some(Noise::Given(())), DType::F32, 1 << 24),
        (Some(Noise::Seeded(())), DType::F16, 9000),
        (None, DType::Bf16, 1),
    ] {
        cases.push(HcalCase {
            config: Hcal {
                scores,
                ..PLAIN.config
            },
            noise,
            dtypes: (dtype, dtype),
            samples: 50,
            dim: 40,
            classes: &[1700, 900, 9],
            ..PLAIN
        });
    }
    table::run(&small, &cases)
}

fn many_classes(gpu: &Gpu) -> Result<(), Failed> {
    let case = HcalCase {
        samples: 6,
        dim: 8,
        classes: &[100_000, 700, 20],
        ..PLAIN
    };
    // Products over the classes are split; windows of 33 samples and of 7.
    let windows = HcalCase {
        config: Hcal {
            scores: 33 * 5000,
            ..PLAIN.config
        },
        noise: Some(Noise::Given(())),
        dtypes: (DType::F16, DType::Bf16),
        samples: 40,
        dim: 8,
        classes: &[5000, 2100, 3],
        ..PLAIN
    };
    table::run(gpu, &[case, windows])
}

/// More samples than a grid has workgroups in one dimension.
fn many_samples(gpu: &Gpu) -> Result<(), Failed> {
    let levels = Levels::new(&[2], &[])?;
    let samples = 66_000;
    let features: Vec<f32> = (0..samples)
        .map(|i| if i % 3 == 0 { 1.0 } else { -2.0 })
        .collect();
    let feature_buffer = gpu.upload(bytemuck::cast_slice(&features))?;
    let prototypes = gpu.upload(bytemuck::cast_slice(&[-1.0_f32, 0.5]))?;
    let words = gpu.upload(bytemuck::cast_slice(&levels.words()))?;
    let predictions = gpu.zeros(4 * samples as u64)?;
    let violations = gpu.zeros(8)?;
    let inputs = HcalInputs {
        features: Tensor::matrix(&feature_buffer, DType::F32, samples, 1),
        prototypes: &[Tensor::matrix(&prototypes, DType::F32, 2, 1)],
        labels: None,
        levels: levels.on_device(Tensor::vector(&words, DType::U32, levels.words_len()))?,
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        predictions: Some(Tensor::matrix(&predictions, DType::U32, 1, samples)),
        violations: Some(Tensor::vector(&violations, DType::U32, 2)),
        ..HcalOutputs::default()
    };
    let call = Hcal::default().prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])?;
    let found: Vec<u32> =
        bytemuck::pod_collect_to_vec(&gpu.download(&predictions, 4 * samples as u64)?);
    let expected: Vec<u32> = (0..samples).map(|i| u32::from(i % 3 == 0)).collect();
    let counts: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.download(&violations, 8)?);
    if found != expected || counts != [66_000, 0] {
        return Err(format!("wrong predictions; counts {counts:?}").into());
    }
    Ok(())
}

fn repeats(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let levels = Levels::new(&[40, 5], &[&(0..40).map(|c| c % 5).collect::<Vec<u32>>()])?;
    let numbers = |n: usize, salt: usize| -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + salt) % 1009) as f32 / 500.0 - 1.0)
            .collect()
    };
    let (first, second) = (numbers(40 * 9, 3), numbers(5 * 9, 4));
    let prototypes = [Values::F32(&first), Values::F32(&second)];
    let features = numbers(70 * 9, 5);
    let fine: Vec<u32> = (0..70).map(|i| i * 13 % 40).collect();
    let labels: Vec<u32> = fine
        .iter()
        .copied()
        .chain(fine.iter().map(|c| c % 5))
        .collect();
    let batch = HcalBatch {
        samples: 70,
        dim: 9,
        features: Values::F32(&features),
        prototypes: &prototypes,
        labels: &labels,
        noise: Some(Noise::Seeded(5)),
        balance: None,
        grad_loss: Some(0.5),
    };
    let first = engine.hcal(&Hcal::default(), &levels, &batch, Wanted::Gradients)?;
    for _ in 0..10 {
        if engine.hcal(&Hcal::default(), &levels, &batch, Wanted::Gradients)? != first {
            return Err("the results differ".into());
        }
    }
    let empty = HcalBatch {
        samples: 0,
        features: Values::F32(&[]),
        labels: &[],
        ..batch
    };
    let result = engine.hcal(&Hcal::default(), &levels, &empty, Wanted::Gradients)?;
    let zero = result.grad_prototypes.iter().flatten().all(|g| *g == 0.0);
    if result.loss != 0.0 || result.losses != [0.0; 2] || !zero {
        return Err(format!("an empty batch gives {result:?}").into());
    }
    Ok(())
}

/// Of a sample with labels all losses; of one without, its own gradient.
fn not_numbers(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let first = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let second = [0.1, -0.99, -0.1, 0.99];
    let prototypes = [Values::F32(&first), Values::F32(&second)];
    let run = |bad: f32, label: u32, parent: u32| {
        let features = [1.0, 0.5, bad, 1.0, -1.0, 0.1];
        engine.hcal(
            &Hcal::default(),
            &levels,
            &HcalBatch {
                samples: 3,
                dim: 2,
                features: Values::F32(&features),
                prototypes: &prototypes,
                labels: &[0, label, 2, 0, parent, 1],
                noise: None,
                balance: None,
                grad_loss: None,
            },
            Wanted::Gradients,
        )
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let labelled = run(bad, 1, 0)?;
        let nan = labelled
            .losses
            .iter()
            .chain(&labelled.weights)
            .all(|v| v.is_nan());
        let alone = run(bad, Levels::NONE, Levels::NONE)?;
        let finite = alone
            .losses
            .iter()
            .chain(alone.grad_prototypes.iter().flatten());
        let finite = finite
            .chain(&alone.grad_features[..2])
            .all(|v| v.is_finite());
        // Without any label it counts for nothing; the others are as they are without it.
        let own = alone.grad_features[2..4] == [0.0; 2];
        let others = run(0.3, Levels::NONE, Levels::NONE)?;
        let same = alone.loss == others.loss
            && alone.losses == others.losses
            && alone.grad_features == others.grad_features
            && alone.grad_prototypes == others.grad_prototypes;
        if !(nan && labelled.loss.is_nan() && finite && own && same) {
            return Err(format!("{bad}: {labelled:?} {alone:?}").into());
        }
        // Without one at the first level it still counts at the second.
        let second = run(bad, Levels::NONE, 0)?;
        let first = second.losses[0] == others.losses[0] && second.losses[1].is_nan();
        if !first || run(0.3, Levels::NONE, 0)?.losses[1] == others.losses[1] {
            return Err(format!("{bad}: {second:?} {others:?}").into());
        }
    }
    Ok(())
}

/// One recorded call, submitted three times: counts add up, and each time the seed is another.
fn epoch(gpu: &Gpu) -> Result<(), Failed> {
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let floats = |values: &[f32]| gpu.upload(bytemuck::cast_slice(values));
    let words = |values: &[u32]| gpu.upload(bytemuck::cast_slice(values));
    // Predictions [0, 1, 2, 2] and [0, 1, 1, 0].
    let features = floats(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.1, -1.0, -0.2])?;
    let first = floats(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0])?;
    let second = floats(&[0.1, -0.99, -0.1, 0.99])?;
    let labels = words(&[0, 1, 2, 2, 0, 0, 1, 1])?;
    let parents = words(&levels.words())?;
    let seed = words(&[u32::MAX, 6])?;
    let counts = gpu.zeros(12)?;
    let loss = gpu.zeros(4)?;
    let matrix = |buffer, rows| Tensor::matrix(buffer, DType::F32, rows, 2);
    let inputs = HcalInputs {
        features: matrix(&features, 4),
        prototypes: &[matrix(&first, 3), matrix(&second, 2)],
        labels: Some(Tensor::matrix(&labels, DType::U32, 2, 4)),
        levels: levels.on_device(Tensor::vector(&parents, DType::U32, levels.words_len()))?,
        noise: Some(Noise::Seeded(Seed::advancing(Tensor::vector(
            &seed,
            DType::U32,
            2,
        )))),
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        violations: Some(Tensor::vector(&counts, DType::U32, 3)),
        ..HcalOutputs::default()
    };
    let call = Hcal::default().prepare(gpu.context(), &inputs, &outputs)?;
    let mut losses = Vec::new();
    for _ in 0..3 {
        gpu.run(&[&call])?;
        losses.push(gpu.download(&loss, 4)?);
    }
    let counts: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.download(&counts, 12)?);
    let seed: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.download(&seed, 8)?);
    let differ = losses[0] != losses[1] && losses[1] != losses[2];
    if counts != [12, 6, 6] || seed != [2, 7] || !differ {
        return Err(format!("counts {counts:?}, seed {seed:?}, losses {losses:?}").into());
    }
    Ok(())
}

/// One recorded call, whose weights of the levels are written anew between submissions.
fn fixed_weights(gpu: &Gpu) -> Result<(), Failed> {
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let floats = |values: &[f32]| gpu.upload(bytemuck::cast_slice(values));
    let words = |values: &[u32]| gpu.upload(bytemuck::cast_slice(values));
    let features = [1.0, 0.0, 0.0, 1.0, -1.0, 0.1, -1.0, -0.2];
    let (first, second) = ([1.0, 0.0, 0.0, 1.0, -1.0, 0.0], [0.1, -0.99, -0.1, 0.99]);
    let labels = [0, 1, 2, 2, 0, 0, 1, 1];
    let config = Hcal::default().with_balance(Balance::Fixed);
    let buffers = [
        floats(&features)?,
        floats(&first)?,
        floats(&second)?,
        words(&labels)?,
        words(&levels.words())?,
        gpu.zeros(8)?,
        gpu.zeros(4)?,
        gpu.zeros(8)?,
        gpu.zeros(32)?,
    ];
    let matrix = |i: usize, rows| Tensor::matrix(&buffers[i], DType::F32, rows, 2);
    let vector = |i: usize, len| Tensor::vector(&buffers[i], DType::F32, len);
    let parents = Tensor::vector(&buffers[4], DType::U32, levels.words_len());
    let inputs = HcalInputs {
        features: matrix(0, 4),
        prototypes: &[matrix(1, 3), matrix(2, 2)],
        labels: Some(Tensor::matrix(&buffers[3], DType::U32, 2, 4)),
        levels: levels.on_device(parents)?,
        noise: None,
        balance: Some(BalanceState::Weights(vector(5, 2))),
        grad_loss: None,
        settings: &[],
    };
    let outputs = HcalOutputs {
        loss: Some(vector(6, 1)),
        weights: Some(vector(7, 2)),
        grad_features: Some(matrix(8, 4).into()),
        ..HcalOutputs::default()
    };
    let call = config.prepare(gpu.context(), &inputs, &outputs)?;
    for weights in [[1.0_f32, 0.0], [0.25, 3.0], [0.0, 0.0]] {
        gpu.queue()
            .write_buffer(&buffers[5], 0, bytemuck::cast_slice(&weights));
        gpu.run(&[&call])?;
        let read = |i: usize, len: u64| -> Result<Vec<f32>, Failed> {
            Ok(bytemuck::pod_collect_to_vec(
                &gpu.download(&buffers[i], 4 * len)?,
            ))
        };
        let batch = HcalBatch {
            samples: 4,
            dim: 2,
            features: Values::F32(&features),
            prototypes: &[Values::F32(&first), Values::F32(&second)],
            labels: &labels,
            noise: None,
            balance: Some(BalanceState::Weights(&weights)),
            grad_loss: None,
        };
        let wanted = Engine::reference().hcal(&config, &levels, &batch, Wanted::Gradients)?;
        let found = [read(6, 1)?, read(8, 8)?].concat();
        let wanted = [&[wanted.loss][..], &wanted.grad_features].concat();
        let near = |(f, w): (&f32, &f32)| (f - w).abs() <= 1e-5 * w.abs().max(0.1);
        if read(7, 2)? != weights || !found.iter().zip(&wanted).all(near) {
            return Err(format!("{weights:?}: {found:?}, expected {wanted:?}").into());
        }
    }
    Ok(())
}

/// Five losses, more than a workgroup has lanes, and four million.
fn balances(gpu: &Gpu) -> Result<(), Failed> {
    let losses = [2.5_f32, 0.5, 7.0, 3.25, 0.0];
    let history = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 2.0, 1.0, 3.0, 0.0, 7.0];
    let thetas = [0.5_f32, -1.0, 0.0, 2.0, 0.25];
    balances_of(gpu, &losses, &history, &thetas)?;
    for count in [1001, 4_000_000] {
        let cycle = |of: &[f32], count: usize| -> Vec<f32> {
            (0..count).map(|i| of[(i * 7) % of.len()]).collect()
        };
        let (losses, thetas) = (cycle(&losses, count), cycle(&thetas, count));
        balances_of(gpu, &losses, &cycle(&history, 2 * count), &thetas)?;
    }
    Ok(())
}

fn balances_of(gpu: &Gpu, losses: &[f32], history: &[f32], thetas: &[f32]) -> Result<(), Failed> {
    let count = losses.len() as u64;
    let seed = 0xffff_ffff_u64;
    for config in [
        Balance::default(),
        Balance::Adaptive {
            gamma: 2.0,
            attach: true,
        },
        Balance::Dwa { temperature: 2.0 },
        Balance::Uncertainty,
        Balance::Random,
        Balance::Fixed,
    ] {
        // Among millions of random numbers are logarithms of nearly 1, which devices have but coarsely.
        if config == Balance::Random && count > 1_000_000 {
            continue;
        }
        let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|x| f64::from(*x)).collect() };
        let (past, thetas_wide) = (wide(history), wide(thetas));
        let truth = reference::balance(
            &config,
            &reference::BalanceInputs {
                losses: &wide(losses),
                state: match config {
                    Balance::Dwa { .. } => Some(BalanceState::History(&past[..])),
                    Balance::Uncertainty => Some(BalanceState::LogVariances(&thetas_wide[..])),
                    Balance::Random => Some(BalanceState::Seed(seed)),
                    Balance::Fixed => Some(BalanceState::Weights(&past[..losses.len()])),
                    _ => None,
                },
                grad_loss: Some(-1.5),
                ..reference::BalanceInputs::default()
            },
        )?;
        let floats = |values: &[f32]| gpu.upload(bytemuck::cast_slice(values));
        let loss_buffer = floats(losses)?;
        let upstream = floats(&[-1.5])?;
        let state = match config {
            Balance::Random => gpu.upload(bytemuck::cast_slice(&[seed as u32, 0]))?,
            Balance::Uncertainty => floats(thetas)?,
            _ => floats(history)?,
        };
        let nan = vec![f32::NAN; losses.len()];
        let (weights, sum, slopes, to_state) =
            (floats(&nan)?, floats(&nan)?, floats(&nan)?, floats(&nan)?);
        let all = |buffer| Tensor::vector(buffer, DType::F32, losses.len());
        let inputs = BalanceInputs {
            losses: all(&loss_buffer),
            state: match config {
                Balance::Dwa { .. } => Some(BalanceState::History(Tensor::vector(
                    &state,
                    DType::F32,
                    history.len(),
                ))),
                Balance::Uncertainty => Some(BalanceState::LogVariances(all(&state))),
                Balance::Random => Some(BalanceState::Seed(Tensor::vector(&state, DType::U32, 2))),
                Balance::Fixed => Some(BalanceState::Weights(all(&state))),
                _ => None,
            },
            grad_loss: Some(Tensor::vector(&upstream, DType::F32, 1)),
            settings: &[],
        };
        let uncertain = config == Balance::Uncertainty;
        let outputs = BalanceOutputs {
            weights: Some(all(&weights)),
            loss: Some(Tensor::vector(&sum, DType::F32, 1)),
            grad_losses: Some(all(&slopes).into()),
            grad_log_variances: uncertain.then(|| all(&to_state).into()),
        };
        gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
        let read = |buffer, n: u64| -> Result<Vec<f32>, Failed> {
            Ok(bytemuck::pod_collect_to_vec(&gpu.download(buffer, 4 * n)?))
        };
        let mut pairs = vec![
            ("weights", read(&weights, count)?, truth.weights),
            ("loss", read(&sum, 1)?, vec![truth.loss]),
            ("grad_losses", read(&slopes, count)?, truth.grad_losses),
        ];
        if uncertain {
            pairs.push((
                "grad_log_variances",
                read(&to_state, count)?,
                truth.grad_log_variances,
            ));
        }
        if let Balance::Dwa { .. } = config {
            pairs.push(("history", read(&state, 2 * count)?, truth.history));
        }
        for (name, found, expected) in pairs {
            // Where millions share, a weight is small.
            let least = (0.05 / count as f64).min(0.01);
            let near =
                |(f, e): (&f32, &f64)| (f64::from(*f) - e).abs() <= 3e-5 * e.abs().max(least);
            let wrong = found.iter().zip(&expected).position(|pair| !near(pair));
            if found.len() != expected.len() || wrong.is_some() {
                let at = wrong.unwrap_or(0);
                let (found, expected) = (found[at], expected[at]);
                let what = format!("{count} losses, {config:?} {name}[{at}]");
                return Err(format!("{what}: {found}, expected {expected}").into());
            }
            if name == "loss" {
                let off = (f64::from(found[0]) - expected[0]).abs() / expected[0].abs();
                println!("{count} losses, {config:?}: off by {off:e}");
                if off > 2e-6 && config != Balance::Random {
                    return Err(format!("{count} losses, {config:?}: off by {off:e}").into());
                }
            }
        }
        if config == Balance::Random {
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.download(&state, 8)?);
            if words != [0, 1] {
                return Err(format!("the seed is {words:?}").into());
            }
        }
    }
    Ok(())
}
