// Which classes of a row are positive and which count, as bits, and how many count of each 32. A class that does not
// count is positive only where its target is a plain 1: what it holds else is not looked at.
//
// Grid: blocks of words `begin` to `end` of a window, those of one row after those of another; folded.
// provides: mark, sample_weight (binding 4), marks (binding 6), counted (binding 7)
// expects:  WG, group_index, params of mcm/counts.wgsl, in_class_mask, in_mask, positive, is_one

@group(0) @binding(4) var<storage, read_write> sample_weight: array<u32>;
@group(0) @binding(6) var<storage, read_write> marks: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read_write> counted: array<u32>;

@compute @workgroup_size(WG)
fn mark(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let element = params.begin + group_index(group) * WG + lane;
    if (element >= params.end) {
        return;
    }
    let row = element / params.words;
    let first = 32u * (element % params.words);
    let end = min(first + 32u, params.cols);
    // A weight of 0, of either sign, takes the row out.
    var in_row = true;
    if (params.sample_weight.present != 0u) {
        in_row = (sample_weight[params.sample_weight.offset + params.first_row + row] & 0x7fffffffu) != 0u;
    }
    var positives = 0u;
    var counting = 0u;
    for (var col = first; col < end; col++) {
        let counts = in_row && in_class_mask(col) && in_mask(row, col);
        var is_positive = false;
        if (counts) {
            is_positive = positive(row, col);
        } else {
            is_positive = is_one(row, col);
        }
        positives |= u32(is_positive) << (col - first);
        counting |= u32(counts) << (col - first);
    }
    marks[element] = vec2<u32>(positives, counting);
    counted[element] = bitcast<u32>(f32(countOneBits(counting)));
}
