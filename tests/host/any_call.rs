//! Calls of every family with anything for their tensors: refused in a sentence, or valid to the device. `fuzz/` runs the same
//! function on other bytes.

use arbitrary::{Result, Unstructured};
use wgloss::check::{Edit, random_case, run_askew};
use wgloss::host::Gpu;
use wgloss::{Error, wgpu};

/// Devices that validate and compute nothing: one that promises no more than WebGPU does, one with everything that kernels can
/// use, one with small bindings.
pub fn devices() -> std::result::Result<Vec<Gpu>, Error> {
    let plain = wgpu::Limits::default();
    let wide = wgpu::Limits {
        max_compute_invocations_per_workgroup: 1024,
        max_compute_workgroup_size_x: 1024,
        max_compute_workgroup_storage_size: 1 << 16,
        ..wgpu::Limits::default()
    };
    let narrow = wgpu::Limits {
        max_storage_buffer_binding_size: 1 << 16,
        ..wgpu::Limits::default()
    };
    let all = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let none = wgpu::Features::empty();
    let devices = [(none, plain), (all, wide), (none, narrow)];
    let devices = devices.into_iter();
    devices
        .map(|(features, limits)| Gpu::noop(features, limits))
        .collect()
}

/// Prepares the call that some bytes stand for. Whether it was accepted.
pub fn prepare(devices: &[Gpu], bytes: &mut Unstructured<'_>) -> Result<bool> {
    let gpu = bytes.choose(devices)?;
    let case = random_case(bytes.arbitrary()?);
    let count = bytes.int_in_range(0..=4)?;
    let edits: Vec<Edit> = (0..count)
        .map(|_| bytes.arbitrary())
        .collect::<Result<_>>()?;
    Ok(run_askew(gpu, &*case, &edits).unwrap_or_else(|wrong| panic!("{case} {edits:?}: {wrong}")))
}

#[test]
fn any_tensors_are_refused_or_valid() {
    let devices = devices().unwrap();
    let (mut accepted, mut all) = (0, 0);
    crate::seeded(CASES, 256, |bytes| {
        accepted += u32::from(prepare(&devices, bytes)?);
        all += 1;
        Ok(())
    });
    assert!(accepted > all / 20 && accepted < all, "{accepted} of {all}");
}

#[cfg(test)]
const CASES: u64 = 3000;
