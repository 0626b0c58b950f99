//! Settings that lie on the device: which can, and what is said of those that cannot.

use crate::call::{Case, Form, Layout, Loss, Machine, USAGE, entries, expect};
use crate::errors::{HARD, zlpr};
use wgloss::losses::{wdl, zlpr as family};
use wgloss::{Bce, DType, ErrorKind, Focal, RowInputs, Rowwise, Setting, Tensor, Wdl, wgpu};

const BCE: Case = Case {
    loss: Loss::Bce(Bce {
        pos_weight: 1.0,
        smoothing: 0.0,
        row_mean: false,
        reduction: wgloss::Reduction::Mean,
    }),
    targets: Form::Dense(DType::U8),
    with: "loss grad_logits",
    ..HARD
};

#[test]
fn a_step_before_all_others_writes_them() {
    let machine = Machine::plain();
    let values = machine.buffer(64, USAGE);
    let memory = BCE.memory(&machine, Layout::Apart);
    let mut call = memory.call();
    assert_eq!(entries(&call.prepare(&machine.cx).unwrap()), "rows finish");
    let at = |name, place| Setting {
        name,
        value: Tensor::vector(&values, DType::F32, 1).with_offset(place),
    };
    let settings = [at("smoothing", 3), at("pos_weight", 7)];
    call.inputs.settings = &settings;
    let prepared = call.prepare(&machine.cx).unwrap();
    assert_eq!(entries(&prepared), "write write rows finish");
    // One step has such parameters.
    assert_eq!(prepared.plan().steps[0].groups, [1, 1, 1]);
    let submitted = machine.submit(|encoder| {
        prepared.encode(encoder);
        prepared.encode(encoder);
    });
    assert_eq!(submitted, Ok(()));
    // Inside a pass of the caller's too.
    let submitted = machine.submit(|encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        prepared.record(&mut pass);
    });
    assert_eq!(submitted, Ok(()));
}

#[test]
fn what_cannot_come_from_a_buffer_is_refused() {
    let machine = Machine::plain();
    let values = machine.buffer(64, USAGE);
    let unusable = machine.buffer(64, wgpu::BufferUsages::COPY_DST);
    let memory = BCE.memory(&machine, Layout::Apart);
    let one = Tensor::vector(&values, DType::F32, 1);
    let other = one.with_offset(5);
    let refused = |settings: &[(&str, Tensor<'_>)], kind, subject: &str, text: &str| {
        let settings: Vec<Setting<'_>> = settings
            .iter()
            .map(|(name, value)| Setting {
                name,
                value: *value,
            })
            .collect();
        let mut call = memory.call();
        call.inputs.settings = &settings;
        let label = format!("{settings:?}");
        expect(call.prepare(&machine.cx), kind, subject, text, &label);
    };
    let (value, shape, buffer) = (ErrorKind::Value, ErrorKind::Shape, ErrorKind::Buffer);
    let can = "can not come from a buffer (of this loss pos_weight, smoothing can)";
    refused(&[("gamma", one)], value, "gamma", can);
    refused(&[("", one)], value, "", can);
    refused(
        &[("smoothing", one), ("smoothing", other)],
        value,
        "smoothing",
        "is given twice",
    );
    let two = Tensor::vector(&values, DType::F32, 2);
    refused(&[("smoothing", two)], shape, "smoothing", "1");
    let words = Tensor::vector(&values, DType::U32, 1);
    refused(
        &[("smoothing", words)],
        ErrorKind::DType,
        "smoothing",
        "f32",
    );
    let place = Tensor::vector(&unusable, DType::F32, 1);
    refused(&[("pos_weight", place)], buffer, "pos_weight", "STORAGE");
    // One that a tensor gives for each label.
    let labels = machine.buffer(4 * HARD.cols as u64, USAGE);
    let mut call = memory.call();
    let twice = [Setting {
        name: "pos_weight",
        value: one,
    }];
    call.inputs.settings = &twice;
    call.inputs.pos_weight = Some(Tensor::vector(&labels, DType::F32, HARD.cols));
    let text = "is given for each label too";
    expect(
        call.prepare(&machine.cx),
        value,
        "pos_weight",
        text,
        "by label",
    );
    // Where the results go.
    let mut call = memory.call();
    let loss = call.outputs.loss.unwrap();
    let over = [Setting {
        name: "pos_weight",
        value: loss,
    }];
    call.inputs.settings = &over;
    expect(
        call.prepare(&machine.cx),
        buffer,
        "loss",
        "apart from pos_weight",
        "overlap",
    );
}

/// What a loss does not have, in the form that it has, no buffer can give.
#[test]
fn losses_have_what_they_have() {
    let machine = Machine::plain();
    let values = machine.buffer(64, USAGE);
    let huber = Wdl {
        phi: wdl::Phi::Huber { delta: 1.0 },
        ..Wdl::default()
    };
    for (loss, name, can) in [
        (
            zlpr(family::Form::Hard),
            "smoothing",
            "no setting of this loss can come",
        ),
        (
            zlpr(family::Form::Soft),
            "t_pos",
            "of this loss smoothing can",
        ),
        (
            Loss::Wdl(Wdl::default()),
            "huber_delta",
            "lambda_ratio, lambda_difference can)",
        ),
        (
            Loss::Wdl(huber),
            "huber",
            "lambda_difference, huber_delta can)",
        ),
        (
            Loss::Focal(Focal::default()),
            "row_mean",
            "of this loss gamma, alpha, smoothing can",
        ),
    ] {
        let memory = Case { loss, ..BCE }.memory(&machine, Layout::Apart);
        let call = memory.call();
        let settings = [Setting {
            name,
            value: Tensor::vector(&values, DType::F32, 1),
        }];
        let inputs = RowInputs {
            settings: &settings,
            ..call.inputs
        };
        let prepared = loss.prepare(&machine.cx, &inputs, &call.outputs);
        expect(prepared, ErrorKind::Value, name, can, &format!("{loss:?}"));
    }
}
