// A gradient in f32 of rows of whole vectors.
// provides: grad_base, put4
// expects:  out_vector, out_start

fn grad_base(row: u32, phase: u32) -> u32 {
    return out_start(row) / 4u;
}

// Stores bit patterns of vector `q`, where it is inside the row.
fn put4(base: u32, q: u32, inside: vec4<bool>, bits: vec4<u32>) {
    if (inside.x) {
        out_vector(base + q, bits);
    }
}
