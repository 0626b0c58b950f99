// Whole rows that their lanes keep in registers: two vectors of four labels a lane. No loop.
// provides: run_rows
// expects:  params, Unit, unit_of, row_at, row_merge, Kept, kept_load, kept_store, row_begin, row_result, row_store

fn run_rows(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    row_begin(unit.number);
    let row = row_at(unit.number, unit.live, phase_of(unit.number));
    let kept = kept_load(row, unit.own);
    var acc = acc_start();
    acc_add(&acc, kept.first);
    acc_add(&acc, kept.second);
    let result = row_result(unit.number, row_merge(at, group, acc));
    if (unit.live && unit.own == 0u) {
        row_store(unit.number, result);
    }
    if (params.places.want_grad != 0u) {
        kept_store(row, unit.own, kept, result.coef);
    }
}
