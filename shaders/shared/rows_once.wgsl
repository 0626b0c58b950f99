// Whole rows in one sweep, of losses whose gradient needs nothing of the row but whether it holds a NaN.
// provides: run_rows
// expects:  params, Unit, unit_of, row_at, row_end, row_merge, both_step, sweep_gradient, row_begin, row_result, row_store,
//           row_coefficients

fn run_rows(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    row_begin(unit.number);
    let row = row_at(unit.number, unit.live, phase_of(unit.number));
    let end = row_end(row);
    let width = params.grid.width;
    let block = params.grid.block;
    let coef = row_coefficients(unit.number, params.window.cols);
    var acc = acc_start();
    var start = 0u;
    loop {
        let to = min(start + block, end);
        var tally = tally_start(acc);
        var k = start + unit.own;
        loop {
            both_step(&tally, row, k, coef);
            continuing {
                k += width;
                break if k >= to;
            }
        }
        acc = acc_merge(acc, tally_end(tally));
        continuing {
            start += block;
            break if start >= end;
        }
    }
    let result = row_result(unit.number, row_merge(at, group, acc));
    if (unit.live && unit.own == 0u) {
        row_store(unit.number, result);
    }
    if (result.coef.bad) {
        sweep_gradient(row, unit.own, 0u, end, result.coef);
    }
}
