// The rows of the two sides in f16, each in memory of its own.
// provides: halves (binding 1), halves2 (binding 2), own_half, other_half
// expects:  params

@group(0) @binding(1) var<storage, read_write> halves: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> halves2: array<vec4<f16>>;

fn own_half(row: u32, i: u32) -> vec4<f16> {
    return halves[params.own.z + row * params.row.depth + i];
}

fn other_half(row: u32, i: u32) -> vec4<f16> {
    return halves2[params.other.z + row * params.row.depth + i];
}
