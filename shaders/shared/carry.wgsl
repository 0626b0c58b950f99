// Accumulators of rows between the call's own memory and the caller's tensor, word by word: some words are whole numbers, which
// a float on its way would not leave as they are.
//
// `bring`  from the tensor, where those of a shard lie row by row, to scratch, where those of a row do.
// `leave`  from scratch to the tensor, one for each row.
//
// Grid: a lane for each word, folded.
// Mirrors: `CarryParams` in src/kernels/rows/accumulators.rs, which says what each field is.
// provides: CarryParams, params (binding 0), scratch (binding 6), held (binding 7), bring, leave
// expects:  WG, View, group_index

struct CarryParams {
    held: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    rows: u32,
    words: u32,
    row_stride: u32,
    place: u32,
    shards: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: CarryParams;
@group(0) @binding(6) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(7) var<storage, read_write> held: array<u32>;

// The word's number, of all of this dispatch and those before.
fn number(lane: u32, group: vec3<u32>) -> u32 {
    return params.begin + group_index(group) * WG + lane;
}

@compute @workgroup_size(WG)
fn bring(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = number(lane, group);
    if (i >= params.end) {
        return;
    }
    let word = i % params.words;
    let row = i / params.words % params.rows;
    let shard = i / params.words / params.rows;
    let place = (row * params.shards + params.first + shard) * params.words + word;
    scratch[params.place + place] = held[params.held.offset + shard * params.held.stride + row * params.row_stride + word];
}

@compute @workgroup_size(WG)
fn leave(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let i = number(lane, group);
    if (i >= params.end) {
        return;
    }
    held[params.held.offset + i / params.words * params.held.stride + i % params.words] = scratch[params.place + i];
}
