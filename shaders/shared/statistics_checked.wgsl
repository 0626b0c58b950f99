// The statistics of a row or a chunk in one sweep that sums without knowing maxima, and in a second that knows them where
// that is not good enough.
// provides: statistics
// expects:  Acc, acc_start, acc_base, acc_unsure, acc_sure, sweep_tally, row_merge

// All lanes of the workgroup must call it.
fn statistics(at: Lane, group: Group, row: Row, own: u32, first: u32, end: u32) -> Acc {
    let quick = row_merge(at, group, sweep_tally(row, own, first, end, acc_base()));
    let unsure = acc_unsure(quick);
    var exact = quick;
    if (unsure) {
        exact = sweep_tally(row, own, first, end, quick);
    }
    // Outside the condition: shuffles stay in uniform flow for every compiler.
    exact = row_merge(at, group, exact);
    if (unsure) {
        return exact;
    }
    return acc_sure(quick);
}
