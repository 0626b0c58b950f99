// The entry point of the slopes where a workgroup has a block of pairs.
//
// Grid: blocks of own rows (eight a lane) x blocks of other rows (four a lane), own rows first, folded.
// provides: the entry points
// expects:  params, WG, ROW_LANES, COL_LANES, skipped, slopes_at

@compute @workgroup_size(WG)
fn slopes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    let first4 = number % params.grid.row_blocks * 2u * ROW_LANES;
    let begin4 = number / params.grid.row_blocks * COL_LANES;
    if (number >= params.grid.groups || skipped(first4, begin4 + COL_LANES)) {
        return;
    }
    // Neighbours have neighbouring other rows.
    slopes_at(first4 + 2u * (lane / COL_LANES), begin4 + lane % COL_LANES, lane);
}
