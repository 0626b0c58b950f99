//! Calls of every family with anything for their tensors, on devices that only validate.

#![no_main]

#[path = "../../tests/host/any_call.rs"]
mod any_call;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wgloss::host::Gpu;

static DEVICES: LazyLock<Vec<Gpu>> = LazyLock::new(|| any_call::devices().expect("noop devices"));

fuzz_target!(|bytes: &[u8]| {
    let _ = any_call::prepare(&DEVICES, &mut Unstructured::new(bytes));
});
