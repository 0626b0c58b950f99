//! What metrics refuse, and their plans.

use crate::call::{Machine, USAGE};
use wgloss::host::{Dense, Engine, MetricsRows, Values};
use wgloss::{DType, Metrics, MetricsInputs, MetricsOutputs, Prepared, Targets, Tensor, wgpu};

fn tensor(buffer: &wgpu::Buffer, at: u64, dtype: DType, rows: usize, cols: usize) -> Tensor<'_> {
    Tensor::matrix(buffer, dtype, rows, cols).with_offset(at * 65_536 / dtype.size())
}

fn entries(call: &Prepared) -> Vec<&str> {
    let steps = call.plan().steps.iter();
    steps.map(|step| step.kernel.entry).collect()
}

#[test]
fn bad_calls_are_named() {
    let machine = Machine::plain();
    let buffer = machine.buffer(1 << 20, USAGE);
    let at = |at, dtype, rows, cols| tensor(&buffer, at, dtype, rows, cols);
    let config = Metrics::default();
    let inputs = MetricsInputs::new(
        at(0, DType::F16, 3, 5),
        Targets::Dense(at(1, DType::U8, 3, 5)),
    );
    let outputs = MetricsOutputs {
        words: at(2, DType::U32, 1, 12 + 5 + 4 * 5),
    };
    let call = config.prepare(&machine.cx, &inputs, &outputs).unwrap();
    assert_eq!(
        entries(&call),
        [
            "clear", "collect", "sort", "scan", "ranks", "rows", "labels"
        ]
    );
    machine.submit(|encoder| call.encode(encoder)).unwrap();
    let lists = |indices| MetricsInputs {
        targets: Targets::Sparse {
            offsets: at(1, DType::U32, 1, 4),
            indices: at(3, DType::U32, 1, indices),
        },
        ..inputs
    };
    let call = config.prepare(&machine.cx, &lists(2), &outputs).unwrap();
    assert_eq!(entries(&call)[..4], ["clear", "mark", "clear", "collect"]);
    // Nobody has a rank where there is no positive.
    let call = config.prepare(&machine.cx, &lists(0), &outputs).unwrap();
    assert_eq!(entries(&call)[2..], ["clear", "collect", "rows", "labels"]);

    let refuse = |config: Metrics, inputs: MetricsInputs<'_>, outputs, wanted: &str| {
        let error = config.prepare(&machine.cx, &inputs, &outputs).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    };
    let logits = |logits| MetricsInputs { logits, ..inputs };
    let targets = |targets| MetricsInputs { targets, ..inputs };
    refuse(
        config.with_top(0),
        inputs,
        outputs,
        "top: expected a number from 1 to 65536, found 0",
    );
    refuse(
        config,
        logits(at(0, DType::U8, 3, 5)),
        outputs,
        "logits: expected f32 or f16 or bf16, found u8",
    );
    refuse(
        config,
        logits(at(0, DType::F16, 3, 6)),
        outputs,
        "targets: expected [3, 6], found [3, 5]",
    );
    refuse(
        config,
        logits(at(0, DType::F16, 0, 1 << 30)),
        outputs,
        "logits: expected fewer than 1073741824 labels, found 1073741824",
    );
    refuse(
        config,
        targets(Targets::Bits(at(1, DType::U32, 3, 2))),
        outputs,
        "target_bits: expected [3, 1], found [3, 2]",
    );
    for (len, top) in [(36, 5), (37, 6)] {
        let short = MetricsOutputs {
            words: at(2, DType::U32, 1, len),
        };
        let expected = format!("words: expected [{}], found [{len}]", 32 + top);
        refuse(config.with_top(top), inputs, short, &expected);
    }
    let over = MetricsOutputs {
        words: at(1, DType::U32, 1, 37),
    };
    refuse(
        config,
        inputs,
        over,
        "words: expected memory apart from targets, found an overlap",
    );
    let floats = MetricsOutputs {
        words: at(2, DType::F32, 1, 37),
    };
    refuse(config, inputs, floats, "words: expected u32, found f32");

    // Masks of every kind are one dispatch, and lists are made bits of before.
    let masked = MetricsInputs {
        class_mask: Some(at(4, DType::U8, 1, 5)),
        mask: Some(at(5, DType::U8, 3, 5)),
        row_mask: Some(at(6, DType::U8, 1, 3)),
        ..inputs
    };
    let call = config.prepare(&machine.cx, &masked, &outputs).unwrap();
    assert_eq!(entries(&call)[..3], ["clear", "mark", "collect"]);
    assert_eq!(entries(&call).len(), 8);
    machine.submit(|encoder| call.encode(encoder)).unwrap();
    let of_rows = MetricsInputs {
        class_mask: None,
        mask: None,
        targets: lists(2).targets,
        ..masked
    };
    let call = config.prepare(&machine.cx, &of_rows, &outputs).unwrap();
    let expected = ["clear", "mark", "clear", "mark", "collect"];
    assert_eq!(entries(&call)[..5], expected);
    for (inputs, wanted) in [
        (
            MetricsInputs {
                class_mask: Some(at(4, DType::F32, 1, 5)),
                ..inputs
            },
            "class_mask: expected u8, found f32",
        ),
        (
            MetricsInputs {
                mask: Some(at(5, DType::U8, 3, 4)),
                ..inputs
            },
            "mask: expected [3, 5], found [3, 4]",
        ),
        (
            MetricsInputs {
                row_mask: Some(at(6, DType::U8, 1, 5)),
                ..inputs
            },
            "row_mask: expected [3], found [5]",
        ),
        (
            MetricsInputs {
                row_mask: Some(at(2, DType::U8, 1, 3)),
                ..inputs
            },
            "words: expected memory apart from row_mask, found an overlap",
        ),
    ] {
        refuse(config, inputs, outputs, wanted);
    }
}

