// A gradient of 16 bits, two to a word, wherever it begins. A row's first vector begins with a word. Where a word holds the
// end of one row and the beginning of the next (or a neighbour that is not ours), the two halves are written by different
// lanes: each clears and sets its own half with integer atomics, so that no write is lost and the result does not depend
// on the order.
// provides: phase_of, grad_base, put4
// expects:  out_start, out_whole, out_low, out_high, narrow

fn phase_of(row: u32) -> u32 {
    return out_start(row) & 1u;
}

fn grad_base(row: u32, phase: u32) -> u32 {
    return (out_start(row) - phase) / 2u;
}

fn put_word(i: u32, low: bool, high: bool, value: u32) {
    if (low && high) {
        out_whole(i, value);
    } else if (low) {
        out_low(i, value & 0xffffu);
    } else if (high) {
        out_high(i, value & 0xffff0000u);
    }
}

// Stores the values of vector `q` from their bit patterns, where they are inside the row.
fn put4(base: u32, q: u32, inside: vec4<bool>, bits: vec4<u32>) {
    let words = narrow(bits);
    let i = base + 2u * q;
    put_word(i, inside.x, inside.y, words.x);
    put_word(i + 1u, inside.z, inside.w, words.y);
}
