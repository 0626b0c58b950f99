//! Cooperative matrices, on a device of their own: the feature is experimental, so no other test's device has it. Where
//! the adapter does not offer them these tests show as ignored; with `WGLOSS_REQUIRE_COOPERATIVE=1` that is a failure.

use crate::{Test, contrastive, linear, table};
use half::bf16;
use libtest_mimic::{Failed, Trial};
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::check::{
    ContrastiveCase, Depth, LinearCase, LinearMode, Others, Outcome, cooperative_cases,
    cooperative_linear_cases, run_twice,
};
use wgloss::host::{
    self, Embeddings, Engine, Gpu, LabelSets, LinearResult, LinearRows, Values, Wanted,
};
use wgloss::{
    Bce, Context, Contrastive, ContrastiveInputs, ContrastiveOutputs, DType, Linear, LinearInputs,
    LinearOutputs, Prepared, Targets, Tensor, Update, Variant, Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[
    ("cooperative/table", cases),
    ("cooperative/windows_over_narrow_bindings", windows),
    ("cooperative/what_is_not_finite", not_finite),
    ("cooperative/rows_far_from_one", far_from_one),
    ("cooperative/bit_identical_runs", bit_identical),
    ("cooperative/used_for_16_bits_alone", of_16_bits_alone),
    ("cooperative/linear_table", linear_cases),
    (
        "cooperative/linear_windows_over_narrow_bindings",
        linear_windows,
    ),
    (
        "cooperative/linear_weights_are_rounded_by_chance",
        linear_chance,
    ),
    ("cooperative/linear_rows_far_from_one", linear_far_from_one),
    ("cooperative/linear_what_is_not_finite", linear_not_finite),
    (
        "cooperative/linear_bit_identical_runs",
        linear_bit_identical,
    ),
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

fn linear_cases(gpu: &Gpu) -> Result<(), Failed> {
    table::run(gpu, &cooperative_linear_cases(Depth::Every))
}

/// A device whose bindings reach 64 KiB.
fn narrow() -> Option<wgpu::Limits> {
    Some(wgpu::Limits {
        max_storage_buffer_binding_size: 64 << 10,
        ..wgpu::Limits::default()
    })
}

/// Rows in f16 over many bindings.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
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
    table::run(&open(gpu, narrow())?, &cases)
}

/// Hidden states and weights over many bindings, and factors that begin anywhere in theirs.
fn linear_windows(gpu: &Gpu) -> Result<(), Failed> {
    let layer = Linear::new(Zlpr::hard().into()).with_tile_bytes(0);
    let case = |dtypes, mode| LinearCase {
        dtypes,
        mode,
        form: Targets::Bits(()),
        cols: 300,
        dims: 100,
        ..linear::case("zlpr", layer)
    };
    let cases = [
        case((DType::F16, DType::F16), LinearMode::All),
        case((DType::Bf16, DType::F16), LinearMode::Same),
    ];
    table::run(&open(gpu, narrow())?, &cases)
}

fn linear_chance(gpu: &Gpu) -> Result<(), Failed> {
    linear::rounded_by_chance(gpu, |of_weights| of_weights)
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

const LINEAR_DIMS: usize = 40;

/// What comes of four samples and 35 labels.
fn linear_of(gpu: &Gpu, hidden: &[bf16], weights: &[bf16]) -> Result<LinearResult, Failed> {
    let engine = Engine::on(gpu.clone());
    let labels = weights.len() / LINEAR_DIMS;
    let bits = [1, 0, 4, 0, 0x8000_0001, 5, 2, 2];
    let mut rows = LinearRows::new(
        (4, labels, LINEAR_DIMS),
        Values::Bf16(hidden),
        Values::Bf16(weights),
    );
    let bias = vec![0.25; labels];
    rows.bias = Some(&bias);
    rows.targets = Some(Targets::Bits(&bits));
    Ok(engine.linear(
        &Linear::new(Bce::default().into()),
        &rows,
        Wanted::Gradients,
        0,
    )?)
}

/// Hidden states times a power of two, weights over it: the same loss, and gradients that go with them. Bias and its
/// gradient have nothing to do with either.
fn linear_far_from_one(gpu: &Gpu) -> Result<(), Failed> {
    let numbers = |count: usize, by: i32| -> Vec<bf16> {
        let number = |i: usize| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5;
        let numbers = (0..count).map(|i| bf16::from_f32(number(i)).to_f32() * 2.0_f32.powi(by));
        numbers.map(bf16::from_f32).collect()
    };
    let of = |power: i32| -> Result<LinearResult, Failed> {
        let hidden = numbers(4 * LINEAR_DIMS, power);
        let weights = numbers(35 * LINEAR_DIMS, -power);
        let mut found = linear_of(gpu, &hidden, &weights)?;
        let by = 2.0_f32.powi(power);
        found.grad_hidden.iter_mut().for_each(|g| *g *= by);
        found.grad_weights.iter_mut().for_each(|g| *g /= by);
        Ok(found)
    };
    let plain = of(0)?;
    let some = |values: &[f32]| values.iter().any(|v| *v != 0.0);
    assert!(some(&plain.loss) && some(&plain.grad_hidden) && some(&plain.grad_bias));
    for power in [-60, -17, 20, 90] {
        let found = of(power)?;
        assert_eq!(found.loss, plain.loss, "2^{power}");
        assert_eq!(found.grad_hidden, plain.grad_hidden, "2^{power}");
        assert_eq!(found.grad_weights, plain.grad_weights, "2^{power}");
        assert_eq!(found.grad_bias, plain.grad_bias, "2^{power}");
    }
    Ok(())
}

/// What is not finite stays so in the same results as without cooperative matrices, and in no others: in those of the last
/// sample too, which is what is read behind it.
fn linear_not_finite(gpu: &Gpu) -> Result<(), Failed> {
    let variant = Variant {
        cooperative: false,
        ..gpu.context().variant()
    };
    let without = gpu.with_variant(variant)?;
    let with_one = |rows: usize, at: usize, one: f32| -> Vec<bf16> {
        let number = |i: usize| if i == at { one } else { 0.125 };
        let numbers = (0..rows * LINEAR_DIMS).map(number);
        numbers.map(bf16::from_f32).collect()
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e37] {
        for (sample, label) in [(3, usize::MAX), (1, usize::MAX), (usize::MAX, 34)] {
            let at = |row: usize| row.saturating_mul(LINEAR_DIMS).saturating_add(3);
            let hidden = with_one(4, at(sample), bad);
            let weights = with_one(35, at(label), bad);
            let found = linear_of(gpu, &hidden, &weights)?;
            let plain = linear_of(&without, &hidden, &weights)?;
            let mut all_finite = true;
            for (name, found, plain) in [
                ("loss", &found.loss, &plain.loss),
                ("grad_hidden", &found.grad_hidden, &plain.grad_hidden),
                ("grad_weights", &found.grad_weights, &plain.grad_weights),
                ("grad_bias", &found.grad_bias, &plain.grad_bias),
            ] {
                all_finite &= found.iter().all(|f| f.is_finite());
                let mut pairs = found.iter().zip(plain);
                if !pairs.all(|(f, p)| f.is_finite() == p.is_finite()) {
                    let what = format!("{bad} at {sample} {label}: {name}");
                    return Err(format!("{what} {found:?}, without {plain:?}").into());
                }
            }
            if all_finite != bad.is_finite() {
                return Err(format!("{bad} at {sample} {label}: {found:?}").into());
            }
        }
    }
    Ok(())
}

fn linear_bit_identical(gpu: &Gpu) -> Result<(), Failed> {
    let layer = Linear::new(Zlpr::hard().into())
        .with_tile_bytes(0)
        .with_update(Update::adagrad(0.1), 5);
    let case = LinearCase {
        dtypes: (DType::Bf16, DType::F16),
        mode: LinearMode::Adagrad,
        ..linear::case("zlpr", layer)
    };
    match run_twice(gpu, &case)? {
        Outcome::Passed(_) => Ok(()),
        Outcome::Failed(message) => Err(message.into()),
    }
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
    let (w, to_w) = (buffer(4 * 64)?, buffer(4 * 64)?);
    let bits = Targets::Bits(Tensor::matrix(&y, DType::U32, 8, 1));
    let loss = Some(Tensor::vector(&loss, DType::F32, 1));
    let gradient = |buffer| Some(Tensor::matrix(buffer, DType::F32, 8, 8).into());
    let contrastive = |cx: &Context, dtype, _| -> Result<Prepared, Failed> {
        let inputs = ContrastiveInputs::new(Tensor::matrix(&x, dtype, 8, 8), 32, bits);
        let outputs = ContrastiveOutputs {
            loss,
            grad_embeddings: gradient(&grad),
            ..ContrastiveOutputs::default()
        };
        Ok(Contrastive::sim_dis().prepare(cx, &inputs, &outputs)?)
    };
    let linear = |cx: &Context, of_hidden, of_weights| -> Result<Prepared, Failed> {
        let hidden = Tensor::matrix(&x, of_hidden, 8, 8);
        let inputs = LinearInputs {
            targets: Some(bits),
            ..LinearInputs::new(hidden, Tensor::matrix(&w, of_weights, 8, 8))
        };
        let outputs = LinearOutputs {
            loss,
            grad_hidden: gradient(&grad),
            grad_weights: gradient(&to_w),
            ..LinearOutputs::default()
        };
        Ok(Linear::new(Zlpr::hard()).prepare(cx, &inputs, &outputs)?)
    };
    type Prepares<'a> = &'a dyn Fn(&Context, DType, DType) -> Result<Prepared, Failed>;
    // A dispatch for each side, and one for each tile of slopes.
    let calls: [(&str, Prepares<'_>, usize); 2] =
        [("contrastive", &contrastive, 2), ("linear", &linear, 4)];
    let types = [DType::F32, DType::F16, DType::Bf16];
    for (name, prepare, more) in calls {
        for (dtype, other) in types.iter().flat_map(|a| types.map(|b| (*a, b))) {
            let kernels = |cx: &Context| -> Result<Vec<String>, Failed> {
                let call = prepare(cx, dtype, other)?;
                let steps = call.plan().steps.iter();
                Ok(steps.map(|step| step.kernel.to_string()).collect())
            };
            let (with, plain) = (kernels(cx)?, kernels(&without)?);
            let used = with.iter().any(|name| name.contains("cooperative"));
            let wanted = dtype != DType::F32 && (name == "contrastive" || other != DType::F32);
            let right = match wanted {
                false => !used && with == plain,
                true => used && with.len() == plain.len() + more,
            };
            if !right || plain.iter().any(|name| name.contains("cooperative")) {
                return Err(format!("{name} {dtype} {other}: {with:?}, without {plain:?}").into());
            }
        }
    }
    Ok(())
}
