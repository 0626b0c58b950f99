// The two products of matrices by cooperative matrices, of f16 into f32: a subgroup has 4 x 4 matrices of SIDE x SIDE
// products in registers, a workgroup ROW_TEAMS x COL_TEAMS subgroups. Both factors are staged DEPTH_STAGED steps of the
// inner dimension at a time, by all lanes alike; the next steps are loaded before these are multiplied.
//
// `products` fills a tile with the scalar products of own and other rows: those of their f16, times the rows' factors.
// `spread` multiplies a tile of slopes with the other rows and adds this to the gradient to the own ones. A slope is a sum
// of two f16, which have 22 bits together: of a subgroup's four rows of matrices two have the first and two the second,
// and both are added up in the same place, so it has half as many own rows.
// Grid: blocks of own rows x blocks of other rows; blocks of own rows x chunks of other rows x blocks of components;
// own rows first, folded.
// provides: the entry points
// expects:  params, WG, SIDE, ROW_TEAMS, COL_TEAMS, DEPTH_STAGED (a multiple of SIDE), MULTIPLIED (what one sum takes in
//           before it is put away), MatrixA, MatrixB, MatrixC, own_half, other_half, own_factors, other_factors, own_powers,
//           Four, turned, work, skipped, keep_four, put (a device with subgroups of WG / (ROW_TEAMS * COL_TEAMS) lanes)

// Rows and columns of a workgroup's block, in vectors of four steps.
const ROWS = 4u * SIDE * ROW_TEAMS;
const COLS = 4u * SIDE * COL_TEAMS;
const STEPS4 = DEPTH_STAGED / 4u;
// From one staged row to the next, so much more than it has that eight rows never share a bank of the memory: 16 bytes.
const PITCH = STEPS4 + 2u;
const COL_PITCH = COLS / 4u + 2u;

// Vectors that are staged at a time: of rows and of columns; of slopes, each in two.
const ROW_STAGED = ROWS * STEPS4;
const COL_STAGED = COLS * STEPS4;
const SLOPE_STAGED = ROW_STAGED / 2u;
// Vectors of a matrix of results.
const FOURS = SIDE / 4u;
const RESULT = SIDE * FOURS;

// Own rows, step by step; for `spread` first parts of slopes, then second ones.
var<workgroup> wg_rows: array<vec4<f16>, ROWS * PITCH>;
// For `products` other rows, step by step; for `spread` steps (which are other rows), component by component.
var<workgroup> wg_cols: array<vec4<f16>, COLS * PITCH>;
// A matrix of each subgroup, row by row.
var<workgroup> wg_results: array<vec4<f32>, ROW_TEAMS * COL_TEAMS * RESULT>;

// Four vectors that a lane stages next.
struct Next {
    a: vec4<f16>,
    b: vec4<f16>,
    c: vec4<f16>,
    d: vec4<f16>,
}

// The q-th four of the matrices that the subgroups have put into workgroup memory: four rows of four columns.
fn result_four(q: u32) -> Four {
    let four = q % (RESULT / 4u);
    let at = q / (RESULT / 4u) * RESULT + four / FOURS * 4u * FOURS + four % FOURS;
    return Four(
        wg_results[at],
        wg_results[at + FOURS],
        wg_results[at + 2u * FOURS],
        wg_results[at + 3u * FOURS],
    );
}

// The first of the rows and of the columns of the q-th four, over 4, within a block of so many matrices a subgroup.
fn result_row4(q: u32, matrices: u32, matrix: u32) -> u32 {
    let team = q / (RESULT / 4u) / COL_TEAMS;
    return (team * matrices + matrix) * FOURS + q % (RESULT / 4u) / FOURS;
}

fn result_col4(q: u32, matrix: u32) -> u32 {
    let team = q / (RESULT / 4u) % COL_TEAMS;
    return (team * 4u + matrix) * FOURS + q % FOURS;
}

// What is staged as the q-th vector of own and of other rows. Neighbours load what lies side by side. Rows beyond the last
// repeat it; what comes of them is not used. Steps behind a row are zeros.
fn own_next(q: u32, first: u32, at: u32) -> vec4<f16> {
    let i = at + q % STEPS4;
    let vector = own_half(min(first + q / STEPS4, params.own.rows - 1u), min(i, params.row.depth - 1u));
    return select(vec4<f16>(), vector, i < params.row.depth);
}

