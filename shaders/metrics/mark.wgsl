// Which labels of a row are positive and which count, as bits, and how many count; and which rows a mask leaves out. What
// does not count is not looked at.
//
// Grid: blocks of words of bits `begin` to `end` of a window, at least one a row, those of one row after those of another;
// folded. Mirrors: `MarkParams` in src/kernels/metrics.rs, which says what each field is.
// provides: mark, MarkParams, params (binding 0), row_mask (binding 4), state (binding 6), marks (binding 7)
// expects:  WG, MASKED, group_index, the ROW_ constants, View, flag, in_class_mask, in_mask, positive

struct MarkParams {
    targets: View,
    class_mask: View,
    mask: View,
    row_mask: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    units: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: MarkParams;
@group(0) @binding(4) var<storage, read_write> row_mask: array<u32>;
@group(0) @binding(6) var<storage, read_write> state: array<atomic<u32>>;
@group(0) @binding(7) var<storage, read_write> marks: array<vec2<u32>>;

fn in_row_mask(row: u32) -> bool {
    let i = params.row_mask.offset + params.first_row + row;
    return params.row_mask.present == 0u || flag(row_mask[i / 4u], i);
}

@compute @workgroup_size(WG)
fn mark(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let unit = params.begin + group_index(group) * WG + lane;
    if (unit >= params.end) {
        return;
    }
    let row = unit / params.units;
    let first = 32u * (unit % params.units);
    let in_row = in_row_mask(row);
    if (first == 0u && !in_row) {
        atomicStore(&state[row * ROW_WORDS + ROW_LEFT_OUT], MASKED);
    }
    if (first >= params.cols) {
        // A row without labels.
        return;
    }
    var positives = 0u;
    var counting = 0u;
    for (var col = first; col < min(first + 32u, params.cols); col++) {
        if (in_row && in_class_mask(col) && in_mask(row, col)) {
            counting |= 1u << (col - first);
            positives |= u32(positive(row, col)) << (col - first);
        }
    }
    marks[unit] = vec2<u32>(positives, counting);
    atomicAdd(&state[row * ROW_WORDS + ROW_LABELS], countOneBits(counting));
}
