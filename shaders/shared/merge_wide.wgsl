// Reduction over the lanes of a row, by subgroup shuffles and then over the subgroups. Works for every subgroup size
// from 4 to 128.
// provides: row_merge
// expects:  WG, params, Lane, Group, lane_index, Acc, lane_merge, acc_shuffle (device feature SUBGROUP)

// One entry per subgroup; 4 is the smallest subgroup there is.
var<workgroup> wg_acc: array<Acc, (WG + 3u) / 4u>;

// Merges the accumulators of each `width` neighbouring lanes (a power of two); all of them get the result.
// All lanes of the workgroup must call it.
fn row_merge(at: Lane, group: Group, acc: Acc) -> Acc {
    let width = params.grid.width;
    let near = min(width, group.near);
    var merged = acc;
    for (var d = 1u; d < near; d *= 2u) {
        merged = lane_merge(merged, acc_shuffle(merged, d));
    }
    if (width > 4u) {
        let lane = lane_index(at, group);
        // The result before may still be being read.
        workgroupBarrier();
        if ((lane & (near - 1u)) == 0u) {
            wg_acc[lane / near] = merged;
        }
        // Every subgroup's part is there before the first is read.
        workgroupBarrier();
        let first = (lane - (lane & (width - 1u))) / near;
        merged = wg_acc[first];
        for (var i = 1u; i < width / near; i++) {
            merged = lane_merge(merged, wg_acc[first + i]);
        }
    }
    return merged;
}
