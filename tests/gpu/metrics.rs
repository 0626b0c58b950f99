//! Metrics beyond the case table.

#[path = "../fixtures/metrics.rs"]
mod fixture;

use crate::regimes::narrow;
use crate::{Test, table};
use libtest_mimic::Failed;
use wgloss::check::{Data, Layout, MetricsCase, SPARSE};
use wgloss::host::{Dense, Engine, Gpu, MetricsRows, Values};
use wgloss::{DType, Metrics, MetricsInputs, MetricsOutputs, Targets, Tensor};

pub const TESTS: &[Test] = &[
    ("metrics/scikit_learn_has_the_same", golden),
    ("metrics/windows_of_small_bindings", windows),
    ("metrics/many_labels", many_labels),
    ("metrics/masked_is_taken_out", taken_out),
    ("metrics/many_rows", many_rows),
    ("metrics/batches_add_up_to_the_bit", batches),
    ("metrics/no_rows_and_no_labels", empty),
];

const PLAIN: MetricsCase = MetricsCase {
    config: Metrics {
        threshold: 0.25,
        top: 5,
    },
    dtype: DType::F32,
    form: Targets::Dense(DType::U8),
    masks: [false; 3],
    layout: Layout::Apart,
    data: Data::Normal,
    positives: 0.3,
    rows: 3,
    cols: 100,
    seed: 1,
};

fn golden(gpu: &Gpu) -> Result<(), Failed> {
    let engine = Engine::on(gpu.clone());
    for case in fixture::golden() {
        let targets = Targets::Dense(Dense::Flags(&case.targets));
        let logits = Values::F32(&case.logits);
        let batch = MetricsRows::new(case.rows, case.cols, logits, targets);
        for (name, value) in engine.metrics(&case.config, &batch)?.all() {
            let expected = case.values[&name].as_f64().unwrap_or(f64::NAN);
            let off = (value - expected).abs() / expected.max(1.0);
            if off.is_nan() || off > 1e-9 {
                let (rows, cols) = (case.rows, case.cols);
                return Err(format!("{rows}x{cols}: {name} {value}, expected {expected}").into());
            }
        }
    }
    Ok(())
}

fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let small = narrow(gpu, 64 << 10)?;
    let mut cases = Vec::new();
    for (rows, cols) in [(40, 700), (1000, 33)] {
        for (dtype, form) in [
            (DType::F32, Targets::Dense(DType::U8)),
            (DType::F16, Targets::Bits(())),
            (DType::Bf16, SPARSE),
        ] {
            cases.push(MetricsCase {
                rows,
                cols,
                dtype,
                form,
                masks: [rows == 40; 3],
                positives: 0.05,
                ..PLAIN
            });
        }
    }
    table::run(&small, &cases)
}

/// Rows of very many labels, of which few are positive: the reference compares each with all.
fn many_labels(gpu: &Gpu) -> Result<(), Failed> {
    let (rows, cols) = (2, 300_000);
    let logit = |i: usize| ((i * 7919) % 100_003) as f32 / 1e4 - 5.0;
    let logits: Vec<f32> = (0..rows * cols).map(logit).collect();
    let mut targets = vec![0; rows * cols];
    // Both sides of a slab, with a tie among them and others all over the row.
    for (row, count) in [(0, 5), (1, 1200)] {
        for i in 0..count {
            targets[row * cols + i * 249 + row] = 1;
        }
    }
    let flags = Targets::Dense(Dense::Flags(&targets));
    let batch = MetricsRows::new(rows, cols, Values::F32(&logits), flags);
    let config = Metrics::default();
    let found = Engine::on(gpu.clone()).metrics(&config, &batch)?;
    let truth = Engine::reference().metrics(&config, &batch)?;
    for ((name, found), (_, truth)) in found.all().zip(truth.all()) {
        let off = (found - truth).abs() / truth.max(1.0);
        if off.is_nan() || off > 1e-9 {
            return Err(format!("{name}: {found}, expected {truth}").into());
        }
    }
    Ok(())
}

/// More rows than one dimension has workgroups, and pairs of words that carry.
fn many_rows(gpu: &Gpu) -> Result<(), Failed> {
    let case = MetricsCase {
        rows: 65_535 * 64 / 2 + 1,
        cols: 2,
        form: Targets::Bits(()),
        ..PLAIN
    };
    table::run(gpu, &[case])
}

