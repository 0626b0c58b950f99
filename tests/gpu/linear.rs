//! The fused last layer beyond its case table: many labels, gradients that are added, windows of samples, rounding by chance.

use crate::Test;
use half::{bf16, f16};
use libtest_mimic::Failed;
use wgloss::check::{LinearCase, LinearMode, SPARSE};
use wgloss::check::{Outcome, Rng, run};
use wgloss::host::Gpu;
use wgloss::{
    Bce, DType, Gradient, Linear, LinearInputs, LinearOutputs, Reduction, Targets, Tensor, Update,
    Zlpr, reference, wgpu,
};

pub const TESTS: &[Test] = &[
    ("linear/two_hundred_thousand_labels", many_labels),
    ("linear/windows_of_samples", windows),
    ("linear/gradients_are_added", added),
    ("linear/weights_are_rounded_by_chance", chance),
    ("linear/the_same_call_gives_the_same_bits", same_bits),
];

/// Numbers of f32 on the device.
fn put(gpu: &Gpu, values: &[f32]) -> Result<wgpu::Buffer, Failed> {
    Ok(gpu.upload(bytemuck::cast_slice(values))?)
}

fn words(gpu: &Gpu, values: &[u32]) -> Result<wgpu::Buffer, Failed> {
    Ok(gpu.upload(bytemuck::cast_slice(values))?)
}

