// A gradient in 16 bits that replaces what is there.
// provides: onto_half
// expects:  params, real_half

// The 16 bits that are stored as element `i`, of those of an f32.
fn onto_half(i: u32, bits: u32) -> u32 {
    return real_half(params.grad.kind, bits);
}
