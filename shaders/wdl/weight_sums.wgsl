// Sums of dL/dw over the rows of a window: a lane has four columns, and all lanes of a workgroup are at the same row, whose
// values they read together. No barrier.
// Grid: ceil(columns / (4 WG)) groups, folded over x and y, x parts of `column_rows` rows; each part leaves its sums in
//       scratch, one after the other, and adds them to those of the windows before.
// provides: run_columns
// expects:  WG, params, lane_index, put_columns, and column_terms(row, vector) -> vec4<f32>

// Rows whose sum is taken by itself.
const BLOCK_ROWS = 256u;

fn run_columns(at: Lane, group: Group) {
    let q = (group.id.x + group.id.y * params.grid.groups_x) * WG + lane_index(at, group);
    if (4u * q >= params.grid.columns) {
        return;
    }
    let first = group.id.z * params.grid.column_rows;
    let end = min(first + params.grid.column_rows, params.window.rows);
    var all = vec4<f32>(0.0);
    for (var start = first; start < end; start += BLOCK_ROWS) {
        let to = min(start + BLOCK_ROWS, end);
        var sums = vec4<f32>(0.0);
        for (var row = start; row < to; row++) {
            sums += column_terms(row, q);
        }
        all += sums;
    }
    put_columns(group.id.z, q, all);
}
