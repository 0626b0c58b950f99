// The weights of a strip's labels after a step against their gradients, which are nowhere stored but here.
//
// Grid: a workgroup for each label, folded.
// Mirrors: `UpdateParams` in src/kernels/linear/table.rs, which says what each field is.
// provides: UpdateParams, params (binding 0), sums (binding 1), slope_of, update
// expects:  WG, View, group_index, step_size, words_of_row, store_word

struct UpdateParams {
    weights: View,
    rows: u32,
    cols: u32,
    groups_x: u32,
    row_stride: u32,
    first: u32,
    rate: f32,
    epsilon: f32,
    state_at: u32,
    seed_low: u32,
    seed_high: u32,
}

@group(0) @binding(0) var<uniform> params: UpdateParams;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

fn slope_of(row: u32, col: u32) -> f32 {
    return sums[row * params.row_stride + col];
}

@compute @workgroup_size(WG)
fn update(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group_index(group);
    if (row >= params.rows) {
        return;
    }
    let size = step_size(row, lane, group);
    for (var word = lane; word < words_of_row(); word += WG) {
        store_word(row, word, size);
    }
}
