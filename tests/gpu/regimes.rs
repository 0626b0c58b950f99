//! The borders between the ways a row is laid out, and sizes beyond one binding or one dispatch.

use crate::{Test, adapter_of, table};
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wgloss::check::{self, Data, Depth, Extras, Layout, Mode, Outcome, RowCase, SPARSE};
use wgloss::host::{Dense, Engine, Gpu, Rows, Values, Wanted};
use wgloss::{
    AnyLoss, Bce, CATALOG, DType, Focal, Reduction, Rowwise, Splc, TargetKind, Targets, Zlpr,
    reference, wgpu,
};

pub const TESTS: &[Test] = &[
    ("regimes/every_length_over_one_workgroup", every_length),
    ("regimes/split_rows", split_rows),
    ("regimes/more_rows_than_workgroups", many_rows),
    ("regimes/windows_of_rows", windows),
    ("regimes/beyond_one_binding", beyond_one_binding),
    ("regimes/shared_words_of_16_bits", shared_words),
    ("regimes/sums_of_four_million", four_million),
    ("regimes/borders_of_a_gpu", gpu_borders),
    ("regimes/random_shapes", random_shapes),
    ("regimes/means_over_what_counts", means),
    ("regimes/integers_as_targets", integers),
];

fn zlpr(rows: usize, cols: usize) -> RowCase {
    RowCase::plain("zlpr", AnyLoss::Zlpr(Zlpr::hard()), rows, cols)
}

fn summed(case: RowCase, reduction: Reduction) -> RowCase {
    let AnyLoss::Zlpr(loss) = case.loss else {
        return case;
    };
    RowCase {
        loss: AnyLoss::Zlpr(loss.with_reduction(reduction)),
        ..case
    }
}

/// Targets in integers, whatever is not 0 true: of a loss of each name, and of both halves of the two-way loss; in vectors
/// and in one buffer with gaps, where they begin anywhere.
fn integers(gpu: &Gpu) -> Result<(), Failed> {
    let all = check::row_cases(Depth::Sample);
    let of = |name: &str| all.iter().find(|case| case.name.starts_with(name));
    let names = CATALOG.iter().map(|entry| entry.name);
    let labels = |case: &&RowCase| case.loss.target_kind() != TargetKind::Logits;
    let mut cases = Vec::new();
    for (i, case) in (names
        .chain(["two-way-classes", "two-way-both"])
        .filter_map(of))
    .filter(labels)
    .enumerate()
    {
        let (layout, cols) = [(Layout::Together, 67), (Layout::Apart, 64)][i % 2];
        cases.push(RowCase {
            dtype: DType::F32,
            form: Targets::Dense(DType::U32),
            mode: Mode::Both,
            extras: Some(Extras::All),
            data: [Data::Edges, Data::Normal][i / 2 % 2],
            layout,
            ..case.with_shape(9, cols, 70 + i as u64)
        });
    }
    table::run(gpu, &cases)?;
    // Logits of 16 bits, in vectors of eight; vectors that no row begins with; split rows.
    for (dtype, layout, rows, cols) in [
        (DType::F16, Layout::Apart, 5, 64),
        (DType::Bf16, Layout::Together, 5, 67),
        (DType::F16, Layout::Apart, 5, 67),
        (DType::F32, Layout::Apart, 2, 40_961),
    ] {
        let case = RowCase {
            dtype,
            layout,
            form: Targets::Dense(DType::U32),
            ..zlpr(rows, cols)
        };
        table::run(gpu, &[case])?;
    }
    Ok(())
}

/// Every number of labels from one lane's to two workgroups', by one.
fn every_length(gpu: &Gpu) -> Result<(), Failed> {
    let workgroup = gpu.context().variant().workgroup as usize;
    let cases: Vec<RowCase> = (1..=2 * workgroup + 3)
        .map(|cols| zlpr(3 + cols % 5, cols))
        .collect();
    table::run(gpu, &cases)
}

fn split_rows(gpu: &Gpu) -> Result<(), Failed> {
    let mut cases = Vec::new();
    for cols in [32_767, 32_768, 32_769, 40_960, 40_961, 65_536, 65_537] {
        for rows in [1, 2, 3] {
            cases.push(zlpr(rows, cols));
        }
    }
    // The last row count that is split, and the first that is not.
    for rows in [7, 8] {
        cases.push(RowCase {
            mode: Mode::Both,
            ..summed(zlpr(rows, 32_769), Reduction::Sum)
        });
    }
    table::run(gpu, &cases)
}

