// Sums over the lanes of a workgroup, which share a row.
// provides: team_sum
// expects:  Lane, Group, group_sum of lanes_tree.wgsl

// The sum over the lanes, in all of them. All lanes of the workgroup must call it.
fn team_sum(value: vec2<f32>, lane: u32, lanes: u32) -> vec2<f32> {
    return group_sum(Lane(lane), Group(vec3<u32>(0u)), value);
}
