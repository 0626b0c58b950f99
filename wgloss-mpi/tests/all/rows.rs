//! Losses of rows, and last layers, whose labels lie over ranks.

use crate::schemes::{Failure, bytes, compare, floats, numbers, part};
use wgloss::host::{Dense, Engine, Gpu, LinearRows, Rows, Values, Wanted};
use wgloss::{
    AnyLoss, Bce, BpMll, DType, Dice, Linear, LinearInputs, LinearOutputs, Reduction, RowInputs,
    RowOutputs, SoftmaxCe, Targets, Tensor, Threshold, Update, Zlpr,
};
use wgloss_mpi::{ShardedLinear, ShardedRows, World};

type Case = fn(&World, &Gpu) -> Result<Vec<f32>, Failure>;

/// Each with some losses.
pub const CASES: &[(&str, Case)] = &[
    ("rows-two-sided", |world, gpu| {
        let one = rows(world, gpu, Zlpr::hard(), 1)?;
        let three = rows(world, gpu, Zlpr::hard(), 3)?;
        // Windows change nothing but when things are done.
        compare("windows", &three, &one)?;
        Ok([one, rows(world, gpu, Zlpr::two_way(4.0, 1.0), 2)?].concat())
    }),
    ("rows-sums", |world, gpu| {
        let loss = Bce::default().with_reduction(Reduction::MeanElements);
        rows(world, gpu, loss, 1)
    }),
    ("rows-others", |world, gpu| {
        let mut all = rows(world, gpu, SoftmaxCe::default(), 1)?;
        all.extend(rows(world, gpu, BpMll::default(), 2)?);
        // More windows than rows: some have none.
        all.extend(rows(world, gpu, Dice::default(), B + 2)?);
        Ok(all)
    }),
    ("rows-threshold", threshold),
    ("linear-gradients", |world, gpu| {
        linear(world, gpu, Zlpr::hard().into(), None, 1)
    }),
    ("linear-update", |world, gpu| {
        let update = Some(Update::adagrad(0.5));
        linear(world, gpu, Zlpr::hard().into(), update, 3)
    }),
    ("linear-sums", |world, gpu| {
        let update = Some(Update::sgd(0.5));
        linear(world, gpu, Bce::default().into(), update, 1)
    }),
];

const B: usize = 11;
const L: usize = 70;
const D: usize = 20;

/// One label in six, as flags.
fn targets(seed: u64) -> Vec<u8> {
    numbers(seed, B * L)
        .iter()
        .map(|x| (*x > 0.66).into())
        .collect()
}

/// The columns of a rank.
fn columns<T: Copy>(all: &[T], mine: &std::ops::Range<usize>) -> Vec<T> {
    all.chunks_exact(L)
        .flat_map(|row| &row[mine.clone()])
        .copied()
        .collect()
}

/// Two steps, the second with other logits in the same buffers; a class is left out, rows weigh differently.
fn rows(
    world: &World,
    gpu: &Gpu,
    loss: impl Into<AnyLoss>,
    windows: usize,
) -> Result<Vec<f32>, Failure> {
    let loss: AnyLoss = loss.into();
    let mine = part(world, L);
    let cols = mine.len();
    let all_targets = targets(5);
    let class_mask: Vec<u8> = (0..L).map(|label| (label % 9 != 4).into()).collect();
    let weights: Vec<f32> = numbers(6, B).iter().map(|x| x.abs()).collect();
    let logits = gpu.zeros(4 * (B * cols) as u64)?;
    let target_buffer = gpu.upload(&columns(&all_targets, &mine))?;
    let mask_buffer = gpu.upload(&class_mask[mine.clone()])?;
    let weight_buffer = gpu.upload(&bytes(&weights, f32::to_le_bytes))?;
    let (loss_buffer, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (B * cols) as u64)?);
    let inputs = RowInputs {
        class_mask: Some(Tensor::vector(&mask_buffer, DType::U8, cols)),
        sample_weight: Some(Tensor::vector(&weight_buffer, DType::F32, B)),
        ..RowInputs::new(
            Tensor::matrix(&logits, DType::F32, B, cols),
            Targets::Dense(Tensor::matrix(&target_buffer, DType::U8, B, cols)),
        )
    };
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&loss_buffer, DType::F32, 1)),
        grad_logits: Some(Tensor::matrix(&grad, DType::F32, B, cols).into()),
        ..RowOutputs::default()
    };
    let sharded = ShardedRows::prepare(world, gpu, loss, (&inputs, &outputs), windows)?;
    let mut losses = Vec::new();
    for step in 0..2 {
        let all: Vec<f32> = numbers(step, B * L).iter().map(|x| 4.0 * x).collect();
        let own = bytes(&columns(&all, &mine), f32::to_le_bytes);
        if !own.is_empty() {
            gpu.queue().write_buffer(&logits, 0, &own);
        }
        sharded.step()?;
        let whole = Rows {
            class_mask: Some(&class_mask),
            sample_weight: Some(&weights),
            ..Rows::new(
                B,
                L,
                Values::F32(&all),
                Targets::Dense(Dense::Flags(&all_targets)),
            )
        };
        let truth = Engine::reference().rows(&loss, &whole, Wanted::Gradients)?;
        let found = floats(gpu, &loss_buffer, 1)?;
        compare("loss", &found, &truth.loss)?;
        let to_logits = floats(gpu, &grad, B * cols)?;
        compare("logits", &to_logits, &columns(&truth.grad_logits, &mine))?;
        losses.extend(found);
    }
    Ok(losses)
}

