// The entry point that makes gradients to rows as they were given, where a workgroup has a row.
//
// Grid: one workgroup a row, folded.
// provides: the entry points
// expects:  params, WG, project_row

@compute @workgroup_size(WG)
fn project(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.own.rows) {
        return;
    }
    project_row(row, true, lane, WG);
}
