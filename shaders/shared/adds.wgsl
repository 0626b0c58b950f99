// A gradient in f32, value by value, that is added to what is there.
// provides: onto
// expects:  grad, sum_bits

// The bits that are stored as element `i`.
fn onto(i: u32, bits: u32) -> u32 {
    return sum_bits(grad[i], bits);
}
