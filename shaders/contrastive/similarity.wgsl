// A block of scalar products of own and other rows.
// provides: products
// expects:  params, WG, ROW_LANES, COL_LANES, LANE_SIDE, DEPTH, own_z, other_z, the names of block.wgsl

// Stages four components of four rows as four steps of the inner dimension.
fn stage_rows(first: u32, r4: u32, k4: u32, at: u32) {
    // Rows beyond the last repeat it; what comes of them is not used.
    let last = params.own.rows - 1u;
    let row = first + LANE_SIDE * r4;
    let i = at + k4;
    let a = own_z(min(row, last), i);
    let b = own_z(min(row + 1u, last), i);
    let c = own_z(min(row + 2u, last), i);
    let d = own_z(min(row + 3u, last), i);
    let place = 4u * k4 * ROW_LANES + r4;
    wg_rows[place] = vec4<f32>(a.x, b.x, c.x, d.x);
    wg_rows[place + ROW_LANES] = vec4<f32>(a.y, b.y, c.y, d.y);
    wg_rows[place + 2u * ROW_LANES] = vec4<f32>(a.z, b.z, c.z, d.z);
    wg_rows[place + 3u * ROW_LANES] = vec4<f32>(a.w, b.w, c.w, d.w);
}

fn stage_cols(first: u32, c4: u32, k4: u32, at: u32) {
    let last = params.other.rows - 1u;
    let col = first + LANE_SIDE * c4;
    let i = at + k4;
    let a = other_z(min(col, last), i);
    let b = other_z(min(col + 1u, last), i);
    let c = other_z(min(col + 2u, last), i);
    let d = other_z(min(col + 3u, last), i);
    let place = 4u * k4 * COL_LANES + c4;
    wg_cols[place] = vec4<f32>(a.x, b.x, c.x, d.x);
    wg_cols[place + COL_LANES] = vec4<f32>(a.y, b.y, c.y, d.y);
    wg_cols[place + 2u * COL_LANES] = vec4<f32>(a.z, b.z, c.z, d.z);
    wg_cols[place + 3u * COL_LANES] = vec4<f32>(a.w, b.w, c.w, d.w);
}

// The products of this lane's rows and columns. All lanes of the workgroup must call it.
fn products(lane: u32, first_row: u32, first_col: u32) -> Block {
    var block = Block();
    for (var at = 0u; at < params.row.depth; at += DEPTH / 4u) {
        // The stage before, and what else uses the memory, has been read.
        workgroupBarrier();
        for (var q = lane; q < DEPTH / 4u * (ROW_LANES + COL_LANES); q += WG) {
            let k4 = q % (DEPTH / 4u);
            let four = q / (DEPTH / 4u);
            if (four < ROW_LANES) {
                stage_rows(first_row, four, k4, at);
            } else {
                stage_cols(first_col, four - ROW_LANES, k4, at);
            }
        }
        // Everything is staged before it is used.
        workgroupBarrier();
        block = block_step(block, lane % ROW_LANES, lane / ROW_LANES);
    }
    return block;
}
