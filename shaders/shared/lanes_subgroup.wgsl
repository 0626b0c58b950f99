// The lanes of a workgroup numbered by subgroup, so that neighbours share one, and sums over the workgroup by subgroup
// shuffles. Works for every subgroup size from 4 to 128.
// provides: Lane, lane_index, group_sum
// expects:  WG (device feature SUBGROUP)

struct Lane {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
}

fn lane_index(at: Lane) -> u32 {
    return at.subgroup * at.size + at.index;
}

// One entry per subgroup; 4 is the smallest subgroup there is.
var<workgroup> wg_sum: array<vec2<f32>, (WG + 3u) / 4u>;

// The sum over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_sum(at: Lane, value: vec2<f32>) -> vec2<f32> {
    let near = min(WG, at.size);
    var sum = value;
    for (var d = 1u; d < near; d *= 2u) {
        sum += subgroupShuffleXor(sum, d);
    }
    let lane = lane_index(at);
    // The result before may still be being read.
    workgroupBarrier();
    if (lane % near == 0u) {
        wg_sum[lane / near] = sum;
    }
    // Every subgroup's part is there before the first is read.
    workgroupBarrier();
    sum = wg_sum[0];
    for (var i = 1u; i < WG / near; i++) {
        sum += wg_sum[i];
    }
    return sum;
}
