//! Cooperative matrices, on a device of their own: the feature is experimental, so no other test's device has it. Where
//! the adapter does not offer them these tests show as ignored; with `WGLOSS_REQUIRE_COOPERATIVE=1` that is a failure.

use crate::{Test, contrastive, table};
use half::bf16;
use libtest_mimic::{Failed, Trial};
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::check::{ContrastiveCase, Depth, Others, cooperative_cases};
use wgloss::host::{self, Embeddings, Engine, Gpu, LabelSets, Values, Wanted};
use wgloss::{
    Context, Contrastive, ContrastiveInputs, ContrastiveOutputs, DType, Targets, Tensor, wgpu,
};

pub const TESTS: &[Test] = &[
    ("cooperative/table", cases),
    ("cooperative/windows_over_narrow_bindings", windows),
    ("cooperative/what_is_not_finite", not_finite),
    ("cooperative/rows_far_from_one", far_from_one),
    ("cooperative/bit_identical_runs", bit_identical),
    ("cooperative/used_for_16_bits_alone", of_16_bits_alone),
];

/// The tests, on the adapter that the others are on.
pub fn trials(gpu: &Gpu) -> Vec<Trial> {
    let required = std::env::var("WGLOSS_REQUIRE_COOPERATIVE").is_ok_and(|v| v == "1");
    let offered = adapter(gpu).is_some_and(|a| Context::cooperative_matrices(&a).is_some());
    // One device for all: each would compile the same kernels.
    let shared: Arc<Mutex<Option<Gpu>>> = Arc::default();
    let trial = |(name, test): &Test| {
        let (test, shared, gpu) = (*test, Arc::clone(&shared), gpu.clone());
        Trial::test(*name, move || {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.is_none() {
                *shared = Some(open(&gpu, None)?);
            }
            shared.as_ref().map_or(Ok(()), test)
        })
        .with_ignored_flag(!offered && !required)
    };
    TESTS.iter().map(trial).collect()
}

fn adapter(gpu: &Gpu) -> Option<wgpu::Adapter> {
    let mut all = host::adapters().into_iter();
    all.find(|adapter| adapter.get_info() == *gpu.info())
}

/// The same adapter with cooperative matrices.
fn open(gpu: &Gpu, limits: Option<wgpu::Limits>) -> Result<Gpu, Failed> {
    let adapter = adapter(gpu).ok_or("the adapter has gone")?;
    let limits = limits.unwrap_or_else(|| adapter.limits());
    let gpu = Gpu::cooperative(&adapter, limits)?;
    gpu.context().dirty_scratch();
    Ok(gpu)
}

fn cases(gpu: &Gpu) -> Result<(), Failed> {
    table::run(gpu, &cooperative_cases(Depth::Every))
}

/// Rows in f16 over many bindings: with a device whose bindings reach 64 KiB.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 64 << 10,
        ..wgpu::Limits::default()
    };
    let plain = ContrastiveCase::plain("windows", Contrastive::sim_dis(), 300, 100, 70);
    let cases = [
        (DType::F16, Others::Same),
        (DType::Bf16, Others::Indexed(270)),
    ];
    let cases = cases.map(|(dtype, others)| ContrastiveCase {
        dtype,
        others,
        ..plain
    });
    table::run(&open(gpu, Some(limits))?, &cases)
}

/// Rows of some values, whose label sets have something in common with some others'.
fn rows_of(values: &[bf16], dims: usize) -> (Embeddings<'_>, usize) {
    const SETS: [u8; 8] = [1, 0, 1, 1, 0, 1, 0, 0];
    let rows = values.len() / dims;
    assert!(rows <= 4);
    let sets = LabelSets::Dense(&SETS[..2 * rows]);
    (
        Embeddings::new(rows, dims, 2, Values::Bf16(values), sets),
        rows,
    )
}

fn not_finite(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = [1.0, 2.0, -1.0, 0.5, 3.0, -2.0, 0.25, 1.0, 1.0].map(bf16::from_f32);
        x[4] = bf16::from_f32(bad);
        let (rows, count) = rows_of(&x, 3);
        let found = engine.contrastive(&Contrastive::sim_dis(), &rows, Wanted::Gradients)?;
        let right = count == 3
            && found.loss[0].is_nan()
            && found.grad_embeddings.iter().all(|g| g.is_nan());
        if !right {
            return Err(format!("{bad}: {found:?}").into());
        }
    }
    // Similarities beyond 1e30, which only rows as they are can have.
    let x = [1e16, 0.0, 1e16, 1e16].map(bf16::from_f32);
    let raw = Contrastive {
        normalize: false,
        ..Contrastive::sim_dis()
    };
    let found = engine.contrastive(&raw, &rows_of(&x, 2).0, Wanted::Loss)?;
    if !found.loss[0].is_nan() {
        return Err(format!("beyond 1e30: {found:?}").into());
    }
    Ok(())
}

