//! Calls in the caller's encoder, pass and submission; devices that have nothing or are gone.

use crate::{Test, adapter_of, table};
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use wgloss::check::{self, Depth, Extras, Mode, Outcome, RowCase};
use wgloss::host::Gpu;
use wgloss::{
    AnyLoss, Context, DType, Error, ErrorKind, Gradient, Prepared, Reduction, RowInputs,
    RowOutputs, Targets, Tensor, Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[
    (
        "embed/calls_of_one_submission_do_not_disturb_each_other",
        one_submission,
    ),
    ("embed/inside_an_open_pass", open_pass),
    ("embed/bit_identical_over_100_runs", bit_identical),
    ("embed/every_family_gives_the_same_bits_again", same_again),
    ("embed/through_a_pipeline_cache", pipeline_cache),
    ("embed/no_features_and_default_limits", bare_device),
    ("embed/a_device_that_does_not_answer_is_let_go", no_answer),
    ("embed/eight_threads_on_one_context", threads),
    (
        "embed/buffers_of_another_device_and_destroyed_ones",
        buffers,
    ),
    ("embed/empty_batch_has_loss_0", empty_batch),
];

/// A problem on the device: logits and byte targets made from a number, outputs filled with NaN.
pub struct Problem {
    pub rows: usize,
    pub cols: usize,
    pub logits: wgpu::Buffer,
    pub targets: wgpu::Buffer,
    pub loss: wgpu::Buffer,
    pub grad: wgpu::Buffer,
}

impl Problem {
    pub fn new(gpu: &Gpu, rows: usize, cols: usize, salt: usize) -> Result<Problem, Failed> {
        let n = rows * cols;
        let logits: Vec<f32> = (0..n)
            .map(|i| ((i * 7919 + salt * 104_729) % 1000) as f32 / 100.0 - 5.0)
            .collect();
        let targets: Vec<u8> = (0..n).map(|i| u8::from((i * 31 + salt) % 7 < 1)).collect();
        Ok(Problem {
            rows,
            cols,
            logits: gpu.upload(bytemuck::cast_slice(&logits))?,
            targets: gpu.upload(&targets)?,
            loss: gpu.upload(&[0xff; 4])?,
            grad: gpu.upload(&vec![0xff; 4 * n])?,
        })
    }

    pub fn prepare(&self, gpu: &Gpu, loss: Zlpr) -> Result<Prepared, Failed> {
        Ok(self.call(gpu, loss)?)
    }

    /// The same with the crate's own error.
    pub fn call(&self, gpu: &Gpu, loss: Zlpr) -> Result<Prepared, Error> {
        self.prepared(gpu.context(), loss)
    }

    fn prepared(&self, cx: &Context, loss: Zlpr) -> Result<Prepared, Error> {
        let matrix = |buffer, dtype| Tensor::matrix(buffer, dtype, self.rows, self.cols);
        let inputs = RowInputs::new(
            matrix(&self.logits, DType::F32),
            Targets::Dense(matrix(&self.targets, DType::U8)),
        );
        let outputs = RowOutputs {
            loss: Some(Tensor::vector(&self.loss, DType::F32, 1)),
            grad_logits: Some(Gradient::To(matrix(&self.grad, DType::F32))),
            ..RowOutputs::default()
        };
        loss.prepare(cx, &inputs, &outputs)
    }

    /// Loss and gradient as they lie in memory.
    fn bytes(&self, gpu: &Gpu) -> Result<Vec<u8>, Failed> {
        let mut bytes = gpu.download(&self.loss, 4)?;
        bytes.extend(gpu.download(&self.grad, 4 * (self.rows * self.cols) as u64)?);
        Ok(bytes)
    }
}

fn same(what: &str, found: &[u8], expected: &[u8]) -> Result<(), Failed> {
    if found.is_empty() || found != expected {
        return Err(format!("{what}: the results differ").into());
    }
    Ok(())
}

fn one_submission(gpu: &Gpu) -> Result<(), Failed> {
    let problems = [
        Problem::new(gpu, 5, 100, 1)?,
        Problem::new(gpu, 70, 14, 2)?,
        Problem::new(gpu, 2, 9000, 3)?,
    ];
    let losses = [
        Zlpr::hard(),
        Zlpr::hard().with_reduction(Reduction::Sum),
        Zlpr::lsep(),
    ];
    let mut alone = Vec::new();
    for (problem, loss) in problems.iter().zip(losses) {
        gpu.run(&[&problem.prepare(gpu, loss)?])?;
        alone.push(problem.bytes(gpu)?);
        gpu.queue().write_buffer(&problem.grad, 0, &[0xff; 64]);
    }
    // Of a context as callers have it, whose calls share their scratch.
    let gpu = &gpu.with_new_context()?;
    let calls: Vec<Prepared> = problems
        .iter()
        .zip(losses)
        .map(|(problem, loss)| problem.prepare(gpu, loss))
        .collect::<Result<_, _>>()?;
    // Each twice, interleaved, in one submission.
    gpu.run(&[
        &calls[0], &calls[1], &calls[2], &calls[1], &calls[0], &calls[2],
    ])?;
    for (i, (problem, alone)) in problems.iter().zip(&alone).enumerate() {
        same(&format!("call {i}"), &problem.bytes(gpu)?, alone)?;
    }
    Ok(())
}

/// A pipeline of the user's own, with one buffer.
fn user_pipeline(device: &wgpu::Device, source: &str) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("the user's"),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("the user's"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn user_bindings(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    buffer: &wgpu::Buffer,
) -> wgpu::BindGroup {
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("the user's"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: buffer.as_entire_binding(),
        }],
    })
}

