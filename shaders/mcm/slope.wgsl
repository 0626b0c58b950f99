// The gradient of the max constraint module to one logit: a class counts for the classes it has won.
// provides: losses (binding 4), sides (binding 5, upstream gradient), slope
// expects:  math, params and logit_bits of mcm/logits.wgsl, row_factor, won

@group(0) @binding(4) var<storage, read_write> losses: array<u32>;
@group(0) @binding(5) var<storage, read_write> sides: array<f32>;

// As bits.
fn slope(row: u32, col: u32) -> u32 {
    let here = won(row * params.cols + col);
    let s = finite(logit_bits(row, col));
    let value = here.y * sigmoid(s) - here.x * sigmoid(-s);
    var factor = params.scale * row_factor(params.first_row + row);
    if (params.sides.present != 0u) {
        factor *= sides[params.sides.offset + params.sides.stride * (params.first_row + row)];
    }
    return select(bitcast<u32>(factor * value), params.nan, is_nan(losses[params.first_row + row]));
}
