// Copies the weights of the classes into scratch, where one binding reaches them beside the terms. That of a class which
// the class mask takes out is 0, whatever it is.
//
// Grid: blocks of classes `begin` to `end`; folded.
// provides: table, class_weight (binding 2), weights (binding 7)
// expects:  WG, group_index, params of mcm/counts.wgsl, in_class_mask

@group(0) @binding(2) var<storage, read_write> class_weight: array<u32>;
@group(0) @binding(7) var<storage, read_write> weights: array<u32>;

@compute @workgroup_size(WG)
fn table(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let col = params.begin + group_index(group) * WG + lane;
    if (col < params.end) {
        weights[col] = select(0u, class_weight[params.class_weight.offset + col], in_class_mask(col));
    }
}
