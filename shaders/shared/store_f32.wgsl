// A gradient that is made where it is stored, in f32.
//
// Grid: blocks of elements `begin` to `end` of a window, row by row; folded.
// provides: gradient, grad (binding 7)
// expects:  WG, group_index, params (begin, end, cols, grad: View), slope, onto

@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

@compute @workgroup_size(WG)
fn gradient(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.cols;
    let col = element % params.cols;
    let place = params.grad.offset + row * params.grad.stride + col;
    grad[place] = onto(place, slope(row, col));
}
