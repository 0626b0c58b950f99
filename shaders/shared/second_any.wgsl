// A gradient to the targets, or to the other logits, in f32, wherever it begins.
// provides: second (binding 3), second_base, put_second
// expects:  params, onto_second

@group(0) @binding(3) var<storage, read_write> second: array<u32>;

fn second_base(row: u32, phase: u32) -> u32 {
    return params.views.grad2_offset + row * params.views.grad2_stride - phase;
}

fn put_second(base: u32, q: u32, inside: vec4<bool>, slopes: vec4<u32>) {
    let i = base + 4u * q;
    let bits = onto_second(i, slopes);
    if (inside.x) {
        second[i] = bits.x;
    }
    if (inside.y) {
        second[i + 1u] = bits.y;
    }
    if (inside.z) {
        second[i + 2u] = bits.z;
    }
    if (inside.w) {
        second[i + 3u] = bits.w;
    }
}
