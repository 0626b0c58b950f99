// f16 as bits, two to a word.
// provides: widen, narrow
// expects:  nothing

// The f32 bit patterns of the four values in two words.
fn widen(words: vec2<u32>) -> vec4<u32> {
    let low = unpack2x16float(words.x);
    let high = unpack2x16float(words.y);
    return bitcast<vec4<u32>>(vec4<f32>(low, high));
}

// Two words of the values of f32 bit patterns, to nearest, ties to even; beyond the range infinite. By integers, since
// pack2x16float leaves open how it rounds and what it makes of large values.
fn narrow(bits: vec4<u32>) -> vec2<u32> {
    let size = bits & vec4<u32>(0x7fffffffu);
    let normal = (size - 0x38000000u + 0xfffu + ((size >> vec4<u32>(13u)) & vec4<u32>(1u))) >> vec4<u32>(13u);
    // The last place of 0.5 is that of a subnormal f16.
    let small = bitcast<vec4<u32>>(bitcast<vec4<f32>>(min(size, vec4<u32>(0x38800000u))) + 0.5) - 0x3f000000u;
    var half = select(normal, small, size < vec4<u32>(0x38800000u));
    half = select(half, vec4<u32>(0x7c00u), size >= vec4<u32>(0x477ff000u));
    half = select(half, vec4<u32>(0x7e00u), size > vec4<u32>(0x7f800000u));
    half |= (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    return vec2<u32>(half.x | (half.y << 16u), half.z | (half.w << 16u));
}
