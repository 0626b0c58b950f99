//! One call on burn's device: its tensors where they lie, one submission of ours behind all that burn has submitted.
//!
//! Order. Finding a tensor's place submits what burn has queued for it, so all of burn's writes come before; what burn queues
//! later goes into later submissions of the same queue. Outputs are allocated before the last place is asked for. After the
//! submission everything may be let go: burn reuses memory in later submissions only.

use crate::device::{self, Shared};
use crate::fused::buffers::{Held, dense, empty};
use crate::fused::kernels::Places;
use crate::fused::{Call, Slot, Slots};
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use std::sync::Arc;
use wgloss::{Error, ErrorKind};

/// Runs a call, and gives what it makes.
///
/// # Panics
/// Where wgloss refuses it. Shapes, types and settings have been checked by then, so that is a device that lacks something.
pub(super) fn launch(slots: Slots<CubeBackend>, call: &Arc<Call>) -> Slots<CubeBackend> {
    match try_launch(slots, call) {
        Ok(made) => made,
        Err(error) => panic!("wgloss: {error}"),
    }
}

fn try_launch(slots: Slots<CubeBackend>, call: &Arc<Call>) -> Result<Slots<CubeBackend>, Error> {
    let tensor = |slot| match slot {
        Slot::None => None,
        Slot::Float(t) | Slot::Int(t) | Slot::Bool(t) => Some(dense(t)),
    };
    let inputs: Vec<CubeTensor> = slots.into_list().into_iter().filter_map(tensor).collect();
    let Some(first) = inputs.first() else {
        return Err(Error::refused("tensors", "a call has some"));
    };
    let shared = device::of(&first.device).ok_or_else(|| {
        let reason = "nobody shared the one that the tensors are on";
        Error::because(ErrorKind::Unsupported, "device", reason)
    })?;
    let make = |made: &super::Made| empty(first, &made.shape, made.dtype);
    let outputs: Vec<CubeTensor> = call.outputs.iter().map(make).collect();
    let names = call.inputs.iter().copied();
    let names = names.chain(call.outputs.iter().map(|made| made.name));
    let held = names
        .zip(inputs.iter().chain(&outputs))
        .map(|(name, tensor)| Ok((name, Held::new(name, tensor)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    submit(&shared, call, &held)?;
    let slot = |tensor: CubeTensor| match tensor.dtype.is_float() {
        true => Slot::Float(tensor),
        false => Slot::Int(tensor),
    };
    Ok(Slots::new(outputs.into_iter().map(slot)))
}

fn submit(shared: &Shared, call: &Arc<Call>, held: &[(&'static str, Held)]) -> Result<(), Error> {
    let places: Vec<_> = held.iter().map(|(_, held)| held.key()).collect();
    let prepared = match shared.cache.find(call, &places) {
        Some(prepared) => prepared,
        None => {
            let (inputs, outputs) = held.split_at(call.inputs.len());
            let prepared = call
                .loss
                .prepare(&shared.context, &Places { inputs, outputs })?;
            let prepared = Arc::new(prepared);
            shared.cache.keep(call, places, &prepared);
            prepared
        }
    };
    let mut encoder = shared.device.create_command_encoder(&Default::default());
    prepared.encode(&mut encoder);
    shared.queue.submit([encoder.finish()]);
    Ok(())
}
