// Takes rows out whose mask is 0, once they are packed. Of such a row there are zeros in place of the embedding, no labels,
// and LEFT_OUT in place of its size: as an anchor it has no positive then, and as a key it is told by that.
//
// Grid: one workgroup a row, folded.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, mask (binding 1), z (binding 4), sets (binding 5), small (binding 6)
// expects:  params, WG, flag, set_place

// A byte for each row.
@group(0) @binding(1) var<storage, read_write> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> sets: array<u32>;
@group(0) @binding(6) var<storage, read_write> small: array<u32>;

@compute @workgroup_size(WG)
fn leave(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.own.rows) {
        return;
    }
    let number = params.own.first + row;
    let i = params.source.offset + number;
    if (flag(mask[i / 4u], i)) {
        return;
    }
    for (var d = lane; d < params.row.depth; d += WG) {
        z[params.own.z + row * params.row.depth + d] = vec4<f32>(0.0);
    }
    for (var w = lane; w < params.row.words; w += WG) {
        sets[set_place(row, w)] = 0u;
    }
    if (lane == 0u) {
        sets[set_place(row, params.row.words)] = LEFT_OUT;
        sets[set_place(row, params.row.words + 1u)] = 0xffffffffu;
        small[params.own.sizes + number] = LEFT_OUT;
        small[params.own.norms + number] = 0u;
    }
}
