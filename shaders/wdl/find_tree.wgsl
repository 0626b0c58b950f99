// The entry points between the stages, for lanes counted by their index.
// provides: the entry points
// expects:  WG, Lane, Group of lanes_tree.wgsl, run_find, run_columns

@compute @workgroup_size(WG)
fn find(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_find(Lane(index), Group(id));
}

@compute @workgroup_size(WG)
fn columns(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_columns(Lane(index), Group(id));
}