fn get(gpu: &Gpu, buffer: &wgpu::Buffer, len: usize) -> Result<Vec<f32>, Failed> {
    let bytes = gpu.download(buffer, 4 * len as u64)?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

fn normal(rng: &mut Rng, count: usize, size: f64) -> Vec<f32> {
    (0..count).map(|_| (size * rng.normal()) as f32).collect()
}

/// The largest difference of two lists, which have the same length and hold no NaN.
fn apart(found: &[f32], expected: &[f64]) -> Result<f64, Failed> {
    if found.len() != expected.len() {
        return Err(format!("{} values where {} are", found.len(), expected.len()).into());
    }
    let mut most = 0.0;
    for (found, expected) in found.iter().zip(expected) {
        let off = (f64::from(*found) - expected).abs();
        if off.is_nan() {
            return Err(format!("{found} where {expected} is expected").into());
        }
        most = f64::max(most, off);
    }
    Ok(most)
}

/// 200,000 labels in several tiles, of which each positive and some others are looked at: the loss of each sample from all
/// logits in f64, gradients to hidden states, a step of the weights, and the labels of the greatest logits.
fn many_labels(gpu: &Gpu) -> Result<(), Failed> {
    const ROWS: usize = 32;
    const COLS: usize = 200_000;
    const DIMS: usize = 64;
    const RATE: f64 = 0.25;
    const CHOSEN: usize = 100;
    let mut rng = Rng(14);
    let hidden = normal(&mut rng, ROWS * DIMS, 1.0);
    let weights = normal(&mut rng, COLS * DIMS, 0.25);
    let (mut offsets, mut indices) = (vec![0_u32], Vec::new());
    for row in 0..ROWS {
        let mut labels: Vec<u32> = (0..row % 5).map(|_| rng.below(COLS) as u32).collect();
        labels.sort_unstable();
        labels.dedup();
        indices.extend(labels);
        offsets.push(indices.len() as u32);
    }
    // What comes of it, one sample after the other.
    let logit = |row: usize, col: usize| -> f64 {
        let pair = hidden[row * DIMS..][..DIMS]
            .iter()
            .zip(&weights[col * DIMS..][..DIMS]);
        pair.map(|(h, w)| f64::from(*h) * f64::from(*w)).sum()
    };
    let mut losses = Vec::new();
    let mut to_hidden = vec![0.0; ROWS * DIMS];
    let mut after: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    let mut best = Vec::new();
    for row in 0..ROWS {
        let logits: Vec<f64> = (0..COLS).map(|col| logit(row, col)).collect();
        let positives = &indices[offsets[row] as usize..offsets[row + 1] as usize];
        let mut positive = vec![false; COLS];
        positives
            .iter()
            .for_each(|label| positive[*label as usize] = true);
        let sum = |of: bool| -> f64 {
            let side = logits.iter().zip(&positive).filter(|(_, p)| **p == of);
            1.0 + side
                .map(|(s, _)| if of { (-s).exp() } else { s.exp() })
                .sum::<f64>()
        };
        let (above, below) = (sum(true), sum(false));
        losses.push(above.ln() + below.ln());
        for col in 0..COLS {
            let slope = match positive[col] {
                true => -(-logits[col]).exp() / above,
                false => logits[col].exp() / below,
            } / ROWS as f64;
            for d in 0..DIMS {
                to_hidden[row * DIMS + d] += slope * f64::from(weights[col * DIMS + d]);
                after[col * DIMS + d] -= RATE * slope * f64::from(hidden[row * DIMS + d]);
            }
        }
        let mut order: Vec<usize> = (0..COLS).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        best.push(
            order[..CHOSEN]
                .iter()
                .map(|col| logits[*col])
                .collect::<Vec<f64>>(),
        );
    }

    let hidden_buffer = put(gpu, &hidden)?;
    let weights_buffer = put(gpu, &weights)?;
    let (offsets, indices) = (words(gpu, &offsets)?, words(gpu, &indices)?);
    let (loss, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (ROWS * DIMS) as u64)?);
    let chosen = 4 * (ROWS * CHOSEN) as u64;
    let (labels, scores) = (gpu.zeros(chosen)?, gpu.zeros(chosen)?);
    let count = indices.size() as usize / 4;
    let inputs = LinearInputs {
        targets: Some(Targets::Sparse {
            offsets: Tensor::vector(&offsets, DType::U32, ROWS + 1),
            indices: Tensor::vector(&indices, DType::U32, count),
        }),
        ..LinearInputs::new(
            Tensor::matrix(&hidden_buffer, DType::F32, ROWS, DIMS),
            Tensor::matrix(&weights_buffer, DType::F32, COLS, DIMS),
        )
    };
    let outputs = LinearOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_hidden: Some(Tensor::matrix(&grad, DType::F32, ROWS, DIMS).into()),
        top_labels: Some(Tensor::matrix(&labels, DType::U32, ROWS, CHOSEN)),
        top_scores: Some(Tensor::matrix(&scores, DType::F32, ROWS, CHOSEN)),
        ..LinearOutputs::default()
    };
    let layer = Linear::new(Zlpr::hard())
        .with_tile_bytes(8 << 20)
        .with_update(Update::sgd(RATE as f32), 1);
    let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])?;

    let mean = losses.iter().sum::<f64>() / ROWS as f64;
    let off = apart(&get(gpu, &loss, 1)?, &[mean])?;
    assert!(off < 2e-5 * mean, "loss off by {off} of {mean}");
    let off = apart(&get(gpu, &grad, ROWS * DIMS)?, &to_hidden)?;
    let most = to_hidden.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
    assert!(off < 1e-5 * most, "grad_hidden off by {off} of {most}");
    let off = apart(&get(gpu, &weights_buffer, COLS * DIMS)?, &after)?;
    assert!(off < 1e-6, "weights off by {off}");
    let labels: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.download(&labels, chosen)?);
    let scores = get(gpu, &scores, ROWS * CHOSEN)?;
    for row in 0..ROWS {
        let mut seen = std::collections::BTreeSet::new();
        for i in 0..CHOSEN {
            let label = labels[row * CHOSEN + i] as usize;
            assert!(
                label < COLS && seen.insert(label),
                "sample {row}: label {label}"
            );
            // Where two logits are as close as their rounding, either may come first.
            let score = f64::from(scores[row * CHOSEN + i]);
            let own = (score - logit(row, label)).abs();
            let placed = (score - best[row][i]).abs();
            assert!(
                own < 1e-4 && placed < 1e-4,
                "sample {row}, place {i}: {own} {placed}"
            );
        }
    }
    Ok(())
}

