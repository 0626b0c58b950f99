//! The plans of every case of the tables, for a comparison of before and after (`WGLOSS_PLAN_LOG`).

use crate::call::now;
use wgloss::check::{self, Depth};
use wgloss::host::Gpu;
use wgloss::wgpu;

#[test]
#[ignore = "writes a file to compare"]
fn plans() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions {
            noop: wgpu::NoopBackendOptions::enabled(),
            ..Default::default()
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter =
        now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).expect("noop");
    let mut count = 0;
    for (max_binding, last) in [(128 << 20, false), (1 << 16, true)] {
        let gpu = Gpu::with_limits(
            &adapter,
            wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16,
            wgpu::Limits {
                max_storage_buffer_binding_size: max_binding,
                ..wgpu::Limits::default()
            },
        )
        .expect("a device");
        let all = gpu.context().caps().variants();
        let variant = match last {
            false => gpu.context().variant(),
            true => all[all.len() / 2],
        };
        {
            let gpu = gpu.with_variant(variant).expect("variant");
            for case in check::cases(Depth::Every, variant, variant) {
                let _ = check::run(&gpu, &*case);
                count += 1;
            }
        }
    }
    println!("{count} cases");
    assert!(count > 0);
}
