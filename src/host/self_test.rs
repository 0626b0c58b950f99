//! Whether a driver computes what it is told to, and the choice of one that does.

use crate::device::context;
use crate::error::{Error, ErrorKind};
use crate::host::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::host::gpu::adapters;

const LANES: usize = 8;
const BYTES: u64 = 4 * LANES as u64;
const EXPECTED: u32 = 196_608;

/// Counts to 131,072 in one invocation. The software Vulkan driver that Debian 12 ships (Mesa 22.3.6) silently cuts
/// loops after about 65,535 iterations; a driver that does is refused. No kernel of this crate needs such a loop
/// (but the gradient to a threshold per label, where sparse targets have over 128 positives in row after row); a driver
/// that is wrong here is trusted nowhere.
///
/// # Errors
/// What the driver did instead, in plain words; device errors.
#[cfg(not(target_arch = "wasm32"))]
pub fn self_test(gpu: &Gpu) -> Result<(), Error> {
    let (counts, encoder) = record(gpu)?;
    gpu.finish(encoder)?;
    judge(gpu, &gpu.download(&counts, BYTES)?)
}

/// The same without blocking, as [`Gpu::run_async`].
///
/// # Errors
/// What the driver did instead, in plain words; device errors.
pub async fn self_test_async(gpu: &Gpu) -> Result<(), Error> {
    let (counts, encoder) = record(gpu)?;
    gpu.finish_async(encoder).await?;
    judge(gpu, &gpu.download_async(&counts, BYTES).await?)
}

/// The test, not submitted yet, and where it counts.
fn record(gpu: &Gpu) -> Result<(wgpu::Buffer, wgpu::CommandEncoder), Error> {
    let device = gpu.context().device();
    let counts = gpu.zeros(BYTES)?;
    let encoder = context::scoped(device, || {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("wgloss self-test"),
            source: wgpu::ShaderSource::Wgsl(
                include_str!("../../shaders/shared/self_test.wgsl").into(),
            ),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("wgloss self-test"),
            layout: None,
            module: &module,
            entry_point: Some("self_test"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgloss self-test"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: counts.as_entire_binding(),
            }],
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(1, 1, 1);
        drop(pass);
        encoder
    })?;
    Ok((counts, encoder))
}

fn judge(gpu: &Gpu, counts: &[u8]) -> Result<(), Error> {
    let found: Vec<u32> = bytemuck::pod_collect_to_vec(counts);
    match found.iter().find(|count| **count != EXPECTED) {
        None => Ok(()),
        Some(count) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "driver of {} ({} {})",
                gpu.info().name,
                gpu.info().driver,
                gpu.info().driver_info
            ),
            format!("a loop of 131072 iterations to count to {EXPECTED}"),
            format!(
                "{count}: this driver silently cuts long loops, as Mesa 22.3.6 (stock Debian 12) does; install a newer one"
            ),
        )),
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Gpu {
    /// Opens the best adapter that passes the [`self_test`], or the best of those whose name contains `name` (upper and
    /// lower case alike).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is none; otherwise the error of the last adapter tried.
    pub fn open(name: Option<&str>) -> Result<Gpu, Error> {
        Gpu::open_by(name, Gpu::from_adapter)
    }

    /// The same with cooperative matrices: the best adapter that offers them. See [`Gpu::cooperative`] for what that means.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_cooperative(name: Option<&str>) -> Result<Gpu, Error> {
        Gpu::open_by(name, |adapter| Gpu::cooperative(adapter, adapter.limits()))
    }

    fn open_by(
        name: Option<&str>,
        open: impl Fn(&wgpu::Adapter) -> Result<Gpu, Error>,
    ) -> Result<Gpu, Error> {
        let wanted = name.unwrap_or("").to_lowercase();
        let mut last = Error::new(
            ErrorKind::Unsupported,
            "adapter",
            match name {
                Some(name) => format!("one whose name contains {name:?}"),
                None => "a GPU or a software driver for one".into(),
            },
            "none",
        );
        for adapter in adapters() {
            if !adapter.get_info().name.to_lowercase().contains(&wanted) {
                continue;
            }
            match open(&adapter).and_then(|gpu| self_test(&gpu).map(|()| gpu)) {
                Ok(gpu) => return Ok(gpu),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
