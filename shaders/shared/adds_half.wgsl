// A gradient in 16 bits that is added to what is there. Of a word that two rows share, another lane may be writing the
// other half.
// provides: onto_half
// expects:  params, grad, real_bits, real_half, sum_bits

// The 16 bits that are stored as element `i`, of those of an f32.
fn onto_half(i: u32, bits: u32) -> u32 {
    let before = (atomicLoad(&grad[i / 2u]) >> ((i & 1u) * 16u)) & 0xffffu;
    let sum = real_half(params.grad.kind, sum_bits(real_bits(params.grad.kind, before, 0u), bits));
    // Not by way of f32: a driver may make zeros of the smallest f16.
    return select(sum, before, (bits & 0x7fffffffu) == 0u);
}
