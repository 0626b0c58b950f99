// A mask in bytes, wherever it begins.
// provides: mask (binding 4), mask_base, mask4
// expects:  params, bytes

@group(0) @binding(4) var<storage, read_write> mask: array<u32>;

fn mask_base(row: u32, phase: u32) -> u32 {
    return params.views.mask_offset + row * params.views.mask_stride - phase;
}

fn mask4(base: u32, q: u32) -> vec4<bool> {
    let at = window_at(base, q);
    return bytes_of(window_of(mask[at - 1u], mask[at], base));
}
