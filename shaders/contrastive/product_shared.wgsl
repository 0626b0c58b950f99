// The two products of matrices through workgroup memory: a workgroup has a block, a lane eight own rows and eight other
// rows, or eight components, in registers. Both factors are staged DEPTH steps of the inner dimension at a time.
//
// `products` fills a tile with the scalar products of own and other rows. `spread` multiplies a tile with the other rows
// and adds this to the gradient to the own ones.
// Grid: blocks of own rows x blocks of other rows; blocks of own rows x chunks of other rows x blocks of components;
// own rows first, folded.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points
// expects:  params, WG, ROW_LANES, COL_LANES, DEPTH, SUMMED (what one sum takes in before it is put away), own_z,
//           other_z, Four, turned, work, skipped, keep_four, put

// Four rows, or four columns, at each step of the inner dimension: first the lanes' first fours, then their second.
var<workgroup> wg_rows: array<vec4<f32>, DEPTH * 2u * ROW_LANES>;
var<workgroup> wg_cols: array<vec4<f32>, DEPTH * 2u * COL_LANES>;

// Of a lane's first and second four rows with its first and second four columns.
struct Block {
    low_first: Four,
    high_first: Four,
    low_second: Four,
    high_second: Four,
}

fn four_step(sum: Four, rows: vec4<f32>, cols: vec4<f32>) -> Four {
    return Four(sum.a + rows * cols.x, sum.b + rows * cols.y, sum.c + rows * cols.z, sum.d + rows * cols.w);
}

// Adds what is staged.
fn block_step(sum: Block, row_lane: u32, col_lane: u32) -> Block {
    var block = sum;
    for (var k = 0u; k < params.row.stage; k++) {
        let low = wg_rows[2u * k * ROW_LANES + row_lane];
        let high = wg_rows[(2u * k + 1u) * ROW_LANES + row_lane];
        let first = wg_cols[2u * k * COL_LANES + col_lane];
        let second = wg_cols[(2u * k + 1u) * COL_LANES + col_lane];
        block.low_first = four_step(block.low_first, low, first);
        block.high_first = four_step(block.high_first, high, first);
        block.low_second = four_step(block.low_second, low, second);
        block.high_second = four_step(block.high_second, high, second);
    }
    return block;
}

// Stages four steps of the inner dimension of four rows, of which `four` has a row in each member.
fn stage_rows(k4: u32, at: u32, four: Four) {
    let steps = turned(four);
    let place = 8u * k4 * ROW_LANES + (at & 1u) * ROW_LANES + at / 2u;
    wg_rows[place] = steps.a;
    wg_rows[place + 2u * ROW_LANES] = steps.b;
    wg_rows[place + 4u * ROW_LANES] = steps.c;
    wg_rows[place + 6u * ROW_LANES] = steps.d;
}

fn stage_cols(k4: u32, at: u32, four: Four) {
    let steps = turned(four);
    let place = 8u * k4 * COL_LANES + (at & 1u) * COL_LANES + at / 2u;
    wg_cols[place] = steps.a;
    wg_cols[place + 2u * COL_LANES] = steps.b;
    wg_cols[place + 4u * COL_LANES] = steps.c;
    wg_cols[place + 6u * COL_LANES] = steps.d;
}

