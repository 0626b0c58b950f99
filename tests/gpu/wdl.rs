//! The weighted difference and its permutations beyond the case table.

use crate::{Test, regimes, table};
use libtest_mimic::Failed;
use wgloss::check::{Extras, Layout, Mode, RowCase, SPARSE, WdlCase};
use wgloss::host::{Dense, Engine, Gpu, Rows, Values, Wanted};
use wgloss::losses::wdl::{PairWeights, Phi, Prediction};
use wgloss::{
    DType, Order, PermutationInputs, PermutationOutputs, Permutations, Reduction, Scope, Seed,
    Targets, Tensor, Wdl, reference, wgpu,
};

pub const TESTS: &[Test] = &[
    ("wdl/golden_values", golden),
    ("wdl/permutations_bit_for_bit", permutations),
    ("wdl/the_seed_advances", advances),
    (
        "wdl/mean_over_permutations_is_the_form_of_pairs",
        expectation,
    ),
    ("wdl/windows_of_rows", windows),
    ("wdl/split_rows", split_rows),
    ("wdl/labels_that_are_none", no_labels),
    ("wdl/long_sums", long_sums),
];

const GOLDEN: &str = include_str!("../fixtures/golden.json");

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value.as_array() {
        Some(all) => all.iter().filter_map(serde_json::Value::as_f64).collect(),
        None => value.as_f64().into_iter().collect(),
    }
}

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let all: serde_json::Value = serde_json::from_str(GOLDEN)?;
    let wdl = &all["wdl"];
    let floats = |key: &str| -> Vec<f32> { numbers(&wdl[key]).iter().map(|v| *v as f32).collect() };
    let order: Vec<u32> = floats("pi").iter().map(|v| *v as u32).collect();
    let (s, y) = (floats("s"), floats("y"));
    let thetas = [floats("theta_adj"), floats("theta_pair")];
    for (key, loss, theta, order) in [
        ("adj", Wdl::adjacent(), &thetas[0], &order[..]),
        ("pair", Wdl::default(), &thetas[1], &[]),
    ] {
        for (name, prediction) in [
            ("nsig", Prediction::Sigmoid),
            ("softmax", Prediction::Softmax),
        ] {
            let loss = Wdl { prediction, ..loss };
            let rows = Rows {
                permutation: match order {
                    [] => None,
                    order => Some(Order::Batch(order)),
                },
                theta: Some(theta),
                ..Rows::new(
                    1,
                    5,
                    Values::F32(&s),
                    Targets::Dense(Dense::Values(Values::F32(&y))),
                )
            };
            let found = engine.rows(&loss, &rows, Wanted::Gradients)?;
            let golden = &wdl["full"][format!("{key}/{name}")];
            for (part, found) in [
                ("loss", &found.loss),
                ("ds", &found.grad_logits),
                ("dy", &found.grad_targets),
                ("dtheta", &found.grad_theta),
            ] {
                let expected = numbers(&golden[part]);
                let near = |(f, e): (&f32, &f64)| (f64::from(*f) - e).abs() < 1e-6;
                let all_near = found.iter().zip(&expected).all(near);
                if found.is_empty() || found.len() != expected.len() || !all_near {
                    return Err(format!("{key}/{name} {part}: {found:?}, not {expected:?}").into());
                }
            }
        }
    }
    Ok(())
}

/// A seed on the device, after two words of something else.
fn seed_on(gpu: &Gpu, seed: u64) -> Result<wgpu::Buffer, Failed> {
    let words = [7, 7, seed as u32, (seed >> 32) as u32];
    Ok(gpu.upload(bytemuck::cast_slice(&words))?)
}

fn words(gpu: &Gpu, buffer: &wgpu::Buffer, count: usize) -> Result<Vec<u32>, Failed> {
    let bytes = gpu.download(buffer, 4 * count as u64)?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

fn permutations(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, cols, seed) in [
        (1, 1, 1),
        (5, 2, 2),
        (70, 3, u64::MAX),
        (9, 64, 4 << 32),
        (3, 1000, 5),
        (2, 65_536, 0x0123_4567_89ab_cdef),
        (1, 100_003, 7),
    ] {
        let place = seed_on(gpu, seed)?;
        let stride = cols + 3;
        let output = gpu.upload(&vec![0xee; 4 * (1 + rows * stride)])?;
        let inputs = PermutationInputs {
            seed: Seed::fixed(Tensor::vector(&place, DType::U32, 2).with_offset(2)),
        };
        let outputs = PermutationOutputs {
            permutation: Tensor::matrix(&output, DType::U32, rows, cols)
                .with_offset(1)
                .with_row_stride(stride),
        };
        let call = Permutations.prepare(gpu.context(), &inputs, &outputs)?;
        gpu.run(&[&call])?;
        let found = words(gpu, &output, 1 + rows * stride)?;
        let mut expected = vec![0xeeee_eeee; 1 + rows * stride];
        for row in 0..rows {
            let images = reference::permutation(seed, row as u32, cols as u32);
            expected[1 + row * stride..][..cols].copy_from_slice(&images);
        }
        if found != expected {
            return Err(format!("{rows} x {cols}, seed {seed}: not the reference's").into());
        }
        if words(gpu, &place, 4)?[2..] != [seed as u32, (seed >> 32) as u32] {
            return Err("the seed has changed".into());
        }
    }
    Ok(())
}

