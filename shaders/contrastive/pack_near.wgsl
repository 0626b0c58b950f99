// The entry point that brings rows into the form in which pairs are looked at, where a subgroup has a row.
//
// Grid: one subgroup of the smallest size a row, folded; where subgroups are larger, each has several rows in turn.
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
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let teams = WG / lanes;
    for (var first = number * teams; first < params.own.rows; first += params.grid.groups * teams) {
        let row = first + subgroup;
        pack_row(min(row, params.own.rows - 1u), row < params.own.rows, index, lanes);
    }
}
