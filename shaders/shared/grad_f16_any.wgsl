// A gradient in f16, wherever it begins.
// provides: grad (binding 7), out_start, put_one
// expects:  `enable f16;` in the prelude, params

@group(0) @binding(7) var<storage, read_write> grad: array<f16>;

fn out_start(row: u32) -> u32 {
    return params.views.grad_offset + row * params.views.grad_stride;
}

fn put_one(i: u32, bits: u32) {
    grad[i] = f16(bitcast<f32>(bits));
}
