//! Everything `prepare` refuses: a good call, one change, and what the error says. Nothing panics, nothing is written.

use crate::call::{Call, Case, Form, Layout, Loss, Machine, Memory, USAGE, noop, now};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgloss::losses::zlpr;
use wgloss::{
    Bce, Context, DType, Error, ErrorKind, Gradient, Reduction, RowOutputs, Targets, Tensor,
    Threshold, Zlpr, wgpu,
};

const ROWS: usize = 3;
const COLS: usize = 40;

const HARD: Case = Case {
    rows: ROWS,
    cols: COLS,
    logits: DType::F32,
    targets: Form::Dense(DType::U8),
    loss: Loss::Zlpr(Zlpr {
        form: zlpr::Form::Hard,
        smoothing: 0.0,
        reduction: Reduction::Mean,
    }),
    with: "loss grad_logits grad_threshold class_mask mask sample_weight class_weight batch_threshold grad_loss",
};

fn zlpr(form: zlpr::Form) -> Loss {
    Loss::Zlpr(Zlpr {
        form,
        smoothing: 0.0,
        reduction: Reduction::Mean,
    })
}

/// Good calls that between them have every tensor in every role.
fn good() -> Vec<Case> {
    let case = |loss, logits, targets, with| Case {
        loss,
        logits,
        targets,
        with,
        ..HARD
    };
    let per_row = Loss::Bce(Bce::default().with_reduction(Reduction::None));
    let two_way = zlpr(zlpr::Form::Joint {
        t_pos: 4.0,
        t_neg: 1.0,
    });
    vec![
        HARD,
        case(
            zlpr(zlpr::Form::Soft),
            DType::F16,
            Form::Dense(DType::F32),
            "loss same_grad grad_targets label_threshold grad_threshold class_weight",
        ),
        case(
            zlpr(zlpr::Form::KlSymmetric { beta: 1.0 }),
            DType::F32,
            Form::Dense(DType::F32),
            "loss in_place grad_targets mask",
        ),
        case(
            zlpr(zlpr::Form::KlExcess),
            DType::Bf16,
            Form::Dense(DType::Bf16),
            "loss grad_logits grad_targets",
        ),
        case(
            zlpr(zlpr::Form::Hard),
            DType::F16,
            Form::Bits,
            "loss in_place mask",
        ),
        case(
            two_way,
            DType::F32,
            Form::Sparse,
            "loss in_place row_threshold grad_threshold grad_loss",
        ),
        case(
            per_row,
            DType::Bf16,
            Form::Dense(DType::F16),
            "loss same_grad grad_targets grad_loss sample_weight class_mask",
        ),
    ]
}

#[track_caller]
fn expect(
    result: Result<wgloss::Prepared, Error>,
    kind: ErrorKind,
    subject: &str,
    text: &str,
    label: &str,
) {
    let Err(error) = result else {
        panic!("{label}: accepted");
    };
    assert_eq!(
        (error.kind(), error.subject()),
        (kind, subject),
        "{label}: {error}"
    );
    let message = error.to_string();
    assert!(
        message.contains(text) && message.starts_with(subject),
        "{label}: {text:?} is not in {message:?}"
    );
    assert_eq!(error.is_unsupported(), kind == ErrorKind::Unsupported);
}

/// Element types that a tensor may have, in words, and one that it may not have.
fn types(name: &str, case: &Case) -> (&'static str, DType) {
    match (name, case.logits) {
        ("logits", _) => ("f32 or f16 or bf16", DType::U8),
        ("other", DType::F32) => ("f32", DType::F16),
        ("other", DType::F16) => ("f16", DType::Bf16),
        ("other", _) => ("bf16", DType::F16),
        ("targets", _) => ("u8 or f32 or f16 or bf16", DType::U32),
        ("class_mask" | "mask", _) => ("u8", DType::U32),
        ("target_bits" | "target_offsets" | "target_indices", _) => ("u32", DType::F32),
        ("grad_logits", DType::F16) => ("f32 or f16", DType::Bf16),
        ("grad_logits", DType::Bf16) => ("f32 or bf16", DType::F16),
        _ => ("expected f32, found u32", DType::U32),
    }
}

