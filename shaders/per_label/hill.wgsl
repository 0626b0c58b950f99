// Hill loss, label by label: the focal side at s - margin of a positive, (lambda - p) p^2 of a negative, p = sigma(s).
// provides: Settings, label_sides
// expects:  math, Labels, label

struct Settings {
    lambda: f32,
    margin: f32,
    gamma: f32,
}

fn label_sides(e: Labels) -> LabelSides {
    let pos = margin_side(params.own.gamma, params.own.margin, e.logit);
    let p = sigmoid4(e.logit);
    let lambda = params.own.lambda;
    // Twice the largest number is none.
    let half = p * sigmoid4(-e.logit) * p * (lambda - 1.5 * p);
    return LabelSides(pos.loss, pos.slope, (lambda - p) * p * p, 2.0 * half);
}
