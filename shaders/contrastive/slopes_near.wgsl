// The entry point of the slopes where lanes of a subgroup share eight own rows.
//
// Grid: blocks of own rows (eight a subgroup) x blocks of other rows (four a lane), own rows first, folded. How large a
// block is follows from the size of a subgroup, so the host has the most workgroups there can be.
// provides: the entry points
// expects:  params, WG, skipped, slopes_at (device feature SUBGROUP)

@compute @workgroup_size(WG)
fn slopes(
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) index: u32,
    @builtin(subgroup_size) near: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let lanes = min(WG, near);
    let number = group.y * params.grid.groups_x + group.x;
    let rows4 = 2u * (WG / lanes);
    let row_blocks = (params.own.rows + 4u * rows4 - 1u) / (4u * rows4);
    let first4 = number % row_blocks * rows4;
    let begin4 = number / row_blocks * lanes;
    if (4u * begin4 >= params.other.rows || skipped(first4, begin4 + lanes)) {
        return;
    }
    slopes_at(first4 + 2u * subgroup, begin4 + index, index);
}
