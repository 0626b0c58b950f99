// Focal loss, label by label: alpha sigma(-s)^gamma softplus(-s) of a positive, (1 - alpha) sigma(s)^gamma softplus(s) of
// a negative.
// provides: Settings, label_sides
// expects:  math, Labels, label

struct Settings {
    gamma: f32,
    alpha: f32,
}

fn label_sides(e: Labels) -> LabelSides {
    let alpha = params.own.alpha;
    let pos = focal_side(params.own.gamma, e.logit);
    let neg = focal_side(params.own.gamma, -e.logit);
    return LabelSides(alpha * pos.loss, alpha * pos.slope, (1.0 - alpha) * neg.loss, (alpha - 1.0) * neg.slope);
}
