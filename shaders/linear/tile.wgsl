// The tile of logits: row by row of samples, four labels to a vector, zeros behind the last label.
// provides: work (binding 6), skipped, keep_four
// expects:  params, Four, turned, bias4

@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;

// All of it is computed.
fn skipped(row4: u32, end4: u32) -> bool {
    return false;
}

// Puts four rows of four labels into the tile; with `add` onto what is there.
fn keep_four(row4: u32, col4: u32, four: Four, add: bool) {
    if (4u * row4 >= params.own.rows || 4u * col4 >= params.other.rows) {
        return;
    }
    let stride = params.work.stride;
    let at = (params.work.row + 4u * row4) * stride + col4;
    let rows = turned(four);
    let bias = bias4(col4);
    var before = Four(bias, bias, bias, bias);
    if (add) {
        before = Four(work[at], work[at + stride], work[at + 2u * stride], work[at + 3u * stride]);
    }
    let there = vec4<u32>(4u * col4) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.other.rows);
    let none = vec4<f32>(0.0);
    work[at] = select(none, before.a + rows.a, there);
    work[at + stride] = select(none, before.b + rows.b, there);
    work[at + 2u * stride] = select(none, before.c + rows.c, there);
    work[at + 3u * stride] = select(none, before.d + rows.d, there);
}
