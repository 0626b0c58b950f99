// A real number for each class, positive above a half.
// provides: targets (binding 2), positive, is_one, no_number
// expects:  math, reals, params with a view of the targets

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_bits(row: u32, col: u32) -> u32 {
    let i = params.targets.offset + row * params.targets.stride + col;
    let kind = params.targets.kind;
    return real_bits(kind, targets[real_place(kind, i)], i);
}

fn positive(row: u32, col: u32) -> bool {
    let bits = target_bits(row, col);
    return bitcast<f32>(bits) > 0.5 && !is_nan(bits);
}

// Whether it is a plain 1.
fn is_one(row: u32, col: u32) -> bool {
    return target_bits(row, col) == 0x3f800000u;
}

// Whether it is a NaN.
fn no_number(row: u32, col: u32) -> bool {
    return is_nan(target_bits(row, col));
}
