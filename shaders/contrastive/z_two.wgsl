// The rows of the two sides, each in memory of its own.
// provides: z (binding 1), z2 (binding 2), own_z, other_z
// expects:  params

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> z2: array<vec4<f32>>;

fn own_z(row: u32, i: u32) -> vec4<f32> {
    return z[params.own.z + row * params.row.depth + i];
}

fn other_z(row: u32, i: u32) -> vec4<f32> {
    return z2[params.other.z + row * params.row.depth + i];
}