fn other_next(q: u32, begin: u32, at: u32) -> vec4<f16> {
    let i = at + q % STEPS4;
    return other_half(min(begin + q / STEPS4, params.other.rows - 1u), min(i, params.row.depth - 1u));
}

fn own_fours(lane: u32, first: u32, at: u32) -> Next {
    return Next(
        own_next(lane, first, at),
        own_next(lane + WG, first, at),
        own_next(lane + 2u * WG, first, at),
        own_next(lane + 3u * WG, first, at),
    );
}

fn other_fours(lane: u32, begin: u32, at: u32) -> Next {
    return Next(
        other_next(lane, begin, at),
        other_next(lane + WG, begin, at),
        other_next(lane + 2u * WG, begin, at),
        other_next(lane + 3u * WG, begin, at),
    );
}

fn stage_row(q: u32, vector: vec4<f16>) {
    if (q < ROW_STAGED) {
        wg_rows[q / STEPS4 * PITCH + q % STEPS4] = vector;
    }
}

fn stage_col(q: u32, vector: vec4<f16>) {
    if (q < COL_STAGED) {
        wg_cols[q / STEPS4 * PITCH + q % STEPS4] = vector;
    }
}

// Puts a matrix of products of each subgroup into the tile, times the factors. All lanes must call it.
fn keep_matrix(lane: u32, first4: u32, begin4: u32, row: u32, col: u32, add: bool) {
    // Every subgroup's matrix is there.
    workgroupBarrier();
    for (var q = lane; q < ROW_TEAMS * COL_TEAMS * RESULT / 4u; q += WG) {
        let row4 = first4 + result_row4(q, 4u, row);
        let col4 = begin4 + result_col4(q, col);
        let own = own_factors(4u * row4);
        let other = other_factors(4u * col4);
        let four = result_four(q);
        let scaled = Four(
            four.a * (own.x * other),
            four.b * (own.y * other),
            four.c * (own.z * other),
            four.d * (own.w * other),
        );
        keep_four(row4, col4, turned(scaled), add);
    }
    // It has been read before the next is put there.
    workgroupBarrier();
}

