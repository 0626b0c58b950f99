//! A prepared call: everything made and bound, ready to be recorded any number of times.

use crate::device::context::{Context, scoped};
use crate::device::plan::{Bind, Draft, Plan, STORAGE_BINDINGS};
use crate::error::{Error, ErrorKind};

/// A checked call with its pipelines, bind groups, parameters and scratch.
///
/// Recording cannot fail. A prepared call owns its parameters and scratch, so that any number of them can be recorded
/// into one submission; the same call recorded twice computes twice, one after the other. It keeps the caller's
/// buffers alive.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    steps: Vec<(wgpu::ComputePipeline, wgpu::BindGroup)>,
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
        Bind::Nothing | Bind::Buffer { .. } => 0,
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
    let mut offsets = Vec::with_capacity(drafts.len());
    let mut bytes = Vec::new();
    for draft in &drafts {
        bytes.resize(bytes.len().next_multiple_of(caps.uniform_align as usize), 0);
        offsets.push(bytes.len() as u64);
        bytes.extend_from_slice(&draft.params);
    }
    let groups = scoped(device, || {
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgloss parameters"),
            size: bytes.len().next_multiple_of(4).max(4) as u64,
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        // A buffer that could not be made (out of memory) is reported by the scope.
        if let Ok(mut view) = params.slice(..).get_mapped_range_mut() {
            view.slice(..bytes.len()).copy_from_slice(&bytes);
        }
        params.unmap();
        let scratch = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgloss scratch"),
            size: scratch_bytes.max(4),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let piece = caps.storage_align.max(16);
        let storage = |slot: usize, bind: &Bind<'_>| match *bind {
            Bind::Nothing => binding(cx.nothing(), piece * slot as u64, piece),
            Bind::Buffer {
                buffer,
                start,
                size,
            } => (buffer.clone(), start, size),
            Bind::Scratch { start, size } => binding(&scratch, start, size),
        };
        drafts
            .iter()
            .zip(&offsets)
            .map(|(draft, offset)| {
                let mut all = vec![binding(&params, *offset, draft.params.len() as u64)];
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
                    label: Some(&format!("wgloss {}", draft.step.kernel)),
                    layout: cx.layout(),
                    entries: &entries,
                })
            })
            .collect::<Vec<_>>()
    })?;
    Ok(Prepared {
        plan: Plan {
            steps: drafts.iter().map(|draft| draft.step).collect(),
            scratch_bytes,
            windows,
            bytes: moved,
        },
        steps: pipelines.into_iter().zip(groups).collect(),
    })
}

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> (wgpu::Buffer, u64, u64) {
    (buffer.clone(), offset, size)
}
