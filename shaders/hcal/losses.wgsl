// The loss of each level, from those of its vectors. Grid: a workgroup a level, folded.
// provides: level_losses, state (binding 6, records of record.wgsl too), result (binding 7)
// expects:  WG, NONE, record with the fields RECORD_, math, params of hcal/params.wgsl, group_index,
//           Lane, Group, group_sum of lanes_tree.wgsl, nested, count_of and balanced

@group(0) @binding(6) var<storage, read_write> state: array<u32>;
@group(0) @binding(7) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(WG)
fn level_losses(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let n = params.slots;
    let level = group_index(group);
    if (level >= params.end) {
        return;
    }
    let at = params.records + level * RECORD_WORDS * n;
    // The sum and the number.
    var sum = nested_none();
    for (var i = lane; i < n; i += WG) {
        let labelled = state[record(at, RECORD_CLASS, i)] != NONE;
        if (select(state[record(at, RECORD_FIRST, i)] == i, labelled, level == 0u)) {
            let loss = bitcast<f32>(state[record(at, RECORD_LOSS, i)]);
            sum = nested_add(sum, vec4<f32>(loss, 1.0, 0.0, 0.0));
        }
    }
    let both = group_sum(Lane(lane), Group(group), nested_sums(sum).xy);
    if (lane == 0u) {
        let count = count_of(level, both.y);
        let bits = bitcast<u32>(both.x / max(count, 1.0));
        let loss = select(bits, params.nan, is_nan(bits));
        state[params.places.losses + level] = balanced(level, loss);
        state[params.places.losses + params.levels + level] = u32(count);
        if (params.result.present != 0u) {
            result[params.result.offset + level] = loss;
        }
    }
}
