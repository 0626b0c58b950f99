// The best over the lanes of a workgroup, by a tree in workgroup memory.
// provides: group_best
// expects:  WG, Best, best_of of best.wgsl

var<workgroup> wg_best_key: array<u32, WG>;
var<workgroup> wg_best_index: array<u32, WG>;

// The best over the workgroup, in all lanes. All lanes of the workgroup must call it.
fn group_best(lane: u32, own: Best) -> Best {
    // The result before may still be being read.
    workgroupBarrier();
    wg_best_key[lane] = own.key;
    wg_best_index[lane] = own.index;
    workgroupBarrier();
    for (var reach = WG / 2u; reach > 0u; reach /= 2u) {
        if (lane < reach) {
            let other = Best(wg_best_key[lane + reach], wg_best_index[lane + reach]);
            let best = best_of(Best(wg_best_key[lane], wg_best_index[lane]), other);
            wg_best_key[lane] = best.key;
            wg_best_index[lane] = best.index;
        }
        // A level is complete before the next reads it.
        workgroupBarrier();
    }
    return Best(wg_best_key[0], wg_best_index[0]);
}