#[test]
fn a_bad_tensor_is_named() {
    let machine = Machine::plain();
    let unusable = machine.buffer(1 << 16, wgpu::BufferUsages::COPY_DST);
    let roomy = machine.buffer(1 << 16, USAGE);
    for case in good() {
        let memory = case.memory(&machine, Layout::Apart);
        let good = memory.call();
        assert!(good.prepare(&machine.cx).is_ok(), "{case:?}");
        for (i, name) in memory.names().into_iter().enumerate() {
            let mut call = good;
            let t = *call.tensor(name);
            let (rows, cols, size) = (t.rows(), t.cols(), t.dtype().size());
            let place = |buffer| Tensor::matrix(buffer, t.dtype(), rows, cols);
            let needed = ((rows * cols) as u64 * size).next_multiple_of(4);
            let tight = machine.buffer(needed - 4, USAGE);
            let (expected, wrong) = types(name, &case);
            let too_small = format!(
                "a buffer of at least {needed} bytes (whole words), found {} bytes",
                needed - 4
            );
            let shape = |rows: usize, cols: usize| match t.rows() {
                1 => Tensor::vector(&roomy, t.dtype(), cols),
                _ => Tensor::matrix(&roomy, t.dtype(), rows, cols),
            };
            let mut bad = vec![
                (
                    Tensor::matrix(&roomy, wrong, rows, cols),
                    ErrorKind::DType,
                    expected.to_string(),
                ),
                (
                    place(&unusable),
                    ErrorKind::Buffer,
                    "a buffer with usage STORAGE, found BufferUsages(COPY_DST)".into(),
                ),
                (place(&tight), ErrorKind::Buffer, too_small),
                // One word too far, and so far that sums overflow.
                (
                    place(&memory.buffers[i]).offset(4 / size),
                    ErrorKind::Buffer,
                    format!("at least {} bytes", needed + 4),
                ),
                (
                    place(&roomy).offset(u64::MAX),
                    ErrorKind::Buffer,
                    "bytes (whole words), found 65536 bytes".into(),
                ),
            ];
            if rows > 1 {
                bad.extend([
                    (
                        place(&roomy).row_stride(cols - 1),
                        ErrorKind::Shape,
                        format!(
                            "a row stride of at least {cols} elements, found {}",
                            cols - 1
                        ),
                    ),
                    (
                        place(&roomy).row_stride(usize::MAX),
                        ErrorKind::Buffer,
                        "found 65536 bytes".into(),
                    ),
                ]);
            }
            // The logits say what the others must be; any number of indices will do.
            if !["logits", "target_indices"].contains(&name) {
                let found = match rows {
                    1 => format!("[{cols}], found [{}]", cols + 1),
                    _ => format!("[{rows}, {cols}], found [{rows}, {}]", cols + 1),
                };
                bad.push((shape(rows, cols + 1), ErrorKind::Shape, found));
                let found = match rows {
                    1 => format!("[{cols}], found [2, {cols}]"),
                    _ => format!("[{rows}, {cols}], found [{}, {cols}]", rows + 1),
                };
                let taller = Tensor::matrix(&roomy, t.dtype(), rows + 1, cols);
                bad.push((taller, ErrorKind::Shape, found));
            }
            if name == "target_indices" {
                let taller = Tensor::matrix(&roomy, t.dtype(), 2, cols);
                bad.push((taller, ErrorKind::Shape, format!("found [2, {cols}]")));
            }
            for (tensor, kind, text) in bad {
                let mut call = good;
                *call.tensor(name) = tensor;
                let label = format!("{name} as {tensor:?} in {case:?}");
                expect(call.prepare(&machine.cx), kind, name, &text, &label);
            }
        }
    }
}

