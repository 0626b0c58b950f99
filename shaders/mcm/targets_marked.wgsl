// Two bits for each class, which mcm/mark.wgsl has made: whether it is positive, and whether it counts.
// provides: marks (binding 2), positive, counts
// expects:  params of mcm/logits.wgsl

@group(0) @binding(2) var<storage, read_write> marks: array<vec2<u32>>;

fn marks_of(row: u32, col: u32) -> vec2<u32> {
    return marks[row * params.targets.stride + col / 32u] >> vec2<u32>(col % 32u);
}

fn positive(row: u32, col: u32) -> bool {
    return (marks_of(row, col).x & 1u) != 0u;
}

fn counts(row: u32, col: u32) -> bool {
    return (marks_of(row, col).y & 1u) != 0u;
}
