// Hill loss, label by label: the focal side at s - margin of a positive, (lambda - p) p^2 of a negative, p = sigma(s).
// params.first = lambda, params.second = margin, params.third = gamma.
// provides: label_sides
// expects:  math, element, label

fn label_sides(e: Element) -> LabelSides {
    let pos = focal_side(params.third, e.logit - params.second);
    let p = sigmoid(e.logit);
    let lambda = params.first;
    return LabelSides(pos.x, pos.y, (lambda - p) * p * p, p * sigmoid(-e.logit) * p * (2.0 * lambda - 3.0 * p));
}
