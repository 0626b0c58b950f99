// A product of two matrices in blocks: a workgroup has BLOCK_ROWS x BLOCK_COLS numbers of it, a lane LANE_SIDE x
// LANE_SIDE (4 x 4) in registers. Both factors go through workgroup memory, DEPTH of the inner dimension at a time.
// provides: Block, wg_rows, wg_cols, block_step, block_column
// expects:  params, ROW_LANES, COL_LANES, DEPTH

// Four columns of four rows.
struct Block {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// Four rows, or four columns, at each step of the inner dimension.
var<workgroup> wg_rows: array<vec4<f32>, DEPTH * ROW_LANES>;
var<workgroup> wg_cols: array<vec4<f32>, DEPTH * COL_LANES>;

// Adds what is staged.
fn block_step(sum: Block, row_lane: u32, col_lane: u32) -> Block {
    var block = sum;
    for (var k = 0u; k < params.row.stage; k += 2u) {
        block = block_add(block, wg_rows[k * ROW_LANES + row_lane], wg_cols[k * COL_LANES + col_lane]);
        block = block_add(block, wg_rows[(k + 1u) * ROW_LANES + row_lane], wg_cols[(k + 1u) * COL_LANES + col_lane]);
    }
    return block;
}

fn block_add(sum: Block, rows: vec4<f32>, cols: vec4<f32>) -> Block {
    return Block(sum.a + rows * cols.x, sum.b + rows * cols.y, sum.c + rows * cols.z, sum.d + rows * cols.w);
}

// Column `j` of a block.
fn block_column(block: Block, j: u32) -> vec4<f32> {
    return select(select(block.d, block.c, j == 2u), select(block.b, block.a, j == 0u), j < 2u);
}
