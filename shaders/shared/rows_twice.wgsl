// Whole rows in two sweeps: first the statistics, then the gradient.
// provides: run_rows
// expects:  params, Unit, unit_of, row_at, row_end, statistics, gradients, row_begin, row_result, row_store

fn run_rows(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    row_begin(unit.number);
    let row = row_at(unit.number, unit.live, phase_of(unit.number));
    let end = row_end(row);
    let result = row_result(unit.number, statistics(at, group, row, unit.own, 0u, end));
    if (unit.live && unit.own == 0u) {
        row_store(unit.number, result);
    }
    if (params.places.want_grad != 0u) {
        gradients(row, unit.own, 0u, end, result.coef);
    }
}
