//! Sizes, offsets and strides at the edge of what can be counted or bound, and what an error leaves behind.

use crate::call::{Case, Form, Layout, Machine, Memory, USAGE, expect, now};
use crate::errors::{COLS, HARD, ROWS, good, zlpr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgloss::losses::zlpr;
use wgloss::{Context, DType, ErrorKind, Reduction, Targets, Tensor, wgpu};

#[test]
fn sizes_beyond_the_device_are_refused() {
    let machine = Machine::narrow(1 << 16);
    let many = 20_000;
    let none = HARD.loss.with_reduction(Reduction::None);
    let soft = zlpr(zlpr::Form::Soft);
    let (f32s, f16s) = (DType::F32, DType::F16);
    let u8s = Form::Dense(DType::U8);
    let (wide, half) = (Form::Dense(f32s), Form::Dense(f16s));
    let row = "rows of at most 65264 bytes (one storage binding of this device), found 80000 bytes";
    let sides = "loss sample_weight class_weight";
    let per_row = "loss sample_weight row_threshold grad_threshold";
    // 20,000 f32 fill more than a binding, as many f16 do not.
    let cases = [
        (2, many, f32s, u8s, soft, "loss", "logits", row),
        (2, many, f16s, wide, soft, "loss", "targets", row),
        (2, many, f16s, u8s, soft, "grad_logits", "grad_logits", row),
        (
            2,
            many,
            f16s,
            half,
            soft,
            "same_grad grad_targets",
            "grad_targets",
            row,
        ),
        (
            2,
            many,
            f16s,
            u8s,
            soft,
            "loss class_weight",
            "class_weight",
            row,
        ),
        (many, 1, f16s, u8s, none, "loss", "loss", row),
        (
            many,
            1,
            f16s,
            u8s,
            none,
            "loss batch_threshold grad_threshold",
            "loss",
            row,
        ),
        (
            many,
            1,
            f16s,
            u8s,
            none,
            "in_place grad_loss",
            "grad_loss",
            row,
        ),
        (
            many,
            1,
            f16s,
            u8s,
            soft,
            "loss sample_weight",
            "sample_weight",
            row,
        ),
        (
            many,
            1,
            f16s,
            u8s,
            soft,
            "loss row_threshold",
            "threshold",
            row,
        ),
        // Several side tensors are copied together.
        (many, 1, f16s, u8s, soft, sides, "sample_weight", row),
        (many, 1, f16s, u8s, soft, per_row, "threshold", row),
    ];
    for (rows, cols, logits, targets, loss, with, subject, text) in cases {
        let case = Case {
            rows,
            cols,
            logits,
            targets,
            loss,
            with,
        };
        let memory = case.memory(&machine, Layout::Apart);
        expect(
            memory.call().prepare(&machine.cx),
            ErrorKind::Unsupported,
            subject,
            text,
            &format!("{case:?}"),
        );
    }
    // The number of indices is the caller's.
    let sparse = Case {
        targets: Form::Sparse,
        with: "loss",
        ..HARD
    };
    let memory = sparse.memory(&machine, Layout::Apart);
    let indices = machine.buffer(80_000, USAGE);
    let mut call = memory.call();
    *call.tensor("target_indices") = Tensor::vector(&indices, DType::U32, many);
    expect(
        call.prepare(&machine.cx),
        ErrorKind::Unsupported,
        "target_indices",
        row,
        "many indices",
    );
}

/// Runs `work` and says which case it was if it panics.
fn survives(label: impl FnOnce() -> String, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        panic!("panicked (message above): {}", label());
    }
}

