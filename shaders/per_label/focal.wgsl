// Focal loss, label by label: alpha sigma(-s)^gamma softplus(-s) of a positive, (1 - alpha) sigma(s)^gamma softplus(s) of
// a negative.
// provides: Settings, label_sides
// expects:  math, element, label

struct Settings {
    gamma: f32,
    alpha: f32,
}

fn label_sides(e: Element) -> LabelSides {
    let pos = params.own.alpha * focal_side(params.own.gamma, e.logit);
    let neg = (1.0 - params.own.alpha) * focal_side(params.own.gamma, -e.logit);
    return LabelSides(pos.x, pos.y, neg.x, -neg.y);
}
