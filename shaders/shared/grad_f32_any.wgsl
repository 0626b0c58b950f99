// A gradient in f32, wherever it begins.
// provides: grad (binding 7), out_start, put_one
// expects:  params

@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

fn out_start(row: u32) -> u32 {
    return params.views.grad_offset + row * params.views.grad_stride;
}

fn put_one(i: u32, bits: u32) {
    grad[i] = bits;
}
