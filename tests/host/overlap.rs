//! What a call writes lies apart from all else it reads or writes; blocks of one matrix may interleave.

use crate::call::{Case, Form, Layout, Machine, USAGE, expect};
use crate::errors::{COLS, HARD, ROWS, good};
use wgloss::{DType, ErrorKind, Gradient, Tensor};

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
                            Tensor::matrix(&arena, t.dtype(), t.rows(), t.cols()).with_offset(at);
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
    let wide = 4 * COLS;
    // Where logits and gradient (both [3, 40] f32) begin, their strides, and whether they are apart.
    let cases = [
        // Halves; with a gap; the last block and the first of the next row; a block that runs on into the next row.
        (0, 40, wide, wide, true),
        (40, 0, wide, wide, true),
        (3, 80, wide, wide, true),
        (120, 160, wide, wide, true),
        (140, 20, wide, wide, true),
        // One column shared, either way round and over the row's end; the same block a row further.
        (0, 39, wide, wide, false),
        (39, 0, wide, wide, false),
        (140, 19, wide, wide, false),
        (0, 160, wide, wide, false),
        // Dense, one behind the other and touching.
        (0, 120, COLS, COLS, true),
        (0, 119, COLS, COLS, false),
        (119, 0, COLS, COLS, false),
        // Different strides, whatever they hit; but not where one ends before the other begins.
        (0, 40, wide, wide + 1, false),
        (0, 360, wide, wide + 1, true),
    ];
    for (logits, grad, logits_stride, grad_stride, apart) in cases {
        let label = format!("{logits} at every {logits_stride}, {grad} at every {grad_stride}");
        for in_place in [false, true] {
            let mut call = memory.call();
            let block = |at, stride| {
                Tensor::matrix(&arena, DType::F32, ROWS, COLS)
                    .with_offset(at)
                    .with_row_stride(stride)
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
                expect(result, ErrorKind::Buffer, written, &text, &label);
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
    *call.tensor("loss") = Tensor::vector(&arena, DType::F32, 1).with_offset(6);
    *call.tensor("sample_weight") = Tensor::vector(&arena, DType::F32, ROWS).with_offset(7);
    *call.tensor("class_weight") = Tensor::vector(&arena, DType::F32, COLS).with_offset(7);
    *call.tensor("grad_loss") = Tensor::vector(&arena, DType::F32, 1).with_offset(8);
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
