//! Recording: into encoders and passes of the user's, beside other calls, from one buffer or many, with nothing to do.

use crate::call::{
    Case, Form, Layout, Loss, Machine, USAGE, compares_logits, driver_losses, entries,
};
use wgloss::{Bce, DType, Prepared, Reduction, Rowwise, Zlpr, wgpu};

fn prepare(machine: &Machine, case: &Case, layout: Layout) -> Prepared {
    match case.memory(machine, layout).call().prepare(&machine.cx) {
        Ok(prepared) => prepared,
        Err(error) => panic!("{case:?}: {error}"),
    }
}

fn hard(rows: usize, cols: usize, with: &'static str) -> Case {
    Case {
        rows,
        cols,
        logits: DType::F32,
        targets: Form::Dense(DType::U8),
        loss: Loss::Zlpr(Zlpr::hard()),
        with,
    }
}

#[test]
fn the_noop_device_sees_what_is_wrong() {
    let machine = Machine::plain();
    let buffer = machine.buffer(64, USAGE);
    let refused =
        machine.submit(|encoder| encoder.copy_buffer_to_buffer(&buffer, 0, &buffer, 0, 128));
    assert!(refused.is_err());
    let wide = machine.submit(|encoder| {
        let user = User::new(&machine);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        user.dispatch(&mut pass, 65_536);
    });
    assert!(
        wide.is_err_and(|error| error.contains("65535")),
        "a dispatch too wide was accepted"
    );
}

/// A user's own pipeline and buffer.
struct User {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
}

impl User {
    fn new(machine: &Machine) -> Self {
        let device = &machine.device;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(
                "@group(0) @binding(0) var<storage, read_write> own: array<u32>;
                 @compute @workgroup_size(1) fn main() { own[0] += 1u; }"
                    .into(),
            ),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: machine.buffer(16, USAGE).as_entire_binding(),
            }],
        });
        User { pipeline, bindings }
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, groups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
    }
}

#[test]
fn calls_share_encoders_and_passes_with_the_user() {
    let machine = Machine::plain();
    let user = User::new(&machine);
    // One pass with a gather, a split one, one with nothing to do.
    let one = prepare(
        &machine,
        &hard(10, 20, "loss grad_logits sample_weight class_weight"),
        Layout::Apart,
    );
    let two = prepare(
        &machine,
        &hard(2, 40_000, "loss in_place"),
        Layout::Together,
    );
    let idle = prepare(&machine, &hard(0, 20, "grad_logits"), Layout::Apart);
    let steps = [&one, &two, &idle].map(entries);
    assert_eq!(
        steps,
        ["gather rows finish", "partial combine gradient finish", ""]
    );
    let submitted = machine.submit(|encoder| {
        one.encode(encoder);
        encoder.clear_buffer(&machine.buffer(16, USAGE), 0, None);
        two.encode(encoder);
        idle.encode(encoder);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        user.dispatch(&mut pass, 3);
        one.record(&mut pass);
        user.dispatch(&mut pass, 3);
        two.record(&mut pass);
        idle.record(&mut pass);
        one.record(&mut pass);
        user.dispatch(&mut pass, 3);
        drop(pass);
        one.encode(encoder);
    });
    assert_eq!(submitted, Ok(()));
    // Again, in any order, in a later submission.
    for prepared in [&two, &one, &two] {
        assert_eq!(machine.submit(|encoder| prepared.encode(encoder)), Ok(()));
    }
    // A pass in which nothing is left of the user's own state but what it sets again.
    let stale = machine.submit(|encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        one.record(&mut pass);
        pass.set_pipeline(&user.pipeline);
        pass.dispatch_workgroups(1, 1, 1);
    });
    assert!(stale.is_err(), "bind group 0 should be the call's own");
}

#[test]
fn two_calls_may_write_what_the_other_reads() {
    let machine = Machine::plain();
    let case = hard(10, 20, "loss grad_logits");
    let memory = case.memory(&machine, Layout::Together);
    let first = memory.call();
    let mut second = first;
    // The gradient of the first call is the logits of the second, in place.
    second.inputs.logits = *second.tensor("grad_logits");
    second.outputs.grad_logits = Some(wgloss::Gradient::InPlace);
    second.outputs.loss = None;
    let first = first.prepare(&machine.cx).expect("a good call");
    let second = second.prepare(&machine.cx).expect("a good call");
    let submitted = machine.submit(|encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        first.record(&mut pass);
        second.record(&mut pass);
    });
    assert_eq!(submitted, Ok(()));
}

#[test]
fn a_call_outlives_the_users_handles() {
    let machine = Machine::plain();
    let prepared = prepare(
        &machine,
        &hard(10, 20, "loss in_place sample_weight grad_loss"),
        Layout::Apart,
    );
    let Machine { device, queue, cx } = machine;
    drop(cx);
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    prepared.encode(&mut encoder);
    drop(prepared);
    queue.submit([encoder.finish()]);
    assert!(crate::call::now(scope.pop()).is_none());
}

