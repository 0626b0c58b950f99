// The entry points of the middle of split rows, for lanes counted by their index.
// provides: the entry points
// expects:  WG, Lane, Group of lanes_tree.wgsl, combine

@compute @workgroup_size(WG)
fn combine(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_combine(Lane(index), Group(id));
}

@compute @workgroup_size(WG)
fn merge(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_merge(Lane(index), Group(id));
}
