// Focal loss, label by label: alpha_pos sigma(-s)^gamma softplus(-s) of a positive, alpha_neg sigma(s)^gamma softplus(s) of
// a negative.
// provides: Settings, Alphas, label_sides
// expects:  math, Labels, label, alphas

struct Settings {
    gamma: f32,
    slope_gamma: f32,      // gamma, or 0 where the powers are constants to the gradient
    alpha_pos: f32,
    alpha_neg: f32,
}

// Weights of the positive and of the negative side.
struct Alphas {
    pos: vec4<f32>,
    neg: vec4<f32>,
}

fn label_sides(e: Labels) -> LabelSides {
    let pos = focal_side(params.own.gamma, params.own.slope_gamma, e.logit);
    let neg = focal_side(params.own.gamma, params.own.slope_gamma, -e.logit);
    let a = alphas(e);
    return LabelSides(a.pos * pos.loss, a.pos * pos.slope, a.neg * neg.loss, -a.neg * neg.slope);
}
