// Logits in f32, wherever they begin.
// provides: logits (binding 1), logits_base, load
// expects:  params

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn logits_base(row: u32, phase: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride - phase;
}

// The bit patterns of the labels of vector `k`.
fn load(base: u32, k: u32) -> vec4<u32> {
    let i = base + 4u * k;
    return vec4<u32>(logits[i], logits[i + 1u], logits[i + 2u], logits[i + 3u]);
}
