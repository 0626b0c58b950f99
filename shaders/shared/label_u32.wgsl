// A word for each class.
// provides: targets (binding 2), positive, is_one, no_number
// expects:  params with a view of the targets

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_word(row: u32, col: u32) -> u32 {
    return targets[params.targets.offset + row * params.targets.stride + col];
}

fn positive(row: u32, col: u32) -> bool {
    return target_word(row, col) != 0u;
}

// Whether it is a plain 1.
fn is_one(row: u32, col: u32) -> bool {
    return target_word(row, col) == 1u;
}

// Whether it is a NaN.
fn no_number(row: u32, col: u32) -> bool {
    return false;
}
