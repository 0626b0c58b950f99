// The entry points between the stages, for lanes counted by subgroup.
// provides: acc_shuffle, the entry points
// expects:  WG, Lane, Group of lanes_subgroup.wgsl, Acc of lines.wgsl, run_find, run_columns (device feature SUBGROUP)

// The accumulator of the lane at distance `d`.
fn acc_shuffle(a: Acc, d: u32) -> Acc {
    return Acc(subgroupShuffleXor(a.sums, d));
}

@compute @workgroup_size(WG)
fn find(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_find(Lane(subgroup, index), Group(id, near));
}

@compute @workgroup_size(WG)
fn columns(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_columns(Lane(subgroup, index), Group(id, near));
}