#[test]
fn outputs_lie_apart_from_all_else() {
    let machine = Machine::plain();
    let arena = machine.buffer(1 << 16, USAGE);
    let written = ["loss", "grad_logits", "grad_targets", "grad_threshold"];
    let mut pairs = 0;
    for case in good() {
        let memory = case.memory(&machine, Layout::Apart);
        let good = memory.call();
        let names = memory.names();
        let in_place = matches!(good.outputs.grad_logits, Some(Gradient::InPlace));
        for (i, one) in names.iter().enumerate() {
            for other in &names[i + 1..] {
                let place = |name: &str| written.iter().position(|w| *w == name);
                // The error is about what is written; of two outputs, about the later.
                let (subject, apart) = match (place(one), place(other)) {
                    (Some(a), Some(b)) if a > b => (one, other),
                    (Some(_), None) => (one, other),
                    (_, Some(_)) => (other, one),
                    (None, None) if in_place && *one == "logits" => (one, other),
                    (None, None) if in_place && *other == "logits" => (other, one),
                    (None, None) => continue,
                };
                // From the same element, and with the last element of one on the first of the other.
                for (behind, of) in [(false, one), (true, one), (true, other)] {
                    let mut call = good;
                    for name in [one, other] {
                        let t = *call.tensor(name);
                        let bytes = (t.rows() * t.cols()) as u64 * t.dtype().size();
                        let shift = if behind && name == of { bytes - 1 } else { 0 };
                        // The other tensor begins where this one's last word does.
                        let at = (1024 - shift / 4 * 4) / t.dtype().size();
                        *call.tensor(name) =
                            Tensor::matrix(&arena, t.dtype(), t.rows(), t.cols()).offset(at);
                    }
                    expect(
                        call.prepare(&machine.cx),
                        ErrorKind::Buffer,
                        subject,
                        &format!("memory apart from {apart}, found an overlap"),
                        &format!("{one} over {other} (behind: {behind}, {of}) in {case:?}"),
                    );
                }
                pairs += 1;
            }
        }
    }
    assert!(pairs > 60, "{pairs} pairs of tensors");
}

#[test]
fn blocks_of_one_matrix_may_interleave() {
    let machine = Machine::plain();
    let arena = machine.buffer(1 << 16, USAGE);
    let case = Case {
        with: "grad_logits",
        targets: Form::Dense(DType::F32),
        ..HARD
    };
    let memory = case.memory(&machine, Layout::Apart);
    let (rows, cols) = (ROWS, COLS as u64);
    let wide = 4 * COLS;
    // First elements and strides of logits and gradient, both [3, 40] f32, and whether they are apart.
    let cases = [
        ("halves", 0, cols, wide, wide, true),
        ("halves, the other way round", cols, 0, wide, wide, true),
        ("with a gap", 3, 2 * cols, wide, wide, true),
        (
            "the last block and the first of the next row",
            3 * cols,
            4 * cols,
            wide,
            wide,
            true,
        ),
        (
            "a block that runs on into the next row",
            3 * cols + 20,
            20,
            wide,
            wide,
            true,
        ),
        ("one column shared", 0, cols - 1, wide, wide, false),
        (
            "one column shared, the other way round",
            cols - 1,
            0,
            wide,
            wide,
            false,
        ),
        (
            "one column shared over the row's end",
            3 * cols + 20,
            19,
            wide,
            wide,
            false,
        ),
        ("a row further", 0, wide as u64, wide, wide, false),
        ("dense, one behind the other", 0, 3 * cols, COLS, COLS, true),
        ("dense, touching", 0, 3 * cols - 1, COLS, COLS, false),
        (
            "different strides, whatever they hit",
            0,
            cols,
            wide,
            wide + 1,
            false,
        ),
    ];
    for (label, logits, grad, logits_stride, grad_stride, apart) in cases {
        for in_place in [false, true] {
            let mut call = memory.call();
            let block = |at, stride| {
                Tensor::matrix(&arena, DType::F32, rows, COLS)
                    .offset(at)
                    .row_stride(stride)
            };
            // In place, the other block is an input that must not change.
            let (written, read) = if in_place {
                call.outputs.grad_logits = Some(Gradient::InPlace);
                call.inputs.logits = block(logits, logits_stride);
                *call.tensor("targets") = block(grad, grad_stride);
                ("logits", "targets")
            } else {
                call.inputs.logits = block(logits, logits_stride);
                *call.tensor("grad_logits") = block(grad, grad_stride);
                ("grad_logits", "logits")
            };
            let result = call.prepare(&machine.cx);
            if apart {
                let prepared = result.unwrap_or_else(|error| panic!("{label}: {error}"));
                let submitted = machine.submit(|encoder| prepared.encode(encoder));
                assert_eq!(submitted, Ok(()), "{label}");
            } else {
                let text = format!("memory apart from {read}");
                expect(result, ErrorKind::Buffer, written, &text, label);
            }
        }
    }
}

