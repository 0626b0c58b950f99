// The entry points of the row losses, for lanes counted by their index.
// provides: the entry points
// expects:  WG, Lane, Group of lanes_tree.wgsl, rows

@compute @workgroup_size(WG)
fn rows(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_rows(Lane(index), Group(id));
}

@compute @workgroup_size(WG)
fn partial(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_partial(Lane(index), Group(id));
}

@compute @workgroup_size(WG)
fn gradient(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_gradient(Lane(index), Group(id));
}

@compute @workgroup_size(WG)
fn columns(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_columns(Lane(index), Group(id));
}
