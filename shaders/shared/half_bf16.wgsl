// bf16 as bits, for values stored two to a word.
// provides: half_bits, half_value
// expects:  is_nan

// f32 to bf16 bits, to nearest, ties to even.
fn half_bits(value: f32, nan: bool) -> u32 {
    let bits = bitcast<u32>(value);
    return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, 0x7fc0u, nan || is_nan(bits));
}

// The f32 bit pattern of bf16 bits.
fn half_value(bits: u32) -> u32 {
    return bits << 16u;
}
