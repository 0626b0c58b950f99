// The factor of a row, which mcm/factors.wgsl has made.
// provides: factors (binding 2), row_factor
// expects:  nothing

@group(0) @binding(2) var<storage, read_write> factors: array<f32>;

// By the row's number in the batch.
fn row_factor(row: u32) -> f32 {
    return factors[row];
}
