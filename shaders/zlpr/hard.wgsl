// Hard labels: each label is in one of the two sums.
// provides: acc_add, label_grads
// expects:  side, two_sided, Labels, signed_exponents

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let positive = e.label > vec4<f32>(0.5);
    let x = signed_exponents(e, positive);
    let sound = e.counts & !e.bad;
    let pos = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), x, e.weight, sound & positive);
    let neg = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), x, e.weight, sound & !positive);
    (*acc).max_pos = pos.x;
    (*acc).sum_pos = pos.y;
    (*acc).max_neg = neg.x;
    (*acc).sum_neg = neg.y;
    (*acc).flags |= select(0u, BAD, any(e.bad));
}

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
