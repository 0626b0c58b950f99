//! What a device can do at most: a copy and a chain of multiplications, each in a kernel of its own.

#[cfg(not(target_arch = "wasm32"))]
use crate::check::measure::clock::Timer;
use crate::check::measure::timed::Timed;
use crate::device::context;
use crate::error::Error;
use crate::host::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

/// Bytes of a vector, and vectors that a workgroup copies.
const VECTOR: u64 = 16;
const GROUP_VECTORS: u64 = 1024;
/// Lanes of a workgroup that multiplies and adds, and how often one does: turns, steps of a turn, components.
const LANES: u64 = 256;
const LANE_WORK: u64 = 256 * 16 * 4;
#[cfg(not(target_arch = "wasm32"))]
/// How long a dispatch of multiplications is to take at least.
const PEAK_TIME: Duration = Duration::from_millis(5);
/// Workgroups per dimension that WebGPU guarantees.
const MOST_GROUPS: u32 = 65_535;

/// A copy from one buffer to another, by vectors of four words.
pub struct CopyKernel {
    pipeline: wgpu::ComputePipeline,
    /// For each round the pieces that one binding reaches, with their groups in x and y.
    rounds: Vec<Vec<(wgpu::BindGroup, [u32; 2])>>,
    bytes: u64,
}

/// Multiplications and additions in registers.
pub struct MultiplyAdd {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: u32,
}

fn pipeline(gpu: &Gpu, entry: &str, text: &str) -> wgpu::ComputePipeline {
    let device = gpu.context().device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("wgloss bench"),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("wgloss bench"),
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn bind(
    gpu: &Gpu,
    pipeline: &wgpu::ComputePipeline,
    resources: [wgpu::BindingResource<'_>; 2],
) -> wgpu::BindGroup {
    let [first, second] = resources;
    let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
    let device = gpu.context().device();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("wgloss bench"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[entry(0, first), entry(1, second)],
    })
}

impl CopyKernel {
    /// Copies of `bytes`, from place to place in so much memory that `rotated` bytes lie between two uses of the same.
    ///
    /// # Errors
    /// Device errors, no memory.
    pub fn new(gpu: &Gpu, bytes: u64, rotated: u64) -> Result<Self, Error> {
        let caps = *gpu.context().caps();
        let bytes = bytes.next_multiple_of(VECTOR).max(VECTOR);
        let unit = caps.storage_align.max(VECTOR);
        let stride = bytes.next_multiple_of(unit);
        let most = (caps.max_buffer / stride).clamp(1, 256);
        let rounds = rotated.div_ceil(2 * bytes).clamp(1, most);
        let buffers = [gpu.zeros(rounds * stride)?, gpu.zeros(rounds * stride)?];
        let reach = caps.max_binding / unit * unit;
        context::scoped(gpu.context().device(), || {
            let text = include_str!("../../../shaders/measure/copy.wgsl");
            let entry = if caps.cpu { "copy_narrow" } else { "copy" };
            let pipeline = pipeline(gpu, entry, text);
            let round = |i: u64| {
                let pieces = (0..bytes).step_by(reach as usize);
                let piece = |at: u64| {
                    let size = reach.min(bytes - at);
                    let resources = [0, 1].map(|side| {
                        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &buffers[side],
                            offset: i * stride + at,
                            size: wgpu::BufferSize::new(size),
                        })
                    });
                    let bindings = bind(gpu, &pipeline, resources);
                    let groups = size.div_ceil(VECTOR * GROUP_VECTORS) as u32;
                    let high = groups.div_ceil(MOST_GROUPS);
                    (bindings, [groups.div_ceil(high), high])
                };
                pieces.map(piece).collect()
            };
            CopyKernel {
                rounds: (0..rounds).map(round).collect(),
                pipeline,
                bytes,
            }
        })
    }

    /// Bytes that a copy moves: read and written.
    pub fn moved(&self) -> u64 {
        2 * self.bytes
    }
}

impl Timed for CopyKernel {
    fn rounds(&self) -> usize {
        self.rounds.len()
    }

    fn record(&self, round: usize, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        for (bindings, [x, y]) in &self.rounds[round] {
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }
}

impl MultiplyAdd {
    /// As many of them as take some milliseconds.
    ///
    /// # Errors
    /// Device errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(gpu: &Gpu) -> Result<Self, Error> {
        let mut groups = 16;
        loop {
            let made = MultiplyAdd::of(gpu, groups)?;
            let timer = Timer::new(gpu, &made, Duration::ZERO)?;
            let time = timer.sample(Duration::ZERO, 3)?.median;
            drop(timer);
            if time >= PEAK_TIME || groups > MOST_GROUPS / 4 {
                return Ok(made);
            }
            groups *= 4;
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn of(gpu: &Gpu, groups: u32) -> Result<Self, Error> {
        // All chains go to the same fixed point, 2, and stay there.
        let numbers = gpu.upload(bytemuck::cast_slice(&[0.75_f32, 0.5]))?;
        let results = gpu.zeros(4 * u64::from(groups) * LANES)?;
        context::scoped(gpu.context().device(), || {
            let text = include_str!("../../../shaders/measure/multiply_add.wgsl");
            let pipeline = pipeline(gpu, "multiply_add", text);
            let resources = [&numbers, &results].map(wgpu::Buffer::as_entire_binding);
            let bindings = bind(gpu, &pipeline, resources);
            MultiplyAdd {
                pipeline,
                bindings,
                groups,
            }
        })
    }

    /// Operations of a dispatch, two to a multiply-add.
    pub fn flops(&self) -> u64 {
        2 * u64::from(self.groups) * LANES * LANE_WORK
    }
}

impl Timed for MultiplyAdd {
    fn rounds(&self) -> usize {
        1
    }

    fn record(&self, _round: usize, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(self.groups, 1, 1);
    }
}
