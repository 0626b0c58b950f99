//! The loss inside a program that has a GPU device of its own.
//!
//!     cargo run --release --example own_device
//!
//! Everything lies in one buffer at offsets. Each of 30 steps records three things into one encoder: a pass of ours
//! that computes logits, the loss with its gradient, and a pass of ours that uses the gradient. It is submitted once,
//! and read back once at the end.

use std::error::Error;
use wgloss::{Context, DType, Gradient, RowInputs, RowOutputs, Targets, Tensor, Zlpr, wgpu};

const ROWS: usize = 64;
const LABELS: usize = 20;
const STEPS: usize = 30;

// The buffer, in words: parameters (as a model, each logit is one), logits, gradient, loss, targets (four a word).
const N: usize = ROWS * LABELS;
const LOGITS: usize = N;
const GRAD: usize = 2 * N;
const LOSS: usize = 3 * N;
const TARGETS: usize = LOSS + 1;
const WORDS: usize = TARGETS + N.div_ceil(4);

const OURS: &str = "
@group(0) @binding(0) var<storage, read_write> all: array<f32>;
@compute @workgroup_size(64) fn forward(@builtin(global_invocation_id) at: vec3<u32>) {
    if (at.x < N) { all[N + at.x] = 0.5 * all[at.x]; }
}
@compute @workgroup_size(64) fn descend(@builtin(global_invocation_id) at: vec3<u32>) {
    if (at.x < N) { all[at.x] -= 400.0 * 0.5 * all[2u * N + at.x]; }
}";

fn main() -> Result<(), Box<dyn Error>> {
    // Our own device. None of these features is required.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let wanted = wgpu::RequestAdapterOptions::default();
    let adapter = match pollster::block_on(instance.request_adapter(&wanted)) {
        Ok(adapter) => adapter,
        Err(error) => {
            println!("no adapter, nothing to show: {error}");
            return Ok(());
        }
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: Context::useful_features(&adapter),
        required_limits: adapter.limits(),
        ..Default::default()
    }))?;
    let buffer = |words: usize, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * words as u64,
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let all = buffer(
        WORDS,
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    );
    let losses = buffer(STEPS, wgpu::BufferUsages::MAP_READ);
    let targets: Vec<u8> = (0..N).map(|i| u8::from(i * 7 % 11 < 2)).collect();
    queue.write_buffer(&all, 4 * TARGETS as u64, &targets);

    // The loss: views of our buffer, offsets counted in elements. Every error there can be is here.
    let cx = Context::new(&device)?;
    let matrix = |dtype, at| Tensor::matrix(&all, dtype, ROWS, LABELS).with_offset(at as u64);
    let inputs = RowInputs::new(
        matrix(DType::F32, LOGITS),
        Targets::Dense(matrix(DType::U8, 4 * TARGETS)),
    );
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&all, DType::F32, 1).with_offset(LOSS as u64)),
        grad_logits: Some(Gradient::To(matrix(DType::F32, GRAD))),
        ..RowOutputs::default()
    };
    let loss = Zlpr::hard().prepare(&cx, &inputs, &outputs)?;

    // Our own kernels.
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(format!("const N = {N}u;{OURS}").into()),
    });
    let ours = ["forward", "descend"].map(|entry| {
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: None,
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: all.as_entire_binding(),
            }],
        });
        (pipeline, bindings)
    });
    let pass = |encoder: &mut wgpu::CommandEncoder, (pipeline, bindings): &(_, _)| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bindings, &[]);
        pass.dispatch_workgroups(N.div_ceil(64) as u32, 1, 1);
    };

    // All steps in one encoder; the same prepared call each time.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for step in 0..STEPS {
        pass(&mut encoder, &ours[0]);
        loss.encode(&mut encoder);
        encoder.copy_buffer_to_buffer(&all, 4 * LOSS as u64, &losses, 4 * step as u64, 4);
        pass(&mut encoder, &ours[1]);
    }
    queue.submit([encoder.finish()]);

    // Read back once.
    losses.slice(..).map_async(wgpu::MapMode::Read, |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let found: Vec<f32> = bytemuck::pod_collect_to_vec(&losses.slice(..).get_mapped_range()?);
    println!("adapter  {}", adapter.get_info().name);
    println!("kernels  {}", cx.variant());
    println!("plan     {} dispatches a step", loss.plan().steps.len());
    for step in (0..STEPS).step_by(STEPS / 5) {
        println!("step {step:<3} loss {:.4}", found[step]);
    }
    println!("last     loss {:.4}", found[STEPS - 1]);
    Ok(())
}