/// Of rows that could have very many positives no dispatch has more work than drivers stand, and few positives in lists
/// take neither more dispatches nor much scratch.
#[test]
fn work_is_bounded() {
    let machine = Machine::plain();
    let (rows, cols) = (4, 1_000_000);
    let buffer = machine.buffer(32 << 20, USAGE);
    let logits = Tensor::matrix(&buffer, DType::F16, rows, cols);
    let config = Metrics::default();
    let words = machine.buffer(4 * config.words_len(cols) as u64, USAGE);
    let outputs = MetricsOutputs {
        words: Tensor::vector(&words, DType::U32, config.words_len(cols)),
    };
    let labels = machine.buffer(4 << 20, USAGE);
    let scans = |call: &Prepared| {
        let count = entries(call)
            .iter()
            .filter(|entry| **entry == "scan")
            .count();
        (call.plan().windows, count)
    };
    let flags = Targets::Dense(Tensor::matrix(&labels, DType::U8, rows, cols));
    let dense = MetricsInputs::new(logits, flags);
    let call = config.prepare(&machine.cx, &dense, &outputs).unwrap();
    // 977 slabs of a million labels each, 268 to a dispatch of two rows: 2^33 in 32 each.
    assert_eq!(scans(&call), (2, 2 * 8));
    let indices = machine.buffer(4 * 40, USAGE);
    let lists = Targets::Sparse {
        offsets: Tensor::vector(&labels, DType::U32, rows + 1),
        indices: Tensor::vector(&indices, DType::U32, 40),
    };
    let lists = MetricsInputs::new(logits, lists);
    let call = config.prepare(&machine.cx, &lists, &outputs).unwrap();
    assert_eq!(scans(&call), (1, 1));
    let bits = rows as u64 * cols as u64 / 8;
    assert!(call.plan().scratch_bytes < bits + 8192);
}

#[test]
fn slices_are_checked() {
    let engine = Engine::reference();
    let logits = Values::F32(&[1.0, -1.0, 0.5, f32::NAN]);
    let flags = |flags| Targets::Dense(Dense::Flags(flags));
    let rows = MetricsRows::new(2, 2, logits, flags(&[1, 0, 0, 1]));
    let found = engine.metrics(&Metrics::default(), &rows).unwrap();
    assert_eq!((found.rows, found.rows_left_out), (1, 1));
    assert_eq!(found.f1_micro, 1.0);
    for targets in [
        Targets::Bits(&[1, 2][..]),
        Targets::Dense(Dense::Values(Values::F32(&[1.0, 0.0, 0.0, 1.0]))),
        Targets::Sparse {
            offsets: &[0, 1, 2],
            indices: &[0, 1],
        },
    ] {
        let rows = MetricsRows { targets, ..rows };
        let same = engine.metrics(&Metrics::default(), &rows).unwrap();
        assert_eq!(same, found, "{targets:?}");
    }
    // What does not count is not looked at.
    let masked = MetricsRows {
        targets: flags(&[1, 0, 9, 9]),
        row_mask: Some(&[7, 0]),
        ..rows
    };
    let found = engine.metrics(&Metrics::default(), &masked).unwrap();
    assert_eq!((found.rows, found.rows_left_out), (1, 0));
    for (rows, expected) in [
        (
            MetricsRows {
                targets: flags(&[1, 0, 0, 2]),
                ..rows
            },
            "targets: expected 0 or 1, found 2 at [1, 1]",
        ),
        (
            MetricsRows { rows: 3, ..rows },
            "logits: expected [6], found [4]",
        ),
        (
            MetricsRows {
                rows: usize::MAX,
                ..rows
            },
            "logits: expected fewer than 2^32 elements, rows and labels, found [18446744073709551615, 2]",
        ),
        (
            MetricsRows {
                row_mask: Some(&[1]),
                ..rows
            },
            "row_mask: expected [2], found [1]",
        ),
        (
            MetricsRows {
                mask: Some(&[1, 1]),
                ..rows
            },
            "mask: expected [4], found [2]",
        ),
    ] {
        let error = engine.metrics(&Metrics::default(), &rows).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
