// A bit for each class.
// provides: targets (binding 2), positive
// expects:  params of mcm/logits.wgsl

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn positive(row: u32, col: u32) -> bool {
    let at = params.targets.offset + row * params.targets.stride;
    return ((targets[at + col / 32u] >> (col % 32u)) & 1u) != 0u;
}
