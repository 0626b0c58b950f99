// The tile of gradients turned: a row for each label, four samples to a vector, zeros behind the last sample.
//
// Grid: a lane for four samples of four labels, those of one four of samples after those of another; folded.
// Mirrors: `LinearParams` in src/kernels/linear/table.rs; own rows are samples, other rows labels.
// provides: work (binding 6), sums (binding 7), turn
// expects:  WG, params, Four, turned

@group(0) @binding(6) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> sums: array<vec4<f32>>;

// Four labels of a sample.
fn labels_of(sample: u32, col4: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), work[sample * params.work.stride + col4], sample < params.own.rows);
}

@compute @workgroup_size(WG)
fn turn(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let number = (group.y * params.grid.groups_x + group.x) * WG + lane;
    let fours = (params.other.rows + 3u) / 4u;
    let row4 = number / fours;
    let col4 = number % fours;
    if (row4 >= params.row.depth) {
        return;
    }
    let row = 4u * row4;
    let four = turned(Four(
        labels_of(row, col4),
        labels_of(row + 1u, col4),
        labels_of(row + 2u, col4),
        labels_of(row + 3u, col4),
    ));
    let at = 4u * col4 * params.row.depth + row4;
    sums[at] = four.a;
    sums[at + params.row.depth] = four.b;
    sums[at + 2u * params.row.depth] = four.c;
    sums[at + 3u * params.row.depth] = four.d;
}