/// What masks leave out might as well not be there: rows and columns taken out give the same words.
fn taken_out(gpu: &Gpu) -> Result<(), Failed> {
    let (rows, cols) = (37, 71);
    let config = Metrics::default();
    // Few values: ties between all kinds of labels.
    let logits: Vec<f32> = (0..rows * cols)
        .map(|i| ((i * 7919) % 13) as f32 / 4.0 - 1.5)
        .collect();
    let targets: Vec<u8> = (0..rows * cols)
        .map(|i| u8::from((i * 31) % 17 < 5))
        .collect();
    let class_mask: Vec<u8> = (0..cols).map(|col| u8::from(col % 3 != 1)).collect();
    let row_mask: Vec<u8> = (0..rows).map(|row| u8::from(row % 5 != 2)).collect();
    let stays = |i: &usize| class_mask[i % cols] != 0 && row_mask[i / cols] != 0;
    let left: Vec<usize> = (0..rows * cols).filter(stays).collect();
    let few_logits: Vec<f32> = left.iter().map(|i| logits[*i]).collect();
    let few_targets: Vec<u8> = left.iter().map(|i| targets[*i]).collect();
    let few_cols = class_mask.iter().filter(|flag| **flag != 0).count();
    let few = MetricsRows::new(
        left.len() / few_cols,
        few_cols,
        Values::F32(&few_logits),
        Targets::Dense(Dense::Flags(&few_targets)),
    );
    // The same elements by all masks together, and by the mask by element and by row alone.
    let mask: Vec<u8> = (0..rows * cols).map(|i| u8::from(stays(&i))).collect();
    let mut odd_logits = logits.clone();
    let mut odd_targets = targets.clone();
    for i in (0..rows * cols).filter(|i| !stays(i)) {
        odd_logits[i] = f32::NAN;
        odd_targets[i] = 255;
    }
    let all = MetricsRows::new(
        rows,
        cols,
        Values::F32(&odd_logits),
        Targets::Dense(Dense::Flags(&odd_targets)),
    );
    let by_class = MetricsRows {
        class_mask: Some(&class_mask),
        row_mask: Some(&row_mask),
        ..all
    };
    let by_element = MetricsRows {
        mask: Some(&mask),
        row_mask: Some(&row_mask),
        ..all
    };
    let engines = [Engine::on(gpu.clone()), Engine::reference()];
    for (which, engine) in engines.iter().enumerate() {
        let expected = engine.metrics(&config, &few)?;
        for (name, masked) in [("class", by_class), ("element", by_element)] {
            let found = engine.metrics(&config, &masked)?;
            if found != expected {
                let message = format!("{which} by {name}: {found:?}, expected {expected:?}");
                return Err(message.into());
            }
        }
    }
    Ok(())
}

/// Two halves of a batch add the words of the whole, and so does the whole again, wherever lanes come first.
fn batches(gpu: &Gpu) -> Result<(), Failed> {
    let (rows, cols) = (500, 203);
    let config = Metrics::default();
    let logits: Vec<f32> = (0..rows * cols)
        .map(|i| ((i * 7919) % 97) as f32 / 10.0 - 5.0)
        .collect();
    let targets: Vec<u8> = (0..rows * cols)
        .map(|i| u8::from((i * 31) % 17 < 3))
        .collect();
    let logits = gpu.upload(bytemuck::cast_slice(&logits))?;
    let targets = gpu.upload(&targets)?;
    let len = config.words_len(cols);
    let of = |parts: &[(usize, usize)]| -> Result<Vec<u8>, wgloss::Error> {
        let words = gpu.zeros(4 * len as u64)?;
        let mut calls = Vec::new();
        for (first, count) in parts {
            let at = (first * cols) as u64;
            let dense = Tensor::matrix(&targets, DType::U8, *count, cols).with_offset(at);
            let logits = Tensor::matrix(&logits, DType::F32, *count, cols).with_offset(at);
            let inputs = MetricsInputs::new(logits, Targets::Dense(dense));
            let outputs = MetricsOutputs {
                words: Tensor::vector(&words, DType::U32, len),
            };
            calls.push(config.prepare(gpu.context(), &inputs, &outputs)?);
        }
        gpu.run(&calls.iter().collect::<Vec<_>>())?;
        gpu.download(&words, 4 * len as u64)
    };
    let whole = of(&[(0, rows)])?;
    for _ in 0..10 {
        if of(&[(0, rows)])? != whole {
            return Err("the results differ".into());
        }
    }
    if of(&[(0, 1), (1, 250), (251, 249)])? != whole {
        return Err("batches do not add up".into());
    }
    Ok(())
}

fn empty(gpu: &Gpu) -> Result<(), Failed> {
    let config = Metrics::default();
    for (rows, cols, masks) in [(0, 3, false), (3, 0, false), (0, 3, true), (3, 0, true)] {
        let none = Targets::Dense(Dense::Flags(&[]));
        let batch = MetricsRows::new(rows, cols, Values::F32(&[]), none);
        let row_mask = [1, 0, 1];
        let batch = MetricsRows {
            row_mask: masks.then_some(&row_mask[..rows]),
            mask: masks.then_some(&[]),
            ..batch
        };
        let found = Engine::on(gpu.clone()).metrics(&config, &batch)?;
        let truth = Engine::reference().metrics(&config, &batch)?;
        if found != truth {
            return Err(format!("{rows}x{cols}: {found:?}, expected {truth:?}").into());
        }
    }
    Ok(())
}
