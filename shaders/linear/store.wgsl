// Gradients to hidden states, weights and bias, from the sums of their chunks.
// Mirrors: `StoreParams` in src/kernels/linear/table.rs, which says what each field is.
// provides: StoreParams, params (binding 0), sums (binding 1), slope
// expects:  View

struct StoreParams {
    grad: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    at: u32,
    row_stride: u32,
    col_stride: u32,
    chunks: u32,
    chunk_stride: u32,
}

@group(0) @binding(0) var<uniform> params: StoreParams;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

// As bits.
fn slope(row: u32, col: u32) -> u32 {
    var at = params.at + row * params.row_stride + col * params.col_stride;
    var sum = 0.0;
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        sum += sums[at];
        at += params.chunk_stride;
    }
    return bitcast<u32>(sum);
}
