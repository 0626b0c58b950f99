// Logits of 16 bits, two to a word, that the gradient replaces: one binding, since browsers refuse two that alias. Another
// row's half of a shared word may be replaced while ours is still to be read, hence atomics; each half is only ever read
// and written by the lane that owns it.
// provides: logits (binding 1), logits_base, load, out_start, out_whole, out_low, out_high
// expects:  params, widen

@group(0) @binding(1) var<storage, read_write> logits: array<atomic<u32>>;

// A row's first vector begins with a word.
fn logits_base(row: u32, phase: u32) -> u32 {
    return (params.views.logits_offset + row * params.views.logits_stride - phase) / 2u;
}

// The f32 bit patterns of the labels of vector `k`.
fn load(base: u32, k: u32) -> vec4<u32> {
    let at = base + 2u * k;
    return widen(vec2<u32>(atomicLoad(&logits[at]), atomicLoad(&logits[at + 1u])));
}

fn out_start(row: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride;
}

fn out_whole(i: u32, value: u32) {
    atomicStore(&logits[i], value);
}

fn out_low(i: u32, value: u32) {
    atomicAnd(&logits[i], 0xffff0000u);
    atomicOr(&logits[i], value);
}

fn out_high(i: u32, value: u32) {
    atomicAnd(&logits[i], 0x0000ffffu);
    atomicOr(&logits[i], value);
}
