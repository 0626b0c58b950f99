// Brings what the rows left in scratch to the caller's tensors: up to two jobs in one dispatch,
// destination[j] = scale * sum over i < count of source[offset + i * stride + j], for j < len.
// A job of len 1 is a sum by one workgroup, in a fixed order; others take one lane per j.
//
// Grid: (workgroups, jobs). Job 0 writes `first` (the loss), job 1 `second` (the threshold's gradient).
// Mirrors: `FinishJob` in src/kernels/rows/plan.rs.
// provides: finish
// expects:  WG, Lane, Group, group_sum of lanes_tree.wgsl

struct Job {
    source: u32,
    stride: u32,
    count: u32,
    len: u32,
    destination: u32,
    scale: f32,
    groups: u32,
    _pad: u32,
}

struct FinishParams {
    jobs: array<Job, 2>,
}

@group(0) @binding(0) var<uniform> params: FinishParams;
@group(0) @binding(1) var<storage, read_write> first: array<u32>;
@group(0) @binding(3) var<storage, read_write> second: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;

fn put(job: u32, j: u32, value: f32) {
    let place = params.jobs[job].destination + j;
    if (job == 0u) {
        first[place] = bitcast<u32>(value);
    } else {
        second[place] = bitcast<u32>(value);
    }
}

@compute @workgroup_size(WG)
fn finish(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let job = params.jobs[group.y];
    if (group.x >= job.groups) {
        return;
    }
    if (job.len == 1u) {
        var sum = vec2<f32>(0.0);
        for (var i = lane; i < job.count; i += WG) {
            sum.x += bitcast<f32>(scratch[job.source + i * job.stride]);
        }
        sum = group_sum(Lane(lane), Group(group), sum);
        if (lane == 0u) {
            put(group.y, 0u, job.scale * sum.x);
        }
        return;
    }
    for (var j = group.x * WG + lane; j < job.len; j += job.groups * WG) {
        var sum = 0.0;
        for (var i = 0u; i < job.count; i++) {
            sum += bitcast<f32>(scratch[job.source + i * job.stride + j]);
        }
        put(group.y, j, job.scale * sum);
    }
}