/// The user's dispatch, ours, the user's again, in the user's pass: theirs must see our gradient.
fn open_pass(gpu: &Gpu) -> Result<(), Failed> {
    let device = gpu.context().device();
    let problem = Problem::new(gpu, 6, 50, 4)?;
    let call = problem.prepare(gpu, Zlpr::hard())?;
    let pipeline = user_pipeline(
        device,
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
         @compute @workgroup_size(64)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             if (id.x < arrayLength(&x)) { x[id.x] *= 2.0; }
         }",
    );
    let bind = |buffer| user_bindings(device, &pipeline, buffer);
    let (logits, grad) = (bind(&problem.logits), bind(&problem.grad));
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for bindings in [Some(&logits), None, Some(&grad)] {
        match bindings {
            Some(bindings) => {
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, bindings, &[]);
                pass.dispatch_workgroups(5, 1, 1);
            }
            None => call.record(&mut pass),
        }
    }
    drop(pass);
    gpu.finish(encoder)?;
    let bytes = problem.bytes(gpu)?;
    let found: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes[4..]);
    // The logits are doubled now; the call alone on them gives half of what the pass left.
    gpu.run(&[&call])?;
    let alone: Vec<f32> = bytemuck::pod_collect_to_vec(&problem.bytes(gpu)?[4..]);
    let doubled: Vec<f32> = alone.iter().map(|g| 2.0 * g).collect();
    if found != doubled || !alone.iter().any(|g| *g != 0.0) {
        return Err("the pass did not run in order".into());
    }
    Ok(())
}

fn bit_identical(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, cols) in [(300, 131), (3, 1000), (2, 20_001)] {
        let problem = Problem::new(gpu, rows, cols, 5)?;
        let call = problem.prepare(gpu, Zlpr::hard())?;
        gpu.run(&[&call])?;
        let first = problem.bytes(gpu)?;
        for run in 1..100 {
            gpu.run(&[&call])?;
            same(
                &format!("run {run} of {rows}x{cols}"),
                &problem.bytes(gpu)?,
                &first,
            )?;
        }
    }
    Ok(())
}

