// Targets in bits: label l of a row is bit l % 32 of its word l / 32. Every row's first vector begins with its first label.
// provides: targets (binding 2), target_base, target4
// expects:  params, flags

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_base(row: u32, phase: u32) -> u32 {
    return params.views.targets_offset + row * params.views.targets_stride;
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    let bits = targets[base + q / 8u] >> ((q & 7u) * 4u);
    return flags((vec4<u32>(bits) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>(0u));
}
