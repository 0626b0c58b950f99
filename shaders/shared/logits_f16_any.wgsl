// Logits in f16, wherever they begin.
// provides: logits (binding 1), logits_base, load
// expects:  `enable f16;` in the prelude, params

@group(0) @binding(1) var<storage, read_write> logits: array<f16>;

fn logits_base(row: u32, phase: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride - phase;
}

// The f32 bit patterns of the labels of vector `k`.
fn load(base: u32, k: u32) -> vec4<u32> {
    let i = base + 4u * k;
    let four = vec4<f32>(f32(logits[i]), f32(logits[i + 1u]), f32(logits[i + 2u]), f32(logits[i + 3u]));
    return bitcast<vec4<u32>>(four);
}
