// The two products of matrices through workgroup memory: a workgroup has a block, a lane eight own rows and eight other
// rows, or eight components, in registers. Both factors are staged DEPTH steps of the inner dimension at a time, by all
// lanes alike; the next steps are loaded before these are added, so that nobody waits for them.
//
// `products` fills a tile with the scalar products of own and other rows. `spread` multiplies a tile with the other rows
// and adds this to the gradient to the own ones.
// Grid: blocks of own rows x blocks of other rows; blocks of own rows x chunks of other rows x blocks of components;
// own rows first, folded.
// Mirrors: src/kernels/products.rs.
// provides: the entry points
// expects:  params, WG, ROW_LANES, COL_LANES, DEPTH, SUMMED (what one sum takes in before it is put away), own_z,
//           other_z, Four, turned, work, skipped, keep_four, put

// Fours that are staged at a time, of rows, of columns and of both: four steps of four rows or columns each.
const ROW_STAGED = DEPTH / 2u * ROW_LANES;
const COL_STAGED = DEPTH / 2u * COL_LANES;
const STAGED = ROW_STAGED + COL_STAGED;

// Four rows, or four columns, at each step of the inner dimension: first the lanes' first fours, then their second.
// Their places are exchanged within eights, in the next four steps by another distance: neighbouring lanes store few
// fours at steps far apart, and would wait for one another if a four had the same banks of the memory at each step.
var<workgroup> wg_rows: array<array<array<vec4<f32>, 2u * ROW_LANES>, 4>, DEPTH / 4u>;
var<workgroup> wg_cols: array<array<array<vec4<f32>, 2u * COL_LANES>, 4>, DEPTH / 4u>;

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

fn one_step(sum: Block, low: vec4<f32>, high: vec4<f32>, first: vec4<f32>, second: vec4<f32>) -> Block {
    return Block(
        four_step(sum.low_first, low, first),
        four_step(sum.high_first, high, first),
        four_step(sum.low_second, low, second),
        four_step(sum.high_second, high, second),
    );
}

// Adds what is staged. Four steps at a time, with numbers that are constants: only the first place of each is computed.
fn block_step(sum: Block, row_lane: u32, col_lane: u32) -> Block {
    var block = sum;
    for (var k4 = 0u; k4 < params.row.stage / 4u; k4++) {
        let low = row_lane ^ (2u * k4);
        let high = low ^ ROW_LANES;
        let first = col_lane ^ (2u * k4);
        let second = first ^ COL_LANES;
        block = one_step(
            block,
            wg_rows[k4][0][low], wg_rows[k4][0][high], wg_cols[k4][0][first], wg_cols[k4][0][second],
        );
        block = one_step(
            block,
            wg_rows[k4][1][low], wg_rows[k4][1][high], wg_cols[k4][1][first], wg_cols[k4][1][second],
        );
        block = one_step(
            block,
            wg_rows[k4][2][low], wg_rows[k4][2][high], wg_cols[k4][2][first], wg_cols[k4][2][second],
        );
        block = one_step(
            block,
            wg_rows[k4][3][low], wg_rows[k4][3][high], wg_cols[k4][3][first], wg_cols[k4][3][second],
        );
    }
    return block;
}

// Where a lane is among those of the rows and of the columns. 32 lanes are a block of four by eight: they read little
// at each step, and what they put away lies side by side. A lane has the columns of its neighbour and the rows of the
// one behind that: GPUs serve twice the lanes at a time where that is so.
fn row_lane_of(lane: u32) -> u32 {
    return lane / 32u % (ROW_LANES / 4u) * 4u + lane / 16u % 2u * 2u + lane % 2u;
}

fn col_lane_of(lane: u32) -> u32 {
    return lane / 32u / (ROW_LANES / 4u) * 8u + lane / 2u % 8u;
}

// Stages four steps of the inner dimension of four rows, a member each.
fn stage_rows(k4: u32, four: u32, steps: Four) {
    let place = four ^ (2u * k4);
    wg_rows[k4][0][place] = steps.a;
    wg_rows[k4][1][place] = steps.b;
    wg_rows[k4][2][place] = steps.c;
    wg_rows[k4][3][place] = steps.d;
}

fn stage_cols(k4: u32, four: u32, steps: Four) {
    let place = four ^ (2u * k4);
    wg_cols[k4][0][place] = steps.a;
    wg_cols[k4][1][place] = steps.b;
    wg_cols[k4][2][place] = steps.c;
    wg_cols[k4][3][place] = steps.d;
}

// What is staged as the q-th four for `products`, first the own rows'. Neighbours load vectors that lie side by side.
fn product_four(q: u32, first4: u32, begin4: u32, at: u32) -> Four {
    let i = at + q % (DEPTH / 4u);
    // Rows beyond the last repeat it; what comes of them is not used.
    if (q < ROW_STAGED) {
        let row = 4u * (first4 + q / (DEPTH / 4u));
        let last = params.own.rows - 1u;
        return Four(
            own_z(min(row, last), i),
            own_z(min(row + 1u, last), i),
            own_z(min(row + 2u, last), i),
            own_z(min(row + 3u, last), i),
        );
    }
    let row = 4u * (begin4 + (q - ROW_STAGED) / (DEPTH / 4u));
    let last = params.other.rows - 1u;
    return Four(
        other_z(min(row, last), i),
        other_z(min(row + 1u, last), i),
        other_z(min(row + 2u, last), i),
        other_z(min(row + 3u, last), i),
    );
}

