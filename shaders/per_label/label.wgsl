// Losses that mix a positive and a negative term by the target: y positive + (1 - y) negative, y after smoothing.
// provides: LabelSides, label_loss, label_grad, focal_side, bce_sides
// expects:  math, element, and from the loss: label_sides(Element) -> LabelSides

struct LabelSides {
    pos: f32,         // the loss if the label is there
    pos_slope: f32,   // its slope over the logit
    neg: f32,         // the loss if it is not
    neg_slope: f32,
}

// A term of weight 0 is left out, so that an infinite logit on the right side costs nothing.
fn label_loss(e: Element) -> f32 {
    let y = shares(e);
    let sides = label_sides(e);
    let loss = select(0.0, y.x * sides.pos, y.x != 0.0) + select(0.0, y.y * sides.neg, y.y != 0.0);
    // Some share of HUGE is infinite too.
    return select(loss, HUGE, abs(e.logit) >= HUGE && loss > 1e30);
}

fn label_grad(e: Element) -> vec2<f32> {
    let y = shares(e);
    let sides = label_sides(e);
    return vec2<f32>(y.x * sides.pos_slope + y.y * sides.neg_slope, (1.0 - params.general.smoothing) * (sides.pos - sides.neg));
}

// sigma(-z)^gamma softplus(-z) and its slope over z. The power is taken in log space, log sigma(-z) = -softplus(z), so
// that neither end gives a NaN.
fn focal_side(gamma: f32, z: f32) -> vec2<f32> {
    let power = exp(max(-gamma * softplus(z), -110.0));
    let cost = softplus(-z);
    return power * vec2<f32>(cost, -gamma * sigmoid(z) * cost - sigmoid(-z));
}

// The binary cross-entropy with logits: w softplus(-s) of a positive, softplus(s) of a negative.
fn bce_sides(w: f32, s: f32) -> LabelSides {
    return LabelSides(w * softplus(-s), -w * sigmoid(-s), softplus(s), sigmoid(s));
}
