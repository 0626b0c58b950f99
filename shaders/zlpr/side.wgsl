// One side of the log-sum-exp: a pair (maximum, sum of w e^(x - maximum)).
// provides: side_add, exponent4, side_lse0
// expects:  math, Labels

// Four more exponents `x` of weights `w` in the pair (maximum, sum), where they are `in_side`. An exponent of -infinity
// adds nothing: that is how users mask. Neither does a weight of 0.
fn side_add(side: vec2<f32>, x: vec4<f32>, w: vec4<f32>, in_side: vec4<bool>) -> vec2<f32> {
    let there = in_side & (x > vec4<f32>(LOWEST)) & (w > vec4<f32>(0.0));
    let most = max(side.x, max_of(select(vec4<f32>(LOWEST), x, there)));
    let more = select(vec4<f32>(0.0), w * exp_minus4(x, vec4<f32>(most)), there);
    return vec2<f32>(most, side.y * exp_minus(side.x, most) + sum_of(more));
}

// The exponents `slope * (logit - threshold)`, an infinite logit staying infinite.
fn exponent4(e: Labels, slope: vec4<f32>) -> vec4<f32> {
    let x = clamp(slope * (e.logit - e.threshold), vec4<f32>(LOWEST), vec4<f32>(HUGE));
    return select(x, sign(slope) * e.logit, abs(e.logit) >= vec4<f32>(HUGE));
}

// log(1 + sum e^x) from a pair that started at 0. For small maxima through log1p of the whole sum, so that a
// confident row keeps its relative precision.
fn side_lse0(maximum: f32, sum: f32) -> f32 {
    if (maximum < 8.0) {
        return log1p(sum * exp(maximum));
    }
    return maximum + log(exp_minus(0.0, maximum) + sum);
}
