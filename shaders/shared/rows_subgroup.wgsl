// The entry points of the row losses, for lanes counted by subgroup. naga's HLSL has no semantics for subgroup builtins
// in a struct, hence each is a parameter of its own.
// provides: the entry points
// expects:  WG, Lane, Group of lanes_subgroup.wgsl, rows (device feature SUBGROUP)

@compute @workgroup_size(WG)
fn rows(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_rows(Lane(subgroup, index), Group(id, near));
}

@compute @workgroup_size(WG)
fn partial(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_partial(Lane(subgroup, index), Group(id, near));
}

@compute @workgroup_size(WG)
fn gradient(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_gradient(Lane(subgroup, index), Group(id, near));
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