/// A threshold for each row, whose gradient every rank has.
fn threshold(world: &World, gpu: &Gpu) -> Result<Vec<f32>, Failure> {
    let loss = Zlpr::hard();
    let mine = part(world, L);
    let cols = mine.len();
    let (all, all_targets, thresholds) = (numbers(1, B * L), targets(2), numbers(3, B));
    let logits = gpu.upload(&bytes(&columns(&all, &mine), f32::to_le_bytes))?;
    let target_buffer = gpu.upload(&columns(&all_targets, &mine))?;
    let threshold_buffer = gpu.upload(&bytes(&thresholds, f32::to_le_bytes))?;
    let (loss_buffer, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (B * cols) as u64)?);
    let to_threshold = gpu.zeros(4 * B as u64)?;
    let inputs = RowInputs {
        threshold: Some(Threshold::Row(Tensor::vector(
            &threshold_buffer,
            DType::F32,
            B,
        ))),
        ..RowInputs::new(
            Tensor::matrix(&logits, DType::F32, B, cols),
            Targets::Dense(Tensor::matrix(&target_buffer, DType::U8, B, cols)),
        )
    };
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&loss_buffer, DType::F32, 1)),
        grad_logits: Some(Tensor::matrix(&grad, DType::F32, B, cols).into()),
        grad_threshold: Some(Tensor::vector(&to_threshold, DType::F32, B).into()),
        ..RowOutputs::default()
    };
    ShardedRows::prepare(world, gpu, loss, (&inputs, &outputs), 2)?.step()?;
    let whole = Rows {
        threshold: Some(Threshold::Row(&thresholds)),
        ..Rows::new(
            B,
            L,
            Values::F32(&all),
            Targets::Dense(Dense::Flags(&all_targets)),
        )
    };
    let truth = Engine::reference().rows(&loss, &whole, Wanted::Gradients)?;
    let found = floats(gpu, &loss_buffer, 1)?;
    compare("loss", &found, &truth.loss)?;
    let to_logits = floats(gpu, &grad, B * cols)?;
    compare("logits", &to_logits, &columns(&truth.grad_logits, &mine))?;
    compare(
        "threshold",
        &floats(gpu, &to_threshold, B)?,
        &truth.grad_threshold,
    )?;
    Ok(found)
}

/// Lists of the labels of some columns, by their numbers in them.
fn lists(flags: &[u8], mine: &std::ops::Range<usize>) -> (Vec<u32>, Vec<u32>) {
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for row in flags.chunks_exact(L) {
        let labels = (0..mine.len()).filter(|label| row[mine.start + label] != 0);
        indices.extend(labels.map(|label| label as u32));
        offsets.push(indices.len() as u32);
    }
    (offsets, indices)
}