/// Every loss of the table in one case each, and of each family beside the losses of rows every eighth case.
fn same_again(gpu: &Gpu) -> Result<(), Failed> {
    let variant = gpu.context().variant();
    let mut rows = check::row_cases(Depth::Sample);
    rows.dedup_by_key(|case| case.name);
    let others = check::other_cases(Depth::Sample, variant, variant).into_iter();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in check::boxed(rows).into_iter().chain(others) {
        let count = counts.entry(case.name()).or_default();
        *count += 1;
        if *count % 8 == 1
            && let Outcome::Failed(message) = check::run_twice(gpu, &*case)?
        {
            return Err(format!("{case}: {message}").into());
        }
    }
    for family in ["mcm", "hcal", "metrics", "contrastive", "wdl", "zlpr"] {
        if !counts.keys().any(|name| name.contains(family)) {
            return Err(format!("no case of {family}: {counts:?}").into());
        }
    }
    Ok(())
}

/// A device takes the pipelines that are made through its cache, and they compute the same. What a driver keeps in a cache
/// is its own affair: Mesa's software driver keeps nothing.
fn pipeline_cache(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let feature = wgpu::Features::PIPELINE_CACHE;
    if !adapter.features().contains(feature) {
        return Ok(());
    }
    let features = Context::useful_features(&adapter) | feature;
    let own = Gpu::with_limits(&adapter, features, adapter.limits())?;
    let device = own.context().device();
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: None,
        data: None,
        fallback: true,
    };
    #[allow(
        unsafe_code,
        reason = "data of elsewhere could be anything; there is none"
    )]
    let cache = unsafe { device.create_pipeline_cache(&descriptor) };
    let problem = Problem::new(&own, 3, 77, 9)?;
    own.run(&[&problem.prepare(&own, Zlpr::hard())?])?;
    let expected = problem.bytes(&own)?;
    let cached = own.context().with_pipeline_cache(cache);
    own.queue().write_buffer(&problem.grad, 0, &[0xff; 64]);
    own.run(&[&problem.prepared(&cached, Zlpr::hard())?])?;
    same("through the cache", &problem.bytes(&own)?, &expected)
}

fn bare_device(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let bare = Gpu::with_limits(&adapter, wgpu::Features::empty(), wgpu::Limits::default())?;
    let variant = bare.context().variant().to_string();
    if !(variant.starts_with("tree") && variant.ends_with("packed")) {
        return Err(format!("a device without features got variant {variant}").into());
    }
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        let case = RowCase::plain("zlpr", AnyLoss::Zlpr(Zlpr::hard()), 30, 77);
        cases.push(RowCase {
            dtype,
            mode: Mode::BothSame,
            extras: Some(Extras::All),
            ..case
        });
    }
    table::run(&bare, &cases)
}

/// Eight threads prepare and record on one context at once, each its own problem, all at first use of its kernels; what
/// they get is what each gets alone.
fn threads(gpu: &Gpu) -> Result<(), Failed> {
    let sizes = [
        (5, 100),
        (70, 14),
        (2, 9000),
        (33, 17),
        (1, 1),
        (300, 3),
        (4, 40_961),
        (9, 257),
    ];
    let alone = |(i, (rows, cols)): (usize, (usize, usize))| -> Result<Vec<u8>, Failed> {
        let problem = Problem::new(gpu, rows, cols, i)?;
        gpu.run(&[&problem.prepare(gpu, Zlpr::hard())?])?;
        problem.bytes(gpu)
    };
    let expected = (sizes.into_iter().enumerate())
        .map(alone)
        .collect::<Result<Vec<_>, _>>()?;
    // Of a context as callers have it, whose calls share their scratch.
    let shared = gpu.with_new_context()?;
    let start = Barrier::new(sizes.len());
    let one = |i: usize, (rows, cols): (usize, usize)| -> Result<Vec<u8>, Failed> {
        let problem = Problem::new(&shared, rows, cols, i)?;
        start.wait();
        for _ in 0..5 {
            shared.run(&[&problem.prepare(&shared, Zlpr::hard())?])?;
        }
        problem.bytes(&shared)
    };
    let found: Vec<Result<Vec<u8>, Failed>> = std::thread::scope(|scope| {
        let all = sizes.into_iter().enumerate();
        let running: Vec<_> = all
            .map(|(i, size)| scope.spawn(move || one(i, size)))
            .collect();
        let end = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<u8>, Failed>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread has panicked".into()))
        };
        running.into_iter().map(end).collect()
    });
    for (i, (found, expected)) in found.into_iter().zip(&expected).enumerate() {
        same(&format!("thread {i}"), &found?, expected)?;
    }
    Ok(())
}

