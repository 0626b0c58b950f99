// The statistics of a row or a chunk in one sweep.
// provides: statistics, lane_merge, gradients, short_load, short_statistics, short_gradients
// expects:  Acc, acc_start, acc_merge, sweep_tally, sweep_gradient, row_merge, Kept, kept_load, kept_store, acc_add

// Of two lanes of a row.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return acc_merge(a, b);
}

// All lanes of the workgroup must call it.
fn statistics(at: Lane, group: Group, row: Row, own: u32, first: u32, end: u32) -> Acc {
    return row_merge(at, group, sweep_tally(row, own, first, end, acc_start()));
}

fn gradients(row: Row, own: u32, first: u32, end: u32, coef: Coef) {
    sweep_gradient(row, own, first, end, coef);
}

// The same of a short row, which its lanes keep.

fn short_load(row: Row, own: u32) -> Kept {
    return kept_load(row, own);
}

fn short_statistics(at: Lane, group: Group, row: Row, own: u32, kept: Kept) -> Acc {
    var acc = acc_start();
    acc_add(&acc, kept.first);
    acc_add(&acc, kept.second);
    return row_merge(at, group, acc);
}

fn short_gradients(row: Row, own: u32, kept: Kept, coef: Coef) {
    kept_store(row, own, kept, coef);
}
