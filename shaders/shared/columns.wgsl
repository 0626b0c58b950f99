// Sums down the columns of a window of rows: 32 vectors of four columns a workgroup, WG / 32 lanes to a vector.
// Grid: ceil(columns/128) groups, folded over x and y, x chunks of `column_rows` rows; each chunk leaves its sums in
// scratch, one after the other, and adds them to those of the windows before.
// provides: run_columns
// expects:  WG, params, lane_index, put_columns, and column_terms(row, vector) -> vec4<f32>

var<workgroup> wg_column: array<vec4<f32>, WG>;

fn run_columns(at: Lane, group: Group) {
    let lane = lane_index(at, group);
    let q = (group.id.x + group.id.y * params.grid.groups_x) * 32u + lane % 32u;
    let first = group.id.z * params.grid.column_rows;
    let end = min(first + params.grid.column_rows, params.window.rows);
    var sum = vec4<f32>(0.0);
    if (4u * q < params.grid.columns) {
        for (var row = first + lane / 32u; row < end; row += WG / 32u) {
            sum += column_terms(row, q);
        }
    }
    wg_column[lane] = sum;
    // Every lane's part is there before the first is read.
    workgroupBarrier();
    if (lane < 32u) {
        for (var i = lane + 32u; i < WG; i += 32u) {
            sum += wg_column[i];
        }
        put_columns(group.id.z, q, sum);
    }
}
