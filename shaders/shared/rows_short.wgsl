// Whole rows that their lanes keep in registers: two vectors of four labels a lane. No loop, unless a row needs another
// look.
// provides: run_rows
// expects:  params, Unit, unit_of, row_at, short_load, short_statistics, short_gradients, row_begin, row_result, row_store

fn run_rows(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    row_begin(unit.number);
    let row = row_at(unit.number, unit.live, phase_of(unit.number));
    let kept = short_load(row, unit.own);
    let result = row_result(unit.number, short_statistics(at, group, row, unit.own, kept));
    if (unit.live && unit.own == 0u) {
        row_store(unit.number, result);
    }
    if (params.places.want_grad != 0u) {
        short_gradients(row, unit.own, kept, result.coef);
    }
}
