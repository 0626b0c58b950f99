// Rows as products take them: f32, in whole vectors, zeros behind the last component.
//
// Grid: a lane for each of the vectors `begin` to `end`, row by row; folded.
// Mirrors: `PackParams` in src/kernels/linear/table.rs, which says what each field is.
// provides: PackParams, params (binding 0), source (binding 1), packed (binding 7), pack
// expects:  WG, View, group_index, real_place, real_bits

struct PackParams {
    source: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    depth: u32,
}

@group(0) @binding(0) var<uniform> params: PackParams;
@group(0) @binding(1) var<storage, read_write> source: array<u32>;
@group(0) @binding(7) var<storage, read_write> packed: array<vec4<f32>>;

fn component(row: u32, i: u32) -> f32 {
    if (i >= params.cols) {
        return 0.0;
    }
    let at = params.source.offset + row * params.source.stride + i;
    return bitcast<f32>(real_bits(params.source.kind, source[real_place(params.source.kind, at)], at));
}

@compute @workgroup_size(WG)
fn pack(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let vector = params.begin + group_index(group) * WG + lane;
    if (vector >= params.end) {
        return;
    }
    let row = vector / params.depth;
    let i = 4u * (vector % params.depth);
    packed[vector] = vec4<f32>(component(row, i), component(row, i + 1u), component(row, i + 2u), component(row, i + 3u));
}
