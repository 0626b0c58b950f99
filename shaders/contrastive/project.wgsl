// From the gradient to unit rows to that to the rows as they were given.
//
// Grid: one workgroup a row, folded. Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, z (binding 1), small (binding 5), work (binding 6), grad (binding 7)
// expects:  params, WG, Lane, Group, group_sum of lanes_tree.wgsl

@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;
@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> grad: array<u32>;

@compute @workgroup_size(WG)
fn project(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.grid.groups) {
        return;
    }
    let begin = params.work.rows_at + row * params.row.depth;
    let unit = params.own.z + row * params.row.depth;
    var along = 0.0;
    if (params.settings.normalize != 0u) {
        for (var i = lane; i < params.row.depth; i += WG) {
            along += dot(work[begin + i], z[unit + i]);
        }
    }
    along = group_sum(Lane(lane), Group(group), vec2<f32>(along, 0.0)).x;
    let inverse = bitcast<f32>(small[params.own.norms + params.own.first + row]);
    let unsound = small[params.record.unsound] != 0u;
    for (var d = lane; d < params.row.dims; d += WG) {
        let g = work[begin + d / 4u][d & 3u] - along * z[unit + d / 4u][d & 3u];
        let value = bitcast<u32>(g * params.settings.inv_temperature * inverse);
        grad[params.grad_at + row * params.grad_stride + d] = select(value, params.ends.nan, unsound);
    }
}
