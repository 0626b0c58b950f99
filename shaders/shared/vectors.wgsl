// Logits in vectors of 16 bytes; a row's first begins up to STEP - 1 labels before the row.
// provides: phase_of, logits_base, load
// expects:  params, logits, STEP

fn logits_start(row: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride;
}

fn phase_of(row: u32) -> u32 {
    return logits_start(row) & (STEP - 1u);
}

fn logits_base(row: u32, phase: u32) -> u32 {
    return (logits_start(row) - phase) / STEP;
}

// Vector `k` of a row: the bit patterns of STEP labels.
fn load(base: u32, k: u32) -> vec4<u32> {
    return logits[base + k];
}
