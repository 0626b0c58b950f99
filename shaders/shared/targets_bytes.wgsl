// Targets in bytes, 0 or 1, wherever they begin.
// provides: targets (binding 2), target_base, target4
// expects:  params, bytes, flags

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_base(row: u32, phase: u32) -> u32 {
    return params.views.targets_offset + row * params.views.targets_stride - phase;
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    let at = window_at(base, q);
    let word = window_of(targets[at - 1u], targets[at], base);
    return flags(bytes_of(word));
}
