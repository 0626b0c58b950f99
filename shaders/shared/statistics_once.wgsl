// The statistics of a row or a chunk in one sweep.
// provides: statistics, lane_merge
// expects:  Acc, acc_start, acc_merge, sweep_tally, row_merge

// Of two lanes of a row.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return acc_merge(a, b);
}

// All lanes of the workgroup must call it.
fn statistics(at: Lane, group: Group, row: Row, own: u32, first: u32, end: u32) -> Acc {
    return row_merge(at, group, sweep_tally(row, own, first, end, acc_start()));
}
