// f16 as bits, for values stored two to a word.
// provides: half_bits, half_value
// expects:  is_nan

// f32 to f16 bits; beyond the range +-infinity, as IEEE has it (pack2x16float leaves that open).
fn half_bits(value: f32, nan: bool) -> u32 {
    let sign = (bitcast<u32>(value) >> 16u) & 0x8000u;
    let packed = pack2x16float(vec2<f32>(clamp(value, -65504.0, 65504.0), 0.0)) & 0xffffu;
    return select(select(packed, sign | 0x7c00u, abs(value) >= 65520.0), 0x7e00u, nan || is_nan(bitcast<u32>(value)));
}

// The f32 bit pattern of f16 bits.
fn half_value(bits: u32) -> u32 {
    return bitcast<u32>(unpack2x16float(bits).x);
}
