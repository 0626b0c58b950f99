//! A device that this crate opens: uploads, submissions, readbacks.

use crate::device::caps::{Caps, Variant};
use crate::device::context;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::error::{Error, ErrorKind};
use crate::host::experimental;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a submission may take before waiting for it is an error, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A device opened by this crate.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Context,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    /// What the adapter offers, where the device was opened with cooperative matrices.
    offered: Vec<wgpu::CooperativeMatrixProperties>,
    /// The first error that reached nobody else: device loss, a refused command, no answer in time.
    fault: Arc<Mutex<Option<String>>>,
    timeout: Duration,
}

/// The adapters of this machine that can run WGSL compute, real GPUs first.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Without names in the shaders, a debug build and a release share what the driver's cache holds.
        flags: wgpu::InstanceFlags::from_build_config()
            .difference(wgpu::InstanceFlags::DEBUG)
            .with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut all = pollster::block_on(instance.enumerate_adapters(backends));
    all.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    all
}

impl Gpu {
    /// Opens an adapter with the features that make kernels faster and all of its limits, without testing it.
    ///
    /// # Errors
    /// Where the adapter gives no device, or one too small.
    pub fn from_adapter(adapter: &wgpu::Adapter) -> Result<Gpu, Error> {
        Gpu::with_limits(adapter, Context::useful_features(adapter), adapter.limits())
    }

    /// Opens an adapter with these features and limits, without testing it.
    ///
    /// # Errors
    /// Where the adapter gives no such device, or the limits are too small for the kernels.
    pub fn with_limits(
        adapter: &wgpu::Adapter,
        features: wgpu::Features,
        limits: wgpu::Limits,
    ) -> Result<Gpu, Error> {
        Gpu::request(
            adapter,
            features,
            limits,
            wgpu::ExperimentalFeatures::disabled(),
        )
    }

    /// A device that computes nothing, with these features and limits: it prepares and records calls on a machine without a
    /// GPU, and runs no kernel. Needs wgpu's feature `noop`, which the feature `cli` turns on.
    ///
    /// # Errors
    /// Where wgpu has no such backend, or the limits are too small for the kernels.
    pub fn noop(features: wgpu::Features, limits: wgpu::Limits) -> Result<Gpu, Error> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions {
                noop: wgpu::NoopBackendOptions::enabled(),
                ..Default::default()
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let options = wgpu::RequestAdapterOptions::default();
        let adapter = pollster::block_on(instance.request_adapter(&options))
            .map_err(|error| Error::new(ErrorKind::Unsupported, "adapter", "wgpu's noop", error))?;
        Gpu::with_limits(&adapter, features, limits)
    }

