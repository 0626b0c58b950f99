//! A prepared call: everything made and bound, ready to be recorded any number of times.

use crate::device::call::{Block, Call, Laid, Place};
use crate::device::context::{Context, scoped};
use crate::device::live::Writes;
use crate::device::plan::{Bind, Dispatch, Draft, Plan, STORAGE_BINDINGS};
use crate::error::{Error, ErrorKind};
use std::any::TypeId;
use std::cell::Cell;

/// A checked call with its pipelines, bind groups, parameters and scratch.
///
/// Recording cannot fail. Any number of calls can be recorded into one submission, the same call also twice, which computes
/// twice, one after the other. A call keeps the caller's buffers alive. Nothing writes over its parameters but the call
/// itself; scratch of up to 16 MiB is the context's, which calls share: a queue runs them one after the other.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    steps: Vec<(wgpu::ComputePipeline, wgpu::BindGroup)>,
    call: Option<Box<Call>>,
}

impl Prepared {
    /// Records the call into an encoder, in a compute pass of its own.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("wgloss"),
            timestamp_writes: None,
        });
        self.record(&mut pass);
    }

    /// Records the call into a compute pass that is already open. Leaves its own pipeline and bind group 0 set.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for ((pipeline, bindings), step) in self.steps.iter().zip(&self.plan.steps) {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
        }
    }

    /// The dispatches and the scratch size.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All of the call as data, where the context keeps that ([`Context::keep_calls`]).
    pub fn call(&self) -> Option<&Call> {
        self.call.as_deref()
    }
}

/// Makes the pipelines, parameters, scratch and bind groups of a planned call.
pub(crate) fn build(cx: &Context, draft: Draft<'_>) -> Result<Prepared, Error> {
    let Draft {
        dispatches: drafts,
        scratch_bytes,
        windows,
        bytes: moved,
    } = draft;
    let device = cx.device();
    let caps = cx.caps();
    // A step may reach a part of the scratch only.
    let reach = drafts.iter().flat_map(|draft| &draft.bindings);
    let reach = reach.map(|bind| match *bind {
        Bind::Scratch { size, .. } => size,
        Bind::Nothing | Bind::Buffer { .. } | Bind::Live => 0,
    });
    for (reached, most) in [
        (reach.max().unwrap_or(0), caps.max_binding),
        (scratch_bytes, caps.max_buffer),
    ] {
        if reached > most {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "scratch",
                format!("at most {most} bytes"),
                format!("{scratch_bytes} bytes"),
            ));
        }
    }
    let mut pipelines = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        pipelines.push(cx.pipeline(draft.step.kernel)?);
    }
    let laid = lay(&drafts, caps.uniform_align);
    let lost = Cell::new(false);
    let groups = scoped(device, || {
        let uniform = |bytes: &[u8], usage: wgpu::BufferUsages| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgloss parameters"),
                size: bytes.len().next_multiple_of(4).max(4) as u64,
                usage: wgpu::BufferUsages::UNIFORM | usage,
                mapped_at_creation: true,
            });
            // Where there is no memory the scope says so; of a device that is lost nobody does.
            match buffer.slice(..).get_mapped_range_mut() {
                Ok(mut view) => {
                    view.slice(..bytes.len()).copy_from_slice(bytes);
                    drop(view);
                    buffer.unmap();
                }
                Err(_) => lost.set(true),
            }
            buffer
        };
        let make = || uniform(&laid.fixed, wgpu::BufferUsages::empty());
        let params = cx.params(&laid.fixed, make);
        let live = match laid.live.is_empty() {
            true => params.clone(),
            false => uniform(&laid.live, wgpu::BufferUsages::STORAGE),
        };
        let scratch = cx.scratch(scratch_bytes);
        let piece = caps.storage_align.max(16);
        let storage = |slot: usize, bind: &Bind<'_>| match *bind {
            Bind::Nothing => binding(cx.nothing(), piece * slot as u64, piece),
            Bind::Buffer {
                buffer,
                start,
                size,
            } => (buffer.clone(), start, size),
            Bind::Scratch { start, size } => binding(&scratch, start, size),
            Bind::Live => binding(&live, 0, live.size()),
        };
        drafts
            .iter()
            .zip(&laid.places)
            .map(|(draft, place)| {
                let buffer = match place.block {
                    Block::Fixed => &params,
                    Block::Live => &live,
                };
                let mut all = vec![binding(buffer, place.offset, place.size)];
                all.extend((0..STORAGE_BINDINGS).map(|i| storage(i, &draft.bindings[i])));
                let entries: Vec<wgpu::BindGroupEntry<'_>> = all
                    .iter()
                    .enumerate()
                    .map(|(i, (buffer, offset, size))| wgpu::BindGroupEntry {
                        binding: i as u32,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer,
                            offset: *offset,
                            size: wgpu::BufferSize::new(*size),
                        }),
                    })
                    .collect();
                device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(draft.step.kernel.entry),
                    layout: cx.layout(),
                    entries: &entries,
                })
            })
            .collect::<Vec<_>>()
    });
    let groups = groups.and_then(|groups| match lost.get() {
        true => Err(Error::because(ErrorKind::Device, "device", "is lost")),
        false => Ok(groups),
    });
    if groups.is_err() {
        cx.forget(&laid.fixed);
    }
    let groups = groups?;
    let call = cx
        .keeps_calls()
        .then(|| Box::new(Call::of(&drafts, laid, scratch_bytes)));
    Ok(Prepared {
        plan: Plan {
            steps: drafts.iter().map(|draft| draft.step).collect(),
            scratch_bytes,
            windows,
            bytes: moved,
        },
        steps: pipelines.into_iter().zip(groups).collect(),
        call,
    })
}

