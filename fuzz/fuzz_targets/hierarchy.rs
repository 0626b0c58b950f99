//! Hierarchies of any edges, levels of any parents.

#![no_main]

#[path = "../../tests/host/any_hierarchy.rs"]
mod any_hierarchy;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wgloss::host::Gpu;
use wgloss::wgpu;

static DEVICE: LazyLock<Gpu> = LazyLock::new(|| {
    Gpu::noop(wgpu::Features::empty(), wgpu::Limits::default()).expect("a noop device")
});

fuzz_target!(|bytes: &[u8]| {
    let _ = any_hierarchy::make(&DEVICE, &mut Unstructured::new(bytes));
});