#[test]
fn vectors_may_touch_and_inputs_may_coincide() {
    let machine = Machine::plain();
    let arena = machine.buffer(1 << 12, USAGE);
    let memory = Case {
        with: "loss sample_weight class_weight grad_loss",
        ..HARD
    }
    .memory(&machine, Layout::Apart);
    let mut call = memory.call();
    // [loss][sample_weight ...], and class weights over sample weights over the upstream gradient.
    *call.tensor("loss") = Tensor::vector(&arena, DType::F32, 1).offset(6);
    *call.tensor("sample_weight") = Tensor::vector(&arena, DType::F32, ROWS).offset(7);
    *call.tensor("class_weight") = Tensor::vector(&arena, DType::F32, COLS).offset(7);
    *call.tensor("grad_loss") = Tensor::vector(&arena, DType::F32, 1).offset(8);
    let prepared = call
        .prepare(&machine.cx)
        .expect("nothing overlaps the loss");
    assert_eq!(machine.submit(|encoder| prepared.encode(encoder)), Ok(()));
    // The same tensor over itself is no overlap only where the gradient is asked for in place.
    let mut call = memory.call();
    call.outputs.grad_logits = Some(Gradient::To(call.inputs.logits));
    expect(
        call.prepare(&machine.cx),
        ErrorKind::Buffer,
        "grad_logits",
        "memory apart from logits",
        "gradient to the logits' own tensor",
    );
}

/// What a row of the table may use beside its call.
struct Extra {
    roomy: wgpu::Buffer,
    destroyed: wgpu::Buffer,
}

