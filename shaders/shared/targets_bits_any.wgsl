// Targets in bits, as targets_bits.wgsl; a row's first vector may begin before its first label.
// provides: targets (binding 2), target_base, target4
// expects:  params, flags

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_base(row: u32, phase: u32) -> u32 {
    return params.views.targets_offset + row * params.views.targets_stride;
}

// Four targets, which may lie in two words.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    let first = 32u + 4u * q - phase;
    let at = base + first / 32u;
    let shift = first & 31u;
    let low = targets[at - 1u] >> shift;
    let bits = select(low, low | (targets[at] << (32u - shift)), shift > 28u);
    return flags((vec4<u32>(bits) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>(0u));
}