/// The same call recorded again has the next seed's permutation, over the border of the low word.
fn advances(gpu: &Gpu) -> Result<(), Failed> {
    let seed = u64::from(u32::MAX) - 1;
    let place = seed_on(gpu, seed)?;
    let output = gpu.zeros(4 * 50)?;
    let inputs = PermutationInputs {
        seed: Seed::advancing(Tensor::vector(&place, DType::U32, 2).with_offset(2)),
    };
    let outputs = PermutationOutputs {
        permutation: Tensor::vector(&output, DType::U32, 50),
    };
    let call = Permutations.prepare(gpu.context(), &inputs, &outputs)?;
    for step in 0..4 {
        gpu.run(&[&call])?;
        if words(gpu, &output, 50)? != reference::permutation(seed + step, 0, 50) {
            return Err(format!("step {step}").into());
        }
    }
    let next = seed + 4;
    if words(gpu, &place, 4)? != [7, 7, next as u32, (next >> 32) as u32] {
        return Err("the seed is not the fourth after the first".into());
    }
    Ok(())
}

/// Many rows alike, each with a permutation of its own: their mean is an estimate of the form of pairs, in value and
/// gradient, whose error falls with the root of their number.
fn expectation(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let (n, cols) = (4096, 9);
    let s: Vec<f32> = (0..cols).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
    let y: Vec<f32> = (0..cols).map(|i| ((i * 5) % 4) as f32 / 3.0).collect();
    for phi in [Phi::Abs, Phi::Square] {
        let adjacent = Wdl {
            phi,
            lambda_presence: 0.0,
            lambda_ratio: 0.0,
            reduction: Reduction::None,
            ..Wdl::adjacent()
        };
        let pairs = Wdl {
            form: Wdl::default().form,
            ..adjacent
        };
        let one = Rows::new(
            1,
            cols,
            Values::F32(&s),
            Targets::Dense(Dense::Values(Values::F32(&y))),
        );
        let truth = engine.rows(&pairs, &one, Wanted::Gradients)?;
        let (many_s, many_y) = (s.repeat(n), y.repeat(n));
        let many = Rows {
            permutation: Some(Order::Seeded {
                seed: 20_261_121,
                scope: Scope::Row,
            }),
            ..Rows::new(
                n,
                cols,
                Values::F32(&many_s),
                Targets::Dense(Dense::Values(Values::F32(&many_y))),
            )
        };
        let found = engine.rows(&adjacent, &many, Wanted::Gradients)?;
        let check = |what: &str, samples: Vec<f64>, expected: f32| -> Result<(), Failed> {
            let mean = samples.iter().sum::<f64>() / n as f64;
            let square = samples.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            let error = (square / (n * (n - 1)) as f64).sqrt();
            if error == 0.0 || (mean - f64::from(expected)).abs() > 5.0 * error {
                return Err(format!("{what}: {mean} +- {error}, expected {expected}").into());
            }
            Ok(())
        };
        let column = |values: &[f32], col: usize, width: usize| -> Vec<f64> {
            let all = values.iter().skip(col).step_by(width);
            all.map(|v| f64::from(*v)).collect()
        };
        check("loss", column(&found.loss, 0, 1), truth.loss[0])?;
        for col in 0..cols {
            let samples = column(&found.grad_logits, col, cols);
            check("gradient", samples, truth.grad_logits[col])?;
        }
    }
    Ok(())
}

/// Forms that between them take every path of the plan.
fn cases(rows: usize, cols: usize) -> Vec<RowCase> {
    let sweep = Wdl {
        phi: Phi::Abs,
        ..Wdl::pairs(PairWeights::Additive)
    };
    let seeded = |scope| Some(Order::Seeded { seed: (), scope });
    [
        (Wdl::adjacent(), Some(Order::PerRow(()))),
        (Wdl::adjacent(), seeded(Scope::Row)),
        (Wdl::adjacent(), seeded(Scope::Batch)),
        (Wdl::pairs(PairWeights::Rank(2)), None),
        (sweep, None),
    ]
    .into_iter()
    .map(|(loss, order)| RowCase {
        wdl: WdlCase {
            order,
            theta: true,
            theta0: true,
        },
        form: Targets::Dense(DType::F32),
        extras: Some(Extras::All),
        ..RowCase::plain("wdl", loss.into(), rows, cols)
    })
    .collect()
}

fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let mut all = Vec::new();
    for (rows, cols) in [(700, 100), (701, 33), (9, 1201)] {
        for case in cases(rows, cols) {
            all.push(case);
            all.push(RowCase {
                layout: Layout::Together,
                mode: Mode::InPlace,
                dtype: DType::F16,
                form: Targets::Bits(()),
                ..case
            });
        }
    }
    table::run(&regimes::narrow(gpu, 64 << 10)?, &all)
}