struct Row {
    label: &'static str,
    case: Case,
    change: for<'a> fn(&mut Call<'a>, &'a Extra),
    kind: ErrorKind,
    subject: &'static str,
    text: &'static str,
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    use ErrorKind::{DType as Type, Device, Shape, Value};
    let machine = Machine::plain();
    let extra = Extra {
        roomy: machine.buffer(1 << 16, USAGE),
        destroyed: machine.buffer(1 << 16, USAGE),
    };
    extra.destroyed.destroy();
    let soft = |targets, with| Case {
        loss: zlpr(zlpr::Form::Soft),
        targets,
        with,
        ..HARD
    };
    let kl = |targets| Case {
        loss: zlpr(zlpr::Form::KlSymmetric { beta: 1.0 }),
        targets,
        with: "loss",
        ..HARD
    };
    let bce = |targets, with| Case {
        loss: Loss::Bce(Bce::default()),
        targets,
        with,
        ..HARD
    };
    let excess = Case {
        loss: zlpr(zlpr::Form::KlExcess),
        ..kl(Form::Dense(DType::F32))
    };
    let per_row = Case {
        loss: HARD.loss.with_reduction(Reduction::None),
        ..HARD
    };
    let (u8s, f32s) = (Form::Dense(DType::U8), Form::Dense(DType::F32));
    let soft_only = "expected a loss of soft labels and dense float targets, found hard labels";
    let row = |label, case, change, kind, subject, text| Row {
        label,
        case,
        change,
        kind,
        subject,
        text,
    };
    let same: for<'a> fn(&mut Call<'a>, &'a Extra) = |_, _| {};
    let with_threshold: for<'a> fn(&mut Call<'a>, &'a Extra) = |call, extra| {
        call.inputs.threshold = Some(Threshold::Batch(Tensor::vector(
            &extra.roomy,
            DType::F32,
            1,
        )));
    };
    let with_bits: for<'a> fn(&mut Call<'a>, &'a Extra) = |call, extra| {
        call.inputs.targets = Targets::Bits(Tensor::matrix(&extra.roomy, DType::U32, ROWS, 2));
    };
    let with_sparse: for<'a> fn(&mut Call<'a>, &'a Extra) = |call, extra| {
        call.inputs.targets = Targets::Sparse {
            offsets: Tensor::vector(&extra.roomy, DType::U32, ROWS + 1),
            indices: Tensor::vector(&extra.roomy, DType::U32, 5),
        };
    };
    let rows = [
        row(
            "no outputs",
            HARD,
            |call, _| call.outputs = RowOutputs::default(),
            Value,
            "outputs",
            "expected at least one, found none",
        ),
        row(
            "a gradient to targets alone",
            soft(f32s, "loss grad_logits grad_targets"),
            |call, _| call.outputs.grad_logits = None,
            Value,
            "grad_targets",
            "expected grad_logits beside it, found none",
        ),
        row(
            "a gradient to hard labels",
            Case {
                targets: f32s,
                with: "grad_logits grad_targets",
                ..HARD
            },
            same,
            Type,
            "grad_targets",
            soft_only,
        ),
        row(
            "a gradient to bytes of the soft form",
            soft(u8s, "grad_logits grad_targets"),
            same,
            Type,
            "grad_targets",
            soft_only,
        ),
        row(
            "a gradient to bits of the soft form",
            soft(Form::Bits, "grad_logits grad_targets"),
            same,
            Type,
            "grad_targets",
            soft_only,
        ),
        row(
            "a gradient to sparse targets of the soft form",
            soft(Form::Sparse, "grad_logits grad_targets"),
            same,
            Type,
            "grad_targets",
            soft_only,
        ),
        row(
            "a gradient to bytes of BCE",
            bce(u8s, "in_place grad_targets"),
            same,
            Type,
            "grad_targets",
            soft_only,
        ),
        row(
            "KL with a threshold",
            kl(f32s),
            with_threshold,
            Value,
            "threshold",
            "expected none with this loss",
        ),
        row(
            "excess with a threshold",
            excess,
            with_threshold,
            Value,
            "threshold",
            "expected none with this loss",
        ),
        row(
            "BCE with a threshold",
            bce(u8s, "loss"),
            with_threshold,
            Value,
            "threshold",
            "expected none with this loss, found one",
        ),
        row(
            "a gradient to no threshold",
            HARD,
            |call, _| call.inputs.threshold = None,
            Value,
            "grad_threshold",
            "expected a threshold, found none",
        ),
        row(
            "KL with bits",
            kl(f32s),
            with_bits,
            Type,
            "other",
            "other logits, dense and in the logits' type",
        ),
        row(
            "KL with sparse targets",
            kl(f32s),
            with_sparse,
            Type,
            "other",
            "found bits or sparse targets",
        ),
        row(
            "excess with bits",
            excess,
            with_bits,
            Type,
            "other",
            "found bits or sparse targets",
        ),
        row(
            "KL of f32 and bytes",
            kl(u8s),
            same,
            Type,
            "other",
            "expected f32, found u8",
        ),
        row(
            "more rows of logits than of targets",
            HARD,
            |call, extra| {
                call.inputs.logits = Tensor::matrix(&extra.roomy, DType::F32, ROWS + 1, COLS);
            },
            Shape,
            "targets",
            "expected [4, 40], found [3, 40]",
        ),
        row(
            "fewer labels of logits than of targets",
            HARD,
            |call, extra| {
                call.inputs.logits = Tensor::matrix(&extra.roomy, DType::F32, ROWS, COLS - 1);
            },
            Shape,
            "targets",
            "expected [3, 39], found [3, 40]",
        ),
        row(
            "transposed logits of as many elements",
            HARD,
            |call, extra| {
                call.inputs.logits = Tensor::matrix(&extra.roomy, DType::F32, COLS, ROWS);
            },
            Shape,
            "targets",
            "expected [40, 3], found [3, 40]",
        ),
        row(
            "a loss per row where the mean is wanted",
            HARD,
            |call, extra| {
                call.outputs.loss = Some(Tensor::vector(&extra.roomy, DType::F32, ROWS));
            },
            Shape,
            "loss",
            "expected [1], found [3]",
        ),
        row(
            "one loss where one per row is wanted",
            per_row,
            |call, extra| call.outputs.loss = Some(Tensor::vector(&extra.roomy, DType::F32, 1)),
            Shape,
            "loss",
            "expected [3], found [1]",
        ),
        row(
            "an upstream gradient per row of a mean",
            HARD,
            |call, extra| {
                call.inputs.grad_loss = Some(Tensor::vector(&extra.roomy, DType::F32, ROWS));
            },
            Shape,
            "grad_loss",
            "expected [1], found [3]",
        ),
        row(
            "an upstream gradient for too few rows",
            per_row,
            |call, extra| {
                call.inputs.grad_loss = Some(Tensor::vector(&extra.roomy, DType::F32, ROWS - 1));
            },
            Shape,
            "grad_loss",
            "expected [3], found [2]",
        ),
        row(
            "an upstream gradient of several rows",
            per_row,
            |call, extra| {
                call.inputs.grad_loss = Some(Tensor::matrix(&extra.roomy, DType::F32, 2, ROWS));
            },
            Shape,
            "grad_loss",
            "expected [3], found [2, 3]",
        ),
        row(
            "a threshold per row as one per label",
            HARD,
            |call, extra| {
                call.inputs.threshold = Some(Threshold::Label(Tensor::vector(
                    &extra.roomy,
                    DType::F32,
                    ROWS,
                )));
            },
            Shape,
            "threshold",
            "expected [40], found [3]",
        ),
        row(
            "a threshold per label as one per row",
            HARD,
            |call, extra| {
                call.inputs.threshold = Some(Threshold::Row(Tensor::vector(
                    &extra.roomy,
                    DType::F32,
                    COLS,
                )));
            },
            Shape,
            "threshold",
            "expected [3], found [40]",
        ),
        row(
            "one gradient for a threshold per label",
            HARD,
            |call, extra| {
                call.inputs.threshold = Some(Threshold::Label(Tensor::vector(
                    &extra.roomy,
                    DType::F32,
                    COLS,
                )));
            },
            Shape,
            "grad_threshold",
            "expected [40], found [1]",
        ),
        row(
            "bits of too few words",
            HARD,
            |call, extra| {
                call.inputs.targets =
                    Targets::Bits(Tensor::matrix(&extra.roomy, DType::U32, ROWS, 1));
            },
            Shape,
            "target_bits",
            "expected [3, 2], found [3, 1]",
        ),
        row(
            "as many offsets as rows",
            HARD,
            |call, extra| {
                call.inputs.targets = Targets::Sparse {
                    offsets: Tensor::vector(&extra.roomy, DType::U32, ROWS),
                    indices: Tensor::vector(&extra.roomy, DType::U32, 5),
                };
            },
            Shape,
            "target_offsets",
            "expected [4], found [3]",
        ),
        row(
            "a destroyed buffer",
            HARD,
            |call, extra| {
                call.inputs.logits = Tensor::matrix(&extra.destroyed, DType::F32, ROWS, COLS);
            },
            Device,
            "device",
            "destroyed",
        ),
    ];
    for Row {
        label,
        case,
        change,
        kind,
        subject,
        text,
    } in rows
    {
        let memory = case.memory(&machine, Layout::Apart);
        let mut call = memory.call();
        change(&mut call, &extra);
        expect(call.prepare(&machine.cx), kind, subject, text, label);
    }
}