fn stage_product(q: u32, four: Four) {
    let k4 = q % (DEPTH / 4u);
    if (q < ROW_STAGED) {
        stage_rows(k4, q / (DEPTH / 4u), turned(four));
    } else if (q < STAGED) {
        stage_cols(k4, (q - ROW_STAGED) / (DEPTH / 4u), turned(four));
    }
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
    let row_lane = row_lane_of(lane);
    let col_lane = col_lane_of(lane);
    // What the lane stages next.
    var next = product_four(min(lane, STAGED - 1u), first4, begin4, 0u);
    for (var start = 0u; start < params.row.depth; start += SUMMED / 4u) {
        let stop = min(start + SUMMED / 4u, params.row.depth);
        var block = Block();
        for (var at = start; at < stop; at += DEPTH / 4u) {
            // The stage before has been read.
            workgroupBarrier();
            stage_product(lane, next);
            for (var before = WG; before < STAGED; before += WG) {
                stage_product(before + lane, product_four(before + lane, first4, begin4, at));
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            if (lane < STAGED && at + DEPTH / 4u < params.row.depth) {
                next = product_four(lane, first4, begin4, at + DEPTH / 4u);
            }
            block = block_step(block, row_lane, col_lane);
        }
        let row4 = first4 + row_lane;
        let col4 = begin4 + col_lane;
        keep_four(row4, col4, block.low_first, start > 0u);
        keep_four(row4 + ROW_LANES, col4, block.high_first, start > 0u);
        keep_four(row4, col4 + COL_LANES, block.low_second, start > 0u);
        keep_four(row4 + ROW_LANES, col4 + COL_LANES, block.high_second, start > 0u);
    }
}

// What is staged as the q-th four for `spread`: first four rows of the tile, then four other rows of components.
// Neighbours load what lies side by side.
fn spread_four(q: u32, first: u32, begin4: u32, at: u32, end: u32) -> Four {
    if (q < ROW_STAGED) {
        let row = vec4<u32>(first + q / (DEPTH / 4u) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        let most4 = (params.other.rows - 1u) / 4u;
        let i = (vec4<u32>(params.work.row) + min(row, vec4<u32>(params.own.rows - 1u))) * params.work.stride
            + vec4<u32>(min(at / 4u + q % (DEPTH / 4u), most4));
        return Four(work[i.x], work[i.y], work[i.z], work[i.w]);
    }
    // Behind the last dimension nothing is kept.
    let dim4 = min(begin4 + (q - ROW_STAGED) % (2u * COL_LANES), params.row.depth - 1u);
    let row = at + (q - ROW_STAGED) / (2u * COL_LANES) * 4u;
    let last = params.other.rows - 1u;
    // Within its vectors the tile has zeros behind the last row; beyond them, nothing may come of it.
    let none = vec4<f32>(0.0);
    return Four(
        select(none, other_z(min(row, last), dim4), row < end),
        select(none, other_z(min(row + 1u, last), dim4), row + 1u < end),
        select(none, other_z(min(row + 2u, last), dim4), row + 2u < end),
        select(none, other_z(min(row + 3u, last), dim4), row + 3u < end),
    );
}

fn stage_spread(q: u32, four: Four) {
    if (q < ROW_STAGED) {
        stage_rows(q % (DEPTH / 4u), q / (DEPTH / 4u), turned(four));
    } else if (q < STAGED) {
        let i = q - ROW_STAGED;
        stage_cols(i / (2u * COL_LANES), i % (2u * COL_LANES), four);
    }
}

// Four own rows of four components.
fn put_rows(chunk: u32, row: u32, dim4: u32, four: Four, add: bool) {
    let rows = turned(four);
    put(chunk, row, dim4, rows.a, add);
    put(chunk, row + 1u, dim4, rows.b, add);
    put(chunk, row + 2u, dim4, rows.c, add);
    put(chunk, row + 3u, dim4, rows.d, add);
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
    let row_lane = row_lane_of(lane);
    let col_lane = col_lane_of(lane);
    let begin = chunk * params.chunks.rows;
    let end = min(begin + params.chunks.rows, params.other.rows);
    // What the lane stages next.
    var next = spread_four(min(lane, STAGED - 1u), first, begin4, begin, end);
    for (var start = begin; start < end; start += SUMMED) {
        let stop = min(start + SUMMED, end);
        var block = Block();
        for (var at = start; at < stop; at += DEPTH) {
            // The stage before has been read.
            workgroupBarrier();
            stage_spread(lane, next);
            for (var before = WG; before < STAGED; before += WG) {
                stage_spread(before + lane, spread_four(before + lane, first, begin4, at, end));
            }
            // Everything is staged before it is used.
            workgroupBarrier();
            if (lane < STAGED && at + DEPTH < end) {
                next = spread_four(lane, first, begin4, at + DEPTH, end);
            }
            block = block_step(block, row_lane, col_lane);
        }
        let add = params.grid.add != 0u || start > begin;
        let row = first + 4u * row_lane;
        let dim4 = begin4 + col_lane;
        put_rows(chunk, row, dim4, block.low_first, add);
        put_rows(chunk, row + 4u * ROW_LANES, dim4, block.high_first, add);
        put_rows(chunk, row, dim4 + COL_LANES, block.low_second, add);
        put_rows(chunk, row + 4u * ROW_LANES, dim4 + COL_LANES, block.high_second, add);
    }
}
