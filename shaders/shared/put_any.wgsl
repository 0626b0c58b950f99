// A gradient stored one by one, wherever it begins.
// provides: phase_of, grad_base, put4
// expects:  out_start, put_one

fn phase_of(row: u32) -> u32 {
    return 0u;
}

fn grad_base(row: u32, phase: u32) -> u32 {
    return out_start(row) - phase;
}

// Stores the values of vector `q` from their bit patterns, where they are inside the row.
fn put4(base: u32, q: u32, inside: vec4<bool>, bits: vec4<u32>) {
    let i = base + 4u * q;
    if (inside.x) {
        put_one(i, bits.x);
    }
    if (inside.y) {
        put_one(i + 1u, bits.y);
    }
    if (inside.z) {
        put_one(i + 2u, bits.z);
    }
    if (inside.w) {
        put_one(i + 3u, bits.w);
    }
}
