// A flag for each class, where there is a mask by class.
// provides: class_mask (binding 1), in_class_mask
// expects:  params with a view of the mask, flag

@group(0) @binding(1) var<storage, read_write> class_mask: array<u32>;

fn in_class_mask(col: u32) -> bool {
    if (params.class_mask.present == 0u) {
        return true;
    }
    let at = params.class_mask.offset + col;
    return flag(class_mask[at / 4u], at);
}
