//! A device that this crate opens: uploads, submissions, readbacks.

#[cfg(not(target_arch = "wasm32"))]
use crate::device::caps::Caps;
use crate::device::caps::Variant;
use crate::device::context::{self, Context, Watch};
use crate::device::prepared::Prepared;
use crate::error::{Error, ErrorKind};
#[cfg(not(target_arch = "wasm32"))]
use crate::host::experimental;
use crate::host::signal::{Signal, signal};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

/// How long a submission may take before waiting for it is an error, unless it is said.
#[cfg(not(target_arch = "wasm32"))]
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
    #[cfg(not(target_arch = "wasm32"))]
    timeout: Duration,
}

/// The device's word on commands.
#[cfg(not(target_arch = "wasm32"))]
type Accepted = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
/// The same where nothing of a device is sent to another thread.
#[cfg(target_arch = "wasm32")]
type Accepted = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Commands on their way, with what will be read behind them.
pub(super) struct Sent {
    gpu: Gpu,
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "only what blocks asks for it")
    )]
    index: wgpu::SubmissionIndex,
    accepted: Accepted,
    /// For each buffer, where what is read arrives; none where that is nothing.
    readbacks: Vec<Option<Readback>>,
}

struct Readback {
    staging: wgpu::Buffer,
    bytes: usize,
    mapped: Signal,
}

/// What was read, buffer by buffer.
pub(super) struct Read(std::vec::IntoIter<Vec<u8>>);

/// What comes of commands on their way, or is here already.
pub(super) enum Answer<T> {
    Here(T),
    Coming(Box<Sent>, Finish<T>),
}

/// Makes a result of what was read.
type Finish<T> = Box<dyn FnOnce(Read) -> Result<T, Error> + Send>;

/// The adapters that can run WGSL compute: those of this machine, real GPUs first, or in a browser the one that it gives.
pub async fn adapters_async() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN
        | wgpu::Backends::METAL
        | wgpu::Backends::DX12
        | wgpu::Backends::BROWSER_WEBGPU;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Without names in the shaders, a debug build and a release share what the driver's cache holds.
        flags: wgpu::InstanceFlags::from_build_config()
            .difference(wgpu::InstanceFlags::DEBUG)
            .with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut all = instance.enumerate_adapters(backends).await;
    all.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    all
}

/// The same, waited for.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<wgpu::Adapter> {
    pollster::block_on(adapters_async())
}

impl Gpu {
    /// Opens an adapter with the features that make kernels faster and all of its limits, without testing it.
    ///
    /// # Errors
    /// Where the adapter gives no device, or one too small.
    pub async fn from_adapter_async(adapter: &wgpu::Adapter) -> Result<Gpu, Error> {
        let features = Context::useful_features(adapter);
        Gpu::with_limits_async(adapter, features, adapter.limits()).await
    }

    /// Opens an adapter with these features and limits, without testing it.
    ///
    /// # Errors
    /// Where the adapter gives no such device, or the limits are too small for the kernels.
    pub async fn with_limits_async(
        adapter: &wgpu::Adapter,
        features: wgpu::Features,
        limits: wgpu::Limits,
    ) -> Result<Gpu, Error> {
        let experimental = wgpu::ExperimentalFeatures::disabled();
        Gpu::request(adapter, features, limits, experimental).await
    }

