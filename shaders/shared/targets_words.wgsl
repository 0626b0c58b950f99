// Targets in bytes, 0 or 1, that begin where the logits do: a word for four labels.
// provides: targets (binding 2), target_base, target4
// expects:  params, bytes, flags

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_base(row: u32, phase: u32) -> u32 {
    return bytes_base(params.views.targets_offset + row * params.views.targets_stride - phase);
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    return flags(bytes_of(targets[base + q]));
}
