// The small tensors beside the logits: masks, row weights, upstream gradient.
// provides: mask (binding 4), sides (binding 5), label_counts, row_weight, row_coefficient
// expects:  params

@group(0) @binding(4) var<storage, read_write> mask: array<u32>;
@group(0) @binding(5) var<storage, read_write> sides: array<u32>;

// Whether neither mask takes the label out.
fn label_counts(row: u32, col: u32) -> bool {
    var counts = true;
    if (params.sides.class_mask != ABSENT) {
        let i = params.sides.class_mask + col;
        counts = ((sides[i / 4u] >> ((i & 3u) * 8u)) & 0xffu) != 0u;
    }
    if (params.views.mask_offset != ABSENT) {
        let i = params.views.mask_offset + row * params.views.mask_stride + col;
        counts = counts && ((mask[i / 4u] >> ((i & 3u) * 8u)) & 0xffu) != 0u;
    }
    return counts;
}

// Weight of the row's loss.
fn row_weight(row: u32) -> f32 {
    if (params.sides.sample_weight == ABSENT) {
        return 1.0;
    }
    return bitcast<f32>(sides[params.sides.sample_weight + params.window.first_row + row]);
}

// What the gradient of the row's own loss is multiplied by: reduction, weight, upstream gradient.
fn row_coefficient(row: u32) -> f32 {
    var upstream = 1.0;
    if (params.sides.grad_loss != ABSENT) {
        upstream = bitcast<f32>(sides[params.sides.grad_loss + (params.window.first_row + row) * params.sides.grad_loss_row]);
    }
    return params.general.scale * upstream * row_weight(row);
}
