// The gradient to the products of a tile of pairs: `slopes` fills the tile, `project_slopes` multiplies it with the
// other rows.
//
// Grid: `slopes` blocks of own rows x blocks of other rows, `project_slopes` blocks of own rows x blocks of dimensions;
// both folded, own rows first. The tile lies in `work`, other row by other row, four own rows to a vector, zeros around
// the pairs.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points
// expects:  params, WG, ROW_LANES, COL_LANES, BLOCK_ROWS, BLOCK_COLS, LANE_SIDE, DEPTH, OWN_ANCHORS, OTHER_ANCHORS,
//           PAIRED, the numbers of record fields, the names of block.wgsl, sets.wgsl, similarity.wgsl, weights.wgsl

fn known(field: u32, anchors: vec4<u32>) -> vec4<f32> {
    let at = anchors + vec4<u32>(params.record.at + field * params.record.stride);
    return vec4<f32>(
        bitcast<f32>(small[at.x]),
        bitcast<f32>(small[at.y]),
        bitcast<f32>(small[at.z]),
        bitcast<f32>(small[at.w]),
    );
}

// Four slopes dL/ds, of anchors and keys by their numbers among all.
fn slope(anchors: vec4<u32>, s: vec4<f32>, pair: Weights) -> vec4<f32> {
    let below = clamp(s + pair.bias - known(RECORD_LARGEST, anchors), vec4<f32>(-110.0), vec4<f32>(0.0));
    return known(RECORD_EXPONENTIAL, anchors) * exp(below) - known(RECORD_WEIGHT, anchors) * pair.weight;
}

@compute @workgroup_size(WG)
fn slopes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let first_row = number % params.grid.row_blocks * BLOCK_ROWS;
    let first_col = number / params.grid.row_blocks * BLOCK_COLS;
    let block = products(lane, first_row, first_col);
    let row = first_row + LANE_SIDE * (lane % ROW_LANES);
    let col = first_col + LANE_SIDE * (lane / ROW_LANES);
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let in_rows = vec4<u32>(row) + four < vec4<u32>(params.own.rows);
    let rows = min(vec4<u32>(row) + four, vec4<u32>(params.own.rows - 1u));
    let cols = min(vec4<u32>(col) + four, vec4<u32>(params.other.rows - 1u));
    let own_numbers = rows + vec4<u32>(params.own.first);
    let own_sizes = vec4<u32>(
        small[params.own.sizes + own_numbers.x],
        small[params.own.sizes + own_numbers.y],
        small[params.own.sizes + own_numbers.z],
        small[params.own.sizes + own_numbers.w],
    ) & vec4<u32>(~UNSOUND);
    let n = shared_labels(rows, cols);
    let paired = vec4<bool>(params.settings.weighting == PAIRED);
    let none = vec4<f32>(0.0);
    for (var j = 0u; j < params.roles.side; j++) {
        let other = min(col + j, params.other.rows - 1u);
        let other_number = vec4<u32>(params.other.first + other);
        let other_size = vec4<u32>(small[params.other.sizes + other_number.x] & ~UNSOUND);
        let inside = in_rows & vec4<bool>(col + j < params.other.rows);
        let both = shared_column(n, j);
        let s = block_column(block, j) * params.settings.inv_temperature;
        var sum = none;
        if ((params.roles.direction & OWN_ANCHORS) != 0u) {
            let own = vec4<u32>(
                itself_of(own_numbers.x),
                itself_of(own_numbers.y),
                itself_of(own_numbers.z),
                itself_of(own_numbers.w),
            );
            let same = own == other_number;
            let terms = label_terms(OWN, rows, other);
            let pair = weights(both, own_sizes, other_size, same, terms);
            sum += select(none, slope(own_numbers, s, pair), inside & (!same | paired));
        }
        if ((params.roles.direction & OTHER_ANCHORS) != 0u) {
            let same = vec4<u32>(itself_of(other_number.x)) == own_numbers;
            let terms = label_terms(OTHER, rows, other);
            let pair = weights(both, other_size, own_sizes, same, terms);
            sum += select(none, slope(other_number, s, pair), inside & (!same | paired));
        }
        work[(col + j) * params.work.tile_stride + row / 4u] = sum;
    }
}

@compute @workgroup_size(WG)
fn project_slopes(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = group.y * params.grid.groups_x + group.x;
    if (number >= params.grid.groups) {
        return;
    }
    let first_row4 = number % params.grid.row_blocks * ROW_LANES;
    let first_dim4 = number / params.grid.row_blocks * COL_LANES;
    var block = Block();
    for (var at = 0u; at < params.other.rows; at += DEPTH) {
        // The stage before has been read.
        workgroupBarrier();
        for (var q = lane; q < DEPTH * ROW_LANES; q += WG) {
            let place = (at + q / ROW_LANES) * params.work.tile_stride + first_row4 + q % ROW_LANES;
            wg_rows[q] = work[place];
        }
        for (var q = lane; q < DEPTH * COL_LANES; q += WG) {
            // Behind the last row the tile has zeros; behind the last dimension nothing is kept.
            let col = min(at + q / COL_LANES, params.other.rows - 1u);
            wg_cols[q] = other_z(col, min(first_dim4 + q % COL_LANES, params.row.depth - 1u));
        }
        // Everything is staged before it is used.
        workgroupBarrier();
        block = block_step(block, lane % ROW_LANES, lane / ROW_LANES);
    }
    let row = LANE_SIDE * (first_row4 + lane % ROW_LANES);
    let dim4 = first_dim4 + lane / ROW_LANES;
    if (dim4 < params.row.depth) {
        put(row, dim4, vec4<f32>(block.a.x, block.b.x, block.c.x, block.d.x));
        put(row + 1u, dim4, vec4<f32>(block.a.y, block.b.y, block.c.y, block.d.y));
        put(row + 2u, dim4, vec4<f32>(block.a.z, block.b.z, block.c.z, block.d.z));
        put(row + 3u, dim4, vec4<f32>(block.a.w, block.b.w, block.c.w, block.d.w));
    }
}

// Four components of an own row's gradient, onto those of the tiles before.
fn put(row: u32, dim4: u32, value: vec4<f32>) {
    if (row < params.own.rows) {
        let place = params.work.rows_at + row * params.row.depth + dim4;
        if (params.grid.add != 0u) {
            work[place] += value;
        } else {
            work[place] = value;
        }
    }
}