#[test]
fn settings_have_ranges() {
    let machine = Machine::plain();
    let hard = Zlpr::hard();
    let bce = Bce::default();
    let none = f32::NAN;
    let huge = f32::INFINITY;
    let smoothing = "a number from 0 to 1";
    let positive = "a finite number of at least 1e-6";
    let weight = "a finite number of at least 0e0";
    let divisor = "a finite number of at least 1.1754944e-38";
    let over = |n| Loss::Zlpr(hard.with_reduction(Reduction::MeanOver(n)));
    let smooth = |eps| Loss::Zlpr(Zlpr::soft().with_smoothing(eps));
    let bad = [
        (smooth(none), "smoothing", smoothing),
        (smooth(huge), "smoothing", smoothing),
        (smooth(-0.01), "smoothing", smoothing),
        (smooth(1.01), "smoothing", "found 1.01"),
        (
            Loss::Zlpr(hard.with_smoothing(0.1)),
            "smoothing",
            "expected 0, or the soft form, found 0.1",
        ),
        (
            Loss::Zlpr(Zlpr::lsep().with_smoothing(0.1)),
            "smoothing",
            "soft form",
        ),
        (
            Loss::Zlpr(Zlpr::kl_excess().with_smoothing(1.0)),
            "smoothing",
            "soft form",
        ),
        (Loss::Zlpr(Zlpr::two_way(0.0, 1.0)), "t_pos", positive),
        (Loss::Zlpr(Zlpr::two_way(none, 1.0)), "t_pos", positive),
        (Loss::Zlpr(Zlpr::two_way(huge, 1.0)), "t_pos", positive),
        (Loss::Zlpr(Zlpr::two_way(1.0, -4.0)), "t_neg", "found -4"),
        (Loss::Zlpr(Zlpr::two_way(1.0, 9e-7)), "t_neg", positive),
        (Loss::Zlpr(Zlpr::two_way(1.0, none)), "t_neg", "found NaN"),
        (Loss::Zlpr(Zlpr::kl_symmetric(0.0)), "beta", positive),
        (Loss::Zlpr(Zlpr::kl_symmetric(none)), "beta", positive),
        (Loss::Zlpr(Zlpr::kl_symmetric(huge)), "beta", "found inf"),
        (over(0.0), "reduction", divisor),
        (over(-0.0), "reduction", divisor),
        (over(1e-40), "reduction", divisor),
        (over(-8.0), "reduction", "found -8"),
        (over(none), "reduction", divisor),
        (over(huge), "reduction", divisor),
        (
            Loss::Bce(bce.with_reduction(Reduction::MeanOver(0.0))),
            "reduction",
            divisor,
        ),
        (
            Loss::Bce(Bce {
                smoothing: -0.1,
                ..bce
            }),
            "smoothing",
            smoothing,
        ),
        (
            Loss::Bce(Bce {
                smoothing: none,
                ..bce
            }),
            "smoothing",
            smoothing,
        ),
        (
            Loss::Bce(Bce {
                pos_weight: -1.0,
                ..bce
            }),
            "pos_weight",
            weight,
        ),
        (
            Loss::Bce(Bce {
                pos_weight: none,
                ..bce
            }),
            "pos_weight",
            weight,
        ),
        (
            Loss::Bce(Bce {
                pos_weight: huge,
                ..bce
            }),
            "pos_weight",
            weight,
        ),
    ];
    let fitting = |loss: Loss| Case {
        loss,
        targets: Form::Dense(DType::F32),
        with: "loss",
        ..HARD
    };
    for (loss, subject, text) in bad {
        let memory = fitting(loss).memory(&machine, Layout::Apart);
        let label = format!("{loss:?}");
        let prepared = memory.call().prepare(&machine.cx);
        let alone = loss.check().expect_err(&label);
        assert_eq!(prepared.as_ref().err(), Some(&alone), "{label}");
        expect(prepared, ErrorKind::Value, subject, text, &label);
    }
    let good = [
        smooth(0.0),
        smooth(1.0),
        Loss::Zlpr(Zlpr::two_way(1e-6, f32::MAX)),
        Loss::Zlpr(Zlpr::kl_symmetric(1e-6)),
        over(f32::MIN_POSITIVE),
        Loss::Bce(Bce {
            pos_weight: 0.0,
            smoothing: 1.0,
            ..bce
        }),
    ];
    for loss in good {
        assert_eq!(loss.check(), Ok(()), "{loss:?}");
        let memory = fitting(loss).memory(&machine, Layout::Apart);
        let prepared = memory.call().prepare(&machine.cx);
        assert!(prepared.is_ok(), "{loss:?}: {prepared:?}");
    }
}

