// How far a step goes: the rate over the root of what the squares of a label's gradients have come to, which is one number
// for each label.
// provides: state (binding 3), step_size
// expects:  WG, params, slope_of, Lane, Group, group_sum

@group(0) @binding(3) var<storage, read_write> state: array<f32>;

// Squares that one accumulator adds up.
const SQUARES = 256u;

// All lanes of the workgroup must call it.
fn step_size(row: u32, lane: u32, group: vec3<u32>) -> f32 {
    var all = 0.0;
    for (var start = lane; start < params.cols; start += WG * SQUARES) {
        var some = 0.0;
        for (var col = start; col < min(start + WG * SQUARES, params.cols); col += WG) {
            let slope = slope_of(row, col);
            some += slope * slope;
        }
        all += some;
    }
    let place = params.state_at + row;
    let before = state[place];
    let total = group_sum(Lane(lane), Group(group), vec2<f32>(all, 0.0)).x;
    let after = before + total / f32(params.cols);
    if (lane == 0u) {
        state[place] = after;
    }
    return params.rate / (sqrt(after) + params.epsilon);
}
