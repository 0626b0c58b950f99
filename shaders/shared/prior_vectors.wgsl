// What a gradient in f32 is added to, a vector for four labels.
// provides: prior4
// expects:  Labels, grad, out_start

// A row whose first vector begins before the tensor wraps, and comes back with the vector added.
fn prior4(e: Labels) -> vec4<u32> {
    return grad[(out_start(e.row) + e.col + 4u) / 4u - 1u];
}