#[test]
fn no_view_whatever_makes_prepare_panic() {
    let machine = Machine::plain();
    let roomy = machine.buffer(1 << 12, USAGE);
    let (mut refused, mut accepted) = (0, 0);
    for case in good() {
        for (rows, cols) in [(ROWS, COLS), (1, COLS), (0, COLS), (ROWS, 0)] {
            let case = Case { rows, cols, ..case };
            let memory = case.memory(&machine, Layout::Apart);
            let good = memory.call();
            for name in memory.names() {
                let mut call = good;
                let t = *call.tensor(name);
                for rows in [t.rows(), 0, 1, usize::MAX] {
                    for cols in [t.cols(), 0, 1, usize::MAX] {
                        for stride in [cols, 0, 41, usize::MAX / 4, usize::MAX] {
                            for offset in [0, 7, u64::MAX / 4, u64::MAX] {
                                let view = Tensor::matrix(&roomy, t.dtype(), rows, cols)
                                    .with_row_stride(stride)
                                    .with_offset(offset);
                                let label = || format!("{name} as {view:?} in {case:?}");
                                survives(label, || {
                                    *call.tensor(name) = view;
                                    match call.prepare(&machine.cx) {
                                        Err(_) => refused += 1,
                                        Ok(prepared) => {
                                            accepted += 1;
                                            let submitted =
                                                machine.submit(|encoder| prepared.encode(encoder));
                                            assert_eq!(submitted, Ok(()));
                                        }
                                    }
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(
        accepted > 1000 && refused > 10_000,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn empty_matrices_may_have_any_other_side() {
    let machine = Machine::plain();
    let huge = u32::MAX as usize;
    // Rows and labels; where it must be refused, what is said about it. A dimension is counted in 32 bits.
    let counted = Some((
        ErrorKind::Unsupported,
        "fewer than 2^32 elements, found 4294967295",
    ));
    let sizes = [
        (0, 0, None),
        (huge - 1, 0, None),
        (huge, 0, counted),
        (
            usize::MAX,
            0,
            Some((ErrorKind::Unsupported, "fewer than 2^32")),
        ),
        (0, huge - 1, None),
        (0, huge, counted),
        (
            0,
            usize::MAX,
            Some((ErrorKind::Unsupported, "fewer than 2^32")),
        ),
    ];
    let half = |half| {
        zlpr(zlpr::Form::Joint {
            t_pos: 4.0,
            t_neg: 1.0,
            half,
        })
    };
    let losses = [HARD.loss, half(zlpr::Half::Class), half(zlpr::Half::Both)];
    let each = losses.map(|loss| sizes.map(|size| (loss, size)));
    for (loss, (rows, cols, refused)) in each.into_iter().flatten() {
        for targets in [Form::Dense(DType::U8), Form::Bits, Form::Sparse] {
            for with in [
                "loss",
                "loss grad_logits",
                "same_grad",
                "loss in_place mask",
            ] {
                // Nothing lies behind offsets of so many rows.
                if targets == Form::Sparse && rows > 0 {
                    continue;
                }
                for logits in [DType::F32, DType::F16] {
                    let case = Case {
                        rows,
                        cols,
                        logits,
                        targets,
                        loss,
                        with,
                    };
                    let label = format!("{case:?}");
                    let memory = case.memory(&machine, Layout::Apart);
                    survives(
                        || label.clone(),
                        || match (memory.call().prepare(&machine.cx), refused) {
                            (result, Some((kind, text))) => {
                                expect(result, kind, "logits", text, &label);
                            }
                            (Ok(prepared), None) => {
                                let submitted = machine.submit(|encoder| prepared.encode(encoder));
                                assert_eq!(submitted, Ok(()), "{label}");
                            }
                            (Err(error), None) => panic!("{label}: {error}"),
                        },
                    );
                }
            }
        }
    }
    // Sparse targets of rows that no buffer could hold the offsets of.
    let case = Case {
        rows: usize::MAX,
        cols: 0,
        with: "loss",
        ..HARD
    };
    let memory = case.memory(&machine, Layout::Apart);
    let roomy = machine.buffer(64, USAGE);
    let mut call = memory.call();
    call.inputs.targets = Targets::Sparse {
        offsets: Tensor::vector(&roomy, DType::U32, 0),
        indices: Tensor::vector(&roomy, DType::U32, 0),
    };
    expect(
        call.prepare(&machine.cx),
        ErrorKind::Shape,
        "target_offsets",
        "found [0]",
        "offsets of more rows than can be counted",
    );
    // Four thousand million empty rows have a sum, and nothing need be kept of them.
    let case = Case {
        rows: 4_000_000_000,
        with: "loss label_threshold grad_threshold",
        ..case
    };
    let memory = case.memory(&machine, Layout::Apart);
    let prepared = memory.call().prepare(&machine.cx).expect("a good call");
    assert!(prepared.plan().scratch_bytes < 1 << 10);
}

#[test]
fn what_is_refused_leaves_everything_as_it_was() {
    let machine = Machine::plain();
    let foreign = machine.buffer(1 << 16, USAGE);
    foreign.destroy();
    for case in good() {
        let memory = case.memory(&machine, Layout::Apart);
        let fill = |memory: &Memory| {
            for (i, buffer) in memory.buffers.iter().enumerate() {
                let bytes: Vec<u8> = (0..buffer.size())
                    .map(|k| (k * 7 + i as u64) as u8)
                    .collect();
                machine.queue.write_buffer(buffer, 0, &bytes);
            }
        };
        fill(&memory);
        let before: Vec<_> = memory.buffers.iter().map(|b| machine.read(b)).collect();
        let scope = machine
            .device
            .push_error_scope(wgpu::ErrorFilter::Validation);
        for name in memory.names() {
            for (buffer, offset) in [(&memory.buffers[0], u64::MAX), (&foreign, 0)] {
                let mut call = memory.call();
                let t = *call.tensor(name);
                *call.tensor(name) =
                    Tensor::matrix(buffer, t.dtype(), t.rows(), t.cols()).with_offset(offset);
                assert!(call.prepare(&machine.cx).is_err(), "{name} in {case:?}");
            }
        }
        let seen = now(scope.pop());
        assert!(seen.is_none(), "the caller's error scope got {seen:?}");
        let after: Vec<_> = memory.buffers.iter().map(|b| machine.read(b)).collect();
        assert!(before == after, "{case:?}");
        // And the context is as good as before.
        let prepared = memory.call().prepare(&machine.cx).expect("a good call");
        assert_eq!(
            machine.submit(|encoder| prepared.encode(encoder)),
            Ok(()),
            "{case:?}"
        );
    }
}

#[test]
fn a_buffer_of_another_device_or_of_none_is_an_error() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions {
            noop: wgpu::NoopBackendOptions::enabled(),
            ..Default::default()
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter =
        now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).expect("noop");
    let machine = || {
        let (device, queue) =
            now(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("noop");
        let cx = Context::new(&device).expect("a context");
        Machine { device, queue, cx }
    };
    let (one, other) = (machine(), machine());
    let memory = HARD.memory(&one, Layout::Apart);
    let theirs = HARD.memory(&other, Layout::Apart);
    for name in memory.names() {
        let mut call = memory.call();
        *call.tensor(name) = *theirs.call().tensor(name);
        expect(
            call.prepare(&one.cx),
            ErrorKind::Device,
            "device",
            "expected the command to be accepted",
            name,
        );
    }
    // So is one that is no more.
    for i in 0..memory.buffers.len() {
        let memory = HARD.memory(&one, Layout::Apart);
        memory.buffers[i].destroy();
        let label = memory.names()[i];
        let result = memory.call().prepare(&one.cx);
        expect(result, ErrorKind::Device, "device", "destroyed", label);
    }
}
