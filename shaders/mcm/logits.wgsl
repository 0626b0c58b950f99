// The parameters and the logits of the max constraint module.
// Mirrors: `McmParams` in src/kernels/mcm/table.rs, which says what each field is.
// provides: McmParams, params (binding 0), logits (binding 1), logit_bits
// expects:  reals, View

struct McmParams {
    logits: View,
    targets: View,
    probabilities: View,
    sides: View,
    grad: View,
    begin: u32,
    end: u32,
    groups_x: u32,
    cols: u32,
    first_row: u32,
    leaves_at: u32,
    classes_at: u32,
    starts_at: u32,
    entries_at: u32,
    steps: u32,
    first_step: u32,
    step_count: u32,
    want_terms: u32,
    want_wins: u32,
    scale: f32,
    nan: u32,
    infinity: u32,
    weights_at: u32,
    total_at: u32,
}

@group(0) @binding(0) var<uniform> params: McmParams;
@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn logit_bits(row: u32, col: u32) -> u32 {
    let i = params.logits.offset + row * params.logits.stride + col;
    return real_bits(params.logits.kind, logits[real_place(params.logits.kind, i)], i);
}