/// Means over elements and over rows with a positive: what counts is found on the device, whatever leaves something out.
fn means(gpu: &Gpu) -> Result<(), Failed> {
    let mut cases = Vec::new();
    for (rows, cols) in [(33, 17), (5, 1000), (2, 33_003), (1, 1), (700, 3)] {
        for (name, loss) in [
            ("bce", AnyLoss::from(Bce::default())),
            ("focal", Focal::default().into()),
            ("splc", Splc::default().into()),
            ("lsep", Zlpr::lsep().into()),
            ("two-way", Zlpr::two_way(4.0, 1.0).into()),
        ] {
            let mean = loss.takes().counted.ok_or("it counts something")?;
            for (extras, form) in [
                (Some(Extras::All), Targets::Dense(DType::U8)),
                (Some(Extras::Sides), SPARSE),
                (Some(Extras::Upstream), Targets::Bits(())),
                (None, Targets::Dense(DType::U8)),
            ] {
                cases.push(RowCase {
                    extras,
                    form,
                    data: Data::Edges,
                    seed: 77 + cases.len() as u64,
                    ..RowCase::plain(name, loss.with_reduction(mean), rows, cols)
                });
            }
        }
    }
    table::run(gpu, &cases)?;
    // In windows, whose counts are of all of them.
    let narrow = narrow(gpu, 1 << 16)?;
    let windows: Vec<RowCase> = cases
        .into_iter()
        .filter(|case| (case.cols == 17 || case.cols == 3) && case.form != SPARSE)
        .map(|case| case.with_shape(2500, 17, case.seed))
        .collect();
    table::run(&narrow, &windows)
}

fn many_rows(gpu: &Gpu) -> Result<(), Failed> {
    let cases = [65_535, 65_536, 70_001, 300_000].map(|rows| zlpr(rows, 3));
    table::run(gpu, &cases)?;
    let cases = [Reduction::None, Reduction::Sum].map(|r| summed(zlpr(70_001, 1), r));
    table::run(gpu, &cases)
}

/// The same adapter with bindings of so many bytes, so that small tensors need several windows.
pub fn narrow(gpu: &Gpu, bytes: u64) -> Result<Gpu, Failed> {
    let adapter = adapter_of(gpu)?;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: bytes,
        ..wgpu::Limits::default()
    };
    Ok(Gpu::with_limits(&adapter, wgpu::Features::empty(), limits)?)
}

fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let mut cases = Vec::new();
    for (rows, cols) in [(700, 100), (701, 33), (40, 3001), (9, 12_001)] {
        for (form, dtype, layout, mode) in [
            (
                Targets::Dense(DType::U8),
                DType::F32,
                Layout::Apart,
                Mode::Both,
            ),
            (
                Targets::Bits(()),
                DType::F16,
                Layout::Together,
                Mode::BothSame,
            ),
            (
                Targets::Dense(DType::U8),
                DType::Bf16,
                Layout::Apart,
                Mode::InPlace,
            ),
        ] {
            cases.push(RowCase {
                form,
                dtype,
                layout,
                mode,
                extras: Some(Extras::All),
                ..zlpr(rows, cols)
            });
        }
    }
    table::run(&narrow(gpu, 64 << 10)?, &cases)
}

/// More bytes than the software driver binds at once (128 MiB).
fn beyond_one_binding(gpu: &Gpu) -> Result<(), Failed> {
    let case = RowCase {
        form: Targets::Bits(()),
        mode: Mode::Loss,
        extras: None,
        ..summed(zlpr(270, 131_072), Reduction::None)
    };
    table::run(gpu, &[case])
}

/// Rows of an odd number of 16-bit values: two rows share a word, and none may lose its half.
fn shared_words(gpu: &Gpu) -> Result<(), Failed> {
    let mut cases = Vec::new();
    for dtype in [DType::F16, DType::Bf16] {
        for mode in [Mode::BothSame, Mode::InPlace] {
            for layout in [Layout::Apart, Layout::Together] {
                for (rows, cols) in [(4001, 1), (2003, 3), (501, 65), (33, 1001), (3, 8195)] {
                    cases.push(RowCase {
                        dtype,
                        mode,
                        layout,
                        ..zlpr(rows, cols)
                    });
                }
            }
        }
    }
    let packed = "tree-64-packed".parse()?;
    table::run(&gpu.with_variant(packed)?, &cases)
}