pub fn case(name: &'static str, config: Linear<wgloss::AnyLoss>) -> LinearCase {
    LinearCase {
        name,
        config,
        dtypes: (DType::F32, DType::F32),
        form: SPARSE,
        bias: true,
        sides: true,
        mode: LinearMode::All,
        layout: wgloss::check::Layout::Together,
        rows: 1100,
        cols: 70,
        dims: 10,
        seed: 77,
    }
}

/// More samples than a window has, with a loss of one round and of two, a number that is counted, and a step.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let zlpr = Linear::new(Zlpr::hard().into());
    let bce = Linear::new(
        Bce::default()
            .with_reduction(Reduction::MeanElements)
            .into(),
    );
    let rows = Linear::new(Bce::default().with_reduction(Reduction::None).into());
    for (name, layer) in [("zlpr", zlpr), ("bce", bce), ("bce", rows)] {
        for tile in [0, 150_000] {
            let layer = layer.with_tile_bytes(tile);
            let sgd = LinearCase {
                mode: LinearMode::Sgd,
                ..case(name, layer.with_update(Update::sgd(0.5), 3))
            };
            let top = LinearCase {
                mode: LinearMode::Top,
                ..case(name, layer)
            };
            for case in [case(name, layer), sgd, top] {
                if let Outcome::Failed(message) = run(gpu, &case)? {
                    return Err(format!("{case}: {message}").into());
                }
            }
        }
    }
    Ok(())
}

/// Small tensors for the calls below: hidden states, weights, bias, targets in bits.
struct Small {
    hidden: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    bits: Vec<u32>,
}

const ROWS: usize = 6;
const COLS: usize = 75;
const DIMS: usize = 9;

impl Small {
    fn new() -> Small {
        let mut rng = Rng(21);
        let bits = (0..ROWS * 3).map(|_| rng.below(1 << 30) as u32 & 0x1111_4081);
        let bits = bits.collect();
        Small {
            hidden: normal(&mut rng, ROWS * DIMS, 1.0),
            weights: normal(&mut rng, COLS * DIMS, 0.5),
            bias: normal(&mut rng, COLS, 1.0),
            bits,
        }
    }

    fn reference(&self) -> Result<reference::LinearOutputs<f64>, Failed> {
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let targets = reference::dense_from_bits(ROWS, COLS, &self.bits)?;
        let targets: Vec<f64> = targets.into_iter().map(f64::from).collect();
        Ok(
            Linear::new(Zlpr::hard()).reference(&reference::LinearInputs {
                rows: ROWS,
                cols: COLS,
                dims: DIMS,
                hidden: &wide(&self.hidden),
                weights: &wide(&self.weights),
                bias: Some(&wide(&self.bias)),
                targets: &targets,
                ..reference::LinearInputs::default()
            })?,
        )
    }
}

/// Two losses, one after the other, onto what is there, in f32 and in 16 bits.
fn added(gpu: &Gpu) -> Result<(), Failed> {
    let small = Small::new();
    let truth = small.reference()?;
    let hidden = put(gpu, &small.hidden)?;
    let (weights, bias) = (put(gpu, &small.weights)?, put(gpu, &small.bias)?);
    let bits = words(gpu, &small.bits)?;
    let inputs = LinearInputs {
        bias: Some(Tensor::vector(&bias, DType::F32, COLS)),
        targets: Some(Targets::Bits(Tensor::matrix(&bits, DType::U32, ROWS, 3))),
        ..LinearInputs::new(
            Tensor::matrix(&hidden, DType::F32, ROWS, DIMS),
            Tensor::matrix(&weights, DType::F32, COLS, DIMS),
        )
    };
    for tile in [0, 32 << 20] {
        let to_hidden = put(gpu, &[1.0; ROWS * DIMS])?;
        let to_weights = put(gpu, &[-2.0; COLS * DIMS])?;
        let to_bias = put(gpu, &[0.5; COLS])?;
        let outputs = LinearOutputs {
            grad_hidden: Some(Gradient::AddTo(Tensor::matrix(
                &to_hidden,
                DType::F32,
                ROWS,
                DIMS,
            ))),
            grad_weights: Some(Gradient::AddTo(Tensor::matrix(
                &to_weights,
                DType::F32,
                COLS,
                DIMS,
            ))),
            grad_bias: Some(Gradient::AddTo(Tensor::vector(&to_bias, DType::F32, COLS))),
            ..LinearOutputs::default()
        };
        let layer = Linear::new(Zlpr::hard()).with_tile_bytes(tile);
        let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
        gpu.run(&[&call, &call])?;
        for (name, buffer, before, slope) in [
            ("grad_hidden", &to_hidden, 1.0, &truth.grad_hidden),
            ("grad_weights", &to_weights, -2.0, &truth.grad_weights),
            ("grad_bias", &to_bias, 0.5, &truth.grad_bias),
        ] {
            let expected: Vec<f64> = slope.iter().map(|g| before + 2.0 * g).collect();
            let off = apart(&get(gpu, buffer, slope.len())?, &expected)?;
            assert!(off < 2e-6, "{name} in tiles of {tile} bytes: off by {off}");
        }
    }
    Ok(())
}

