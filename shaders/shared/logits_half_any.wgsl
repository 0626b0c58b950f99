// Logits of 16 bits, two to a word, wherever they begin.
// provides: logits (binding 1), logits_base, load
// expects:  params, widen

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn logits_base(row: u32, phase: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride - phase;
}

// The f32 bit patterns of the labels of vector `k`, which may lie in three words.
fn load(base: u32, k: u32) -> vec4<u32> {
    let at = (base + 2u) / 2u + 2u * k;
    let words = vec3<u32>(logits[at - 1u], logits[at], logits[at + 1u]);
    let odd = vec2<u32>((words.x >> 16u) | (words.y << 16u), (words.y >> 16u) | (words.z << 16u));
    return widen(select(words.xy, odd, (base & 1u) != 0u));
}
