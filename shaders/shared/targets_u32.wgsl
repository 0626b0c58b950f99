// Targets in words, any but 0 true, that begin where the logits do.
// provides: targets (binding 2), target_base, target4
// expects:  params, flags

@group(0) @binding(2) var<storage, read_write> targets: array<vec4<u32>>;

fn target_base(row: u32, phase: u32) -> u32 {
    return (params.views.targets_offset + row * params.views.targets_stride - phase + 4u) / 4u - 1u;
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    return flags(targets[base + q] != vec4<u32>(0u));
}
