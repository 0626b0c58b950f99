// Between the chunks of a row: merges what they found, in order.
//
// `combine`  finds the row's loss and coefficients.
// `merge`    leaves one accumulator of the row, at coef_at.
//
// Grid: rows units of `width` lanes, as shared/rows.wgsl.
// provides: run_combine, run_merge, lane_merge
// expects:  params, Lane, Group, Unit, unit_of, lane_index, row_merge, row_begin, row_result, row_store, and from the loss: Acc,
//           acc_start, acc_merge, acc_load, acc_store

// Of two lanes of a row.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return acc_merge(a, b);
}

// All lanes must call it.
fn chunks_merged(at: Lane, group: Group, unit: Unit) -> Acc {
    var acc = acc_start();
    for (var chunk = unit.own; chunk < params.grid.chunks; chunk += params.grid.width) {
        acc = acc_merge(acc, acc_load(params.places.chunk_at + (unit.number * params.grid.chunks + chunk) * ACC_WORDS));
    }
    return row_merge(at, group, acc);
}

fn run_combine(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let acc = chunks_merged(at, group, unit);
    if (unit.live && unit.own == 0u) {
        row_begin(unit.number);
        row_store(unit.number, row_result(unit.number, acc));
    }
}

fn run_merge(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let acc = chunks_merged(at, group, unit);
    if (unit.live && unit.own == 0u) {
        acc_store(params.places.coef_at + unit.number * ACC_WORDS, acc);
    }
}
