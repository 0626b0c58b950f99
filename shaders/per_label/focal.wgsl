// Focal loss, label by label: alpha sigma(-s)^gamma softplus(-s) of a positive, (1 - alpha) sigma(s)^gamma softplus(s) of
// a negative. params.first = gamma, params.second = alpha.
// provides: label_sides
// expects:  math, element, label

fn label_sides(e: Element) -> LabelSides {
    let pos = params.second * focal_side(params.first, e.logit);
    let neg = (1.0 - params.second) * focal_side(params.first, -e.logit);
    return LabelSides(pos.x, pos.y, neg.x, -neg.y);
}
