//! The borders between the ways a row is laid out, and sizes beyond one binding or one dispatch.

use crate::{Test, table};
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wgloss::check::{self, Data, Extras, Layout, Mode, Outcome, RowCase, SPARSE};
use wgloss::host::{self, Gpu};
use wgloss::{AnyLoss, DType, Reduction, Targets, Zlpr, wgpu};

pub const TESTS: &[Test] = &[
    ("regimes/every_length_over_one_workgroup", every_length),
    ("regimes/split_rows", split_rows),
    ("regimes/more_rows_than_workgroups", many_rows),
    ("regimes/windows_of_rows", windows),
    ("regimes/beyond_one_binding", beyond_one_binding),
    ("regimes/shared_words_of_16_bits", shared_words),
    ("regimes/four_million_labels", four_million),
    ("regimes/random_shapes", random_shapes),
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
    for cols in [8191, 8192, 8193, 12_288, 12_289, 65_536, 65_537] {
        for rows in [1, 2, 3] {
            cases.push(zlpr(rows, cols));
        }
    }
    // The last row count that is split, and the first that is not.
    for rows in [1023, 1024] {
        cases.push(RowCase {
            mode: Mode::Both,
            ..summed(zlpr(rows, 8192), Reduction::Sum)
        });
    }
    table::run(gpu, &cases)
}

fn many_rows(gpu: &Gpu) -> Result<(), Failed> {
    let cases = [65_535, 65_536, 70_001, 300_000].map(|rows| zlpr(rows, 3));
    table::run(gpu, &cases)?;
    let cases = [Reduction::None, Reduction::Sum].map(|r| summed(zlpr(70_001, 1), r));
    table::run(gpu, &cases)
}

/// The same adapter with bindings of so many bytes, so that small tensors need several windows.
pub fn narrow(gpu: &Gpu, bytes: u64) -> Result<Gpu, Failed> {
    let adapter = host::adapters()
        .into_iter()
        .find(|adapter| adapter.get_info() == *gpu.info())
        .ok_or("the adapter has gone")?;
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

fn four_million(gpu: &Gpu) -> Result<(), Failed> {
    let case = RowCase {
        form: SPARSE,
        ..zlpr(1, 4_000_000)
    };
    table::run(gpu, &[case])
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