/// Every loss over four million labels, and over four million rows, to 2e-6 of the f64 value. WDL has a test of its own.
fn four_million(gpu: &Gpu) -> Result<(), Failed> {
    let many: usize = 4_000_000;
    let engine = Engine::on(gpu.clone());
    let mut failures = Vec::new();
    for entry in CATALOG.iter().filter(|entry| entry.name != "wdl") {
        let loss = entry.loss();
        for (rows, cols) in [(1, many), (many, 2)] {
            let wave = |i: usize, step: usize| (i * step % 127) as f32 - 63.0;
            let target = |i: usize| match loss.target_kind() {
                TargetKind::Hard => f32::from(u8::from(i * 7919 % 61 % 7 == 1)),
                TargetKind::Logits => 0.03 * wave(i, 53),
                _ => 0.5 + wave(i, 53) / 126.0,
            };
            // Rows repeat themselves, so that the mean of a few is that of all.
            let few = cols * rows.min(1000);
            let y: Vec<f32> = (0..few).map(target).collect();
            let y = y.repeat(rows * cols / few);
            // What a head of zeros gives: nothing is harder to add up than equal numbers.
            let s = vec![0.0; rows * cols];
            let targets = Targets::Dense(Dense::Values(Values::F32(&y)));
            let call = Rows::new(rows, cols, Values::F32(&s), targets);
            let found = f64::from(engine.rows(&loss, &call, Wanted::Loss)?.loss[0]);
            let inputs = reference::RowInputs {
                rows: few / cols,
                cols,
                logits: &vec![0.0; few],
                targets: &y[..few].iter().map(|v| f64::from(*v)).collect::<Vec<f64>>(),
                ..reference::RowInputs::default()
            };
            let truth = loss.reference(&inputs)?.loss[0];
            let off = (found - truth).abs() / truth.abs();
            if off.is_nan() || off > 2e-6 {
                failures.push(format!(
                    "{} {rows}x{cols}: {found}, expected {truth}, off by {off:e}",
                    entry.name
                ));
            }
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n").into()),
    }
}

/// The borders between ways in which a GPU differs from the software driver, on workgroups of a GPU's size.
fn gpu_borders(gpu: &Gpu) -> Result<(), Failed> {
    let subgroup = gpu.context().caps().subgroup_size as usize;
    for variant in ["subgroup-256-packed", "tree-256-packed"] {
        let mut cases = Vec::new();
        // Kept in registers, within a subgroup, in a workgroup, in chunks.
        for border in [16, 8 * subgroup, 1024, 8192] {
            for cols in [border - 1, border, border + 1] {
                cases.push(zlpr(3, cols));
            }
            cases.push(RowCase {
                dtype: DType::Bf16,
                mode: Mode::BothSame,
                ..zlpr(2, border)
            });
        }
        // The last row count that is cut, and the first that is not.
        for rows in [511, 512] {
            cases.push(RowCase {
                mode: Mode::Loss,
                ..summed(zlpr(rows, 8193), Reduction::Sum)
            });
        }
        let soft = AnyLoss::Zlpr(Zlpr::soft());
        // Exponents that quick sums are not good enough for.
        for data in [Data::Large, Data::Edges] {
            for cols in [15, 900, 1100, 9000] {
                cases.push(RowCase {
                    data,
                    ..zlpr(5, cols)
                });
                cases.push(RowCase {
                    data,
                    ..RowCase::plain("zlpr-soft", soft, 5, cols)
                });
            }
        }
        if let Ok(gpu) = gpu.with_variant(variant.parse()?) {
            table::run(&gpu, &cases)?;
        }
    }
    Ok(())
}

/// Random shapes, target forms and data, made smaller on failure.
fn random_shapes(gpu: &Gpu) -> Result<(), Failed> {
    let forms = [Targets::Dense(DType::U8), Targets::Bits(()), SPARSE];
    let strategy = (
        1..90_usize,
        1..2500_usize,
        0..3_usize,
        0..3_usize,
        any::<u64>(),
    );
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&strategy, |(rows, cols, form, data, seed)| {
            let case = RowCase {
                form: forms[form],
                data: [Data::Normal, Data::Large, Data::Edges][data],
                extras: Some(Extras::All),
                seed,
                ..zlpr(rows, cols)
            };
            match check::run(gpu, &case) {
                Ok(Outcome::Passed(_)) => Ok(()),
                Ok(Outcome::Failed(message)) => {
                    Err(TestCaseError::fail(format!("{case}: {message}")))
                }
                Err(error) => Err(TestCaseError::fail(format!("{case}: {error}"))),
            }
        })
        .map_err(|error| error.to_string().into())
}
