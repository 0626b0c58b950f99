// Adds a gradient that was made in scratch to what is in the caller's tensor.
//
// Grid: a lane for each of the elements `begin` to `end` of a window, row by row; folded.
// Mirrors: `AddParams` in src/kernels/gradient.rs, which says what each field is.
// provides: AddParams, params (binding 0), made (binding 1), grad (binding 7), add
// expects:  WG, View, group_index, onto

struct AddParams {
    made: View,
    grad: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: AddParams;
@group(0) @binding(1) var<storage, read_write> made: array<u32>;
@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

@compute @workgroup_size(WG)
fn add(
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
    grad[place] = onto(place, made[params.made.offset + row * params.made.stride + col]);
}
