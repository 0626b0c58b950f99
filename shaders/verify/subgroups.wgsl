// A probe of subgroups: how lanes are numbered, shuffles, and a sum over the subgroups of a workgroup.
//
// Grid: GROUPS workgroups. Mirrors: src/device/verify.rs.
// provides: lanes
// expects:  WG, params, put, Lane, Group, lane_index of lanes_subgroup.wgsl (device feature SUBGROUP)

// One entry per subgroup; 4 is the smallest subgroup there is.
var<workgroup> wg_parts: array<u32, (WG + 3u) / 4u>;

@compute @workgroup_size(WG)
fn lanes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let w = group.x * WG + lane;
    put(0u, w, (subgroup + 1u) | ((index + 1u) << 16u));
    put(1u, w, near);
    let at = lane_index(Lane(subgroup, index), Group(group, near));
    let reached = min(WG, near);
    // Lanes leave a loop one after the other; shuffles take them all again.
    var value = at + 1u;
    for (var i = 0u; i < (at * 7u) % 32u; i++) {
        value += 2048u;
    }
    var k = 2u;
    for (var d = 1u; d < reached; d *= 2u) {
        put(k, w, subgroupShuffleXor(value, d));
        k += 1u;
    }
    // As many words, whatever the size.
    for (; k < 9u; k++) {
        put(k, w, value);
    }
    put(9u, w, subgroupBroadcast(value, 0u));
    put(10u, w, subgroupBroadcast(value, 1u));
    put(11u, w, subgroupBroadcast(value, 2u));
    put(12u, w, subgroupBroadcast(value, 3u));
    var sum = f32(at + 1u);
    for (var d = 1u; d < reached; d *= 2u) {
        sum += subgroupShuffleXor(sum, d);
    }
    put(13u, w, u32(sum));
    if (index == 0u) {
        wg_parts[subgroup] = u32(sum);
    }
    // Every subgroup's part is there before the first is read.
    workgroupBarrier();
    var all = 0u;
    for (var i = 0u; i < WG / reached; i++) {
        all += wg_parts[i];
    }
    put(14u, w, all);
}
