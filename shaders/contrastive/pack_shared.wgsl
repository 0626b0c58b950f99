// The entry point that brings rows into the form in which pairs are looked at, where a workgroup has a row.
//
// Grid: one workgroup a row, folded.
// provides: the entry points
// expects:  params, WG, pack_row

@compute @workgroup_size(WG)
fn pack(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.own.rows) {
        return;
    }
    pack_row(row, true, lane, WG);
}
