// A gradient in f32, a vector for four labels.
// provides: grad_base, put4
// expects:  out_vector, out_word, out_start

// A row whose first vector begins before the tensor wraps, and comes back with the vector added.
fn grad_base(row: u32, phase: u32) -> u32 {
    return (out_start(row) - phase + 4u) / 4u - 1u;
}

// Stores bit patterns of vector `q`, where they are inside the row.
fn put4(base: u32, q: u32, inside: vec4<bool>, bits: vec4<u32>) {
    let i = base + q;
    if (all(inside)) {
        out_vector(i, bits);
        return;
    }
    if (inside.x) {
        out_word(i, 0u, bits.x);
    }
    if (inside.y) {
        out_word(i, 1u, bits.y);
    }
    if (inside.z) {
        out_word(i, 2u, bits.z);
    }
    if (inside.w) {
        out_word(i, 3u, bits.w);
    }
}
