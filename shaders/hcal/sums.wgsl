// Sums over the samples of each class of a level, which several devices add up, and means of such sums. A row for each class: the
// sums of the components of unit features, then the number of samples.
//
// `clear`:    a lane for each word of a window of classes: 0.
// `add_up`:   a lane for each quad of each sample: that of its class, where it is the first of its class.
// `count`:    how many samples have a label at the finest level. Grid: 1 workgroup.
// `divide`:   a lane for each quad of each class of a window: its mean, 0 where it has no sample; and its record.
// Grid of the others: blocks of lanes `begin` to `end`, folded.
// provides: the entry points, vectors (binding 1, unit features), given (binding 4, means),
//           state (binding 6, records of record.wgsl too), sums (binding 7)
// expects:  WG, NONE, record with the fields RECORD_, is_nan and is_nan4 of math.wgsl, params of hcal/params.wgsl, group_index, nested

@group(0) @binding(1) var<storage, read_write> vectors: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> given: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(WG)
fn clear(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let words = params.dim + 1u;
    sums[params.result.offset + element / words * params.result.stride + element % words] = 0u;
}

@compute @workgroup_size(WG)
fn add_up(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let i = element / params.quads;
    let q = element % params.quads;
    let at = params.level.at;
    // What lies before the window is beyond its end.
    let row = state[record(at, RECORD_CLASS, i)] - params.window.first_class;
    if (state[record(at, RECORD_FIRST, i)] != i || row >= params.window.class_count) {
        return;
    }
    let count = state[record(at, RECORD_COUNT, i)];
    var sum = nested_none();
    var bad = false;
    var j = i;
    for (var step = 0u; step < count && j < params.samples; step++) {
        bad = bad || is_nan(state[params.places.feature_lengths + j]);
        sum = nested_add(sum, vectors[j * params.quads + q]);
        j = state[record(at, RECORD_NEXT, j)];
    }
    let found = select(bitcast<vec4<u32>>(nested_sums(sum)), vec4<u32>(params.nan), vec4<bool>(bad));
    let begin = params.result.offset + row * params.result.stride;
    let left = params.dim - 4u * q;
    sums[begin + 4u * q] = found.x;
    if (left > 1u) {
        sums[begin + 4u * q + 1u] = found.y;
    }
    if (left > 2u) {
        sums[begin + 4u * q + 2u] = found.z;
    }
    if (left > 3u) {
        sums[begin + 4u * q + 3u] = found.w;
    }
    if (q == 0u) {
        sums[begin + params.dim] = bitcast<u32>(f32(count));
    }
}

var<workgroup> wg_count: array<u32, WG>;

@compute @workgroup_size(WG)
fn count(@builtin(local_invocation_index) lane: u32) {
    var own = 0u;
    for (var i = lane; i < params.samples; i += WG) {
        own += u32(state[record(params.records, RECORD_CLASS, i)] != NONE);
    }
    wg_count[lane] = own;
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            wg_count[lane] += wg_count[lane + reach];
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    if (lane == 0u) {
        sums[params.result.offset] = bitcast<u32>(f32(wg_count[0]));
    }
}

@compute @workgroup_size(WG)
fn divide(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.quads;
    let q = element % params.quads;
    let own = params.window.first_class + row;
    let begin = params.result.offset + row * params.result.stride;
    let count = bitcast<f32>(sums[begin + params.dim]);
    let here = count > 0.0;
    let d = 4u * q + vec4<u32>(0u, 1u, 2u, 3u);
    let at = begin + min(d, vec4<u32>(params.dim - 1u));
    let bits = vec4<u32>(sums[at.x], sums[at.y], sums[at.z], sums[at.w]);
    let nan = is_nan4(bits);
    let mean = bitcast<vec4<u32>>(bitcast<vec4<f32>>(bits) / max(count, 1.0));
    let known = select(mean, vec4<u32>(params.nan), nan);
    let exists = vec4<bool>(here) & (d < vec4<u32>(params.dim));
    given[(params.vectors_row + own) * params.quads + q] = bitcast<vec4<f32>>(select(vec4<u32>(0u), known, exists));
    if (q == 0u) {
        let place = select(NONE, own, here);
        state[record(params.level.at, RECORD_FIRST, own)] = place;
        state[record(params.level.at, RECORD_CLASS, own)] = place;
        state[record(params.level.at, RECORD_COUNT, own)] = select(0u, u32(count), here);
    }
}
