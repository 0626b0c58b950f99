// The rows of the side that a product has results for, in f32.
// provides: z (binding 1), own_z
// expects:  params

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;

fn own_z(row: u32, i: u32) -> vec4<f32> {
    return z[params.own.z + row * params.own.stride + i];
}
