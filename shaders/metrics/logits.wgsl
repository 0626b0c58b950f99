// The logits, as numbers that rise with them.
// provides: logits (binding 1), key_of
// expects:  reals, best, params of metrics/params.wgsl

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn key_of(row: u32, col: u32) -> u32 {
    let i = params.logits.offset + row * params.logits.stride + col;
    return order_key(real_bits(params.logits.kind, logits[real_place(params.logits.kind, i)], i));
}
