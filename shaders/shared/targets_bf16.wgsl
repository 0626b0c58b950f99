// Targets (or the other logits of the KL forms) stored as bf16, two to a word.
// provides: targets (binding 2), targets_stage, target_bits, target_scan
// expects:  params

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

// Nothing to prepare: every target can be read where it lies.
fn targets_stage(row: u32, live: bool, lane: u32, item: u32) {
}

// The f32 bit pattern of the target of label `col`.
fn target_bits(row: u32, lane: u32, col: u32) -> u32 {
    return target_scan(row, col);
}

// The same, outside a staged sweep.
fn target_scan(row: u32, col: u32) -> u32 {
    let i = params.views.targets_offset + row * params.views.targets_stride + col;
    return (targets[i / 2u] >> ((i & 1u) * 16u)) << 16u;
}
