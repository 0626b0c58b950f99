// Copies small side tensors that lie in several buffers into scratch, where one binding reaches them all.
// Grid: (workgroups, tensors). Mirrors: `GatherPiece` in src/kernels/rows/plan.rs.
// provides: gather
// expects:  WG

struct Piece {
    source: u32,     // in bytes
    words: u32,
    destination: u32,
    groups: u32,
}

struct GatherParams {
    pieces: array<Piece, 5>,
}

@group(0) @binding(0) var<uniform> params: GatherParams;
@group(0) @binding(1) var<storage, read_write> piece0: array<u32>;
@group(0) @binding(2) var<storage, read_write> piece1: array<u32>;
@group(0) @binding(3) var<storage, read_write> piece2: array<u32>;
@group(0) @binding(4) var<storage, read_write> piece3: array<u32>;
@group(0) @binding(5) var<storage, read_write> piece4: array<u32>;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;

fn word_at(piece: u32, i: u32) -> u32 {
    switch piece {
        case 0u: {
            return piece0[i];
        }
        case 1u: {
            return piece1[i];
        }
        case 2u: {
            return piece2[i];
        }
        case 3u: {
            return piece3[i];
        }
        default: {
            return piece4[i];
        }
    }
}

@compute @workgroup_size(WG)
fn gather(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let piece = params.pieces[group.y];
    let shift = (piece.source & 3u) * 8u;
    for (var i = group.x * WG + lane; i < piece.words; i += piece.groups * WG) {
        // A tensor of bytes may begin inside a word.
        let start = piece.source / 4u + i;
        var word = word_at(group.y, start);
        if (shift != 0u) {
            word = (word >> shift) | (word_at(group.y, start + 1u) << (32u - shift));
        }
        scratch[piece.destination + i] = word;
    }
}
