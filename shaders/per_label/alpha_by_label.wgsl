// A weight of the positive side of focal loss for each label, which comes the way of a threshold.
// provides: Alphas, alphas
// expects:  Labels

struct Alphas {
    pos: vec4<f32>,
    neg: vec4<f32>,
}

fn alphas(e: Labels) -> Alphas {
    return Alphas(e.threshold, 1.0 - e.threshold);
}
