//! Calls as data: what every host of WebGPU asks of them.

use crate::bytes::noop;
use wgloss::check::{self, Depth};
use wgloss::{Bound, Call, Error, wgpu};

/// Bytes of one memory that a binding reaches.
fn reached(bound: &Bound) -> Option<(Option<&wgpu::Buffer>, u64, u64)> {
    match bound {
        Bound::Buffer {
            buffer,
            start,
            size,
        } => Some((Some(buffer), *start, start + size)),
        Bound::Scratch { start, size } => Some((None, *start, start + size)),
        Bound::Nothing | Bound::Live => None,
    }
}

/// Bindings of a step that overlap.
fn overlaps(call: &Call) -> Vec<String> {
    let mut found = Vec::new();
    for step in &call.steps {
        let all: Vec<_> = step.bindings.iter().filter_map(reached).collect();
        for (i, (memory, start, end)) in all.iter().enumerate() {
            let other = all[..i]
                .iter()
                .find(|(other, first, last)| other == memory && first < end && start < last);
            if let Some((_, first, last)) = other {
                let kernel = step.kernel;
                found.push(format!("{kernel}: {first}..{last} and {start}..{end}"));
            }
        }
    }
    found
}

/// All bindings can be written, and browsers refuse a step of which two reach the same bytes.
#[test]
fn no_step_binds_bytes_twice() -> Result<(), Error> {
    let gpu = noop()?;
    gpu.context().keep_calls();
    let variant = gpu.context().variant();
    let mut calls = 0;
    for case in check::cases(Depth::Every, variant, variant) {
        for call in check::export(&gpu, &*case)?.calls {
            let found = overlaps(&call);
            assert!(found.is_empty(), "{case}: {found:?}");
            assert!(call.steps.iter().all(|step| step.offset % 256 == 0));
            calls += 1;
        }
    }
    assert!(calls > 500, "{calls}");
    Ok(())
}