/// A buffer of another device is refused when a call is prepared, one that is destroyed when it is run; neither is a panic,
/// and the device goes on.
fn buffers(gpu: &Gpu) -> Result<(), Failed> {
    // A refused submission stays with the device that it was sent to.
    let adapter = adapter_of(gpu)?;
    let (own, other) = (Gpu::from_adapter(&adapter)?, Gpu::from_adapter(&adapter)?);
    let foreign = Problem {
        logits: Problem::new(&other, 4, 10, 6)?.logits,
        ..Problem::new(&own, 4, 10, 6)?
    };
    match foreign.prepare(&own, Zlpr::hard()) {
        Err(error)
            if error
                .message()
                .is_some_and(|text| text.starts_with("device: ")) => {}
        found => return Err(format!("a buffer of another device: {found:?}").into()),
    }
    computes(&own)?;
    let gone = Problem::new(&own, 4, 10, 6)?;
    let call = gone.prepare(&own, Zlpr::hard())?;
    gone.logits.destroy();
    match own.run(&[&call]) {
        Err(error) if error.kind() == ErrorKind::Device => {}
        found => return Err(format!("a buffer that is destroyed: {found:?}").into()),
    }
    computes(&own)
}

/// A device computes a loss.
pub fn computes(gpu: &Gpu) -> Result<(), Failed> {
    let problem = Problem::new(gpu, 3, 9, 8)?;
    gpu.run(&[&problem.prepare(gpu, Zlpr::hard())?])?;
    let loss = gpu.download(&problem.loss, 4)?;
    let loss = f32::from_le_bytes(loss.try_into().map_err(|_| "four bytes")?);
    match loss.is_finite() && loss > 0.0 {
        true => Ok(()),
        false => Err(format!("a loss of {loss}").into()),
    }
}

/// Work that takes longer than waiting may: waiting ends, so does whatever is asked of the device afterwards, and so do its
/// last owners. A fresh device works.
fn no_answer(gpu: &Gpu) -> Result<(), Failed> {
    if gpu.info().device_type != wgpu::DeviceType::Cpu {
        // How much work takes seconds is not known there, and a driver may kill it.
        return Ok(());
    }
    let adapter = adapter_of(gpu)?;
    let slow = Gpu::from_adapter(&adapter)?.with_timeout(Duration::from_millis(50));
    let device = slow.context().device();
    let pipeline = user_pipeline(
        device,
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
         @compute @workgroup_size(1)
         fn main() { for (var i = 0u; i < 1000000000u; i++) { x[0] = x[0] * 3u + i; } }",
    );
    let number = slow.zeros(4)?;
    let bind_group = user_bindings(device, &pipeline, &number);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    let began = Instant::now();
    let first = slow.finish(encoder);
    let then = slow.download(&number, 4).map(|_| ());
    drop((bind_group, pipeline, number, slow));
    let took = began.elapsed();
    for (what, found) in [("the wait", first), ("what comes then", then)] {
        match found {
            Err(error) if error.kind() == ErrorKind::Device => {}
            other => return Err(format!("{what}: {other:?}").into()),
        }
    }
    // The work itself takes more than a second, whatever the machine.
    if took > Duration::from_millis(800) {
        return Err(format!("{took:?} until it was let go").into());
    }
    computes(&Gpu::from_adapter(&adapter)?)
}

fn empty_batch(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, cols) in [(0, 5), (3, 0), (0, 0)] {
        let problem = Problem::new(gpu, rows, cols, 7)?;
        gpu.run(&[&problem.prepare(gpu, Zlpr::hard())?])?;
        if gpu.download(&problem.loss, 4)? != 0_f32.to_le_bytes() {
            return Err(format!("{rows}x{cols}: the loss is not 0").into());
        }
    }
    Ok(())
}
