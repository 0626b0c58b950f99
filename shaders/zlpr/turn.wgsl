// The classes' view of a batch: logits, targets and weights turned, so that a class's samples are a row. What a mask leaves
// out becomes a logit of -infinity, which is a mask to the losses that are made of it.
//
// Grid: a lane for four samples of a label, neighbouring lanes for neighbouring labels, folded over x and y.
// Mirrors: `TurnParams` in src/kernels/rows/halves.rs.
// provides: params (binding 0), logits (binding 1), class_mask (binding 3), mask (binding 4),
//           sides (binding 5), turned (binding 6), weight (binding 7), turn
// expects:  WG, View, flag, real_place, real_bits of reals.wgsl, positive, no_number of label_*.wgsl

struct TurnParams {
    targets: View,
    rows: u32,
    cols: u32,
    groups_x: u32,
    logits_kind: u32,        // one of the REAL_ kinds
    logits_offset: u32,
    logits_stride: u32,
    class_mask_offset: u32,  // ABSENT where there is none, as all that follow
    mask_offset: u32,
    mask_stride: u32,
    sample_weight_offset: u32,
    weight_kind: u32,
    weight_offset: u32,
    weight_stride: u32,
    turned_targets: u32,     // places in `turned` behind the logits, of targets in words,
    turned_weights: u32,     // of weights in vectors
    turned_stride: u32,      // vectors from label to label
}

const ABSENT = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: TurnParams;
@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(3) var<storage, read_write> class_mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> mask: array<u32>;
@group(0) @binding(5) var<storage, read_write> sides: array<u32>;
@group(0) @binding(6) var<storage, read_write> turned: array<u32>;
@group(0) @binding(7) var<storage, read_write> weight: array<u32>;

fn counts(row: u32, col: u32) -> bool {
    if (params.class_mask_offset != ABSENT) {
        let i = params.class_mask_offset + col;
        if (!flag(class_mask[i / 4u], i)) {
            return false;
        }
    }
    if (params.mask_offset != ABSENT) {
        let i = params.mask_offset + row * params.mask_stride + col;
        if (!flag(mask[i / 4u], i)) {
            return false;
        }
    }
    if (params.sample_weight_offset != ABSENT) {
        return (sides[params.sample_weight_offset + row] & 0x7fffffffu) != 0u;
    }
    return true;
}

@compute @workgroup_size(WG)
fn turn(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let number = (id.x + id.y * params.groups_x) * WG + lane;
    let quads = (params.rows + 3u) / 4u;
    let quad = number / params.cols;
    let col = number % params.cols;
    if (quad >= quads) {
        return;
    }
    var word = 0u;
    let place = (col * params.turned_stride + quad) * 4u;
    for (var i = 0u; i < 4u; i++) {
        let row = quad * 4u + i;
        if (row >= params.rows) {
            break;
        }
        let at = params.logits_offset + row * params.logits_stride + col;
        var bits = real_bits(params.logits_kind, logits[real_place(params.logits_kind, at)], at);
        // A NaN that counts is one of the logit too.
        if (no_number(row, col)) {
            bits = 0x7fc00000u;
        }
        if (!counts(row, col)) {
            bits = 0xff800000u;
        }
        turned[place + i] = bits;
        word |= select(0u, 1u << (8u * i), positive(row, col));
        if (params.weight_offset != ABSENT) {
            let w = params.weight_offset + row * params.weight_stride + col;
            turned[params.turned_weights * 4u + place + i] =
                real_bits(params.weight_kind, weight[real_place(params.weight_kind, w)], w);
        }
    }
    turned[params.turned_targets + col * params.turned_stride + quad] = word;
}
