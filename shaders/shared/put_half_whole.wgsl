// A gradient of 16 bits of rows of whole vectors.
// provides: grad_base, put8
// expects:  out_vector, out_start, narrow

fn grad_base(row: u32, phase: u32) -> u32 {
    return out_start(row) / 8u;
}

// Stores the values of vector `k` from their bit patterns, where it is inside the row.
fn put8(base: u32, k: u32, first: vec4<bool>, second: vec4<bool>, first_bits: vec4<u32>, second_bits: vec4<u32>) {
    if (first.x) {
        out_vector(base + k, vec4<u32>(narrow(first_bits), narrow(second_bits)));
    }
}
