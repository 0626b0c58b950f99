// Which pairs of a tile the caller calls positives, or lets count, from a bit for each anchor and key: codes of blocks of four
// own by four other rows. Of a code's word the low half has what own rows make of others, four bits for each own row;
// the high half what others make of own rows, where these are anchors too, in the same order.
//
// Grid: one lane a block, row by row, folded. Numbers of own and other rows are multiples of four, so no four bits lie in
// two words. Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, pair_bits (binding 1), codes (binding 2)
// expects:  params, WG

@group(0) @binding(1) var<storage, read_write> pair_bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;

// Four bits of a row that is bound, of the rows from a number on.
fn four_bits(row: u32, first: u32) -> u32 {
    let word = min(first / 32u, params.source.labels - 1u);
    let at = params.source.labels_offset + row * params.source.labels_stride + word;
    return (pair_bits[at] >> (first & 31u)) & 15u;
}

// The block of a lane: its first own and other row over 4, from the first of the dispatch on.
fn block(lane: u32, group: vec3<u32>) -> vec2<u32> {
    let number = (group.y * params.grid.groups_x + group.x) * WG + lane;
    let wide = (params.other.rows + 3u) / 4u;
    return vec2<u32>(number / wide, number % wide);
}

fn place(at: vec2<u32>) -> u32 {
    let row4 = params.work.row / 4u + at.x;
    let col4 = params.chunks.at + at.y;
    return 2u * (row4 * params.work.stride + col4) + params.code;
}

// Of own rows, which are bound.
@compute @workgroup_size(WG)
fn note_rows(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let at = block(lane, group);
    if (4u * at.x >= params.own.rows) {
        return;
    }
    var code = 0u;
    for (var r = 0u; r < 4u; r++) {
        let row = min(4u * at.x + r, params.own.rows - 1u);
        code |= four_bits(row, params.other.first + 4u * at.y) << (4u * r);
    }
    codes[place(at)] = code;
}

// Of other rows, which are bound, behind those of own rows.
@compute @workgroup_size(WG)
fn note_others(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let at = block(lane, group);
    if (4u * at.x >= params.own.rows) {
        return;
    }
    var code = 0u;
    for (var c = 0u; c < 4u; c++) {
        let row = min(4u * at.y + c, params.other.rows - 1u);
        let four = four_bits(row, params.own.first + 4u * at.x);
        for (var r = 0u; r < 4u; r++) {
            code |= ((four >> r) & 1u) << (16u + 4u * r + c);
        }
    }
    codes[place(at)] |= code;
}
