// Real numbers whose element type is a parameter, one of the REAL_ kinds; of f16 and bf16, two share a word. For
// kernels that spend their time elsewhere, so that one module serves all types.
// provides: real_place, real_bits, real_half
// expects:  REAL_F32, REAL_F16, REAL_BF16, is_nan of math.wgsl

// The word in which element `i` lies.
fn real_place(kind: u32, i: u32) -> u32 {
    return select(i / 2u, i, kind == REAL_F32);
}

// The f32 bits of element `i`, which lies in `word`.
fn real_bits(kind: u32, word: u32, i: u32) -> u32 {
    if (kind == REAL_F32) {
        return word;
    }
    let half = (word >> ((i & 1u) * 16u)) & 0xffffu;
    if (kind == REAL_F16) {
        return bitcast<u32>(unpack2x16float(half).x);
    }
    return half << 16u;
}

// The 16 bits of an f32 with these bits, to nearest: beyond the range +-infinity (pack2x16float leaves that open).
fn real_half(kind: u32, bits: u32) -> u32 {
    if (kind == REAL_BF16) {
        return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, 0x7fc0u, is_nan(bits));
    }
    let infinite = (bits & 0x7fffffffu) >= 0x477ff000u;
    let value = bitcast<f32>(select(bits, 0u, infinite));
    let packed = pack2x16float(vec2<f32>(clamp(value, -65504.0, 65504.0), 0.0)) & 0xffffu;
    return select(select(packed, ((bits >> 16u) & 0x8000u) | 0x7c00u, infinite), 0x7e00u, is_nan(bits));
}