#[test]
fn sizes_beyond_the_device_are_refused() {
    const LIMIT: u64 = 1 << 16;
    let machine = Machine::narrow(LIMIT);
    let many = 20_000;
    let case = |rows, cols, logits, targets, loss: Loss, with| Case {
        rows,
        cols,
        logits,
        targets,
        loss,
        with,
    };
    let none = HARD.loss.with_reduction(Reduction::None);
    let soft = zlpr(zlpr::Form::Soft);
    let (f32s, u8s) = (Form::Dense(DType::F32), Form::Dense(DType::U8));
    let row = "rows of at most 65276 bytes (one storage binding of this device), found 80000 bytes";
    let scratch = "expected at most 65536 bytes, found ";
    // 20,000 f32 fill more than a binding, as many f16 do not.
    let cases = [
        (case(2, many, DType::F32, u8s, soft, "loss"), "logits", row),
        (
            case(2, many, DType::F16, f32s, soft, "loss"),
            "targets",
            row,
        ),
        (
            case(2, many, DType::F16, u8s, soft, "grad_logits"),
            "grad_logits",
            row,
        ),
        (
            case(
                2,
                many,
                DType::F16,
                Form::Dense(DType::F16),
                soft,
                "same_grad grad_targets",
            ),
            "grad_targets",
            row,
        ),
        (case(many, 1, DType::F16, u8s, none, "loss"), "loss", row),
        (
            case(
                many,
                1,
                DType::F16,
                u8s,
                none,
                "loss batch_threshold grad_threshold",
            ),
            "loss",
            row,
        ),
        (
            case(many, 1, DType::F16, u8s, soft, "loss sample_weight"),
            "sample_weight",
            row,
        ),
        (
            case(2, many, DType::F16, u8s, soft, "loss class_weight"),
            "class_weight",
            row,
        ),
        (
            case(many, 1, DType::F16, u8s, soft, "loss row_threshold"),
            "threshold",
            row,
        ),
        (
            case(many, 1, DType::F16, u8s, none, "in_place grad_loss"),
            "grad_loss",
            row,
        ),
        (
            case(2, 70_000, DType::F16, u8s, soft, "loss class_mask"),
            "logits",
            "found 140000 bytes",
        ),
        // Several side tensors are copied together; then the copy is too large.
        (
            case(
                many,
                1,
                DType::F16,
                u8s,
                soft,
                "loss sample_weight class_weight",
            ),
            "scratch",
            "expected at most 65536 bytes, found 82944 bytes",
        ),
        (
            case(
                many,
                1,
                DType::F16,
                u8s,
                soft,
                "loss sample_weight row_threshold grad_threshold",
            ),
            "grad_threshold",
            row,
        ),
        // Coefficients of every row: 4,000 rows of 20 bytes.
        (
            case(
                4_000,
                1,
                DType::F16,
                u8s,
                soft,
                "label_threshold grad_threshold",
            ),
            "scratch",
            scratch,
        ),
    ];
    for (case, subject, text) in cases {
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
    let sparse = case(2, 9, DType::F16, Form::Sparse, HARD.loss, "loss");
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
                                    .row_stride(stride)
                                    .offset(offset);
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
    for (rows, cols, refused) in sizes {
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
                        with,
                        ..HARD
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
    // Coefficients of four thousand million empty rows.
    let case = Case {
        rows: 4_000_000_000,
        with: "loss label_threshold grad_threshold",
        ..case
    };
    let memory = case.memory(&machine, Layout::Apart);
    expect(
        memory.call().prepare(&machine.cx),
        ErrorKind::Unsupported,
        "scratch",
        "fewer than 2^32 elements",
        "scratch that cannot be counted",
    );
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
                    Tensor::matrix(buffer, t.dtype(), t.rows(), t.cols()).offset(offset);
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
fn a_buffer_of_another_device_is_an_error() {
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
    // Of limits and features the context takes note, not of what the adapter has beyond them.
    let (device, _) = noop(wgpu::Features::empty(), wgpu::Limits::default());
    assert_eq!(
        Context::new(&device).expect("a context").caps(),
        one.cx.caps()
    );
}
