// Merges the accumulators of each `width` neighbouring lanes of a subgroup by shuffles; all of them get the result. No
// barrier: a kernel with one is slower by itself on a software driver.
// provides: row_merge
// expects:  params, Lane, Group, Acc, lane_merge, acc_shuffle (device feature SUBGROUP)

// All lanes of the subgroup must call it.
fn row_merge(at: Lane, group: Group, acc: Acc) -> Acc {
    var merged = acc;
    for (var d = 1u; d < params.grid.width; d *= 2u) {
        merged = lane_merge(merged, acc_shuffle(merged, d));
    }
    return merged;
}
