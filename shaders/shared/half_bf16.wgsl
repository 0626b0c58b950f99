// bf16 as bits, two to a word.
// provides: widen, narrow
// expects:  nothing

// The f32 bit patterns of the four values in two words.
fn widen(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
}

// Two words of the values of f32 bit patterns, to nearest, ties to even.
fn narrow(bits: vec4<u32>) -> vec2<u32> {
    let nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let rounded = bits + 0x7fffu + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u));
    let half = select(rounded >> vec4<u32>(16u), vec4<u32>(0x7fc0u), nan);
    return vec2<u32>(half.x | (half.y << 16u), half.z | (half.w << 16u));
}
