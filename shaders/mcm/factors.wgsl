// What a row's sum is multiplied by: its weight, and where a row's loss is a mean one through the number of its classes
// that count. 0 where none does.
//
// Grid: blocks of rows `begin` to `end` of a window; folded.
// provides: factors, counts (binding 2), sample_weight (binding 4), losses (binding 6), row_factors (binding 7)
// expects:  WG, group_index, math, params of mcm/counts.wgsl

@group(0) @binding(2) var<storage, read_write> counts: array<f32>;
@group(0) @binding(4) var<storage, read_write> sample_weight: array<u32>;
@group(0) @binding(6) var<storage, read_write> losses: array<u32>;
@group(0) @binding(7) var<storage, read_write> row_factors: array<f32>;

// The bits of a sum times the factor: a NaN stays one, and an infinity with the factor's sign.
fn weighed_sum(bits: u32, factor: f32) -> u32 {
    let special = (bits & 0x7f800000u) == 0x7f800000u;
    let product = bitcast<u32>(factor * select(bitcast<f32>(bits), 0.0, special));
    let infinite = params.infinity | (bitcast<u32>(factor) & 0x80000000u);
    return select(product, select(infinite, params.nan, is_nan(bits)), special);
}

@compute @workgroup_size(WG)
fn factors(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = params.begin + group_index(group) * WG + lane;
    if (row >= params.end) {
        return;
    }
    let count = counts[row];
    var factor = 1.0;
    if (params.sample_weight.present != 0u) {
        factor = finite(sample_weight[params.sample_weight.offset + params.first_row + row]);
    }
    if (params.row_mean != 0u) {
        factor /= max(count, 1.0);
    }
    factor = select(0.0, factor, count > 0.0);
    let at = params.first_row + row;
    row_factors[at] = factor;
    losses[at] = weighed_sum(losses[at], factor);
}
