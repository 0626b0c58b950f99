// A gradient of 16 bits, a vector for eight labels. No two rows share a word, but a row may end within one.
// provides: grad_base, put8
// expects:  out_vector, out_word, out_old, out_start, narrow

fn grad_base(row: u32, phase: u32) -> u32 {
    return (out_start(row) - phase) / 8u;
}

// Stores a word of which at least one half is not inside the row; the other half stays.
fn put_word(i: u32, word: u32, low: bool, high: bool, value: u32) {
    if (low && high) {
        out_word(i, word, value);
    } else if (low) {
        out_word(i, word, (out_old(i, word) & 0xffff0000u) | (value & 0xffffu));
    } else if (high) {
        out_word(i, word, (out_old(i, word) & 0xffffu) | (value & 0xffff0000u));
    }
}

// Stores the values of vector `k` from their bit patterns, where they are inside the row.
fn put8(base: u32, k: u32, first: vec4<bool>, second: vec4<bool>, first_bits: vec4<u32>, second_bits: vec4<u32>) {
    let words = vec4<u32>(narrow(first_bits), narrow(second_bits));
    let i = base + k;
    if (all(first) && all(second)) {
        out_vector(i, words);
        return;
    }
    put_word(i, 0u, first.x, first.y, words.x);
    put_word(i, 1u, first.z, first.w, words.y);
    put_word(i, 2u, second.x, second.y, words.z);
    put_word(i, 3u, second.z, second.w, words.w);
}
