// What is added to the logits of each label.
// provides: bias (binding 3), bias4
// expects:  params

@group(0) @binding(3) var<storage, read_write> bias: array<f32>;

// Of four labels; behind the last label, the last's.
fn bias4(col4: u32) -> vec4<f32> {
    let label = min(vec4<u32>(4u * col4) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.other.rows - 1u));
    let at = vec4<u32>(params.row.bias_at) + label;
    return vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}