fn split_rows(gpu: &Gpu) -> Result<(), Failed> {
    let mut all = Vec::new();
    for cols in [8192, 12_289] {
        for case in cases(2, cols) {
            all.push(case);
            all.push(RowCase {
                form: SPARSE,
                dtype: DType::Bf16,
                mode: Mode::InPlace,
                ..case
            });
        }
    }
    table::run(gpu, &all)
}

/// What lies in a permutation on the device is not checked: values that are no labels are in no difference.
fn no_labels(gpu: &Gpu) -> Result<(), Failed> {
    use wgloss::{Gradient, RowInputs, RowOutputs};
    let logits = gpu.upload(bytemuck::cast_slice(&[0.5_f32, -1.0, 2.0]))?;
    let targets = gpu.upload(&[1, 0, 1])?;
    let order = gpu.upload(bytemuck::cast_slice(&[u32::MAX, 3, 1 << 31]))?;
    let (loss, grad) = (gpu.upload(&[0xff; 4])?, gpu.upload(&[0xff; 12])?);
    let vector = |buffer, dtype| Tensor::matrix(buffer, dtype, 1, 3);
    let inputs = RowInputs {
        permutation: Some(Order::Batch(Tensor::vector(&order, DType::U32, 3))),
        ..RowInputs::new(
            vector(&logits, DType::F32),
            Targets::Dense(vector(&targets, DType::U8)),
        )
    };
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_logits: Some(Gradient::To(vector(&grad, DType::F32))),
        ..RowOutputs::default()
    };
    let config = Wdl {
        lambda_presence: 0.0,
        lambda_ratio: 0.0,
        ..Wdl::adjacent()
    };
    gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
    let found = words(gpu, &loss, 1)?;
    if found != [0] {
        return Err(format!("a loss of {}", f32::from_bits(found[0])).into());
    }
    Ok(())
}

/// Sums over many labels to 2e-6 of the f64 value, and gradients to 2e-6 of their largest.
fn long_sums(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let seeded = Some(Order::Seeded {
        seed: 11,
        scope: Scope::Batch,
    });
    let abs = |loss: Wdl| Wdl {
        phi: Phi::Abs,
        ..loss
    };
    for (loss, cols, permutation, with_theta) in [
        (Wdl::pairs(PairWeights::Rank(1)), 4_000_000, None, true),
        (Wdl::pairs(PairWeights::Rank(2)), 1_000_003, None, true),
        (Wdl::pairs(PairWeights::Additive), 4_000_000, None, true),
        (Wdl::pairs(PairWeights::Rank(1)), 4_000_000, None, false),
        (Wdl::adjacent(), 4_000_000, seeded, true),
        (abs(Wdl::adjacent()), 1_000_003, seeded, false),
        (abs(Wdl::pairs(PairWeights::Rank(1))), 9_001, None, true),
        (abs(Wdl::pairs(PairWeights::Additive)), 9_001, None, true),
    ] {
        // The difference alone, and large enough to be seen beside nothing.
        let loss = Wdl {
            lambda_presence: 0.0,
            lambda_ratio: 0.0,
            lambda_difference: 1e6,
            ..loss
        };
        let wave = |i: usize, step: f64| (i as f64 * step).sin() as f32;
        let s: Vec<f32> = (0..cols).map(|i| 3.0 * wave(i, 0.7)).collect();
        let y: Vec<f32> = (0..cols).map(|i| 0.5 + 0.5 * wave(i, 1.3)).collect();
        let (sets, len) = loss.theta_shape(cols);
        let theta: Vec<f32> = (0..sets * len).map(|i| wave(i, 0.37)).collect();
        let theta = with_theta.then_some(&theta[..]);
        let rows = Rows {
            permutation,
            theta,
            ..Rows::new(
                1,
                cols,
                Values::F32(&s),
                Targets::Dense(Dense::Values(Values::F32(&y))),
            )
        };
        let found = engine.rows(&loss, &rows, Wanted::Gradients)?;
        let wide = |of: &[f32]| of.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (s, y, theta) = (wide(&s), wide(&y), theta.map(wide));
        let expected = reference::wdl(
            &loss,
            &reference::RowInputs {
                rows: 1,
                cols,
                logits: &s,
                targets: &y,
                permutation,
                theta: theta.as_deref(),
                ..reference::RowInputs::default()
            },
        )?;
        let mut parts = vec![
            ("loss", &found.loss, &expected.loss),
            ("gradient", &found.grad_logits, &expected.grad_logits),
            ("to targets", &found.grad_targets, &expected.grad_targets),
        ];
        if with_theta {
            parts.push(("to theta", &found.grad_theta, &expected.grad_theta));
        }
        for (part, found, expected) in parts {
            let most = expected.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
            let errors = found.iter().zip(expected);
            let error = errors.fold(0.0_f64, |error, (f, e)| {
                error.max((f64::from(*f) - e).abs())
            });
            if found.len() != expected.len() || most == 0.0 || error.is_nan() || error > 2e-6 * most
            {
                return Err(
                    format!("{loss:?}, {cols} labels, {part}: {error:e} of {most:e}").into(),
                );
            }
        }
    }
    Ok(())
}
