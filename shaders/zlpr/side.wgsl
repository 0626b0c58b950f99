// One side of the log-sum-exp: a pair (maximum, sum of w e^(x - maximum)).
// provides: side_add, exponent, side_lse0
// expects:  math, Element

// One more exponent `x` of weight `w` in the pair (maximum, sum); one exponential, whichever is larger.
fn side_add(side: vec2<f32>, x: f32, w: f32) -> vec2<f32> {
    // An exponent of -infinity adds nothing: that is how users mask. Neither does a weight of 0.
    if (x <= LOWEST || w <= 0.0) {
        return side;
    }
    let e = exp_minus(min(x, side.x), max(x, side.x));
    return select(vec2<f32>(side.x, side.y + w * e), vec2<f32>(x, side.y * e + w), x > side.x);
}

// The exponent `slope * (logit - threshold)`, an infinite logit staying infinite.
fn exponent(e: Element, slope: f32) -> f32 {
    let x = clamp(slope * (e.logit - e.threshold), LOWEST, HUGE);
    return select(x, sign(slope) * e.logit, abs(e.logit) >= HUGE);
}

// log(1 + sum e^x) from a pair that started at 0. For small maxima through log1p of the whole sum, so that a
// confident row keeps its relative precision.
fn side_lse0(maximum: f32, sum: f32) -> f32 {
    if (maximum < 8.0) {
        return log1p(sum * exp(maximum));
    }
    return maximum + log(exp_minus(0.0, maximum) + sum);
}
