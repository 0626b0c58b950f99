// Which samples of a batch share a class, at each level; what breaks the hierarchy; the seed of the next step.
// Of each level, `state` holds records of the samples, as record.wgsl has them.
//
// `members` and `children`: a lane for each sample. Grid: blocks of samples, folded.
// `violations`: one link from a level to the next. Grid: 1 workgroup. `advance`: 1 workgroup.
// Mirrors: `IndexParams` in src/kernels/hcal/params.rs, which says what each field is.
// provides: the entry points, IndexParams, params (binding 0), labels (binding 3, or predictions), levels (binding 4),
//           state (binding 6), counters (binding 7, or the seed)
// expects:  WG, NONE, record with the fields RECORD_, group_index

struct IndexParams {
    samples: u32,
    groups_x: u32,
    classes: u32,
    labels_offset: u32,
    at: u32,
    below_at: u32,
    parents_offset: u32,
    above_offset: u32,
    link: u32,
    first: u32,
    last: u32,
    counters_offset: u32,
}

@group(0) @binding(0) var<uniform> params: IndexParams;
@group(0) @binding(3) var<storage, read_write> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> levels: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> counters: array<u32>;

@compute @workgroup_size(WG)
fn members(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let i = group_index(group) * WG + lane;
    if (i >= n) {
        return;
    }
    var own = labels[params.labels_offset + i];
    own = select(NONE, own, own < params.classes);
    var first = NONE;
    var next = NONE;
    var count = 0u;
    if (own != NONE) {
        for (var j = 0u; j < n; j++) {
            if (labels[params.labels_offset + j] == own) {
                first = min(first, j);
                next = select(next, min(next, j), j > i);
                count++;
            }
        }
    }
    state[record(params.at, RECORD_FIRST, i)] = first;
    state[record(params.at, RECORD_NEXT, i)] = next;
    state[record(params.at, RECORD_COUNT, i)] = count;
    state[record(params.at, RECORD_CHILDREN, i)] = 0u;
    state[record(params.at, RECORD_UP, i)] = NONE;
    state[record(params.at, RECORD_CLASS, i)] = own;
}

// The parent of the class whose first sample in the level below is `j`, else NONE.
fn parent_of(j: u32) -> u32 {
    if (state[record(params.below_at, RECORD_FIRST, j)] != j) {
        return NONE;
    }
    return levels[params.parents_offset + state[record(params.below_at, RECORD_CLASS, j)]];
}

@compute @workgroup_size(WG)
fn children(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.samples;
    let i = group_index(group) * WG + lane;
    if (i >= n) {
        return;
    }
    let parent = parent_of(i);
    let own = select(NONE, state[record(params.at, RECORD_CLASS, i)], state[record(params.at, RECORD_FIRST, i)] == i);
    var head = NONE;
    var link = NONE;
    var count = 0u;
    var up = NONE;
    for (var j = 0u; j < n; j++) {
        let other = parent_of(j);
        if (other != NONE) {
            if (other == own) {
                head = min(head, j);
                count++;
            }
            link = select(link, min(link, j), j > i && other == parent);
        }
        if (parent != NONE && state[record(params.at, RECORD_CLASS, j)] == parent) {
            up = min(up, j);
        }
    }
    state[record(params.at, RECORD_HEAD, i)] = head;
    state[record(params.at, RECORD_LINK, i)] = link;
    state[record(params.at, RECORD_CHILDREN, i)] = count;
    state[record(params.at, RECORD_UP, i)] = up;
}

var<workgroup> wg_count: array<vec2<u32>, WG>;

@compute @workgroup_size(WG)
fn violations(@builtin(local_invocation_index) lane: u32) {
    var counts = vec2<u32>(0u);
    for (var i = lane; i < params.samples; i += WG) {
        var broken = 0u;
        if (params.link != NONE) {
            let child = labels[params.labels_offset + i];
            broken = u32(levels[params.parents_offset + child] != labels[params.above_offset + i]);
        }
        var any = broken;
        if (params.first == 0u) {
            any |= state[i];
        }
        state[i] = any;
        counts += vec2<u32>(broken, any);
    }
    wg_count[lane] = counts;
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            wg_count[lane] += wg_count[lane + reach];
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    if (lane == 0u) {
        let sums = wg_count[0];
        if (params.link != NONE) {
            counters[params.counters_offset + 2u + params.link] += sums.x;
        }
        if (params.last != 0u) {
            counters[params.counters_offset] += params.samples;
            counters[params.counters_offset + 1u] += sums.y;
        }
    }
}

@compute @workgroup_size(WG)
fn advance(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        let low = counters[params.counters_offset] + 1u;
        counters[params.counters_offset] = low;
        counters[params.counters_offset + 1u] += u32(low == 0u);
    }
}
