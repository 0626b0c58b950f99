// A gradient of 16 bits, two to a word.
// provides: grad (binding 7), out_start, out_whole, out_low, out_high
// expects:  params

@group(0) @binding(7) var<storage, read_write> grad: array<atomic<u32>>;

fn out_start(row: u32) -> u32 {
    return params.views.grad_offset + row * params.views.grad_stride;
}

fn out_whole(i: u32, value: u32) {
    atomicStore(&grad[i], value);
}

fn out_low(i: u32, value: u32) {
    atomicAnd(&grad[i], 0xffff0000u);
    atomicOr(&grad[i], value);
}

fn out_high(i: u32, value: u32) {
    atomicAnd(&grad[i], 0x0000ffffu);
    atomicOr(&grad[i], value);
}
