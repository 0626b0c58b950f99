//! The devices whose handles we know. burn keeps the queue of a running wgpu runtime to itself: what makes the device is
//! given it once, so it has to be kept from then on.

use crate::fused::cache::Cache;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuInitError, WgpuOptions, WgpuSetup};
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::{Context, Error, ErrorKind, wgpu};

/// A burn device that our kernels can run on.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) context: Context,
    pub(crate) cache: Cache,
}

static SHARED: Mutex<Vec<(CubeDevice, Arc<Shared>)>> = Mutex::new(Vec::new());
static TOLD: Mutex<Vec<Device>> = Mutex::new(Vec::new());

/// Makes burn's wgpu device, and remembers what our kernels need of it.
///
/// Use it in place of `WgpuOptions::init`; the device is the same. With the default options it is the one that
/// `Device::default()` means from then on. Losses on a device that was made otherwise, and that nobody [shared](share), run as
/// tensor operations.
///
/// ```no_run
/// use burn::tensor::Device;
///
/// let device = wgloss_burn::init(Device::wgpu_options())?.autodiff();
/// # Ok::<(), burn::tensor::wgpu::WgpuInitError>(())
/// ```
///
/// # Errors
/// Those of `WgpuOptions::init`: no adapter, or a runtime of this kind that a tensor has started before.
#[cfg(not(target_family = "wasm"))]
pub fn init(options: WgpuOptions) -> Result<Device, WgpuInitError> {
    let (device, setup) = options.init_with_setup()?;
    Ok(remembered(device, setup))
}

/// The same where nothing may block: in browsers.
///
/// # Errors
/// As [`init`].
pub async fn init_async(options: WgpuOptions) -> Result<Device, WgpuInitError> {
    let (device, setup) = options.init_with_setup_async().await?;
    Ok(remembered(device, setup))
}

/// A device that has just been made, shared where wgloss can use it.
fn remembered(device: Device, setup: WgpuSetup) -> Device {
    if let Err(error) = share(&device, setup) {
        log::warn!("losses will run as tensor operations: {error}");
    }
    device
}

/// Lets our kernels run on a burn device that was made by somebody else, of these handles.
///
/// For applications that give burn a device of their own (`Device::wgpu_options().setup(setup.clone()).init()`). burn expects
/// that device to have all features of its adapter but `MAPPABLE_PRIMARY_BUFFERS`, and all its limits.
///
/// # Errors
/// A burn device that is no wgpu device, or one that wgloss cannot use.
pub fn share(device: &Device, setup: WgpuSetup) -> Result<(), Error> {
    let Some(key) = wgpu_device(device) else {
        let reason = "the kernels run on burn's wgpu devices alone";
        return Err(Error::because(ErrorKind::Unsupported, "device", reason));
    };
    let shared = Shared {
        context: Context::new(&setup.device)?,
        device: setup.device,
        queue: setup.queue,
        cache: Cache::default(),
    };
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(other, _)| *other != key);
    all.push((key, Arc::new(shared)));
    Ok(())
}

/// Forgets a device: losses on it run as tensor operations again, and what was kept for it, buffers among them, is let go.
pub fn forget(device: &Device) {
    if let Some(key) = wgpu_device(device) {
        let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != key);
    }
}

/// Whether losses of tensors on this device run as kernels, and not as tensor operations.
pub fn is_shared(device: &Device) -> bool {
    wgpu_device(device).is_some_and(|key| of(&key).is_some())
}

/// What we know of a device.
pub(crate) fn of(key: &CubeDevice) -> Option<Arc<Shared>> {
    let all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|(device, _)| device == key);
    found.map(|(_, shared)| shared.clone())
}

/// Whether a loss of tensors on this device runs as a kernel. Where it is one that could, says so once.
pub(crate) fn has_kernels(device: &Device) -> bool {
    let Some(key) = wgpu_device(device) else {
        return false;
    };
    if of(&key).is_some() {
        return true;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.contains(device) {
        told.push(device.clone());
        log::warn!(
            "losses on {device:?} run as tensor operations, since nobody shared it: make it with wgloss_burn::init, or call wgloss_burn::share"
        );
    }
    false
}

fn wgpu_device(device: &Device) -> Option<CubeDevice> {
    match device.as_dispatch().clone().inner() {
        DispatchDevice::Cube(device @ CubeDevice::Wgpu(..)) => Some(device),
        #[allow(unreachable_patterns, reason = "other backends are features of burn")]
        _ => None,
    }
}
