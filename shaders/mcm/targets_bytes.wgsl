// A byte for each class.
// provides: targets (binding 2), positive
// expects:  params of mcm/logits.wgsl

@group(0) @binding(2) var<storage, read_write> targets: array<u32>;

fn positive(row: u32, col: u32) -> bool {
    let at = params.targets.offset + row * params.targets.stride + col;
    return ((targets[at / 4u] >> ((at & 3u) * 8u)) & 0xffu) != 0u;
}
