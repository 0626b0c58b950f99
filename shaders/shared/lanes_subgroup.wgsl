// The lanes of a workgroup numbered by subgroup, so that neighbours share one, and sums over the workgroup by subgroup
// shuffles. Works for every subgroup size from 4 to 128.
// provides: Lane, Group, lane_index, group_sum
// expects:  WG (device feature SUBGROUP)

// What differs from lane to lane. What does not is in `Group`: browsers take a struct with one non-uniform member for
// non-uniform as a whole, and refuse barriers and shuffles under conditions on it.
struct Lane {
    subgroup: u32,    // number of the subgroup
    index: u32,       // of the lane in it
}

struct Group {
    id: vec3<u32>,    // number of the workgroup
    near: u32,        // lanes of a subgroup
}

fn lane_index(at: Lane, group: Group) -> u32 {
    return at.subgroup * group.near + at.index;
}

// One entry per subgroup; 4 is the smallest subgroup there is.
var<workgroup> wg_sum: array<vec2<f32>, (WG + 3u) / 4u>;

// The sum over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_sum(at: Lane, group: Group, value: vec2<f32>) -> vec2<f32> {
    let near = min(WG, group.near);
    var sum = value;
    for (var d = 1u; d < near; d *= 2u) {
        sum += subgroupShuffleXor(sum, d);
    }
    let lane = lane_index(at, group);
    // The result before may still be being read.
    workgroupBarrier();
    if ((lane & (near - 1u)) == 0u) {
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