/// A number as f16 or bf16.
fn stored(dtype: DType, value: f32) -> u16 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_bits(),
        _ => bf16::from_f32(value).to_bits(),
    }
}

fn value(dtype: DType, bits: u16) -> f64 {
    match dtype {
        DType::F16 => f16::from_bits(bits).to_f64(),
        _ => bf16::from_bits(bits).to_f64(),
    }
}

fn chance(gpu: &Gpu) -> Result<(), Failed> {
    rounded_by_chance(gpu, |_| DType::F32)
}

/// Weights of 16 bits after steps too small for half of their last digit: each is one of the two neighbours of what it should
/// be, the mean over many weights is right, and the numbers are those of the reference. Hidden states have a type that follows
/// from the weights'.
pub fn rounded_by_chance(gpu: &Gpu, of_hidden: fn(DType) -> DType) -> Result<(), Failed> {
    const LABELS: usize = 67;
    const DIMS: usize = 33;
    let mut rng = Rng(5);
    let bits = words(gpu, &[0; 3])?;
    for dtype in [DType::F16, DType::Bf16] {
        let of_hidden = of_hidden(dtype);
        let held = |h: &f32| match of_hidden {
            DType::F32 => *h,
            _ => value(of_hidden, stored(of_hidden, *h)) as f32,
        };
        let hidden: Vec<f32> = normal(&mut rng, DIMS, 1.0).iter().map(held).collect();
        let mut image: Vec<u16> = match of_hidden {
            DType::F32 => bytemuck::pod_collect_to_vec(&hidden),
            _ => hidden.iter().map(|h| stored(of_hidden, *h)).collect(),
        };
        image.resize(image.len().next_multiple_of(2), 0);
        let hidden_buffer = gpu.upload(bytemuck::cast_slice(&image))?;
        // Some are below the least normal f16.
        let plain: Vec<f32> = (0..LABELS * DIMS)
            .map(|i| (rng.normal() * [0.5, 1e-5][i % 2]) as f32)
            .collect();
        let value = |bits| value(dtype, bits);
        let before: Vec<u16> = plain.iter().map(|w| stored(dtype, *w)).collect();
        // Rows that begin in the middle of words, and a guard at either end.
        let mut image = vec![0x1234_u16];
        image.extend(&before);
        image.extend([0x5678; 3]);
        let mut seen = Vec::new();
        for (seed, tile) in [(7, 32 << 20), (7, 0), (8, 0)] {
            let weights = gpu.upload(bytemuck::cast_slice(&image))?;
            let inputs = LinearInputs {
                targets: Some(Targets::Bits(Tensor::matrix(&bits, DType::U32, 1, 3))),
                ..LinearInputs::new(
                    Tensor::matrix(&hidden_buffer, of_hidden, 1, DIMS),
                    Tensor::matrix(&weights, dtype, LABELS, DIMS).with_offset(1),
                )
            };
            let loss = gpu.zeros(4)?;
            let outputs = LinearOutputs {
                loss: Some(Tensor::vector(&loss, DType::F32, 1)),
                ..LinearOutputs::default()
            };
            let layer = Linear::new(Bce::default())
                .with_tile_bytes(tile)
                .with_update(Update::sgd(1e-3), seed);
            let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
            gpu.run(&[&call])?;
            let bytes = gpu.download(&weights, 2 * image.len() as u64)?;
            let after: Vec<u16> = bytemuck::pod_collect_to_vec(&bytes);
            assert!(after[0] == 0x1234 && after[1 + before.len()..] == [0x5678; 3]);
            let after = after[1..=before.len()].to_vec();
            let (mut sum, mut steps) = (0.0, 0.0);
            let mut same = 0;
            for (i, (was, is)) in before.iter().zip(&after).enumerate() {
                let (label, d) = (i / DIMS, i % DIMS);
                let row = &before[label * DIMS..][..DIMS];
                let logit: f64 = row
                    .iter()
                    .zip(&hidden)
                    .map(|(w, h)| value(*w) * f64::from(*h))
                    .sum();
                let slope = f64::from(hidden[d]) / (1.0 + (-logit).exp());
                let exact = value(*was) - 1e-3 * slope;
                // The neighbours of a number of 16 bits are the numbers of the words beside its.
                let step = (value(is ^ 1) - value(*is)).abs();
                let off = value(*is) - exact;
                assert!(
                    off.abs() <= 1.01 * step + 1e-9,
                    "{dtype} {i}: {off} of {step}"
                );
                (sum, steps) = (sum + off / step, steps + 1.0);
                let chosen = match dtype {
                    DType::F16 => {
                        reference::f16_by_chance(exact as f32, seed, label as u32, d as u32)
                            .to_bits()
                    }
                    _ => reference::bf16_by_chance(exact as f32, seed, label as u32, d as u32)
                        .to_bits(),
                };
                same += usize::from(chosen == *is);
            }
            // A uniform error of up to a step has a deviation of 0.41 of one.
            let mean: f64 = sum / steps;
            assert!(
                mean.abs() < 0.05,
                "{dtype}: the mean is off by {mean} steps"
            );
            let differ = before.len() - same;
            assert!(
                differ < before.len() / 50,
                "{dtype}: {differ} of {} are not the reference's",
                before.len()
            );
            seen.push(after);
        }
        assert!(seen[0] == seen[1], "{dtype}: tiles change the numbers");
        assert!(seen[1] != seen[2], "{dtype}: the seed changes nothing");
    }
    Ok(())
}

