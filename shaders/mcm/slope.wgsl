// The gradient of the max constraint module to one logit: a class counts for how many classes it has won.
// provides: losses (binding 4), sides (binding 5, upstream gradient), wins (binding 6), slope
// expects:  math, params and logit_bits of mcm/logits.wgsl

@group(0) @binding(4) var<storage, read_write> losses: array<u32>;
@group(0) @binding(5) var<storage, read_write> sides: array<f32>;
@group(0) @binding(6) var<storage, read_write> wins: array<vec2<u32>>;

// As bits.
fn slope(row: u32, col: u32) -> u32 {
    let here = vec2<f32>(wins[row * params.cols + col]);
    let s = finite(logit_bits(row, col));
    let value = here.y * sigmoid(s) - here.x * sigmoid(-s);
    var factor = params.scale;
    if (params.sides.present != 0u) {
        factor *= sides[params.sides.offset + params.sides.stride * (params.first_row + row)];
    }
    return select(bitcast<u32>(factor * value), params.nan, is_nan(losses[params.first_row + row]));
}
