// Hard labels: each label is in one of the two sums.
// provides: label_grads
// expects:  math, two_sided, Labels, Grads, signed_exponents

// The gradient to the logits; there is none to hard labels.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let positive = e.label > vec4<f32>(0.5);
    let x = signed_exponents(e, positive);
    let most = select(vec4<f32>(c.max_neg), vec4<f32>(c.max_pos), positive);
    let k = select(vec4<f32>(c.neg), vec4<f32>(-c.pos), positive);
    // An x that a weight of 0 has kept out of the maximum may be anything.
    let all = e.weight * exp(clamp(x - most, vec4<f32>(-110.0), vec4<f32>(80.0))) * k;
    return Grads(select(all, vec4<f32>(0.0), x <= vec4<f32>(LOWEST)), vec4<f32>(0.0));
}
