// One label of one row with everything that belongs to it: target, mask, weight, threshold.
// provides: mask (binding 4), sides (binding 5), Element, element, shares, row_phase, row_coefficient, row_weight
// expects:  params, PACK, finite, is_nan

@group(0) @binding(4) var<storage, read_write> mask: array<u32>;
@group(0) @binding(5) var<storage, read_write> sides: array<u32>;

struct Element {
    logit: f32,       // finite, or +-HUGE for an infinite one
    label: f32,       // the target, or the other logit
    weight: f32,      // of the class
    threshold: f32,
    counts: bool,     // false: masked out, takes part in nothing
    bad: bool,        // a NaN makes the row's loss and gradient NaN
}

// How far into its first gradient word the row begins.
fn row_phase(row: u32) -> u32 {
    return (params.grad_offset + row * params.grad_stride) & (PACK - 1u);
}

fn element(row: u32, col: u32, logit: u32, label: u32) -> Element {
    var e = Element(finite(logit), finite(label), 1.0, 0.0, true, false);
    var bad = is_nan(logit) || is_nan(label);
    if (params.class_mask != ABSENT) {
        let i = params.class_mask + col;
        e.counts = ((sides[i / 4u] >> ((i & 3u) * 8u)) & 0xffu) != 0u;
    }
    if (params.mask_offset != ABSENT) {
        let i = params.mask_offset + row * params.mask_stride + col;
        e.counts = e.counts && ((mask[i / 4u] >> ((i & 3u) * 8u)) & 0xffu) != 0u;
    }
    if (params.class_weight != ABSENT) {
        let weight = sides[params.class_weight + col];
        bad = bad || is_nan(weight);
        e.weight = finite(weight);
    }
    if (params.threshold != ABSENT) {
        let i = (params.first_row + row) * params.threshold_row + col * params.threshold_col;
        let threshold = sides[params.threshold + i];
        bad = bad || is_nan(threshold);
        e.threshold = finite(threshold);
    }
    e.bad = e.counts && bad;
    return e;
}

// How much a soft label counts as a positive and as a negative, after smoothing.
fn shares(e: Element) -> vec2<f32> {
    let keep = 1.0 - params.smoothing;
    let half_eps = 0.5 * params.smoothing;
    return vec2<f32>(keep * e.label + half_eps, keep * (1.0 - e.label) + half_eps);
}

// Weight of the row's loss.
fn row_weight(row: u32) -> f32 {
    if (params.sample_weight == ABSENT) {
        return 1.0;
    }
    return bitcast<f32>(sides[params.sample_weight + params.first_row + row]);
}

// What the gradient of the row's own loss is multiplied by: reduction, weight, upstream gradient.
fn row_coefficient(row: u32) -> f32 {
    var upstream = 1.0;
    if (params.grad_loss != ABSENT) {
        upstream = bitcast<f32>(sides[params.grad_loss + (params.first_row + row) * params.grad_loss_row]);
    }
    return params.scale * upstream * row_weight(row);
}
