// A row's positives in order of rank, each slab of them by itself: a lane finds the place of one by comparing it with all
// of its slab.
//
// Grid: blocks of places `begin` to `end`, those of one row after those of another; folded.
// provides: sort
// expects:  WG, SLAB, group_index, metrics/params.wgsl

@compute @workgroup_size(WG)
fn sort(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let place = params.begin + group_index(group) * WG + lane;
    if (place >= params.end) {
        return;
    }
    let row = place / params.room;
    let i = place % params.room;
    let positives = positives_of(row);
    if (i >= positives) {
        return;
    }
    let slab = i - i % SLAB;
    let first = row * params.room + slab;
    let end = row * params.room + min(slab + SLAB, positives);
    let own = list[place];
    var before = 0u;
    for (var at = first; at < end; at++) {
        let other = list[at];
        before += u32(other.x > own.x || (other.x == own.x && other.y < own.y));
    }
    sorted[first + before] = own;
    for (var kind = 0u; kind < 3u; kind++) {
        atomicStore(&counts[3u * place + kind], 0u);
    }
}
