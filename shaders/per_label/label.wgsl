// Losses that mix a positive and a negative term by the target: y positive + (1 - y) negative, y after smoothing.
// provides: LabelSides, label_loss, label_slopes, FocalSide, focal_side, margin_side, bce_sides
// expects:  math, Labels, Grads, and from the loss: label_sides(Labels) -> LabelSides

struct LabelSides {
    pos: vec4<f32>,         // the loss if the label is there
    pos_slope: vec4<f32>,   // its slope over the logit
    neg: vec4<f32>,         // the loss if it is not
    neg_slope: vec4<f32>,
}

// A term of weight 0 is left out, so that an infinite logit on the right side costs nothing.
fn label_loss(e: Labels) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let y = shares(e);
    let sides = label_sides(e);
    let loss = select(none, y.pos * sides.pos, y.pos != none) + select(none, y.neg * sides.neg, y.neg != none);
    // Some share of HUGE is infinite too.
    return select(loss, vec4<f32>(HUGE), (abs(e.logit) >= vec4<f32>(HUGE)) & (loss > vec4<f32>(1e30)));
}

fn label_slopes(e: Labels) -> Grads {
    let y = shares(e);
    let sides = label_sides(e);
    let apart = sides.pos - sides.neg;
    // As above.
    let infinite = (abs(e.logit) >= vec4<f32>(HUGE)) & (abs(apart) > vec4<f32>(1e30));
    return Grads(
        y.pos * sides.pos_slope + y.neg * sides.neg_slope,
        (1.0 - params.general.smoothing) * select(apart, sign(apart) * HUGE, infinite),
    );
}

// sigma(-z)^gamma softplus(-z) and its slope over z. The power is taken in log space, log sigma(-z) = -softplus(z), so
// that neither end gives a NaN. `slope_gamma` is what the exponent is to the slope: 0 where the power is held constant.
struct FocalSide {
    loss: vec4<f32>,
    slope: vec4<f32>,
}

fn focal_side(gamma: f32, slope_gamma: f32, z: vec4<f32>) -> FocalSide {
    let power = exp(max(-gamma * softplus4(z), vec4<f32>(-110.0)));
    let cost = softplus4(-z);
    return FocalSide(power * cost, power * (-slope_gamma * sigmoid4(z) * cost - sigmoid4(-z)));
}

// The focal side at s - margin, which stays finite: an infinity would meet a 0. No margin makes an infinite logit finite.
fn margin_side(gamma: f32, margin: f32, s: vec4<f32>) -> FocalSide {
    let less = max(s - margin, vec4<f32>(LOWEST));
    return focal_side(gamma, gamma, select(less, s, s >= vec4<f32>(HUGE)));
}

// The binary cross-entropy with logits: w softplus(-s) of a positive, softplus(s) of a negative.
fn bce_sides(w: vec4<f32>, s: vec4<f32>) -> LabelSides {
    return LabelSides(w * softplus4(-s), -w * sigmoid4(-s), softplus4(s), sigmoid4(s));
}
