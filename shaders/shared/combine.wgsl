// Between the chunks of a row: merges what they found, in order, and finds the row's loss and coefficients.
// Grid: rows units of `width` lanes, as shared/rows.wgsl.
// provides: run_combine, lane_merge
// expects:  params, Lane, Group, Unit, unit_of, lane_index, row_merge, row_begin, row_result, row_store, and from the loss: Acc,
//           acc_start, acc_merge, acc_load

// Of two lanes of a row.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return acc_merge(a, b);
}

fn run_combine(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let row = unit.number;
    var acc = acc_start();
    for (var chunk = unit.own; chunk < params.grid.chunks; chunk += params.grid.width) {
        acc = acc_merge(acc, acc_load(params.places.chunk_at + (row * params.grid.chunks + chunk) * ACC_WORDS));
    }
    acc = row_merge(at, group, acc);
    if (unit.live && unit.own == 0u) {
        row_begin(row);
        row_store(row, row_result(row, acc));
    }
}
