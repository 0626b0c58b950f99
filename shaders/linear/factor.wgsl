// The factor of each row, a power of two: divided by it the row's largest component is between 2^15 and 2^16, so that f16 has
// room for the others. Of f16 nothing is lost then, of bf16 what is below the 2^40th part of the largest. What is not finite
// has no say.
//
// Grid: a workgroup for each of the rows `begin` to `end`; folded.
// Mirrors: `FactorParams` in src/kernels/linear/table.rs, which says what each field is.
// provides: FactorParams, params (binding 0), source (binding 1), factors (binding 7), factor
// expects:  WG, View, group_index, real_place, real_bits, largest_of

struct FactorParams {
    source: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    at: u32,
}

@group(0) @binding(0) var<uniform> params: FactorParams;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(7) var<storage, read_write> factors: array<u32>;

@compute @workgroup_size(WG)
fn factor(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = params.begin + group_index(group);
    if (row >= params.end) {
        return;
    }
    let kind = params.source.kind;
    var most = 0u;
    for (var d = lane; d < params.cols; d += WG) {
        let i = params.source.offset + row * params.source.stride + d;
        let size = real_bits(kind, source[real_place(kind, i)], i) & 0x7fffffffu;
        // Sizes compare like their bits.
        most = max(most, select(size, 0u, size >= 0x7f800000u));
    }
    let largest = largest_of(most, lane);
    // 2^(e - 15) for an exponent of e, as far as that and its inverse are normal numbers; 1 where nothing has one.
    let exponent = select(max(largest >> 23u, 16u) - 15u, 127u, largest == 0u);
    if (lane == 0u) {
        factors[params.at + row] = exponent << 23u;
    }
}