/// Lays out parameters. Of those that are written over, all of one type lie one after the other.
fn lay(drafts: &[Dispatch<'_>], align: u64) -> Laid {
    fn put(bytes: &mut Vec<u8>, params: &[u8], align: u64) -> u64 {
        bytes.resize(bytes.len().next_multiple_of(align as usize), 0);
        let at = bytes.len() as u64;
        bytes.extend_from_slice(params);
        at
    }
    let mut laid = Laid::default();
    let mut types: Vec<TypeId> = Vec::new();
    for of in drafts
        .iter()
        .flat_map(|draft| draft.writes.iter().flat_map(Writes::types))
    {
        if !types.contains(&of) {
            types.push(of);
        }
    }
    let mut live = vec![0; drafts.len()];
    for of in &types {
        let same = drafts.iter().enumerate();
        for (i, draft) in same.filter(|(_, draft)| draft.params_type == *of) {
            live[i] = put(&mut laid.live, &draft.params, align);
        }
    }
    for (i, draft) in drafts.iter().enumerate() {
        let place = |of: TypeId| {
            let mut after = (i..drafts.len()).filter(|at| drafts[*at].params_type == of);
            let (first, second) = (after.next(), after.next());
            let first_at = first.map_or(0, |at| live[at]);
            let stride = second.map_or(0, |at| live[at] - first_at);
            let count = first.into_iter().chain(second).chain(after).count();
            (first_at, stride, count as u32)
        };
        let changes = draft.writes.as_ref().map(|writes| writes.changes(place));
        let params = match &changes {
            Some(changes) => bytemuck::cast_slice(changes),
            None => &draft.params[..],
        };
        let size = params.len() as u64;
        let (block, offset) = match types.contains(&draft.params_type) {
            true => (Block::Live, live[i]),
            false => (Block::Fixed, put(&mut laid.fixed, params, align)),
        };
        laid.places.push(Place {
            block,
            offset,
            size,
        });
    }
    laid
}

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> (wgpu::Buffer, u64, u64) {
    (buffer.clone(), offset, size)
}
