// Hill loss, label by label: the focal side at s - margin of a positive, (lambda - p) p^2 of a negative, p = sigma(s).
// provides: Settings, label_sides
// expects:  math, element, label

struct Settings {
    lambda: f32,
    margin: f32,
    gamma: f32,
}

fn label_sides(e: Element) -> LabelSides {
    let pos = focal_side(params.own.gamma, e.logit - params.own.margin);
    let p = sigmoid(e.logit);
    let lambda = params.own.lambda;
    return LabelSides(pos.x, pos.y, (lambda - p) * p * p, p * sigmoid(-e.logit) * p * (2.0 * lambda - 3.0 * p));
}