/// Three steps of a last layer with its weights on the device, against the reference's.
fn linear(
    world: &World,
    gpu: &Gpu,
    loss: AnyLoss,
    update: Option<Update>,
    windows: usize,
) -> Result<Vec<f32>, Failure> {
    let mine = part(world, L);
    let cols = mine.len();
    let all_targets = targets(9);
    let (mut weights, mut state) = (numbers(1, L * D), vec![0.0; L]);
    let bias = numbers(2, L);
    let own_of = |all: &[f32], each: usize| {
        bytes(&all[mine.start * each..mine.end * each], f32::to_le_bytes)
    };
    let (offsets, indices) = lists(&all_targets, &mine);
    let (offsets, count) = (bytes(&offsets, u32::to_le_bytes), indices.len());
    let (offset_buffer, index_buffer) = (
        gpu.upload(&offsets)?,
        gpu.upload(&bytes(&indices, u32::to_le_bytes))?,
    );
    let (weight_buffer, bias_buffer) = (
        gpu.upload(&own_of(&weights, D))?,
        gpu.upload(&own_of(&bias, 1))?,
    );
    let state_buffer = gpu.zeros(4 * cols as u64)?;
    let (hidden, to_hidden) = (
        gpu.zeros(4 * (B * D) as u64)?,
        gpu.zeros(4 * (B * D) as u64)?,
    );
    let (to_weights, to_bias) = (
        gpu.zeros(4 * (cols * D) as u64)?,
        gpu.zeros(4 * cols as u64)?,
    );
    let loss_buffer = gpu.zeros(4)?;
    let layer = Linear {
        update,
        ..Linear::new(loss)
    };
    let adagrad = matches!(update, Some(Update::Adagrad { .. }));
    let inputs = LinearInputs {
        bias: Some(Tensor::vector(&bias_buffer, DType::F32, cols)),
        targets: Some(Targets::Sparse {
            offsets: Tensor::vector(&offset_buffer, DType::U32, B + 1),
            indices: Tensor::vector(&index_buffer, DType::U32, count),
        }),
        state: adagrad.then(|| Tensor::vector(&state_buffer, DType::F32, cols)),
        ..LinearInputs::new(
            Tensor::matrix(&hidden, DType::F32, B, D),
            Tensor::matrix(&weight_buffer, DType::F32, cols, D),
        )
    };
    let outputs = LinearOutputs {
        loss: Some(Tensor::vector(&loss_buffer, DType::F32, 1)),
        grad_weights: update
            .is_none()
            .then(|| Tensor::matrix(&to_weights, DType::F32, cols, D).into()),
        grad_bias: Some(Tensor::vector(&to_bias, DType::F32, cols).into()),
        ..LinearOutputs::default()
    };
    let tensors = (&inputs, &outputs);
    let sharded = ShardedLinear::prepare(world, gpu, &layer, tensors, Some(&to_hidden), windows)?;
    let (offsets, indices) = lists(&all_targets, &(0..L));
    let mut losses = Vec::new();
    for step in 0..3 {
        let all = numbers(30 + step, B * D);
        gpu.queue()
            .write_buffer(&hidden, 0, &bytes(&all, f32::to_le_bytes));
        sharded.step()?;
        let whole = LinearRows {
            bias: Some(&bias),
            state: adagrad.then_some(&state),
            targets: Some(Targets::Sparse {
                offsets: &offsets,
                indices: &indices,
            }),
            ..LinearRows::new((B, L, D), Values::F32(&all), Values::F32(&weights))
        };
        let truth = Engine::reference().linear(&layer, &whole, Wanted::Gradients, 0)?;
        let found = floats(gpu, &loss_buffer, 1)?;
        compare("loss", &found, &truth.loss)?;
        compare(
            "hidden",
            &floats(gpu, &to_hidden, B * D)?,
            &truth.grad_hidden,
        )?;
        compare(
            "bias",
            &floats(gpu, &to_bias, cols)?,
            &truth.grad_bias[mine.clone()],
        )?;
        let own = mine.start * D..mine.end * D;
        if update.is_some() {
            compare(
                "weights",
                &floats(gpu, &weight_buffer, cols * D)?,
                &truth.weights[own],
            )?;
            (weights, state) = (truth.weights, truth.state);
        } else {
            compare(
                "weights",
                &floats(gpu, &to_weights, cols * D)?,
                &truth.grad_weights[own],
            )?;
        }
        losses.extend(found);
    }
    Ok(losses)
}
