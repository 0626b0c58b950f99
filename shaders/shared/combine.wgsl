// Between the chunks of a row: merges what they found, in order, and finds the row's loss and coefficients.
// Grid: rows units of `width` lanes, as shared/rows.wgsl.
// provides: run_combine, lane_merge
// expects:  WG, params, Lane, Group, lane_index, row_merge, row_begin, row_result, row_store, and from the loss: Acc,
//           acc_start, acc_merge, acc_load

// Of two lanes of a row.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return acc_merge(a, b);
}

fn run_combine(at: Lane, group: Group) {
    let lane = lane_index(at, group);
    let groups = group.id.x + group.id.y * params.grid.groups_x;
    let unit = groups * (WG >> params.grid.shift) + (lane >> params.grid.shift);
    let own = lane & (params.grid.width - 1u);
    let row = min(unit, params.window.rows - 1u);
    var acc = acc_start();
    for (var chunk = own; chunk < params.grid.chunks; chunk += params.grid.width) {
        acc = acc_merge(acc, acc_load(params.places.chunk_at + (row * params.grid.chunks + chunk) * ACC_WORDS));
    }
    acc = row_merge(at, group, acc);
    if (unit < params.window.rows && own == 0u) {
        row_begin(row);
        row_store(row, row_result(row, acc));
    }
}
