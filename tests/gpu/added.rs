//! Gradients that are added to what is there.

use crate::Test;
use half::{bf16, f16};
use libtest_mimic::Failed;
use wgloss::host::Gpu;
use wgloss::losses::zlpr::Half;
use wgloss::{
    AnyLoss, Bce, DType, Gradient, RowInputs, RowOutputs, Rowwise, SoftmaxCe, Targets, Tensor, Wdl,
    Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[("added/what_was_there_and_the_gradient", sums)];

/// Rows and labels: whole vectors, rows that share words, rows that are split.
const SHAPES: [(usize, usize); 3] = [(7, 64), (5, 33), (2, 33_003)];

/// A value as it is stored, and back.
fn stored(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::Bf16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

fn bytes(dtype: DType, values: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        DType::Bf16 => values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn values(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let two = |b: &[u8]| [b[0], b[1]];
    match dtype {
        DType::F16 => bytes
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes(two(b)).to_f32())
            .collect(),
        DType::Bf16 => bytes
            .chunks_exact(2)
            .map(|b| bf16::from_le_bytes(two(b)).to_f32())
            .collect(),
        _ => bytemuck::pod_collect_to_vec(bytes),
    }
}

/// The sum of the gradient alone and of what was there, for every way in which gradients are stored; what does not
/// count, and what lies before and behind the tensor, stays.
fn sums(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, cols) in SHAPES {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            for to in [DType::F32, dtype] {
                let losses = [
                    AnyLoss::from(Zlpr::hard()),
                    Bce::default().into(),
                    SoftmaxCe::default().into(),
                    Wdl::default().into(),
                    Zlpr::two_way(4.0, 1.0).with_half(Half::Both).into(),
                ];
                // How a gradient is stored has little to do with the loss.
                let most = if dtype == DType::F32 { 5 } else { 2 };
                for loss in &losses[..most] {
                    for offset in [0, 3] {
                        let what = format!("{loss:?} of {rows}x{cols} {dtype} to {to} at {offset}");
                        sum(gpu, loss, (rows, cols), (dtype, to), offset).map_err(|error| {
                            format!("{what}: {}", error.message().unwrap_or(""))
                        })?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn sum(
    gpu: &Gpu,
    loss: &AnyLoss,
    (rows, cols): (usize, usize),
    (dtype, to): (DType, DType),
    offset: usize,
) -> Result<(), Failed> {
    let n = rows * cols;
    let number = |i: usize, by: usize| ((i * by) % 1009) as f32 / 100.0 - 5.0;
    let logits: Vec<f32> = (0..n).map(|i| number(i, 7919)).collect();
    let targets: Vec<u8> = (0..n).map(|i| u8::from((i * 31) % 7 < 2)).collect();
    let mask: Vec<u8> = (0..n).map(|i| u8::from(i % 11 != 4)).collect();
    // A few values more than the tensor has, on both sides.
    let before: Vec<f32> = (0..n + 16)
        .map(|i| stored(to, 0.01 * number(i, 104_729)))
        .collect();
    let logits = gpu.upload(&bytes(dtype, &logits))?;
    let targets = gpu.upload(&targets)?;
    let mask_buffer = gpu.upload(&mask)?;
    let run = |grad: &wgpu::Buffer, to: DType, add: bool| -> Result<Vec<f32>, Failed> {
        let matrix = |buffer, dtype| Tensor::matrix(buffer, dtype, rows, cols);
        let inputs = RowInputs {
            mask: Some(matrix(&mask_buffer, DType::U8)),
            ..RowInputs::new(
                matrix(&logits, dtype),
                Targets::Dense(matrix(&targets, DType::U8)),
            )
        };
        let place = matrix(grad, to).with_offset(offset as u64);
        let outputs = RowOutputs {
            grad_logits: Some(if add {
                Gradient::AddTo(place)
            } else {
                Gradient::To(place)
            }),
            ..RowOutputs::default()
        };
        gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
        let size = (n as u64 + 16) * to.size();
        Ok(values(to, &gpu.download(grad, size.next_multiple_of(4))?))
    };
    let alone = run(&gpu.zeros(4 * (n as u64 + 16))?, DType::F32, false)?;
    let found = run(&gpu.upload(&bytes(to, &before))?, to, true)?;
    // A compiler may make one operation of the gradient's last product and the sum; 16 bits are rounded behind that.
    let places = match to {
        DType::F16 => 1e-3,
        DType::Bf16 => 8e-3,
        _ => 2.4e-7,
    };
    for (i, (found, before)) in found.iter().zip(&before).enumerate() {
        let inside = i >= offset && i < offset + n && mask[i - offset] != 0;
        let (expected, apart) = match inside {
            true => {
                let most = before.abs() + alone[i].abs();
                (stored(to, before + alone[i]), places * most)
            }
            false => (*before, 0.0),
        };
        if (found - expected).abs() <= apart {
            continue;
        }
        let why = format!(
            "{found} at {i}, expected {expected} from {before} and {}",
            alone[i]
        );
        return Err(why.into());
    }
    Ok(())
}
