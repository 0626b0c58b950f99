// Targets (or the other logits of the KL forms) of 16 bits, wherever they begin.
// provides: targets (binding 2), target_base, target4
// expects:  params, target_wide, reals

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn target_at(i: u32) -> u32 {
    let both = target_wide(vec2<u32>(targets[i / 2u], 0u));
    return select(both.x, both.y, (i & 1u) != 0u);
}

fn target_base(row: u32, phase: u32) -> u32 {
    return params.views.targets_offset + row * params.views.targets_stride - phase;
}

// Four targets.
fn target4(base: u32, phase: u32, q: u32) -> Target {
    let i = base + 4u * q;
    return reals(vec4<u32>(target_at(i), target_at(i + 1u), target_at(i + 2u), target_at(i + 3u)));
}
