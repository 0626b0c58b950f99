//! The convenience layer: opens a device, uploads, submits, waits, reads back. For people with plain slices, for the
//! command line, for tests; an engine with a device of its own needs none of it.

mod contrastive;
mod hcal;
mod mcm;
mod rows;
mod self_test;

pub use contrastive::{ContrastiveResult, Embeddings, KeyEmbeddings};
pub use hcal::{BalanceValues, HcalBatch, HcalNoise, HcalResult};
pub use mcm::{McmResult, McmRows};
pub use rows::{Labels, Rows, RowsResult, Thresholds, Values, Wanted};
pub use self_test::self_test;

use crate::device::caps::Variant;
use crate::device::context;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::error::{Error, ErrorKind};
use crate::losses::contrastive::Contrastive;
use crate::rowwise::Rowwise;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a submission may take before waiting for it is an error.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A device opened by this crate.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Context,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    /// The first error that reached nobody else: device loss, or a refused command.
    fault: Arc<Mutex<Option<String>>>,
}

/// The adapters of this machine that can run WGSL compute, real GPUs first.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
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
    /// Opens the best adapter that passes the [`self_test`], or the best of those whose name holds `name` (upper and
    /// lower case alike).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where there is none; what the last one failed of.
    pub fn open(name: Option<&str>) -> Result<Gpu, Error> {
        let wanted = name.unwrap_or("").to_lowercase();
        let mut last = Error::new(
            ErrorKind::Unsupported,
            "adapter",
            match name {
                Some(name) => format!("one whose name holds {name:?}"),
                None => "a GPU or a software driver for one".into(),
            },
            "none",
        );
        for adapter in adapters() {
            if !adapter.get_info().name.to_lowercase().contains(&wanted) {
                continue;
            }
            match Gpu::from_adapter(&adapter).and_then(|gpu| self_test(&gpu).map(|()| gpu)) {
                Ok(gpu) => return Ok(gpu),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

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
        let info = adapter.get_info();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgloss"),
            required_features: features,
            required_limits: limits,
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
            fault,
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
        self.buffer(bytes.next_multiple_of(4).max(4), false)
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
        context::scoped(self.context.device(), || {
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
        let device = self.context.device();
        let index = context::scoped(device, || self.queue.submit([encoder.finish()]))?;
        self.wait(index)
    }

    fn wait(&self, index: wgpu::SubmissionIndex) -> Result<(), Error> {
        let polled = self.context.device().poll(wgpu::PollType::Wait {
            submission_index: Some(index),
            timeout: Some(TIMEOUT),
        });
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = fault.as_ref() {
            return Err(Error::new(ErrorKind::Device, "device", "no fault", fault));
        }
        polled.map(|_| ()).map_err(|error| {
            Error::new(
                ErrorKind::Device,
                "device",
                format!("an answer within {} s", TIMEOUT.as_secs()),
                error,
            )
        })
    }

    /// Reads the first `bytes` bytes of a buffer back.
    ///
    /// # Errors
    /// Device loss, no memory, no answer in time, or a buffer shorter than that.
    pub fn download(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let size = bytes.next_multiple_of(4);
        if size > buffer.size() {
            return Err(Error::new(
                ErrorKind::Buffer,
                "download",
                format!("at most {} bytes", buffer.size()),
                format!("{bytes} bytes"),
            ));
        }
        if size == 0 {
            return Ok(Vec::new());
        }
        let device = self.context.device();
        let (staging, index) = context::scoped(device, || {
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
}

/// Where the convenience layer computes: a GPU, or the reference where there is none.
#[derive(Clone, Debug)]
pub struct Engine {
    gpu: Option<Gpu>,
    notice: Option<String>,
}

impl Engine {
    /// The best GPU that passes the self-test, else the reference; [`Engine::notice`] says why.
    pub fn auto() -> Engine {
        match Gpu::open(None) {
            Ok(gpu) => Engine::on(gpu),
            Err(error) => Engine {
                gpu: None,
                notice: Some(format!("computing on the CPU reference ({error})")),
            },
        }
    }

    /// A GPU.
    pub fn on(gpu: Gpu) -> Engine {
        Engine {
            gpu: Some(gpu),
            notice: None,
        }
    }

    /// The CPU reference.
    pub fn reference() -> Engine {
        Engine {
            gpu: None,
            notice: None,
        }
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// `gpu` or `cpu`.
    pub fn backend(&self) -> &'static str {
        if self.gpu.is_some() { "gpu" } else { "cpu" }
    }

    /// The adapter's name, or that it is the reference.
    pub fn adapter(&self) -> String {
        match &self.gpu {
            Some(gpu) => gpu.info.name.clone(),
            None => "CPU reference (f64)".into(),
        }
    }

    /// The driver and its version; empty for the reference.
    pub fn driver(&self) -> String {
        match &self.gpu {
            Some(gpu) => format!("{} {}", gpu.info.driver, gpu.info.driver_info)
                .trim()
                .into(),
            None => String::new(),
        }
    }

    /// Why the reference is used though a GPU was looked for.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Computes a loss of rows: the result, and the gradients that are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values (targets out of range, indices beyond the labels, ...), device errors.
    pub fn rows<L: Rowwise>(
        &self,
        loss: &L,
        rows: &Rows<'_>,
        wanted: Wanted,
    ) -> Result<RowsResult, Error> {
        loss.check()?;
        rows.check(loss)?;
        match &self.gpu {
            Some(gpu) => rows.on_gpu(gpu, loss, wanted),
            None => rows.on_reference(loss, wanted),
        }
    }

    /// Computes a contrastive loss: the result, and the gradients that are wanted.
    ///
    /// # Errors
    /// Wrong lengths or values (indices out of range, ...), device errors.
    pub fn contrastive(
        &self,
        loss: &Contrastive,
        rows: &Embeddings<'_>,
        wanted: Wanted,
    ) -> Result<ContrastiveResult, Error> {
        loss.check()?;
        rows.check(loss.reduction)?;
        match &self.gpu {
            Some(gpu) => rows.on_gpu(gpu, loss, wanted),
            None => rows.on_reference(loss, wanted),
        }
    }

    /// Counts how often each of the five relations of label sets occurs among each anchor's keys: five numbers an
    /// anchor, in the order of [`Relations`](crate::Relations). The embeddings are not looked at.
    ///
    /// # Errors
    /// Wrong lengths or values, device errors.
    pub fn relations(&self, rows: &Embeddings<'_>) -> Result<Vec<u32>, Error> {
        rows.relations(self.gpu.as_ref())
    }
}
