// Exponents of hard labels -s/t_pos and s/t_neg.
// provides: Settings, signed_exponents, plain_exponents
// expects:  side, Labels

struct Settings {
    inv_t_pos: f32,        // 1 / t_pos
    inv_t_neg: f32,        // 1 / t_neg
}

fn slopes_of(positive: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(params.own.inv_t_neg), vec4<f32>(-params.own.inv_t_pos), positive);
}

fn signed_exponents(e: Labels, positive: vec4<bool>) -> vec4<f32> {
    return exponent4(e, slopes_of(positive));
}

// Of logits that are finite.
fn plain_exponents(e: Labels, positive: vec4<bool>) -> vec4<f32> {
    return slopes_of(positive) * (e.logit - e.threshold);
}