@compute @workgroup_size(WG)
fn products(
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) team: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    let first = number % params.grid.row_blocks * ROWS;
    let begin = number / params.grid.row_blocks * COLS;
    let first4 = first / 4u;
    let begin4 = begin / 4u;
    // A workgroup without work has no steps: naga takes a return under a condition with `||` for one that lanes may differ
    // about.
    let idle = number >= params.grid.groups || skipped(first4, begin4 + COLS / 4u);
    let depth = select(params.row.depth, 0u, idle);
    // The subgroup's rows and columns among the staged ones, and where its results go.
    let row_at = team / COL_TEAMS * 4u * SIDE * PITCH;
    let col_at = team % COL_TEAMS * 4u * SIDE * PITCH;
    let result = team * RESULT;
    // What the lane stages next.
    var rows = own_fours(lane, first, 0u);
    var cols = other_fours(lane, begin, 0u);
    for (var start = 0u; start < depth; start += MULTIPLIED / 4u) {
        let stop = min(start + MULTIPLIED / 4u, depth);
        var c00 = MatrixC();
        var c01 = MatrixC();
        var c02 = MatrixC();
        var c03 = MatrixC();
        var c10 = MatrixC();
        var c11 = MatrixC();
        var c12 = MatrixC();
        var c13 = MatrixC();
        var c20 = MatrixC();
        var c21 = MatrixC();
        var c22 = MatrixC();
        var c23 = MatrixC();
        var c30 = MatrixC();
        var c31 = MatrixC();
        var c32 = MatrixC();
        var c33 = MatrixC();
        for (var at = start; at < stop; at += STEPS4) {
            // The stage before has been read.
            workgroupBarrier();
            stage_row(lane, rows.a);
            stage_row(lane + WG, rows.b);
            stage_row(lane + 2u * WG, rows.c);
            stage_row(lane + 3u * WG, rows.d);
            for (var q = lane + 4u * WG; q < ROW_STAGED; q += WG) {
                stage_row(q, own_next(q, first, at));
            }
            stage_col(lane, cols.a);
            stage_col(lane + WG, cols.b);
            stage_col(lane + 2u * WG, cols.c);
            stage_col(lane + 3u * WG, cols.d);
            for (var q = lane + 4u * WG; q < COL_STAGED; q += WG) {
                stage_col(q, other_next(q, begin, at));
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            rows = own_fours(lane, first, at + STEPS4);
            cols = other_fours(lane, begin, at + STEPS4);
            for (var k4 = 0u; k4 < STEPS4; k4 += FOURS) {
                let a0 = coopLoadT<MatrixA>(&wg_rows[row_at + k4], PITCH);
                let a1 = coopLoadT<MatrixA>(&wg_rows[row_at + SIDE * PITCH + k4], PITCH);
                let a2 = coopLoadT<MatrixA>(&wg_rows[row_at + 2u * SIDE * PITCH + k4], PITCH);
                let a3 = coopLoadT<MatrixA>(&wg_rows[row_at + 3u * SIDE * PITCH + k4], PITCH);
                let b0 = coopLoad<MatrixB>(&wg_cols[col_at + k4], PITCH);
                c00 = coopMultiplyAdd(a0, b0, c00);
                c10 = coopMultiplyAdd(a1, b0, c10);
                c20 = coopMultiplyAdd(a2, b0, c20);
                c30 = coopMultiplyAdd(a3, b0, c30);
                let b1 = coopLoad<MatrixB>(&wg_cols[col_at + SIDE * PITCH + k4], PITCH);
                c01 = coopMultiplyAdd(a0, b1, c01);
                c11 = coopMultiplyAdd(a1, b1, c11);
                c21 = coopMultiplyAdd(a2, b1, c21);
                c31 = coopMultiplyAdd(a3, b1, c31);
                let b2 = coopLoad<MatrixB>(&wg_cols[col_at + 2u * SIDE * PITCH + k4], PITCH);
                c02 = coopMultiplyAdd(a0, b2, c02);
                c12 = coopMultiplyAdd(a1, b2, c12);
                c22 = coopMultiplyAdd(a2, b2, c22);
                c32 = coopMultiplyAdd(a3, b2, c32);
                let b3 = coopLoad<MatrixB>(&wg_cols[col_at + 3u * SIDE * PITCH + k4], PITCH);
                c03 = coopMultiplyAdd(a0, b3, c03);
                c13 = coopMultiplyAdd(a1, b3, c13);
                c23 = coopMultiplyAdd(a2, b3, c23);
                c33 = coopMultiplyAdd(a3, b3, c33);
            }
        }
        let add = start > 0u;
        for (var m = 0u; m < 16u; m++) {
            switch m {
                case 0u: {
                    coopStoreT(c00, &wg_results[result], FOURS);
                }
                case 1u: {
                    coopStoreT(c01, &wg_results[result], FOURS);
                }
                case 2u: {
                    coopStoreT(c02, &wg_results[result], FOURS);
                }
                case 3u: {
                    coopStoreT(c03, &wg_results[result], FOURS);
                }
                case 4u: {
                    coopStoreT(c10, &wg_results[result], FOURS);
                }
                case 5u: {
                    coopStoreT(c11, &wg_results[result], FOURS);
                }
                case 6u: {
                    coopStoreT(c12, &wg_results[result], FOURS);
                }
                case 7u: {
                    coopStoreT(c13, &wg_results[result], FOURS);
                }
                case 8u: {
                    coopStoreT(c20, &wg_results[result], FOURS);
                }
                case 9u: {
                    coopStoreT(c21, &wg_results[result], FOURS);
                }
                case 10u: {
                    coopStoreT(c22, &wg_results[result], FOURS);
                }
                case 11u: {
                    coopStoreT(c23, &wg_results[result], FOURS);
                }
                case 12u: {
                    coopStoreT(c30, &wg_results[result], FOURS);
                }
                case 13u: {
                    coopStoreT(c31, &wg_results[result], FOURS);
                }
                case 14u: {
                    coopStoreT(c32, &wg_results[result], FOURS);
                }
                default: {
                    coopStoreT(c33, &wg_results[result], FOURS);
                }
            }
            keep_matrix(lane, first4, begin4, m / 4u, m % 4u, add);
        }
    }
}

