// The lanes of a workgroup by their index, and sums over it by a tree in workgroup memory.
// provides: Lane, lane_index, group_sum
// expects:  WG

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
}

fn lane_index(at: Lane) -> u32 {
    return at.index;
}

var<workgroup> wg_sum: array<vec2<f32>, WG>;

// The sum over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_sum(at: Lane, value: vec2<f32>) -> vec2<f32> {
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
