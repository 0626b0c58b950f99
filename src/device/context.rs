//! The caller's device and what the crate keeps for it.

use crate::device::caps::{Caps, Variant};
use crate::device::module::{Kernel, Module};
use crate::device::plan::{STORAGE_BINDINGS, Target};
use crate::error::{Error, ErrorKind};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task;
#[cfg(not(target_arch = "wasm32"))]
use std::thread;

/// Workgroups per dimension that WebGPU guarantees; plans fold at the device's own limit, but rely on this one.
const MIN_GROUPS: u32 = 65_535;

/// The caller's device, its capabilities and the pipelines compiled for it so far.
///
/// Cheap to clone; clones share the pipelines. Holds a handle of the device, never a queue.
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<Inner>,
    variant: Variant,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    caps: Caps,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    cache: Option<wgpu::PipelineCache>,
    modules: Slots<Module, wgpu::ShaderModule>,
    pipelines: Slots<Kernel, wgpu::ComputePipeline>,
    /// Parameters that nothing writes, by their bytes.
    params: Mutex<HashMap<Vec<u8>, wgpu::Buffer>>,
    /// Scratch that calls share.
    scratch: Mutex<Option<wgpu::Buffer>>,
    /// Whether each call gets scratch of its own that is full of NaN.
    dirty: AtomicBool,
    /// Whether calls keep what they are as data.
    keeps: AtomicBool,
    nothing: wgpu::Buffer,
}

/// Most parameters that are kept, and the bytes of each: calls of a training step, each over a few sets of places.
const PARAMS_KEPT: usize = 512;
const PARAMS_BYTES: usize = 1 << 14;
/// Most bytes of scratch that are kept for calls to share, and the least that are made for them.
const SCRATCH_SHARED: u64 = 16 << 20;
const SCRATCH_LEAST: u64 = 64 << 10;

