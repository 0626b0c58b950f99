// The parameters of the kernels that say which classes count, and for how much.
// Mirrors: `CountParams` in src/kernels/mcm/counts.rs, which says what each field is.
// provides: CountParams, params (binding 0)
// expects:  View

struct CountParams {
    targets: View,
    mask: View,
    class_mask: View,
    sample_weight: View,
    class_weight: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    words: u32,
    first_row: u32,
    row_mean: u32,
    nan: u32,
    infinity: u32,
}

@group(0) @binding(0) var<uniform> params: CountParams;
