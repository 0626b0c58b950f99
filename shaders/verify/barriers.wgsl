// A probe of workgroup memory across barriers.
//
// Grid: GROUPS workgroups. Mirrors: src/device/verify.rs.
// provides: lanes
// expects:  WG, params, put, Lane, Group, group_sum of lanes_tree.wgsl

const PASSES = 16u;
var<workgroup> wg_passed: array<u32, WG>;

// Each lane hands its number on, from round to round to another lane.
@compute @workgroup_size(WG)
fn lanes(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    var value = w + 1u;
    // Lanes come to the first barrier one after the other.
    for (var i = 0u; i < (lane * 7u) % 32u; i++) {
        value = value * 5u + i;
    }
    for (var turn = 0u; turn < PASSES; turn++) {
        wg_passed[lane] = value;
        // All are there before one is read.
        workgroupBarrier();
        value = value + 3u * wg_passed[(lane + turn + 1u) % WG];
        // All are read before one is written over.
        workgroupBarrier();
    }
    put(0u, w, value);
    let sum = group_sum(Lane(lane), Group(group), vec2<f32>(f32(lane), 1.0));
    put(1u, w, u32(sum.x));
    put(2u, w, u32(sum.y));
}