impl Context {
    /// Looks at the features and limits of `device` and chooses the kernel variant for it. Compiles nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the device has fewer than 7 storage buffers per stage, 65,535 workgroups per
    /// dimension or 32 lanes in a workgroup (WebGPU guarantees 8, 65,535 and 256); device errors.
    pub fn new(device: &wgpu::Device) -> Result<Self, Error> {
        let limits = device.limits();
        if (limits.max_storage_buffers_per_shader_stage as usize) < STORAGE_BINDINGS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "device",
                format!("{STORAGE_BINDINGS} storage buffers per shader stage"),
                limits.max_storage_buffers_per_shader_stage,
            ));
        }
        if limits.max_compute_workgroups_per_dimension < MIN_GROUPS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "device",
                format!("{MIN_GROUPS} workgroups per dimension"),
                limits.max_compute_workgroups_per_dimension,
            ));
        }
        let caps = Caps::of(device);
        let variant = caps.default_variant();
        caps.check(variant)?;
        let inner = scoped(device, || {
            let mut entries = vec![layout_entry(0, wgpu::BufferBindingType::Uniform)];
            for binding in 1..=STORAGE_BINDINGS as u32 {
                entries.push(layout_entry(
                    binding,
                    wgpu::BufferBindingType::Storage { read_only: false },
                ));
            }
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("wgloss"),
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("wgloss"),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            // Bound where a kernel has no tensor for a binding: one piece each, since browsers refuse aliases.
            let nothing = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgloss nothing"),
                size: caps.storage_align.max(16) * STORAGE_BINDINGS as u64,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            Inner {
                device: device.clone(),
                caps,
                layout,
                pipeline_layout,
                cache: None,
                modules: Slots::default(),
                pipelines: Slots::default(),
                params: Mutex::default(),
                scratch: Mutex::default(),
                dirty: AtomicBool::default(),
                keeps: AtomicBool::default(),
                nothing,
            }
        })?;
        Ok(Context {
            inner: Arc::new(inner),
            variant,
        })
    }

    /// The same device, with every pipeline created through the caller's pipeline cache. Those compiled before are not
    /// taken along.
    pub fn with_pipeline_cache(&self, cache: wgpu::PipelineCache) -> Self {
        Context {
            inner: Arc::new(self.inner.anew(self.inner.caps, Some(cache))),
            variant: self.variant,
        }
    }

    /// The same device with contrastive losses of f16 and bf16 embeddings, and last layers whose hidden states and weights
    /// both are of these types, that multiply matrices by cooperative matrices (tensor cores), in the same variant otherwise.
    /// Results keep to the same tolerance; what is f32, and all other losses, are computed as without. Pipelines compiled
    /// before are not taken along.
    ///
    /// Of `offered`, which is [`wgpu::Adapter::cooperative_matrix_properties`] of the device's adapter, 16x16x16 or 8x8x8 of
    /// f16 into f32 is taken, in this order. The device must have been made with the features
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX`, `SHADER_F16` and `SUBGROUP`, and its subgroups must be of one size. wgpu calls the
    /// feature experimental: it may have bugs, and a device with it needs [`wgpu::ExperimentalFeatures`]. So nothing here
    /// takes it unless told to.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the device or its adapter lacks something for it.
    pub fn with_cooperative_matrices(
        &self,
        offered: &[wgpu::CooperativeMatrixProperties],
    ) -> Result<Self, Error> {
        let caps = self
            .inner
            .caps
            .with_cooperative(&self.inner.device, offered)?;
        let variant = Variant {
            cooperative: true,
            ..self.variant
        };
        Ok(Context {
            inner: Arc::new(self.inner.anew(caps, self.inner.cache.clone())),
            variant,
        })
    }

    /// Rows and columns of the cooperative matrices that [`Context::with_cooperative_matrices`] would use on a device of
    /// this adapter made with all of its features.
    pub fn cooperative_matrices(adapter: &wgpu::Adapter) -> Option<u32> {
        let offered = adapter.cooperative_matrix_properties();
        let info = adapter.get_info();
        Caps::cooperative_side((info.subgroup_min_size, info.subgroup_max_size), &offered)
            .filter(|_| adapter.features().contains(Caps::COOPERATIVE_FEATURES))
    }

    /// The same context with another kernel variant.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the device lacks something for it.
    pub fn with_variant(&self, variant: Variant) -> Result<Self, Error> {
        self.inner.caps.check(variant)?;
        Ok(Context {
            inner: Arc::clone(&self.inner),
            variant,
        })
    }

    /// Features of an adapter that make kernels faster where the device is created with them. None is required.
    pub fn useful_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        adapter.features()
            & (wgpu::Features::SUBGROUP
                | wgpu::Features::SHADER_F16
                | wgpu::Features::TIMESTAMP_QUERY)
    }

    /// The kernel variant in use.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// What the device allows.
    pub fn caps(&self) -> &Caps {
        &self.inner.caps
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// Compiles the pipelines of `kernels` now instead of at their first `prepare`, on as many threads as the machine runs at
    /// once; those of a prepared call are in its [`Plan`](crate::Plan).
    ///
    /// # Errors
    /// Device errors; of several the first in the order of the kernels.
    pub fn warm_up(&self, kernels: impl IntoIterator<Item = Kernel>) -> Result<(), Error> {
        let kernels: Vec<Kernel> = kernels.into_iter().collect();
        // A browser has no threads to lend, and compiles in the background anyway.
        #[cfg(not(target_arch = "wasm32"))]
        {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            if threads.min(kernels.len()) > 1 {
                return self.warm_up_on(threads.min(kernels.len()), &kernels);
            }
        }
        let mut kernels = kernels.into_iter();
        kernels.try_for_each(|kernel| self.pipeline(kernel).map(|_| ()))
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn warm_up_on(&self, threads: usize, kernels: &[Kernel]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<(usize, Error)>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((at, kernel)) = take(&next, kernels) {
                        if let Err(error) = self.pipeline(kernel) {
                            let mut failed = lock(&failed);
                            if failed.as_ref().is_none_or(|(first, _)| at < *first) {
                                *failed = Some((at, error));
                            }
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// What planners plan for.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            caps: &self.inner.caps,
            variant: self.variant,
        }
    }

    pub(crate) fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.inner.layout
    }

    pub(crate) fn nothing(&self) -> &wgpu::Buffer {
        &self.inner.nothing
    }

    /// A uniform buffer of these bytes, which nothing ever writes: that of an earlier call where there was one, since making
    /// and filling one takes a good part of the time of preparing a call of few steps.
    pub(crate) fn params(&self, bytes: &[u8], make: impl FnOnce() -> wgpu::Buffer) -> wgpu::Buffer {
        let mut kept = lock(&self.inner.params);
        if let Some(buffer) = kept.get(bytes) {
            return buffer.clone();
        }
        let buffer = make();
        if bytes.len() <= PARAMS_BYTES {
            if kept.len() >= PARAMS_KEPT {
                kept.clear();
            }
            kept.insert(bytes.to_vec(), buffer.clone());
        }
        buffer
    }

    /// Scratch of at least so many bytes. Calls of little scratch share it: each writes what it reads there, and a queue runs
    /// one dispatch that writes a buffer after the other, so calls of one device are never at it at the same time.
    pub(crate) fn scratch(&self, bytes: u64) -> wgpu::Buffer {
        let dirty = self.inner.dirty.load(Ordering::Relaxed);
        let make = |size| {
            let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgloss scratch"),
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: dirty,
            });
            if dirty {
                // A buffer that could not be made is reported by the scope around this.
                if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
                    view.slice(..).fill(0xff);
                }
                buffer.unmap();
            }
            buffer
        };
        if dirty || bytes > SCRATCH_SHARED {
            return make(bytes.next_multiple_of(4).max(4));
        }
        let mut shared = lock(&self.inner.scratch);
        if let Some(buffer) = shared.as_ref().filter(|buffer| buffer.size() >= bytes) {
            return buffer.clone();
        }
        let most = self.inner.caps.max_buffer;
        let size = bytes
            .next_power_of_two()
            .max(SCRATCH_LEAST)
            .min(most.max(bytes));
        shared.insert(make(size)).clone()
    }

    /// From now on each call gets scratch of its own, full of NaN, so that none can read what it has not written without
    /// being found out. For tests: no promise of stability.
    #[doc(hidden)]
    pub fn dirty_scratch(&self) {
        self.inner.dirty.store(true, Ordering::Relaxed);
    }

    /// From now on a prepared call keeps what it is as data ([`Prepared::call`](crate::Prepared::call)), for another host to
    /// run. That takes a few hundred bytes for each of its steps.
    pub fn keep_calls(&self) {
        self.inner.keeps.store(true, Ordering::Relaxed);
    }

    pub(crate) fn keeps_calls(&self) -> bool {
        self.inner.keeps.load(Ordering::Relaxed)
    }

    /// Forgets buffers that could not be made: parameters of these bytes, and the scratch.
    pub(crate) fn forget(&self, params: &[u8]) {
        lock(&self.inner.params).remove(params);
        *lock(&self.inner.scratch) = None;
    }

    /// The pipeline of a kernel, made at its first use. The key is all that the pipeline depends on.
    pub(crate) fn pipeline(&self, kernel: Kernel) -> Result<wgpu::ComputePipeline, Error> {
        let inner = &self.inner;
        let device = &inner.device;
        inner.pipelines.get_or_make(kernel, || {
            let module = inner.modules.get_or_make(kernel.module, || {
                scoped(device, || {
                    device.create_shader_module(wgpu::ShaderModuleDescriptor {
                        label: Some(&format!("wgloss {}", kernel.module)),
                        source: wgpu::ShaderSource::Wgsl(kernel.module.compose().into()),
                    })
                })
            })?;
            scoped(device, || {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(&format!("wgloss {kernel}")),
                    layout: Some(&inner.pipeline_layout),
                    module: &module,
                    entry_point: Some(kernel.entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        // Every kernel writes its workgroup memory before it reads it, and zeroing costs DX12's compiler
                        // seconds.
                        zero_initialize_workgroup_memory: false,
                        ..Default::default()
                    },
                    cache: inner.cache.as_ref(),
                })
            })
        })
    }
}

impl Inner {
    /// The same device with other capabilities and another cache, and nothing compiled yet.
    fn anew(&self, caps: Caps, cache: Option<wgpu::PipelineCache>) -> Self {
        Inner {
            device: self.device.clone(),
            caps,
            layout: self.layout.clone(),
            pipeline_layout: self.pipeline_layout.clone(),
            cache,
            modules: Slots::default(),
            pipelines: Slots::default(),
            params: Mutex::default(),
            scratch: Mutex::default(),
            dirty: AtomicBool::new(self.dirty.load(Ordering::Relaxed)),
            keeps: AtomicBool::new(self.keeps.load(Ordering::Relaxed)),
            nothing: self.nothing.clone(),
        }
    }
}

/// What is made once for each key. While one thread makes something, others wait only if they want the same.
#[derive(Debug)]
struct Slots<K, T>(Mutex<HashMap<K, Arc<Mutex<Option<T>>>>>);

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Slots(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Clone> Slots<K, T> {
    /// What was made for a key, or what `make` makes now. What failed is tried again by the next that asks.
    fn get_or_make(&self, key: K, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let slot = Arc::clone(lock(&self.0).entry(key).or_default());
        let mut slot = lock(&slot);
        if let Some(made) = &*slot {
            return Ok(made.clone());
        }
        let made = make()?;
        *slot = Some(made.clone());
        Ok(made)
    }
}

/// The next of the kernels that no thread has taken, and its number.
#[cfg(not(target_arch = "wasm32"))]
fn take(next: &AtomicUsize, kernels: &[Kernel]) -> Option<(usize, Kernel)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, *kernels.get(at)?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A map that a panicking thread left behind is whole: entries go in complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout_entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

/// Runs `work` under error scopes, so that what the device refuses comes back as an error instead of reaching the
/// caller's handler. Scopes belong to the thread, hence all of it happens here and now.
///
/// In a browser the answer comes after this has returned, and what a scope has caught by then reaches no handler: there no
/// scope is opened, and what the device refuses goes to the device's own handler. It is not lost on who awaits the work
/// either: what was refused is invalid, and so is the submission that uses it, which is
/// under a [`Watch`].
pub(crate) fn scoped<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> Result<T, Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(work());
    }
    let watch = Watch::begin(device);
    let made = work();
    match pin!(watch.end()).poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(accepted) => accepted.map(|()| made),
        task::Poll::Pending => Ok(made),
    }
}

/// Error scopes around what follows, on this thread.
pub(crate) struct Watch([wgpu::ErrorScopeGuard; 3]);

impl Watch {
    /// Opens the scopes.
    pub(crate) fn begin(device: &wgpu::Device) -> Watch {
        let filters = [
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Internal,
            wgpu::ErrorFilter::Validation,
        ];
        Watch(filters.map(|filter| device.push_error_scope(filter)))
    }

    /// Closes them, and gives the device's word on what was between: there at once, but in a browser.
    pub(crate) fn end(self) -> impl Future<Output = Result<(), Error>> {
        let [memory, internal, validation] = self.0;
        let answers = [validation.pop(), internal.pop(), memory.pop()];
        async {
            // What could not be made is invalid wherever it is used: the reason is what is told.
            let mut first = None;
            for answer in answers {
                first = answer.await.or(first);
            }
            first.map_or(Ok(()), |error| Err(device_error(&error)))
        }
    }
}

fn device_error(error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::new(
            ErrorKind::OutOfMemory,
            "device",
            "enough memory",
            "out of memory",
        ),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::new(
                ErrorKind::Device,
                "device",
                "the command to be accepted",
                description.replace('\n', " "),
            )
        }
    }
}
