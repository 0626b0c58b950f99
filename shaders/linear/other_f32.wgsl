// The rows of the other side, in f32.
// provides: z2 (binding 2), other_z
// expects:  params

@group(0) @binding(2) var<storage, read_write> z2: array<vec4<f32>>;

fn other_z(row: u32, i: u32) -> vec4<f32> {
    return z2[params.other.z + row * params.other.stride + i];
}