#[test]
fn all_tensors_may_lie_in_one_buffer_at_odd_elements() {
    let machine = Machine::rich();
    let native = machine.cx.clone();
    let packed = native.with_variant("tree-64-packed".parse().expect("a variant"));
    let packed = packed.expect("every device has it");
    let thresholds = [
        "loss grad_logits grad_threshold class_mask mask sample_weight class_weight batch_threshold grad_loss",
        "loss same_grad grad_threshold class_mask mask sample_weight class_weight row_threshold grad_loss",
        "loss in_place grad_threshold class_mask mask sample_weight class_weight label_threshold grad_loss",
    ];
    let plain = [
        "loss grad_logits class_mask mask sample_weight class_weight grad_loss",
        "loss same_grad class_mask mask sample_weight class_weight grad_loss",
        "loss in_place class_mask mask sample_weight class_weight grad_loss",
    ];
    let mut calls = 0;
    for loss in driver_losses() {
        let with = if loss.takes().threshold {
            thresholds
        } else {
            plain
        };
        for logits in [DType::F32, DType::F16, DType::Bf16] {
            for targets in Form::ALL {
                if compares_logits(&loss) && targets != Form::Dense(logits) {
                    continue;
                }
                for with in with {
                    for reduction in [Reduction::None, Reduction::Mean] {
                        for (rows, cols) in [(3, 41), (2, 40_001)] {
                            let loss = loss.with_reduction(reduction);
                            let case = Case {
                                rows,
                                cols,
                                logits,
                                targets,
                                loss,
                                with,
                            };
                            let memory = case.memory(&machine, Layout::Together);
                            assert_eq!(memory.buffers.len(), 1);
                            for cx in [&native, &packed] {
                                let label = || format!("{case:?}, {}", cx.variant());
                                let prepared = match memory.call().prepare(cx) {
                                    Ok(prepared) => prepared,
                                    Err(error) => panic!("{}: {error}", label()),
                                };
                                // Side tensors by label become tables wherever they lie.
                                let tables = with.contains("class_") || with.contains("label_");
                                let gathers = entries(&prepared).contains("gather");
                                assert_eq!(gathers, tables, "{}", label());
                                let submitted = machine.submit(|encoder| prepared.encode(encoder));
                                assert_eq!(submitted, Ok(()), "{}", label());
                                calls += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    // Losses and forms, logits, sets of tensors, reductions, sizes, variants.
    let forms = |loss: &Loss| if compares_logits(loss) { 1 } else { 6 };
    let forms: usize = driver_losses().iter().map(forms).sum();
    assert_eq!(calls, forms * 3 * 3 * 2 * 2 * 2);
}

#[test]
fn nothing_to_do_is_no_error() {
    let machine = Machine::plain();
    let none = Reduction::None;
    let mean = Reduction::Mean;
    // Steps of an empty batch, and of rows without labels.
    let cases = [
        ("loss", mean, "finish", "rows finish"),
        ("loss", none, "", "rows"),
        ("grad_logits", mean, "", "rows"),
        (
            "loss in_place mask class_mask class_weight",
            mean,
            "finish",
            "rows finish",
        ),
        ("loss same_grad sample_weight grad_loss", none, "", "rows"),
        (
            "loss batch_threshold grad_threshold",
            mean,
            "finish",
            "rows finish",
        ),
        ("loss row_threshold grad_threshold", none, "", "rows finish"),
        (
            "loss label_threshold grad_threshold",
            mean,
            "finish",
            "rows columns finish",
        ),
    ];
    for (with, reduction, no_rows, no_labels) in cases {
        for targets in Form::ALL {
            for logits in [DType::F32, DType::F16] {
                for (rows, cols, expected) in [(0, 40, no_rows), (0, 0, no_rows), (3, 0, no_labels)]
                {
                    for layout in [Layout::Apart, Layout::Together] {
                        let loss = Loss::Zlpr(Zlpr::hard()).with_reduction(reduction);
                        let case = Case {
                            rows,
                            cols,
                            logits,
                            targets,
                            loss,
                            with,
                        };
                        let prepared = prepare(&machine, &case, layout);
                        let steps = entries(&prepared);
                        // Where side tensors are not empty, they may be copied first.
                        let steps = steps.strip_prefix("gather ").unwrap_or(&steps);
                        assert_eq!(steps, expected, "{case:?}");
                        let submitted = machine.submit(|encoder| prepared.encode(encoder));
                        assert_eq!(submitted, Ok(()), "{case:?}");
                    }
                }
            }
        }
    }
    let mean = Bce {
        row_mean: true,
        ..Bce::default()
    };
    let case = Case {
        loss: Loss::Bce(mean),
        ..hard(3, 0, "loss in_place")
    };
    let prepared = prepare(&machine, &case, Layout::Apart);
    assert_eq!(machine.submit(|encoder| prepared.encode(encoder)), Ok(()));
}
