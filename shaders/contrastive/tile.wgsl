// The tile that numbers of pairs are kept in, four by four: row by row of own rows, four other rows to a
// vector. Where the tile is square and its pairs are the same turned, only what is on or above its diagonal is computed,
// and what is above is written twice.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: Eight, work (binding 6), tile_four, skipped, keep_four
// expects:  params, Four, turned, NOT_TURNED, TURNED_IN_PLACE

// Numbers of eight own rows.
struct Eight {
    low: vec4<u32>,
    high: vec4<u32>,
}

@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;

// Four own rows and four other rows of the tile, by their numbers over 4.
fn tile_four(row4: u32, col4: u32) -> Four {
    let at = (params.work.row + 4u * row4) * params.work.stride + col4;
    let stride = params.work.stride;
    return turned(Four(work[at], work[at + stride], work[at + 2u * stride], work[at + 3u * stride]));
}

// Whether nothing of own rows from a number over 4 on and other rows before a number over 4 is computed.
fn skipped(row4: u32, end4: u32) -> bool {
    return params.roles.mirror == TURNED_IN_PLACE && end4 <= params.work.row / 4u + row4;
}

// Puts them into the tile, and turned where that is wanted; with `add` onto what is there.
fn keep_four(row4: u32, col4: u32, four: Four, add: bool) {
    let tile_row4 = params.work.row / 4u + row4;
    let inside = 4u * row4 < params.own.rows && 4u * col4 < params.other.rows;
    let in_place = params.roles.mirror == TURNED_IN_PLACE;
    let at = 4u * tile_row4 * params.work.stride + col4;
    let stride = params.work.stride;
    var rows = turned(four);
    var cols = four;
    if (add) {
        let before = Four(work[at], work[at + stride], work[at + 2u * stride], work[at + 3u * stride]);
        rows = Four(rows.a + before.a, rows.b + before.b, rows.c + before.c, rows.d + before.d);
        cols = turned(rows);
    }
    if (inside && !(in_place && tile_row4 > col4)) {
        work[at] = rows.a;
        work[at + stride] = rows.b;
        work[at + 2u * stride] = rows.c;
        work[at + 3u * stride] = rows.d;
    }
    if (inside && params.roles.mirror != NOT_TURNED && !(in_place && tile_row4 >= col4)) {
        let again = params.work.mirror_at + 4u * col4 * params.work.mirror_stride + tile_row4;
        work[again] = cols.a;
        work[again + params.work.mirror_stride] = cols.b;
        work[again + 2u * params.work.mirror_stride] = cols.c;
        work[again + 3u * params.work.mirror_stride] = cols.d;
    }
}
