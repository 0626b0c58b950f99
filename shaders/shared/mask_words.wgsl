// A mask in bytes that begins where the logits do: a word for four labels.
// provides: mask (binding 4), mask_base, mask4
// expects:  params, bytes

@group(0) @binding(4) var<storage, read_write> mask: array<u32>;

fn mask_base(row: u32, phase: u32) -> u32 {
    return bytes_base(params.views.mask_offset + row * params.views.mask_stride - phase);
}

fn mask4(base: u32, q: u32) -> vec4<bool> {
    return bytes_of(mask[base + q]);
}
