// Makes the slopes of a tile ready to be taken apart into pairs of f16: each times the factor of its other row, and each
// own row times a power of two of its own, with which its largest is between 2^13 and 2^14. That is undone when what they
// are multiplied to is put away.
//
// Grid: one workgroup an own row, folded.
// provides: the entry points, work (binding 6)
// expects:  params, WG, largest_of, other_factors, keep_power

@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;

// Four slopes of an own row, times their factors; beyond the last slopes are 0.
fn factored(begin: u32, col4: u32) -> vec4<f32> {
    return work[begin + col4] * other_factors(4u * col4);
}

@compute @workgroup_size(WG)
fn scale(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.own.rows) {
        return;
    }
    let begin = (params.work.row + row) * params.work.stride;
    let fours = (params.other.rows + 3u) / 4u;
    // Sizes compare like their bits.
    var most = vec4<u32>(0u);
    for (var i = lane; i < fours; i += WG) {
        most = max(most, bitcast<vec4<u32>>(factored(begin, i)) & vec4<u32>(0x7fffffffu));
    }
    let largest = largest_of(max(max(most.x, most.y), max(most.z, most.w)), lane);
    // 2^(13 - e) for an exponent of e, as far as that and its inverse are normal numbers; both by their bits.
    let power = clamp(267u - (largest >> 23u), 12u, 253u);
    let raised = bitcast<f32>(power << 23u);
    for (var i = lane; i < fours; i += WG) {
        work[begin + i] = factored(begin, i) * raised;
    }
    if (lane == 0u) {
        keep_power(row, (254u - power) << 23u);
    }
}
