// A flag for each element, where there is a mask by element.
// provides: mask (binding 3), in_mask
// expects:  params with a view of the mask, flag

@group(0) @binding(3) var<storage, read_write> mask: array<u32>;

fn in_mask(row: u32, col: u32) -> bool {
    if (params.mask.present == 0u) {
        return true;
    }
    let at = params.mask.offset + row * params.mask.stride + col;
    return flag(mask[at / 4u], at);
}
