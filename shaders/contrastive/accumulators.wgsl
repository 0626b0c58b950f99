// Sums over the keys of one device, on their way to the others and from them: accumulators, an anchor's one behind the other,
// in the order of the sums.
//
// `leave` gives those of this device. `meet` puts those of several together, in their order, where `pairs` would have left
// them; it goes on from what is there if the grid says so.
// Grid: one lane for four anchors, folded.
// Mirrors: src/kernels/contrastive/params.rs. Of the parameters `grad_at` is where the first device's accumulators are,
// `grad_stride` from one anchor's to the next, `chunks.count` how many devices there are, `chunks.stride` from one's to the next.
// provides: the entry points, accumulators (binding 7)
// expects:  params, WG, the numbers of sums, Acc, field, together, sums_at, put_sums

@group(0) @binding(7) var<storage, read_write> accumulators: array<f32>;

// Of a device that one of four anchors' accumulator is, the first word.
fn place(device: u32, row4: u32, r: u32) -> u32 {
    let anchor = min(4u * row4 + r, params.own.rows - 1u);
    return params.grad_at + device * params.chunks.stride + anchor * params.grad_stride;
}

@compute @workgroup_size(WG)
fn leave(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row4 = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (4u * row4 >= params.own.rows) {
        return;
    }
    let all = sums_at(row4);
    for (var i = 0u; i < SUM_FIELDS; i++) {
        let sums = field(all, i);
        for (var r = 0u; r < min(4u, params.own.rows - 4u * row4); r++) {
            accumulators[place(0u, row4, r) + i] = sums[r];
        }
    }
}

// One sum of a device, of four anchors. Beyond the last they are the last's.
fn given(device: u32, row4: u32, i: u32) -> vec4<f32> {
    return vec4<f32>(
        accumulators[place(device, row4, 0u) + i],
        accumulators[place(device, row4, 1u) + i],
        accumulators[place(device, row4, 2u) + i],
        accumulators[place(device, row4, 3u) + i],
    );
}

fn accumulator(device: u32, row4: u32) -> Acc {
    return Acc(
        given(device, row4, SUM_LARGEST),
        given(device, row4, SUM_EXPONENTIALS),
        given(device, row4, SUM_WEIGHTS),
        given(device, row4, SUM_LOSS),
        given(device, row4, SUM_LEAD),
        given(device, row4, SUM_TILT),
        given(device, row4, SUM_COUNT),
        given(device, row4, SUM_UNSOUND),
    );
}

@compute @workgroup_size(WG)
fn meet(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row4 = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (4u * row4 >= params.own.rows) {
        return;
    }
    var all = accumulator(0u, row4);
    if (params.grid.add != 0u) {
        all = together(sums_at(row4), all);
    }
    for (var device = 1u; device < params.chunks.count; device++) {
        all = together(all, accumulator(device, row4));
    }
    put_sums(row4, all);
}