    /// Opens an adapter as [`Gpu::from_adapter`] does, with cooperative matrices
    /// ([`Context::with_cooperative_matrices`]) and these limits, without testing it.
    ///
    /// This enables an experimental feature of wgpu, which may have bugs, up to undefined behaviour in a driver: ask for it
    /// where you would take that, and see [`wgpu::ExperimentalFeatures`].
    ///
    /// # Errors
    /// Where the adapter does not offer them or gives no device, or the limits are too small for the kernels.
    pub fn cooperative(adapter: &wgpu::Adapter, limits: wgpu::Limits) -> Result<Gpu, Error> {
        if Context::cooperative_matrices(adapter).is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("adapter {}", adapter.get_info().name),
                "cooperative matrices of f16 into f32, 16x16x16 or 8x8x8, in subgroups of one size",
                "none",
            ));
        }
        let features = Context::useful_features(adapter) | Caps::COOPERATIVE_FEATURES;
        let mut gpu = Gpu::request(adapter, features, limits, experimental::consent())?;
        gpu.offered = adapter.cooperative_matrix_properties();
        gpu.context = gpu.context.with_cooperative_matrices(&gpu.offered)?;
        Ok(gpu)
    }

    fn request(
        adapter: &wgpu::Adapter,
        features: wgpu::Features,
        limits: wgpu::Limits,
        experimental_features: wgpu::ExperimentalFeatures,
    ) -> Result<Gpu, Error> {
        let info = adapter.get_info();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgloss"),
            required_features: features,
            required_limits: limits,
            experimental_features,
            ..Default::default()
        }))
        .map_err(|error| {
            Error::new(
                ErrorKind::Device,
                format!("adapter {}", info.name),
                "a device",
                error,
            )
        })?;
        let fault = Arc::new(Mutex::new(None));
        let note = |fault: &Arc<Mutex<Option<String>>>, message: String| {
            let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert(message.replace('\n', " "));
        };
        let uncaptured = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            note(&uncaptured, error.to_string());
        }));
        let lost = Arc::clone(&fault);
        device.set_device_lost_callback(move |reason, message| {
            note(&lost, format!("device lost ({reason:?}): {message}"));
        });
        Ok(Gpu {
            context: Context::new(&device)?,
            queue,
            info,
            offered: Vec::new(),
            fault,
            timeout: TIMEOUT,
        })
    }

    /// The context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The same device with another kernel variant.
    ///
    /// # Errors
    /// Where the device lacks something for it.
    pub fn with_variant(&self, variant: Variant) -> Result<Gpu, Error> {
        Ok(Gpu {
            context: self.context.with_variant(variant)?,
            ..self.clone()
        })
    }

    /// The same device and variant with a context of its own, which has compiled nothing yet. What the driver keeps of
    /// earlier compilations, in memory or on disk, it still has.
    ///
    /// # Errors
    /// Device errors.
    pub fn with_new_context(&self) -> Result<Gpu, Error> {
        let mut context = Context::new(self.context.device())?;
        if !self.offered.is_empty() {
            context = context.with_cooperative_matrices(&self.offered)?;
        }
        Ok(Gpu {
            context: context.with_variant(self.context.variant())?,
            ..self.clone()
        })
    }

    /// The same device with another limit for how long a submission may take; 300 seconds unless it is said. Beyond, waiting
    /// is an error, and so is whatever is asked of the device from then on. Its memory and its queue are not given back, since
    /// that would mean to wait for them.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Gpu {
        Gpu {
            timeout,
            ..self.clone()
        }
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The adapter: name, driver, backend.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// A storage buffer with `bytes`, rounded up to whole words.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn upload(&self, bytes: &[u8]) -> Result<wgpu::Buffer, Error> {
        let size = bytes.len().next_multiple_of(4).max(4) as u64;
        let buffer = self.buffer(size, true)?;
        if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
            view.slice(..bytes.len()).copy_from_slice(bytes);
        }
        buffer.unmap();
        Ok(buffer)
    }

    /// A storage buffer of `bytes` zeros, rounded up to whole words.
    ///
    /// # Errors
    /// Where the device cannot hold it.
    pub fn zeros(&self, bytes: u64) -> Result<wgpu::Buffer, Error> {
        // What cannot be rounded up is more than any device has.
        let words = bytes.checked_next_multiple_of(4);
        self.buffer(words.unwrap_or(bytes).max(4), false)
    }

    /// A storage buffer of `len` numbers of 32 bits, all 0.
    pub(super) fn numbers(&self, len: usize) -> Result<wgpu::Buffer, Error> {
        self.zeros((len as u64).saturating_mul(4))
    }

    fn buffer(&self, size: u64, mapped: bool) -> Result<wgpu::Buffer, Error> {
        let most = self.context.caps().max_buffer;
        if size > most {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "buffer",
                format!("at most {most} bytes on this device"),
                format!("{size} bytes"),
            ));
        }
        self.scoped(|| {
            self.context
                .device()
                .create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgloss tensor"),
                    size,
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_SRC
                        | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: mapped,
                })
        })
    }

    /// Records the calls one after the other, submits them and waits.
    ///
    /// # Errors
    /// Device loss, a refused command, no answer in time.
    pub fn run(&self, calls: &[&Prepared]) -> Result<(), Error> {
        let mut encoder = self
            .context
            .device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for call in calls {
            call.encode(&mut encoder);
        }
        self.finish(encoder)
    }

    /// Submits an encoder and waits.
    ///
    /// # Errors
    /// Device loss, a refused command, no answer in time.
    pub fn finish(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.sound()?;
        let index = self.scoped(|| self.queue.submit([encoder.finish()]))?;
        self.wait(index)
    }

    fn wait(&self, index: wgpu::SubmissionIndex) -> Result<(), Error> {
        let polled = self.context.device().poll(wgpu::PollType::Wait {
            submission_index: Some(index),
            timeout: Some(self.timeout),
        });
        self.sound()?;
        let waited = polled.map(|_| ()).map_err(|error| {
            let answer = format!("answer within {} s", self.timeout.as_secs_f64());
            if matches!(error, wgpu::PollError::Timeout) {
                let fault = || self.fault.lock().unwrap_or_else(PoisonError::into_inner);
                fault().get_or_insert_with(|| format!("no {answer}"));
                // The last owner of a queue or a device waits for what is running, however long that takes.
                std::mem::forget((self.queue.clone(), self.context.device().clone()));
            }
            Error::new(ErrorKind::Device, "device", format!("an {answer}"), error)
        });
        waited.map_err(|error| self.reason(error))
    }

    /// Runs `work` under error scopes.
    fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        context::scoped(self.context.device(), work).map_err(|error| self.reason(error))
    }

    /// That the device is lost, where that is why something failed: wgpu tells it when it is polled, and until then what
    /// could not be made of it.
    fn reason(&self, error: Error) -> Error {
        // That it cannot be polled is no better reason.
        let _ = self.context.device().poll(wgpu::PollType::Poll);
        self.sound().err().unwrap_or(error)
    }

    /// Refuses a device that is lost, or that has not answered in time.
    fn sound(&self) -> Result<(), Error> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.as_ref() {
            None => Ok(()),
            Some(fault) => Err(Error::because(
                ErrorKind::Device,
                "device",
                format!("lost or faulted: {fault}"),
            )),
        }
    }

    /// Reads the first `bytes` bytes of a buffer back.
    ///
    /// # Errors
    /// Device loss, no memory, no answer in time, or a buffer shorter than that.
    pub fn download(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let size = bytes.checked_next_multiple_of(4);
        let Some(size) = size.filter(|size| *size <= buffer.size()) else {
            return Err(Error::new(
                ErrorKind::Buffer,
                "download",
                format!("at most {} bytes", buffer.size()),
                format!("{bytes} bytes"),
            ));
        };
        if size == 0 {
            return Ok(Vec::new());
        }
        self.sound()?;
        let device = self.context.device();
        let (staging, index) = self.scoped(|| {
            let staging = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgloss readback"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder =
                device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, size);
            let index = self.queue.submit([encoder.finish()]);
            // What the callback would say is said again by the mapped range below.
            staging.slice(..).map_async(wgpu::MapMode::Read, |_| {});
            (staging, index)
        })?;
        self.wait(index)?;
        let view = staging
            .slice(..)
            .get_mapped_range()
            .map_err(|error| Error::new(ErrorKind::Device, "download", "a mapped buffer", error))?;
        Ok(view[..bytes as usize].to_vec())
    }

    /// Reads the first `len` numbers of a buffer back.
    pub(super) fn read<T: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        len: usize,
    ) -> Result<Vec<T>, Error> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let bytes = self.download(buffer, bytes)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// A storage buffer with these numbers.
    pub(super) fn put<T: bytemuck::Pod>(&self, values: &[T]) -> Result<wgpu::Buffer, Error> {
        self.upload(bytemuck::cast_slice(values))
    }
}
