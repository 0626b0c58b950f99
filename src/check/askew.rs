//! Calls whose tensors are not what they should be: `prepare` refuses them, or what it makes is valid.

use crate::check::case::{Case, LaidOut};
use crate::check::tensors::View;
use crate::device::context::scoped;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;

/// One thing about one tensor that is changed: which tensor, what of it, and to which number, by any words.
pub type Edit = [u64; 3];

/// Prepares a case's call with some things about its tensors changed, and records and submits what comes of it, on a device
/// that may be wgpu's `noop`. Whether there was a call.
///
/// # Errors
/// What the device has against a call that was accepted, what errors lack, cases that the reference refuses.
pub fn run_askew(gpu: &Gpu, case: &dyn Case, edits: &[Edit]) -> Result<bool, String> {
    let mut laid = LaidOut::of(case, case.layout(), None).map_err(|error| error.to_string())?;
    let fails = |error: Error| error.to_string();
    let mut tensors = laid.arena.upload(gpu).map_err(fails)?;
    for &[which, what, word] in edits {
        let views = tensors.entries();
        let all = views.len() as u64;
        if all == 0 {
            break;
        }
        let (at, other) = ((which % all) as usize, (word % all) as usize);
        match what % 10 {
            0 => drop(views.remove(at)),
            1 => views[at].1 = views[other].1.clone(),
            2 => views[at].1.buffer = views[other].1.buffer.clone(),
            what => change(gpu, &mut views[at].1, what, word),
        }
    }
    let calls = match case.prepare(gpu.context(), &laid.numbers, &tensors) {
        Ok(calls) => calls,
        Err(error) => {
            let text = error.to_string();
            let sentence = !error.subject().is_empty() && !text.contains('\n');
            return if sentence { Ok(false) } else { Err(text) };
        }
    };
    let device = gpu.context().device();
    let recorded = scoped(device, || {
        let mut encoder = device.create_command_encoder(&Default::default());
        for call in &calls {
            call.encode(&mut encoder);
        }
        gpu.queue().submit([encoder.finish()]);
    });
    recorded
        .map(|()| true)
        .map_err(|error| format!("{error:?}"))
}

/// A number where something could go wrong: about what was there, at the border of a type, or any.
fn number(old: u64, word: u64) -> u64 {
    let any = word >> 8;
    match word % 24 {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 3,
        4 => old.wrapping_sub(1),
        5 => old.wrapping_add(1),
        6 => old.wrapping_mul(2),
        7 => old / 2,
        8 => u64::from(u32::MAX),
        9 => 1 << 32,
        10 => 1 << 62,
        11 => u64::MAX,
        12 => u64::MAX / 4 + 1,
        13 => 1 << (any % 64),
        14 => any,
        15 => any % (1 << 20),
        16 => u64::MAX - any % 64,
        _ => any % 70,
    }
}

fn change(gpu: &Gpu, view: &mut View, what: u64, word: u64) {
    let size = |old: usize| number(old as u64, word) as usize;
    match what {
        3 => view.rows = size(view.rows),
        4 => view.cols = size(view.cols),
        5 => view.stride = size(view.stride),
        6 => view.offset = number(view.offset, word),
        7 => {
            let all = [DType::F32, DType::F16, DType::Bf16, DType::U8, DType::U32];
            view.dtype = all[(word % 5) as usize];
        }
        8 => {
            let bytes = number(view.buffer.size(), word) % (1 << 24);
            view.buffer = buffer(gpu, bytes, view.buffer.usage());
        }
        _ => {
            use wgpu::BufferUsages as Usage;
            let all = [
                Usage::STORAGE,
                Usage::UNIFORM,
                Usage::COPY_DST,
                Usage::MAP_READ | Usage::COPY_DST,
                Usage::VERTEX | Usage::INDEX | Usage::INDIRECT,
            ];
            view.buffer = buffer(gpu, view.buffer.size(), all[(word % 5) as usize]);
        }
    }
}

fn buffer(gpu: &Gpu, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    gpu.context()
        .device()
        .create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
}
