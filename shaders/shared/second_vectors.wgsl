// A gradient to the targets, or to the other logits, in f32 that begins where the logits do.
// provides: second (binding 3), second_base, put_second
// expects:  params, onto_second

@group(0) @binding(3) var<storage, read_write> second: array<vec4<u32>>;

fn second_base(row: u32, phase: u32) -> u32 {
    return (params.views.grad2_offset + row * params.views.grad2_stride - phase + 4u) / 4u - 1u;
}

fn put_second(base: u32, q: u32, inside: vec4<bool>, slopes: vec4<u32>) {
    let i = base + q;
    let bits = onto_second(i, slopes);
    if (all(inside)) {
        second[i] = bits;
        return;
    }
    if (inside.x) {
        second[i].x = bits.x;
    }
    if (inside.y) {
        second[i].y = bits.y;
    }
    if (inside.z) {
        second[i].z = bits.z;
    }
    if (inside.w) {
        second[i].w = bits.w;
    }
}