// Four slopes of an own row as `spread` stages them: none beyond the last other row of the chunk, where the tile has zeros
// within its vectors, or another chunk's.
fn slope_next(q: u32, first: u32, at: u32, end: u32) -> vec4<f32> {
    let row = params.work.row + min(first + q / STEPS4, params.own.rows - 1u);
    let col = at + q % STEPS4 * 4u;
    let held = min(col, params.other.rows - 1u);
    return select(vec4<f32>(0.0), work[row * params.work.stride + held / 4u], col < end);
}

// Four components of an other row. What is beyond the last is multiplied by zero, behind the last dimension not kept.
fn component_next(q: u32, begin4: u32, at: u32) -> vec4<f16> {
    let row = min(at + q / (COLS / 4u), params.other.rows - 1u);
    return other_half(row, min(begin4 + q % (COLS / 4u), params.row.depth - 1u));
}

fn component_fours(lane: u32, begin4: u32, at: u32) -> Next {
    return Next(
        component_next(lane, begin4, at),
        component_next(lane + WG, begin4, at),
        component_next(lane + 2u * WG, begin4, at),
        component_next(lane + 3u * WG, begin4, at),
    );
}

// The first part of a slope is rounded to the digits of an f16 by its bits: a conversion there and back is what compilers
// take for the slope itself, and the second part would be 0.
fn stage_slope(q: u32, slopes: vec4<f32>) {
    if (q < SLOPE_STAGED) {
        let place = q / STEPS4 * PITCH + q % STEPS4;
        let rounded = (bitcast<vec4<u32>>(slopes) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u);
        let first = bitcast<vec4<f32>>(rounded);
        wg_rows[place] = vec4<f16>(first);
        wg_rows[ROWS / 2u * PITCH + place] = vec4<f16>(slopes - first);
    }
}

fn stage_component(q: u32, vector: vec4<f16>) {
    if (q < COL_STAGED) {
        wg_cols[q / (COLS / 4u) * COL_PITCH + q % (COLS / 4u)] = vector;
    }
}

// Puts a matrix of each subgroup to the gradient, without the own rows' powers of two. All lanes must call it.
fn put_matrix(lane: u32, chunk: u32, first4: u32, begin4: u32, row: u32, col: u32, add: bool) {
    // Every subgroup's matrix is there.
    workgroupBarrier();
    for (var q = lane; q < ROW_TEAMS * COL_TEAMS * RESULT / 4u; q += WG) {
        let row4 = first4 + result_row4(q, 2u, row);
        let dim4 = begin4 + result_col4(q, col);
        let powers = own_powers(4u * row4);
        let four = result_four(q);
        put(chunk, 4u * row4, dim4, four.a * powers.x, add);
        put(chunk, 4u * row4 + 1u, dim4, four.b * powers.y, add);
        put(chunk, 4u * row4 + 2u, dim4, four.c * powers.z, add);
        put(chunk, 4u * row4 + 3u, dim4, four.d * powers.w, add);
    }
    // It has been read before the next is put there.
    workgroupBarrier();
}

