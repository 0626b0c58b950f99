// The statistics of a row or a chunk by quick sums, and where they are not good enough by another sweep that works
// with what they have shown. The gradient is quick too where the sums were.
// provides: statistics, gradients, short_load, short_statistics, short_gradients
// expects:  params, Row, Acc, acc_start, acc_base, Quick, quick_start, quick_end, quick_sure, quick_acc, quick_add, quick_step,
//           quick_gradient_step, quick_load, quick_store, coef_quick, lane_merge, sweep_tally, sweep_gradient, row_merge, row_end

// As sweep_tally.
fn sweep_quick(row: Row, own: u32, first: u32, end: u32) -> Acc {
    let width = params.grid.width;
    let block = params.grid.block;
    var acc = quick_end(quick_start());
    var start = first;
    loop {
        let to = min(start + block, end);
        var quick = quick_start();
        var k = start + own;
        loop {
            quick_step(&quick, row, k);
            continuing {
                k += width;
                break if k >= to;
            }
        }
        acc = lane_merge(acc, quick_end(quick));
        continuing {
            start += block;
            break if start >= end;
        }
    }
    return acc;
}

// The statistics for which a lane has these sums. All lanes of the workgroup must call it.
fn checked(at: Lane, group: Group, row: Row, own: u32, first: u32, end: u32, sums: Acc) -> Acc {
    let quick = row_merge(at, group, sums);
    let sure = quick_sure(quick);
    var exact = acc_base(quick);
    if (!sure) {
        exact = sweep_tally(row, own, first, end, exact);
    }
    // Outside the condition: shuffles stay in uniform flow for every compiler.
    exact = row_merge(at, group, exact);
    if (sure) {
        return quick_acc(quick);
    }
    return exact;
}

// All lanes of the workgroup must call it.
fn statistics(at: Lane, group: Group, row: Row, own: u32, first: u32, end: u32) -> Acc {
    return checked(at, group, row, own, first, end, sweep_quick(row, own, first, end));
}

fn gradients(row: Row, own: u32, first: u32, end: u32, coef: Coef) {
    if (!coef_quick(coef)) {
        sweep_gradient(row, own, first, end, coef);
        return;
    }
    // As sweep_gradient.
    let width = params.grid.width;
    var k = first + own;
    loop {
        quick_gradient_step(row, k, coef);
        continuing {
            k += width;
            break if k >= end;
        }
    }
}

// The same of a short row, which its lanes keep.

fn short_load(row: Row, own: u32) -> Kept {
    return quick_load(row, own);
}

fn short_statistics(at: Lane, group: Group, row: Row, own: u32, kept: Kept) -> Acc {
    var quick = quick_start();
    quick_add(&quick, kept.first);
    quick_add(&quick, kept.second);
    return checked(at, group, row, own, 0u, row_end(row), quick_end(quick));
}

fn short_gradients(row: Row, own: u32, kept: Kept, coef: Coef) {
    if (coef_quick(coef)) {
        quick_store(row, own, kept, coef);
    } else {
        sweep_gradient(row, own, 0u, row_end(row), coef);
    }
}
