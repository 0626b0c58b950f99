// Targets of 16 bits that are f16.
// provides: target_wide
// expects:  nothing

// The f32 bit patterns of the four values in two words.
fn target_wide(words: vec2<u32>) -> vec4<u32> {
    let low = unpack2x16float(words.x);
    let high = unpack2x16float(words.y);
    return bitcast<vec4<u32>>(vec4<f32>(low, high));
}
