// A real number for each class, positive above a half.
// provides: targets (binding 2), positive
// expects:  math, reals, params of mcm/logits.wgsl

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn positive(row: u32, col: u32) -> bool {
    let i = params.targets.offset + row * params.targets.stride + col;
    let kind = params.targets.kind;
    let bits = real_bits(kind, targets[real_place(kind, i)], i);
    return bitcast<f32>(bits) > 0.5 && !is_nan(bits);
}
