// One label of one row with everything that belongs to it: target, mask, weight, threshold.
// provides: Element, element, shares, row_phase
// expects:  params, PACK, finite, is_nan, sides

struct Element {
    row: u32,         // of the window
    col: u32,
    logit: f32,       // finite, or +-HUGE for an infinite one
    label: f32,       // the target, or the other logit
    weight: f32,      // of the class
    threshold: f32,
    counts: bool,     // false: masked out, takes part in nothing
    bad: bool,        // a NaN makes the row's loss and gradient NaN
}

// How far into its first gradient word the row begins.
fn row_phase(row: u32) -> u32 {
    return (params.views.grad_offset + row * params.views.grad_stride) & (PACK - 1u);
}

fn element(row: u32, col: u32, logit: u32, label: u32) -> Element {
    var e = Element(row, col, finite(logit), finite(label), 1.0, 0.0, label_counts(row, col), false);
    var bad = is_nan(logit) || is_nan(label);
    if (params.sides.class_weight != ABSENT) {
        let weight = sides[params.sides.class_weight + col];
        bad = bad || is_nan(weight);
        e.weight = finite(weight);
    }
    if (params.sides.threshold != ABSENT) {
        let i = (params.window.first_row + row) * params.sides.threshold_row + col * params.sides.threshold_col;
        let threshold = sides[params.sides.threshold + i];
        bad = bad || is_nan(threshold);
        e.threshold = finite(threshold);
    }
    e.bad = e.counts && bad;
    return e;
}

// How much a soft label counts as a positive and as a negative, after smoothing.
fn shares(e: Element) -> vec2<f32> {
    let keep = 1.0 - params.general.smoothing;
    let half_eps = 0.5 * params.general.smoothing;
    return vec2<f32>(keep * e.label + half_eps, keep * (1.0 - e.label) + half_eps);
}
