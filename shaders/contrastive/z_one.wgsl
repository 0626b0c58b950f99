// The rows of both sides where they lie in the same memory, which is bound once: browsers refuse it twice.
// provides: z (binding 1), own_z, other_z
// expects:  params

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;

fn own_z(row: u32, i: u32) -> vec4<f32> {
    return z[params.own.z + row * params.row.depth + i];
}

fn other_z(row: u32, i: u32) -> vec4<f32> {
    return z[params.other.z + row * params.row.depth + i];
}
