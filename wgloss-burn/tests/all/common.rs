//! Devices, numbers and comparisons.

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Bool, Device, Int, Tensor};
use std::sync::OnceLock;

/// burn's wgpu device, shared with our kernels, and the handles that it runs on.
pub struct Gpu {
    pub device: Device,
    pub setup: WgpuSetup,
}

/// The GPU, or nothing where there is none: then its tests pass by, unless `WGLOSS_REQUIRE_GPU` is set.
pub fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| match Device::wgpu_options().init_with_setup() {
        Ok((device, setup)) => {
            wgloss_burn::share(&device, setup.clone()).expect("a device that wgloss can use");
            assert!(wgloss_burn::is_shared(&device));
            Some(Gpu { device, setup })
        }
        Err(error) => {
            assert!(std::env::var_os("WGLOSS_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("no GPU, so this tests nothing: {error}");
            None
        }
    });
    gpu.as_ref()
}

/// Where losses are tensor operations, and where they are kernels.
pub fn devices() -> Vec<(&'static str, Device)> {
    let gpu = gpu().map(|gpu| ("kernels", gpu.device.clone().autodiff()));
    [("operations", Device::flex().autodiff())]
        .into_iter()
        .chain(gpu)
        .collect()
}

/// Numbers by a seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    /// In `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1 << 24) as f32
    }

    pub fn reals(&mut self, count: usize, from: f32, to: f32) -> Vec<f32> {
        (0..count)
            .map(|_| from + (to - from) * self.unit())
            .collect()
    }

    pub fn flags(&mut self, count: usize, share: f32) -> Vec<bool> {
        (0..count).map(|_| self.unit() < share).collect()
    }
}

pub fn floats<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::<1>::from_floats(values, device).reshape(shape)
}

pub fn bools<const D: usize>(
    values: &[bool],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Bool> {
    Tensor::<1, Bool>::from_bool(values, device).reshape(shape)
}

pub fn ints<const D: usize>(values: &[i32], shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::<1, Int>::from_ints(values, device).reshape(shape)
}

pub fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

pub fn read<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// The gradient of a leaf, `zeros` where it has none.
pub fn gradient<const D: usize>(of: &Tensor<D>, grads: &burn::tensor::Gradients) -> Vec<f64> {
    match of.grad(grads) {
        Some(gradient) => {
            assert_eq!(gradient.dims(), of.dims());
            read(&gradient)
        }
        None => Vec::new(),
    }
}

/// Fails unless the numbers are near one another: within `tolerance` of themselves and of the largest. Not numbers are near
/// not numbers alone.
pub fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: so many numbers");
    let largest = expected
        .iter()
        .filter(|v| v.is_finite())
        .fold(0.0_f64, |most, v| most.max(v.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let room = tolerance * (expected.abs() + largest) + 3e-7;
        let near = match expected.is_nan() {
            true => found.is_nan(),
            false => found == expected || (found - expected).abs() <= room,
        };
        assert!(
            near,
            "{what}: number {i} is {found}, expected {expected} within {room:e}"
        );
    }
}