@compute @workgroup_size(WG)
fn products(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    let first4 = number % params.grid.row_blocks * 2u * ROW_LANES;
    let begin4 = number / params.grid.row_blocks * 2u * COL_LANES;
    if (number >= params.grid.groups || skipped(first4, begin4 + 2u * COL_LANES)) {
        return;
    }
    let row_lane = lane % ROW_LANES;
    let col_lane = lane / ROW_LANES;
    let last = params.own.rows - 1u;
    let last_col = params.other.rows - 1u;
    for (var start = 0u; start < params.row.depth; start += SUMMED / 4u) {
        let stop = min(start + SUMMED / 4u, params.row.depth);
        var block = Block();
        for (var at = start; at < stop; at += DEPTH / 4u) {
            // The stage before has been read.
            workgroupBarrier();
            for (var q = lane; q < DEPTH / 2u * ROW_LANES; q += WG) {
                let i = at + q % (DEPTH / 4u);
                let four = q / (DEPTH / 4u);
                // Rows beyond the last repeat it; what comes of them is not used.
                let row = 4u * (first4 + four);
                stage_rows(q % (DEPTH / 4u), four, Four(
                    own_z(min(row, last), i),
                    own_z(min(row + 1u, last), i),
                    own_z(min(row + 2u, last), i),
                    own_z(min(row + 3u, last), i),
                ));
            }
            for (var q = lane; q < DEPTH / 2u * COL_LANES; q += WG) {
                let i = at + q % (DEPTH / 4u);
                let four = q / (DEPTH / 4u);
                let col = 4u * (begin4 + four);
                stage_cols(q % (DEPTH / 4u), four, Four(
                    other_z(min(col, last_col), i),
                    other_z(min(col + 1u, last_col), i),
                    other_z(min(col + 2u, last_col), i),
                    other_z(min(col + 3u, last_col), i),
                ));
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            block = block_step(block, row_lane, col_lane);
        }
        let row4 = first4 + 2u * row_lane;
        let col4 = begin4 + 2u * col_lane;
        keep_four(row4, col4, block.low_first, start > 0u);
        keep_four(row4 + 1u, col4, block.high_first, start > 0u);
        keep_four(row4, col4 + 1u, block.low_second, start > 0u);
        keep_four(row4 + 1u, col4 + 1u, block.high_second, start > 0u);
    }
}

// Four own rows of two fours of components.
fn put_rows(chunk: u32, row: u32, dim4: u32, first: Four, second: Four, add: bool) {
    let rows = turned(first);
    put(chunk, row, dim4, rows.a, add);
    put(chunk, row + 1u, dim4, rows.b, add);
    put(chunk, row + 2u, dim4, rows.c, add);
    put(chunk, row + 3u, dim4, rows.d, add);
    let more = turned(second);
    put(chunk, row, dim4 + 1u, more.a, add);
    put(chunk, row + 1u, dim4 + 1u, more.b, add);
    put(chunk, row + 2u, dim4 + 1u, more.c, add);
    put(chunk, row + 3u, dim4 + 1u, more.d, add);
}

@compute @workgroup_size(WG)
fn spread(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let first = number % params.grid.row_blocks * 8u * ROW_LANES;
    let chunk = number / params.grid.row_blocks % params.chunks.count;
    let begin4 = number / params.grid.row_blocks / params.chunks.count * 2u * COL_LANES;
    let row_lane = lane % ROW_LANES;
    let col_lane = lane / ROW_LANES;
    let last = params.own.rows - 1u;
    let most4 = (params.other.rows - 1u) / 4u;
    let end = min((chunk + 1u) * params.chunks.rows, params.other.rows);
    for (var start = chunk * params.chunks.rows; start < end; start += SUMMED) {
        let stop = min(start + SUMMED, end);
        var block = Block();
        for (var at = start; at < stop; at += DEPTH) {
            // The stage before has been read.
            workgroupBarrier();
            for (var q = lane; q < DEPTH / 2u * ROW_LANES; q += WG) {
                let k4 = q % (DEPTH / 4u);
                let four = q / (DEPTH / 4u);
                let row = vec4<u32>(first + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u);
                let i = (vec4<u32>(params.work.row) + min(row, vec4<u32>(last))) * params.work.stride
                    + vec4<u32>(min(at / 4u + k4, most4));
                stage_rows(k4, four, Four(work[i.x], work[i.y], work[i.z], work[i.w]));
            }
            for (var q = lane; q < DEPTH * 2u * COL_LANES; q += WG) {
                let k = q / (2u * COL_LANES);
                let four = q % (2u * COL_LANES);
                // Behind the last dimension nothing is kept.
                let dim4 = min(begin4 + four, params.row.depth - 1u);
                let step = other_z(min(at + k, params.other.rows - 1u), dim4);
                // Within its vectors the tile has zeros behind the last row; beyond them, nothing may come of it.
                let kept = select(vec4<f32>(0.0), step, at + k < end);
                wg_cols[(2u * k + (four & 1u)) * COL_LANES + four / 2u] = kept;
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            block = block_step(block, row_lane, col_lane);
        }
        let add = params.grid.add != 0u || start > chunk * params.chunks.rows;
        let row = first + 8u * row_lane;
        let dim4 = begin4 + 2u * col_lane;
        put_rows(chunk, row, dim4, block.low_first, block.low_second, add);
        put_rows(chunk, row + 4u, dim4, block.high_first, block.high_second, add);
    }
}
