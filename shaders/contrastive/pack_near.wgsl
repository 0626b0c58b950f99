// The entry point that brings rows into the form in which pairs are looked at, where a subgroup has a row.
//
// Grid: one subgroup a row, folded; the host has workgroups for subgroups of the largest size, which are the most.
// provides: the entry points
// expects:  params, WG, pack_row (device feature SUBGROUP)

@compute @workgroup_size(WG)
fn pack(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let lanes = min(WG, near);
    let first = (group.y * params.grid.groups_x + group.x) * (WG / lanes);
    if (first >= params.own.rows) {
        return;
    }
    let row = first + subgroup;
    pack_row(min(row, params.own.rows - 1u), row < params.own.rows, index, lanes);
}
