// Binary cross-entropy with logits, label by label: w y softplus(-s) + (1 - y) softplus(s), y the target after
// smoothing, params.first = w (pos_weight).
// provides: label_loss, label_grad
// expects:  math, element

fn smoothed(e: Element) -> vec2<f32> {
    let keep = 1.0 - params.smoothing;
    let half_eps = 0.5 * params.smoothing;
    return vec2<f32>(keep * e.label + half_eps, keep * (1.0 - e.label) + half_eps);
}

// A term of weight 0 is left out, so that an infinite logit on the right side costs nothing.
fn label_loss(e: Element) -> f32 {
    let y = smoothed(e);
    let pos = select(0.0, params.first * y.x * softplus(-e.logit), y.x > 0.0);
    let neg = select(0.0, y.y * softplus(e.logit), y.y > 0.0);
    return select(pos + neg, HUGE, max(pos, neg) > 0.0 && abs(e.logit) >= HUGE);
}

fn label_grad(e: Element) -> vec2<f32> {
    let y = smoothed(e);
    let s = y.y * sigmoid(e.logit) - params.first * y.x * sigmoid(-e.logit);
    return vec2<f32>(s, (1.0 - params.smoothing) * (params.first * softplus(-e.logit) - softplus(e.logit)));
}