/// Rows times a power of two each have the same loss, and gradients through their norms.
fn far_from_one(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    let x: Vec<f32> = (0..4 * 40)
        .map(|i| bf16::from_f32(((i * 7919) % 1000) as f32 / 500.0 - 1.0).to_f32())
        .collect();
    let loss = Contrastive::sim_dis();
    let scaled = |powers: [i32; 4]| -> Result<_, Failed> {
        let by = |i: usize| 2.0_f32.powi(powers[i / 40]);
        let rows = x.iter().enumerate();
        let rows: Vec<bf16> = rows.map(|(i, x)| bf16::from_f32(x * by(i))).collect();
        let mut found = engine.contrastive(&loss, &rows_of(&rows, 40).0, Wanted::Gradients)?;
        let gradients = found.grad_embeddings.iter_mut().enumerate();
        gradients.for_each(|(i, g)| *g *= by(i));
        Ok(found)
    };
    let near = |a: &[f32], b: &[f32]| {
        let largest = b.iter().fold(0.0_f32, |most, b| most.max(b.abs()));
        let mut pairs = a.iter().zip(b);
        largest > 0.0 && pairs.all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
    };
    let plain = scaled([0; 4])?;
    for powers in [[100, 100, 100, 100], [-30, 90, 0, 1], [3, -2, -31, 108]] {
        let found = scaled(powers)?;
        if !near(&found.loss, &plain.loss) || !near(&found.grad_embeddings, &plain.grad_embeddings)
        {
            return Err(format!("{powers:?}: {found:?}, expected {plain:?}").into());
        }
    }
    Ok(())
}

fn bit_identical(gpu: &Gpu) -> Result<(), Failed> {
    let x: Vec<bf16> = (0..200 * 24)
        .map(|i| bf16::from_f32(((i * 7919) % 1000) as f32 / 500.0 - 1.0))
        .collect();
    contrastive::same_bits(gpu, Values::Bf16(&x))
}

/// f32 would lose digits: its plan is that of the same variant without cooperative matrices.
fn of_16_bits_alone(gpu: &Gpu) -> Result<(), Failed> {
    let cx = gpu.context();
    let mut variant = cx.variant();
    if !(variant.cooperative && variant.to_string().ends_with("-cooperative")) {
        return Err(format!("{variant}").into());
    }
    variant.cooperative = false;
    let without = cx.with_variant(variant)?;
    let buffer = |bytes| gpu.zeros(bytes);
    let (x, y, loss, grad) = (buffer(4 * 64)?, buffer(4 * 8)?, buffer(4)?, buffer(4 * 64)?);
    let kernels = |cx: &Context, dtype| -> Result<Vec<String>, Failed> {
        let inputs = ContrastiveInputs::new(
            Tensor::matrix(&x, dtype, 8, 8),
            32,
            Targets::Bits(Tensor::matrix(&y, DType::U32, 8, 1)),
        );
        let outputs = ContrastiveOutputs {
            loss: Some(Tensor::vector(&loss, DType::F32, 1)),
            grad_embeddings: Some(Tensor::matrix(&grad, DType::F32, 8, 8).into()),
            ..ContrastiveOutputs::default()
        };
        let call = Contrastive::sim_dis().prepare(cx, &inputs, &outputs)?;
        let steps = call.plan().steps.iter();
        Ok(steps.map(|step| step.kernel.to_string()).collect())
    };
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        let (with, plain) = (kernels(cx, dtype)?, kernels(&without, dtype)?);
        let used = with.iter().any(|name| name.contains("cooperative"));
        let right = match dtype {
            DType::F32 => !used && with == plain,
            _ => used && with.len() == plain.len() + 2,
        };
        if !right || plain.iter().any(|name| name.contains("cooperative")) {
            return Err(format!("{dtype}: {with:?}, without {plain:?}").into());
        }
    }
    Ok(())
}
