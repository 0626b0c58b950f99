// Weights of labels for MulSupCon, brought to where the kernels of pairs find them, and the weight of each anchor's set.
//
// `weigh_labels` writes them behind the numbers of keys with each label, zeros behind the last; `weigh_sets` behind these.
// Grid: one lane a label; one lane an anchor; both folded.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, label_weight (binding 1), sets (binding 3), small (binding 5)
// expects:  params, WG

@group(0) @binding(1) var<storage, read_write> label_weight: array<u32>;
@group(0) @binding(3) var<storage, read_write> sets: array<u32>;
@group(0) @binding(5) var<storage, read_write> small: array<u32>;

@compute @workgroup_size(WG)
fn weigh_labels(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let label = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (label >= 32u * params.row.words) {
        return;
    }
    var bits = 0u;
    if (label < params.source.labels) {
        bits = label_weight[params.source.offset + label];
    }
    small[params.record.counts + 32u * params.row.words + label] = bits;
}

@compute @workgroup_size(WG)
fn weigh_sets(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = (group.y * params.grid.groups_x + group.x) * WG + lane;
    if (row >= params.own.rows) {
        return;
    }
    let weights = params.record.counts + 32u * params.row.words;
    var sum = 0.0;
    for (var w = 0u; w < params.row.words; w++) {
        var bits = sets[4u * (params.own.sets + w * params.own.stride) + row];
        // A word's weights are added up by themselves: sets of many labels lose fewer digits.
        var some = 0.0;
        while (bits != 0u) {
            some += bitcast<f32>(small[weights + 32u * w + firstTrailingBit(bits)]);
            bits &= bits - 1u;
        }
        sum += some;
    }
    small[weights + 32u * params.row.words + params.own.first + row] = bitcast<u32>(sum);
}
