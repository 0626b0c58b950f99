// Sparse targets: the positives of row r are indices[offsets[r] .. offsets[r + 1]], in any order, repeats allowed,
// indices beyond the last label ignored. Negatives are summed directly, never as a difference, so a lane must know
// for each label whether it is positive: the row's positives are scattered into bits in workgroup memory, one tile of
// labels at a time.
// provides: targets (binding 2, the offsets), indices (binding 3), targets_stage, target_bits, target_scan
// expects:  params, WG, BIT_WORDS, PACK, row_phase

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;

var<workgroup> wg_bits: array<atomic<u32>, BIT_WORDS>;
// The first column of the tile that is staged, counted from the row's first gradient word.
var<private> staged_from: u32;

// The row's part of `indices`, kept inside the tensor whatever the offsets say.
fn positives(row: u32) -> vec2<u32> {
    let start = min(targets[params.views.targets_offset + row], params.views.indices_len);
    let to = min(targets[params.views.targets_offset + row + 1u], params.views.indices_len);
    return vec2<u32>(start, max(start, to));
}

// Stages the tile of labels that begins at item `item`. All lanes of the workgroup must call it.
fn targets_stage(row: u32, live: bool, lane: u32, item: u32) {
    let words = (BIT_WORDS / WG) << params.grid.shift;
    let own = lane & (params.grid.width - 1u);
    let first = ((lane >> params.grid.shift)) * words;
    staged_from = item * params.grid.width * PACK;
    // Other lanes may still be reading the tile before.
    workgroupBarrier();
    for (var w = own; w < words; w += params.grid.width) {
        atomicStore(&wg_bits[first + w], 0u);
    }
    // Every word is clear before the first bit is set.
    workgroupBarrier();
    if (live) {
        let phase = row_phase(row);
        let range = positives(row);
        for (var i = range.x + own; i < range.y; i += params.grid.width) {
            let col = indices[params.views.indices_offset + i];
            let bit = col + phase - staged_from;
            if (col < params.window.cols && bit < words * 32u) {
                atomicOr(&wg_bits[first + bit / 32u], 1u << (bit & 31u));
            }
        }
    }
    // Every bit is set before the first is read.
    workgroupBarrier();
}

// The f32 bit pattern of the target of label `col`, which lies in the staged tile.
fn target_bits(row: u32, lane: u32, col: u32) -> u32 {
    let words = (BIT_WORDS / WG) << params.grid.shift;
    let bit = col + row_phase(row) - staged_from;
    let word = atomicLoad(&wg_bits[((lane >> params.grid.shift)) * words + bit / 32u]);
    return select(0u, 0x3f800000u, ((word >> (bit & 31u)) & 1u) != 0u);
}

// The same outside a staged sweep: looks through the row's positives.
fn target_scan(row: u32, col: u32) -> u32 {
    let range = positives(row);
    var found = 0u;
    for (var i = range.x; i < range.y; i++) {
        if (indices[params.views.indices_offset + i] == col) {
            found = 0x3f800000u;
        }
    }
    return found;
}
