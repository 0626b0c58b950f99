// The rows of both sides in f16 where they lie in the same memory, which is bound once: browsers refuse it twice.
// provides: halves (binding 1), own_half, other_half
// expects:  params

@group(0) @binding(1) var<storage, read_write> halves: array<vec4<f16>>;

fn own_half(row: u32, i: u32) -> vec4<f16> {
    return halves[params.own.z + row * params.row.depth + i];
}

fn other_half(row: u32, i: u32) -> vec4<f16> {
    return halves[params.other.z + row * params.row.depth + i];
}
