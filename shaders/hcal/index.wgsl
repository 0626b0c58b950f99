// Which samples of a batch share a class, at each level; what a feature is a part of; what breaks the hierarchy; the seed
// of the next step. Of each level, `state` holds records of the samples, as record.wgsl has them.
//
// `members`:    a lane for each sample at each level.
// `children`:   a lane for each sample at each level but the finest, in trees.
// `assign`:     a lane for each sample, in trees.
// `shares`:     in the place of all these a lane for each slot at each level, where the vectors of the levels but the finest
//               stand at the numbers of their classes, and sums.wgsl has made their records.
// Grid of these: blocks of lanes `begin` to `end`, folded.
// `violations`: one link from a level to the next. Grid: 1 workgroup. `advance`: 1 workgroup.
// Mirrors: `IndexParams` in src/kernels/hcal/params.rs, which says what each field is.
// provides: the entry points, IndexParams, params (binding 0), labels (binding 3, or predictions), levels (binding 4),
//           state (binding 6), counters (binding 7, or the seed)
// expects:  WG, NONE, record with the fields RECORD_, group_index

struct IndexParams {
    samples: u32,
    begin: u32,
    end: u32,
    groups_x: u32,
    levels: u32,
    levels_offset: u32,
    labels_offset: u32,
    labels_stride: u32,
    at: u32,
    parents_offset: u32,
    above_offset: u32,
    link: u32,
    first: u32,
    last: u32,
    counters_offset: u32,
    slots: u32,
}

@group(0) @binding(0) var<uniform> params: IndexParams;
@group(0) @binding(3) var<storage, read_write> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> levels: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> counters: array<u32>;

// Where the records of a level begin.
fn records(level: u32) -> u32 {
    return params.at + level * RECORD_WORDS * params.slots;
}

@compute @workgroup_size(WG)
fn members(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let n = params.samples;
    let level = element / n;
    let i = element % n;
    let begin = params.labels_offset + level * params.labels_stride;
    let table = params.levels_offset + 2u * level;
    let classes = levels[table];
    let parents = params.levels_offset + levels[table + 1u];
    let label = labels[begin + i];
    let own = select(NONE, label, label < classes);
    var first = NONE;
    var next = NONE;
    var count = 0u;
    for (var j = 0u; j < n; j++) {
        let same = labels[begin + j] == own && own != NONE;
        first = select(first, min(first, j), same);
        next = select(next, min(next, j), same && j > i);
        count += u32(same);
    }
    var parent = NONE;
    if (first == i && level + 1u < params.levels) {
        parent = levels[parents + own];
    }
    let at = records(level);
    state[record(at, RECORD_FIRST, i)] = first;
    state[record(at, RECORD_NEXT, i)] = next;
    state[record(at, RECORD_COUNT, i)] = count;
    state[record(at, RECORD_CHILDREN, i)] = 0u;
    state[record(at, RECORD_UP, i)] = NONE;
    state[record(at, RECORD_CLASS, i)] = own;
    state[record(at, RECORD_PARENT, i)] = parent;
    // The vectors of the finest level are the features themselves. In trees `assign` says more.
    state[record(at, RECORD_ROW, i)] = select(first, select(NONE, i, own != NONE), level == 0u);
    state[record(at, RECORD_SHARE, i)] = bitcast<u32>(select(1.0 / f32(max(count, 1u)), 1.0, level == 0u));
}

@compute @workgroup_size(WG)
fn children(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let n = params.samples;
    let below = records(element / n);
    let at = records(element / n + 1u);
    let i = element % n;
    let parent = state[record(below, RECORD_PARENT, i)];
    let own = select(NONE, state[record(at, RECORD_CLASS, i)], state[record(at, RECORD_FIRST, i)] == i);
    var head = NONE;
    var link = NONE;
    var count = 0u;
    var up = NONE;
    for (var j = 0u; j < n; j++) {
        let other = state[record(below, RECORD_PARENT, j)];
        let mine = other == own && own != NONE;
        let beside = other == parent && parent != NONE && j > i;
        head = select(head, min(head, j), mine);
        count += u32(mine);
        link = select(link, min(link, j), beside);
        up = select(up, min(up, j), parent != NONE && state[record(at, RECORD_CLASS, j)] == parent);
    }
    state[record(at, RECORD_HEAD, i)] = head;
    state[record(at, RECORD_LINK, i)] = link;
    state[record(at, RECORD_CHILDREN, i)] = count;
    state[record(at, RECORD_UP, i)] = up;
}

// Of which vector of each level a sample's feature is a part, and with what share.
@compute @workgroup_size(WG)
fn assign(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = params.begin + group_index(group) * WG + lane;
    if (i >= params.end) {
        return;
    }
    // The class's mean that it is a part of.
    var row = NONE;
    var share = 0.0;
    for (var level = 0u; level < params.levels; level++) {
        let at = records(level);
        let own = state[record(at, RECORD_FIRST, i)];
        var through = NONE;
        if (level > 0u && row != NONE) {
            through = state[record(at, RECORD_UP, row)];
        }
        if (through != NONE) {
            share /= f32(max(state[record(at, RECORD_CHILDREN, through)], 1u));
            row = through;
        } else {
            row = NONE;
            if (own != NONE) {
                // A class that is the mean of its children's means has no other part.
                let alone = state[record(at, RECORD_CHILDREN, own)] == 0u;
                row = select(NONE, own, alone);
                share = 1.0 / f32(max(state[record(at, RECORD_COUNT, i)], 1u));
            }
        }
        // `members` has done the finest level, which is not one of means.
        if (level > 0u) {
            state[record(at, RECORD_ROW, i)] = row;
            state[record(at, RECORD_SHARE, i)] = bitcast<u32>(share);
        }
    }
}

// The same where a class of a batch over several devices has its vector at its own number: what remains to be said of the
// finest level, of samples, and of slots beyond the classes.
@compute @workgroup_size(WG)
fn shares(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let level = element / params.slots;
    let i = element % params.slots;
    let classes = levels[params.levels_offset + 2u * level];
    let at = records(level);
    var own = NONE;
    if (i < params.samples) {
        let label = labels[params.labels_offset + level * params.labels_stride + i];
        own = select(NONE, label, label < classes);
    }
    var row = select(NONE, i, own != NONE);
    var share = 1.0;
    if (level > 0u) {
        row = own;
        if (own != NONE) {
            share = 1.0 / f32(max(state[record(at, RECORD_COUNT, own)], 1u));
        }
    }
    if (level == 0u || i >= classes) {
        state[record(at, RECORD_FIRST, i)] = NONE;
        state[record(at, RECORD_CLASS, i)] = select(NONE, own, level == 0u);
    }
    state[record(at, RECORD_ROW, i)] = row;
    state[record(at, RECORD_SHARE, i)] = bitcast<u32>(share);
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
