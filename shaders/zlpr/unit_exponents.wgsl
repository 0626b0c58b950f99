// Exponents of hard labels -s and s.
// provides: signed_exponents, plain_exponents
// expects:  Labels, math

// An infinite logit stays infinite, whatever the threshold.
fn signed_exponents(e: Labels, positive: vec4<bool>) -> vec4<f32> {
    let x = clamp(e.logit - e.threshold, vec4<f32>(LOWEST), vec4<f32>(HUGE));
    let all = select(x, e.logit, abs(e.logit) >= vec4<f32>(HUGE));
    return select(all, -all, positive);
}

// Of logits that are finite.
fn plain_exponents(e: Labels, positive: vec4<bool>) -> vec4<f32> {
    let x = e.logit - e.threshold;
    return select(x, -x, positive);
}
