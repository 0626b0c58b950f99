// Two bits for each label, that `mark` has made: whether it is a positive that counts, and whether it counts.
// provides: targets (binding 2), positive, counts_in
// expects:  params with a view of the marks

@group(0) @binding(2) var<storage, read_write> targets: array<vec2<u32>>;

fn marks_at(row: u32, col: u32) -> vec2<bool> {
    let words = targets[params.targets.offset + row * params.targets.stride + col / 32u];
    return ((words >> vec2<u32>(col % 32u)) & vec2<u32>(1u)) != vec2<u32>(0u);
}

fn positive(row: u32, col: u32) -> bool {
    return marks_at(row, col).x;
}

fn counts_in(row: u32, col: u32) -> bool {
    return marks_at(row, col).y;
}
