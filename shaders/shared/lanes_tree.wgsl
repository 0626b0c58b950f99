// The lanes of a workgroup by their index, and sums over it by a tree in workgroup memory.
// provides: Lane, Group, lane_index, group_sum
// expects:  WG

// What differs from lane to lane. What does not is in `Group`: browsers take a struct with one non-uniform member for
// non-uniform as a whole, and refuse barriers and shuffles under conditions on it.
struct Lane {
    index: u32,
}

struct Group {
    id: vec3<u32>,    // number of the workgroup
}

fn lane_index(at: Lane, group: Group) -> u32 {
    return at.index;
}

var<workgroup> wg_sum: array<vec2<f32>, WG>;

// The sum over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_sum(at: Lane, group: Group, value: vec2<f32>) -> vec2<f32> {
    // The result before may still be being read.
    workgroupBarrier();
    wg_sum[at.index] = value;
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (at.index < reach) {
            wg_sum[at.index] += wg_sum[at.index + reach];
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return wg_sum[0];
}