    async fn request(
        adapter: &wgpu::Adapter,
        features: wgpu::Features,
        limits: wgpu::Limits,
        experimental_features: wgpu::ExperimentalFeatures,
    ) -> Result<Gpu, Error> {
        let info = adapter.get_info();
        let requested = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgloss"),
            required_features: features,
            required_limits: limits,
            experimental_features,
            ..Default::default()
        });
        let (device, queue) = requested.await.map_err(|error| {
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
            #[cfg(not(target_arch = "wasm32"))]
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

    /// Records the calls one after the other, submits them and waits, without blocking. On a machine with threads somebody
    /// has to poll the device meanwhile ([`wgpu::Device::poll`]); a browser does that by itself. Waits as long as it takes:
    /// [`Gpu::with_timeout`] is for the functions that block.
    ///
    /// # Errors
    /// Device loss, a refused command, whatever else the device has reported since it was opened.
    pub async fn run_async(&self, calls: &[&Prepared]) -> Result<(), Error> {
        self.finish_async(self.record(calls)).await
    }

    /// Submits an encoder and waits, without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// As [`Gpu::run_async`].
    pub async fn finish_async(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.send(encoder, &[])?.done().await.map(|_| ())
    }

    /// Reads the first `bytes` bytes of a buffer back, without blocking, as [`Gpu::run_async`].
    ///
    /// # Errors
    /// As [`Gpu::run_async`]; no memory, a buffer shorter than that.
    pub async fn download_async(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u8>, Error> {
        let sent = self.send(self.encoder(), &[(buffer, bytes)])?;
        Ok(sent.done().await?.take())
    }

    /// Submits an encoder; what comes behind it waits for both.
    #[cfg(feature = "check")]
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.sound()?;
        self.scoped(|| {
            self.queue.submit([encoder.finish()]);
        })
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        let device = self.context.device();
        device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    fn record(&self, calls: &[&Prepared]) -> wgpu::CommandEncoder {
        let mut encoder = self.encoder();
        for call in calls {
            call.encode(&mut encoder);
        }
        encoder
    }

    /// Submits an encoder, and behind it the reading of the first bytes of some buffers.
    pub(super) fn send(
        &self,
        mut encoder: wgpu::CommandEncoder,
        reads: &[(&wgpu::Buffer, u64)],
    ) -> Result<Sent, Error> {
        self.sound()?;
        let mut sizes = Vec::new();
        for (buffer, bytes) in reads {
            let size = bytes.checked_next_multiple_of(4);
            let Some(size) = size.filter(|size| *size <= buffer.size()) else {
                return Err(Error::new(
                    ErrorKind::Buffer,
                    "download",
                    format!("at most {} bytes", buffer.size()),
                    format!("{bytes} bytes"),
                ));
            };
            sizes.push(size);
        }
        let device = self.context.device();
        let watch = Watch::begin(device);
        let mut stagings = Vec::new();
        for ((buffer, _), size) in reads.iter().zip(sizes) {
            let staging = (size > 0).then(|| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("wgloss readback"),
                    size,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            if let Some(staging) = &staging {
                encoder.copy_buffer_to_buffer(buffer, 0, staging, 0, size);
            }
            stagings.push(staging);
        }
        let index = self.queue.submit([encoder.finish()]);
        let mut readbacks = Vec::new();
        for (staging, (_, bytes)) in stagings.into_iter().zip(reads) {
            readbacks.push(staging.map(|staging| {
                let (giver, mapped) = signal();
                // What the callback would say is said again by the mapped range.
                let slice = staging.slice(..);
                slice.map_async(wgpu::MapMode::Read, |_| drop(giver));
                Readback {
                    staging,
                    bytes: *bytes as usize,
                    mapped,
                }
            }));
        }
        let (gpu, watched) = (self.clone(), watch.end());
        Ok(Sent {
            gpu: self.clone(),
            index,
            accepted: Box::pin(async move { watched.await.map_err(|error| gpu.reason(error)) }),
            readbacks,
        })
    }

    /// Submits a call, and behind it the reading of some buffers of numbers of 32 bits.
    pub(super) fn send_call(
        &self,
        call: &Prepared,
        reads: &[(&wgpu::Buffer, usize)],
    ) -> Result<Sent, Error> {
        let bytes = |len: usize| (len as u64).saturating_mul(4);
        let reads: Vec<(&wgpu::Buffer, u64)> = reads
            .iter()
            .map(|(buffer, len)| (*buffer, bytes(*len)))
            .collect();
        self.send(self.record(&[call]), &reads)
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

    /// A storage buffer with these numbers.
    pub(super) fn put<T: bytemuck::Pod>(&self, values: &[T]) -> Result<wgpu::Buffer, Error> {
        self.upload(bytemuck::cast_slice(values))
    }
}

/// What blocks; a browser's page cannot.
#[cfg(not(target_arch = "wasm32"))]
impl Gpu {
    /// Opens an adapter with the features that make kernels faster and all of its limits, without testing it.
    ///
    /// # Errors
    /// Where the adapter gives no device, or one too small.
    pub fn from_adapter(adapter: &wgpu::Adapter) -> Result<Gpu, Error> {
        pollster::block_on(Gpu::from_adapter_async(adapter))
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
        pollster::block_on(Gpu::with_limits_async(adapter, features, limits))
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
        let requested = Gpu::request(adapter, features, limits, experimental::consent());
        let mut gpu = pollster::block_on(requested)?;
        gpu.offered = adapter.cooperative_matrix_properties();
        gpu.context = gpu.context.with_cooperative_matrices(&gpu.offered)?;
        Ok(gpu)
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

    /// Records the calls one after the other, submits them and waits.
    ///
    /// # Errors
    /// Device loss, a refused command, no answer in time.
    pub fn run(&self, calls: &[&Prepared]) -> Result<(), Error> {
        self.finish(self.record(calls))
    }

    /// Submits an encoder and waits.
    ///
    /// # Errors
    /// Device loss, a refused command, no answer in time.
    pub fn finish(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.send(encoder, &[])?.wait().map(|_| ())
    }

    /// Reads the first `bytes` bytes of a buffer back.
    ///
    /// # Errors
    /// Device loss, no memory, no answer in time, or a buffer shorter than that.
    pub fn download(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let sent = self.send(self.encoder(), &[(buffer, bytes)])?;
        Ok(sent.wait()?.take())
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
}

impl Sent {
    /// Waits for the end, and for what is read.
    pub(super) async fn done(self) -> Result<Read, Error> {
        let (giver, end) = signal();
        self.gpu.queue.on_submitted_work_done(|| drop(giver));
        self.accepted.await?;
        end.await;
        let mut read = Vec::new();
        for readback in self.readbacks {
            read.push(match readback {
                Some(Readback {
                    staging,
                    bytes,
                    mapped,
                }) => {
                    mapped.await;
                    // A lost device maps nothing; that it is lost says more.
                    self.gpu.sound()?;
                    mapped_bytes(&staging, bytes)?
                }
                None => Vec::new(),
            });
        }
        self.gpu.sound()?;
        Ok(Read(read.into_iter()))
    }

    /// The same, blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn wait(self) -> Result<Read, Error> {
        pollster::block_on(self.accepted)?;
        self.gpu.wait(self.index)?;
        let readbacks = self.readbacks.into_iter().map(|readback| match readback {
            Some(Readback { staging, bytes, .. }) => mapped_bytes(&staging, bytes),
            None => Ok(Vec::new()),
        });
        let read: Vec<_> = readbacks.collect::<Result<_, _>>()?;
        Ok(Read(read.into_iter()))
    }
}

fn mapped_bytes(staging: &wgpu::Buffer, bytes: usize) -> Result<Vec<u8>, Error> {
    let view = staging
        .slice(..)
        .get_mapped_range()
        .map_err(|error| Error::new(ErrorKind::Device, "download", "a mapped buffer", error))?;
    Ok(view[..bytes].to_vec())
}

impl Read {
    /// The bytes of the next buffer.
    fn take(mut self) -> Vec<u8> {
        self.0.next().unwrap_or_default()
    }

    /// The numbers of the next buffer.
    pub(super) fn next<T: bytemuck::Pod>(&mut self) -> Vec<T> {
        bytemuck::pod_collect_to_vec(&self.0.next().unwrap_or_default())
    }
}

impl<T> Answer<T> {
    /// What comes of a call, by `finish` of what was read.
    pub(super) fn coming(
        sent: Sent,
        finish: impl FnOnce(Read) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        Answer::Coming(Box::new(sent), Box::new(finish))
    }

    pub(super) async fn done(self) -> Result<T, Error> {
        match self {
            Answer::Here(result) => Ok(result),
            Answer::Coming(sent, finish) => finish(sent.done().await?),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn wait(self) -> Result<T, Error> {
        match self {
            Answer::Here(result) => Ok(result),
            Answer::Coming(sent, finish) => finish(sent.wait()?),
        }
    }
}
