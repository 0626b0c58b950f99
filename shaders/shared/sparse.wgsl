// Sparse targets as bits: the positives of row r are indices[offsets[r] .. offsets[r + 1]], in any order, repeats allowed,
// indices beyond the last label ignored. Where labels come in tiles, the bits are those of `cols` labels from `first` on. Negatives are summed directly, never as a difference, so a row kernel must know
// for each label whether it is positive.
//
// `clear`    sets every word of a window's rows to 0.
// `mark`     sets the positives' bits: `width` lanes a row.
//
// Grid: `clear` a lane for each four words, `mark` WG / width rows a group, both folded over x and y.
// Invariants: bits are set by integer atomics, whose order does not matter.
// Mirrors: `SparseParams` in src/kernels/sparse.rs.
// provides: params (binding 0), offsets (binding 2), indices (binding 3), bits (binding 6), clear, mark
// expects:  WG

struct SparseParams {
    rows: u32,
    cols: u32,
    words: u32,             // of a row
    width: u32,             // lanes of a row
    groups_x: u32,
    offsets_offset: u32,
    indices_offset: u32,
    indices_len: u32,
    first: u32,             // label
}

@group(0) @binding(0) var<uniform> params: SparseParams;
@group(0) @binding(2) var<storage, read_write> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;
@group(0) @binding(6) var<storage, read_write> bits: array<atomic<u32>>;

@compute @workgroup_size(WG)
fn clear(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let number = id.x + id.y * params.groups_x;
    for (var i = 0u; i < 4u; i++) {
        let word = (number * 4u + i) * WG + lane;
        if (word < params.rows * params.words) {
            atomicStore(&bits[word], 0u);
        }
    }
}

@compute @workgroup_size(WG)
fn mark(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let row = (id.x + id.y * params.groups_x) * (WG / params.width) + lane / params.width;
    if (row >= params.rows) {
        return;
    }
    // The row's part of `indices`, kept inside the tensor whatever the offsets say.
    let start = min(offsets[params.offsets_offset + row], params.indices_len);
    let end = min(offsets[params.offsets_offset + row + 1u], params.indices_len);
    for (var i = start + lane % params.width; i < end; i += params.width) {
        // Before the first this wraps to a large number.
        let col = indices[params.indices_offset + i] - params.first;
        if (col < params.cols) {
            atomicOr(&bits[row * params.words + col / 32u], 1u << (col & 31u));
        }
    }
}
