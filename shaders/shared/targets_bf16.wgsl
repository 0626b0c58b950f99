// Targets of 16 bits that are bf16.
// provides: target_wide
// expects:  nothing

// The f32 bit patterns of the four values in two words.
fn target_wide(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
}