fn same_bits(gpu: &Gpu) -> Result<(), Failed> {
    let small = Small::new();
    let hidden = put(gpu, &small.hidden)?;
    let bits = words(gpu, &small.bits)?;
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for _ in 0..3 {
        let weights = put(gpu, &small.weights)?;
        let state = put(gpu, &[0.0; COLS])?;
        let grad = gpu.zeros(4 * (ROWS * DIMS) as u64)?;
        let inputs = LinearInputs {
            targets: Some(Targets::Bits(Tensor::matrix(&bits, DType::U32, ROWS, 3))),
            state: Some(Tensor::vector(&state, DType::F32, COLS)),
            ..LinearInputs::new(
                Tensor::matrix(&hidden, DType::F32, ROWS, DIMS),
                Tensor::matrix(&weights, DType::F32, COLS, DIMS),
            )
        };
        let outputs = LinearOutputs {
            grad_hidden: Some(Tensor::matrix(&grad, DType::F32, ROWS, DIMS).into()),
            ..LinearOutputs::default()
        };
        let layer = Linear::new(Zlpr::hard())
            .with_tile_bytes(0)
            .with_update(Update::adagrad(0.1), 5);
        let call = layer.prepare(gpu.context(), &inputs, &outputs)?;
        gpu.run(&[&call])?;
        let mut all = gpu.download(&weights, weights.size())?;
        all.extend(gpu.download(&state, state.size())?);
        all.extend(gpu.download(&grad, grad.size())?);
        seen.push(all);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
    Ok(())
}
