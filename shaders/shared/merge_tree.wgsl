// Reduction over the lanes of a row, by a tree in workgroup memory.
// provides: row_merge
// expects:  WG, params, Lane, Group, Acc, lane_merge

var<workgroup> wg_acc: array<Acc, WG>;

// Merges the accumulators of each `width` neighbouring lanes (a power of two); all of them get the result.
// All lanes of the workgroup must call it.
fn row_merge(at: Lane, group: Group, acc: Acc) -> Acc {
    let width = params.grid.width;
    // The result before may still be being read.
    workgroupBarrier();
    wg_acc[at.index] = acc;
    workgroupBarrier();
    for (var reach = width / 2u; reach > 0u; reach /= 2u) {
        if ((at.index & (width - 1u)) < reach) {
            wg_acc[at.index] = lane_merge(wg_acc[at.index], wg_acc[at.index + reach]);
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return wg_acc[at.index - (at.index & (width - 1u))];
}
