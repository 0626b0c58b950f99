// Brings what the rows left in scratch to the caller's tensors: up to two jobs in one dispatch,
// destination[j] = scale * sum over i < count of source[offset + i * stride + j], for j < len.
// A job of len 1 is a sum by one workgroup, in a fixed order; others take one lane per j.
//
// `fold`     before it, where one workgroup would take long: sums of `slice` numbers each, which stay in scratch.
// `finish`   the jobs.
//
// Grid: (workgroups, jobs). Job 0 writes `first` (the loss), job 1 `second` (the threshold's gradient).
// Mirrors: `FinishJob` in src/kernels/rows/plan.rs.
// provides: fold, finish
// expects:  WG, Lane, Group, group_sum of lanes_tree.wgsl

struct Job {
    source: u32,
    stride: u32,
    count: u32,
    len: u32,
    destination: u32,
    scale: f32,
    groups: u32,
    slice: u32,      // `fold`: numbers of a workgroup
}

// Numbers that one accumulator adds up.
const BLOCK = 256u;

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

fn number(job: Job, i: u32, j: u32) -> f32 {
    return bitcast<f32>(scratch[job.source + i * job.stride + j]);
}

// The sum of every `apart`-th from `first` up to `last`. Eight at a time, so that a lane does not wait for each load before
// it asks for the next; in blocks, so that no accumulator adds up more than a few hundred.
fn added(job: Job, first: u32, last: u32, apart: u32, j: u32) -> f32 {
    var all = 0.0;
    for (var start = first; start < last; start += apart * BLOCK) {
        let end = min(start + apart * BLOCK, last);
        var low = vec4<f32>(0.0);
        var high = vec4<f32>(0.0);
        var i = start;
        for (; i + 7u * apart < end; i += 8u * apart) {
            low += vec4<f32>(
                number(job, i, j),
                number(job, i + apart, j),
                number(job, i + 2u * apart, j),
                number(job, i + 3u * apart, j),
            );
            high += vec4<f32>(
                number(job, i + 4u * apart, j),
                number(job, i + 5u * apart, j),
                number(job, i + 6u * apart, j),
                number(job, i + 7u * apart, j),
            );
        }
        for (; i < end; i += apart) {
            low.x += number(job, i, j);
        }
        let sum = low + high;
        all += (sum.x + sum.y) + (sum.z + sum.w);
    }
    return all;
}

@compute @workgroup_size(WG)
fn fold(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let job = params.jobs[group.y];
    if (group.x >= job.groups) {
        return;
    }
    let first = group.x * job.slice;
    let sum = vec2<f32>(added(job, first + lane, min(first + job.slice, job.count), WG, 0u), 0.0);
    let all = group_sum(Lane(lane), Group(group), sum);
    if (lane == 0u) {
        scratch[job.destination + group.x] = bitcast<u32>(all.x);
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
        var sum = vec2<f32>(added(job, lane, job.count, WG, 0u), 0.0);
        sum = group_sum(Lane(lane), Group(group), sum);
        if (lane == 0u) {
            put(group.y, 0u, job.scale * sum.x);
        }
        return;
    }
    for (var j = group.x * WG + lane; j < job.len; j += job.groups * WG) {
        put(group.y, j, job.scale * added(job, 0u, job.count, 1u, j));
    }
}
