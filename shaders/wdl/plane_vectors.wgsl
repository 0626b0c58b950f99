// The plane of e in vectors of four labels; a row's first begins up to three labels before the row.
// provides: plane (binding 2), IOTA, Line, line_of, line_end, Four, four_at, e_at
// expects:  params, mask_base, mask4, sides_base, sides4

const IOTA = vec4<u32>(0u, 1u, 2u, 3u);

@group(0) @binding(2) var<storage, read_write> plane: array<vec4<u32>>;

struct Line {
    phase: u32,
    base: u32,
    mask: u32,
    sides: u32,
}

fn line_of(row: u32) -> Line {
    let begin = params.views.grad_offset + row * params.views.grad_stride;
    let phase = begin & 3u;
    return Line(phase, begin / 4u, mask_base(row, phase), sides_base(phase));
}

// Behind its last vector.
fn line_end(line: Line) -> u32 {
    return (line.phase + params.window.cols + 3u) / 4u;
}

struct Four {
    col: u32,              // of the first; wraps to a large number before the row's first
    e: vec4<f32>,          // 0 where a label does not count: what is beside a row may be anything
    counts: vec4<bool>,
}

fn four_at(line: Line, q: u32) -> Four {
    let col = 4u * q - line.phase;
    let inside = vec4<u32>(col) + IOTA < vec4<u32>(params.window.cols);
    let counts = inside & mask4(line.mask, q) & sides4(line.sides, q).counts;
    let bits = select(vec4<u32>(0u), plane[line.base + q], counts);
    return Four(col, bitcast<vec4<f32>>(bits), counts);
}

// e of a label.
fn e_at(row: u32, col: u32) -> f32 {
    let i = params.views.grad_offset + row * params.views.grad_stride + col;
    return bitcast<f32>(plane[i / 4u][i & 3u]);
}
