// SPLC, label by label: the focal side at s - margin of a positive, sigma(s)^gamma softplus(s) of a negative, and that of a
// positive without the margin of one whose logit is above the threshold.
// provides: Settings, label_sides
// expects:  math, Labels, label

struct Settings {
    margin: f32,
    gamma: f32,
    threshold: f32,        // as a logit
}

fn label_sides(e: Labels) -> LabelSides {
    let gamma = params.own.gamma;
    let pos = margin_side(gamma, params.own.margin, e.logit);
    let missed = e.logit > vec4<f32>(params.own.threshold);
    let neg = focal_side(gamma, gamma, select(-e.logit, e.logit, missed));
    return LabelSides(pos.loss, pos.slope, neg.loss, select(-neg.slope, neg.slope, missed));
}
