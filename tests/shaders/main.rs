//! Every composed WGSL module, without a GPU: it parses, validates with no more than its variant needs, and compiles to
//! SPIR-V, MSL and HLSL as wgpu would have it; its bindings and structs are those of the Rust side; and it passes lints
//! for what naga lets through and browsers or drivers do not. Each lint is also shown a shader it must refuse.

mod backends;
mod bindings;
mod files;
mod lints;
mod mirrors;
mod modules;
mod msl;
mod self_tests;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgloss::shader::{Module, modules as modules_of};

/// Both sizes that are a default somewhere; the text depends on the size in three constants only.
const WORKGROUPS: [u32; 2] = [64, 256];
/// What WebGPU guarantees, bytes.
const WORKGROUP_MEMORY: u32 = 16384;

fn parse(text: &str) -> Result<naga::Module, String> {
    naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))
}

fn validate(ir: &naga::Module, capabilities: Capabilities) -> Result<ModuleInfo, String> {
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator
        .validate(ir)
        .map_err(|e| format!("{:?}", e.into_inner()))
}

/// Runs a check on every module of both sizes. Returns how many there are.
fn for_every_module(check: impl Fn(&Module, &str) -> Result<(), String> + Sync) -> usize {
    let modules: Vec<Module> = WORKGROUPS.into_iter().flat_map(modules_of).collect();
    assert!(modules.len() > 1000);
    for_each(modules, check)
}

/// Runs a check on modules, on all cores, and reports every failure by the module's name. Returns how many there are.
fn for_each(
    modules: Vec<Module>,
    check: impl Fn(&Module, &str) -> Result<(), String> + Sync,
) -> usize {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while let Some(module) = modules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(e) = check(module, &module.compose()) {
                        failures.lock().unwrap().push(format!("{module}: {e}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let few = failures.iter().take(10).cloned().collect::<Vec<_>>();
    assert!(
        failures.is_empty(),
        "{} modules fail:\n{}",
        failures.len(),
        few.join("\n")
    );
    modules.len()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, expected {expected:?}"))
}

fn none(problems: Vec<String>) -> Result<(), String> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("; "))
    }
}
