// A bit for each class.
// provides: targets (binding 2), positive, is_one, no_number
// expects:  params with a view of the targets

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn positive(row: u32, col: u32) -> bool {
    let at = params.targets.offset + row * params.targets.stride;
    return ((targets[at + col / 32u] >> (col % 32u)) & 1u) != 0u;
}

// Whether it is a plain 1: a bit can be nothing else.
fn is_one(row: u32, col: u32) -> bool {
    return positive(row, col);
}

// Whether it is a NaN.
fn no_number(row: u32, col: u32) -> bool {
    return false;
}