@compute @workgroup_size(WG)
fn spread(
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) team: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let first = number % params.grid.row_blocks * (ROWS / 2u);
    let chunk = number / params.grid.row_blocks % params.chunks.count;
    let begin4 = number / params.grid.row_blocks / params.chunks.count * (COLS / 4u);
    let chunk_begin = chunk * params.chunks.rows;
    let end = min(chunk_begin + params.chunks.rows, params.other.rows);
    // The subgroup's rows and columns among the staged ones, and where its results go.
    let row_at = team / COL_TEAMS * 2u * SIDE * PITCH;
    let second_at = ROWS / 2u * PITCH + row_at;
    let col_at = team % COL_TEAMS * SIDE;
    let result = team * RESULT;
    // What the lane stages next.
    var slopes_a = slope_next(lane, first, chunk_begin, end);
    var slopes_b = slope_next(lane + WG, first, chunk_begin, end);
    var cols = component_fours(lane, begin4, chunk_begin);
    for (var start = chunk_begin; start < end; start += MULTIPLIED) {
        let stop = min(start + MULTIPLIED, end);
        var c00 = MatrixC();
        var c01 = MatrixC();
        var c02 = MatrixC();
        var c03 = MatrixC();
        var c10 = MatrixC();
        var c11 = MatrixC();
        var c12 = MatrixC();
        var c13 = MatrixC();
        for (var at = start; at < stop; at += DEPTH_STAGED) {
            // The stage before has been read.
            workgroupBarrier();
            stage_slope(lane, slopes_a);
            stage_slope(lane + WG, slopes_b);
            for (var q = lane + 2u * WG; q < SLOPE_STAGED; q += WG) {
                stage_slope(q, slope_next(q, first, at, end));
            }
            stage_component(lane, cols.a);
            stage_component(lane + WG, cols.b);
            stage_component(lane + 2u * WG, cols.c);
            stage_component(lane + 3u * WG, cols.d);
            for (var q = lane + 4u * WG; q < COL_STAGED; q += WG) {
                stage_component(q, component_next(q, begin4, at));
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            slopes_a = slope_next(lane, first, at + DEPTH_STAGED, end);
            slopes_b = slope_next(lane + WG, first, at + DEPTH_STAGED, end);
            cols = component_fours(lane, begin4, at + DEPTH_STAGED);
            for (var k4 = 0u; k4 < STEPS4; k4 += FOURS) {
                let a0 = coopLoadT<MatrixA>(&wg_rows[row_at + k4], PITCH);
                let a1 = coopLoadT<MatrixA>(&wg_rows[row_at + SIDE * PITCH + k4], PITCH);
                let a2 = coopLoadT<MatrixA>(&wg_rows[second_at + k4], PITCH);
                let a3 = coopLoadT<MatrixA>(&wg_rows[second_at + SIDE * PITCH + k4], PITCH);
                let step = 4u * k4 * COL_PITCH + col_at;
                let b0 = coopLoadT<MatrixB>(&wg_cols[step], COL_PITCH);
                c00 = coopMultiplyAdd(a0, b0, c00);
                c10 = coopMultiplyAdd(a1, b0, c10);
                c00 = coopMultiplyAdd(a2, b0, c00);
                c10 = coopMultiplyAdd(a3, b0, c10);
                let b1 = coopLoadT<MatrixB>(&wg_cols[step + FOURS], COL_PITCH);
                c01 = coopMultiplyAdd(a0, b1, c01);
                c11 = coopMultiplyAdd(a1, b1, c11);
                c01 = coopMultiplyAdd(a2, b1, c01);
                c11 = coopMultiplyAdd(a3, b1, c11);
                let b2 = coopLoadT<MatrixB>(&wg_cols[step + 2u * FOURS], COL_PITCH);
                c02 = coopMultiplyAdd(a0, b2, c02);
                c12 = coopMultiplyAdd(a1, b2, c12);
                c02 = coopMultiplyAdd(a2, b2, c02);
                c12 = coopMultiplyAdd(a3, b2, c12);
                let b3 = coopLoadT<MatrixB>(&wg_cols[step + 3u * FOURS], COL_PITCH);
                c03 = coopMultiplyAdd(a0, b3, c03);
                c13 = coopMultiplyAdd(a1, b3, c13);
                c03 = coopMultiplyAdd(a2, b3, c03);
                c13 = coopMultiplyAdd(a3, b3, c13);
            }
        }
        let add = params.grid.add != 0u || start > chunk_begin;
        let first4 = first / 4u;
        for (var m = 0u; m < 8u; m++) {
            switch m {
                case 0u: {
                    coopStoreT(c00, &wg_results[result], FOURS);
                }
                case 1u: {
                    coopStoreT(c01, &wg_results[result], FOURS);
                }
                case 2u: {
                    coopStoreT(c02, &wg_results[result], FOURS);
                }
                case 3u: {
                    coopStoreT(c03, &wg_results[result], FOURS);
                }
                case 4u: {
                    coopStoreT(c10, &wg_results[result], FOURS);
                }
                case 5u: {
                    coopStoreT(c11, &wg_results[result], FOURS);
                }
                case 6u: {
                    coopStoreT(c12, &wg_results[result], FOURS);
                }
                default: {
                    coopStoreT(c13, &wg_results[result], FOURS);
                }
            }
            put_matrix(lane, chunk, first4, begin4, m / 4u, m % 4u, add);
        }
    }
}
