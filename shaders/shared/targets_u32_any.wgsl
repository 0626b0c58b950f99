// Targets in words, any but 0 true, wherever they begin.
// provides: targets (binding 2), target_base, target4
// expects:  params, flags

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_base(row: u32, phase: u32) -> u32 {
    return params.views.targets_offset + row * params.views.targets_stride - phase;
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    let i = base + 4u * q;
    return flags(vec4<u32>(targets[i], targets[i + 1u], targets[i + 2u], targets[i + 3u]) != vec4<u32>(0u));
}
