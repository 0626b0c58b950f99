// The learnable weights of WDL: softplus(theta), divided by its mean over the set.
//
// `weights`   from theta to the weights, in scratch.
// `theta`     from the sums of dL/dw over the rows, which `columns` left in parts, to the gradient:
//             sigma(theta) / mean softplus(theta) (g - mean(g w)), negated for ascent.
//
// Grid: sets groups, folded over x and y.
// Mirrors: `ThetaParams` in src/kernels/rows/wdl.rs, src/reference/wdl.rs.
// provides: params (binding 0), theta_in (binding 1), scratch (binding 6), grad (binding 7), weights, theta
// expects:  WG, math, Lane, Group, group_sum of lanes_tree.wgsl

struct ThetaParams {
    sets: u32,
    len: u32,               // weights of a set
    groups_x: u32,
    theta_offset: u32,
    theta_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    weights_at: u32,
    column_at: u32,
    parts: u32,             // of the sums over the rows
    sign: f32,
    _pad: u32,
}

@group(0) @binding(0) var<uniform> params: ThetaParams;
@group(0) @binding(1) var<storage, read_write> theta_in: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

// Weights whose sum is taken by itself: no lane adds more than a few hundred numbers in a row.
const BLOCK = 256u * WG;

// A theta below -80 counts as -80, so that no weight is 0. A NaN stays one, and makes its set's mean and so all weights NaN.
fn theta_at(k: u32, i: u32) -> f32 {
    let bits = theta_in[params.theta_offset + k * params.theta_stride + i];
    return bitcast<f32>(select(bitcast<u32>(max(finite(bits), -80.0)), bits, is_nan(bits)));
}

fn soft_mean(at: Lane, group: Group, k: u32) -> f32 {
    var all = 0.0;
    for (var start = 0u; start < params.len; start += BLOCK) {
        let end = min(start + BLOCK, params.len);
        var sum = 0.0;
        for (var i = start + at.index; i < end; i += WG) {
            sum += softplus(theta_at(k, i));
        }
        all += sum;
    }
    return group_sum(at, group, vec2<f32>(all, 0.0)).x / f32(params.len);
}

@compute @workgroup_size(WG)
fn weights(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let k = id.x + id.y * params.groups_x;
    if (k >= params.sets) {
        return;
    }
    let mean = soft_mean(Lane(lane), Group(id), k);
    for (var i = lane; i < params.len; i += WG) {
        scratch[params.weights_at + k * params.len + i] = bitcast<u32>(softplus(theta_at(k, i)) / mean);
    }
}

fn summed(k: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        sum += bitcast<f32>(scratch[params.column_at + (part * params.sets + k) * params.len + i]);
    }
    return sum;
}

@compute @workgroup_size(WG)
fn theta(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let k = id.x + id.y * params.groups_x;
    if (k >= params.sets) {
        return;
    }
    let at = Lane(lane);
    let group = Group(id);
    let mean = soft_mean(at, group, k);
    var all = 0.0;
    for (var start = 0u; start < params.len; start += BLOCK) {
        let end = min(start + BLOCK, params.len);
        var sum = 0.0;
        for (var i = start + lane; i < end; i += WG) {
            sum += summed(k, i) * softplus(theta_at(k, i)) / mean;
        }
        all += sum;
    }
    let centre = group_sum(at, group, vec2<f32>(all, 0.0)).x / f32(params.len);
    for (var i = lane; i < params.len; i += WG) {
        let slope = sigmoid(theta_at(k, i)) / mean * (summed(k, i) - centre);
        grad[params.grad_offset + k * params.grad_stride + i] = bitcast<u32>(params.sign * slope);
    }
}
