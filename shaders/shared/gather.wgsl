// Copies small side tensors into scratch: where they lie in several buffers, so that one binding reaches them all; and
// those by label as tables of vectors that begin where a row's do, one table for each phase of a row.
// Grid: (workgroups, tensors). Mirrors: `GatherPiece` in src/kernels/rows/params.rs.
// provides: gather
// expects:  WG, MASKED, flag

struct Piece {
    at: u32,             // of its first element in its binding; ABSENT for weights of 1
    mask_at: u32,        // weights: the byte of the class mask's first, or ABSENT
    len: u32,
    destination: u32,
    groups: u32,
    kind: u32,           // 0: a plain copy, 1: tables
    phases: u32,         // tables
    stride: u32,         // vectors from one to the next
}

struct GatherParams {
    pieces: array<Piece, 4>,
}

@group(0) @binding(0) var<uniform> params: GatherParams;
@group(0) @binding(1) var<storage, read_write> class_mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> class_weight: array<u32>;
@group(0) @binding(3) var<storage, read_write> threshold: array<u32>;
@group(0) @binding(4) var<storage, read_write> sample_weight: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad_loss: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;

const ABSENT = 0xffffffffu;

// A weight's bit pattern, MASKED where the class mask takes the label out.
fn weight_at(piece: Piece, i: u32) -> u32 {
    var bits = 0x3f800000u;
    if (piece.at != ABSENT) {
        bits = class_weight[piece.at + i];
    }
    // MASKED is a NaN's pattern too; all others become one.
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        bits = 0x7fc00000u;
    }
    if (piece.mask_at != ABSENT) {
        let byte = piece.mask_at + i;
        if (!flag(class_mask[byte / 4u], byte)) {
            bits = MASKED;
        }
    }
    return bits;
}

fn word_at(number: u32, piece: Piece, i: u32) -> u32 {
    switch number {
        case 0u: {
            return weight_at(piece, i);
        }
        case 1u: {
            return threshold[piece.at + i];
        }
        case 2u: {
            return sample_weight[piece.at + i];
        }
        default: {
            return grad_loss[piece.at + i];
        }
    }
}

@compute @workgroup_size(WG)
fn gather(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let piece = params.pieces[group.y];
    var words = piece.len;
    if (piece.kind == 1u) {
        words = piece.phases * piece.stride * 4u;
    }
    for (var i = group.x * WG + lane; i < words; i += piece.groups * WG) {
        var element = i;
        if (piece.kind == 1u) {
            element = i % (piece.stride * 4u) - i / (piece.stride * 4u);
        }
        var word = 0u;
        if (element < piece.len) {
            word = word_at(group.y, piece, element);
        }
        scratch[piece.destination + i] = word;
    }
}
