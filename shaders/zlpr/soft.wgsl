// Soft labels: every label is in both sums, with weights t and 1 - t, where t is the target after smoothing.
// provides: acc_add, label_grads
// expects:  side, two_sided, Labels

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let t = shares(e);
    let sound = e.counts & !e.bad;
    let down = exponent4(e, vec4<f32>(-1.0));
    let up = exponent4(e, vec4<f32>(1.0));
    let pos = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), down, e.weight * t.pos, sound);
    let neg = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), up, e.weight * t.neg, sound);
    (*acc).max_pos = pos.x;
    (*acc).sum_pos = pos.y;
    (*acc).max_neg = neg.x;
    (*acc).sum_neg = neg.y;
    (*acc).flags |= select(0u, BAD, any(e.bad));
}

// The gradients to the logits and to the targets. A target of 0 (or 1) is in one sum only, and the other side's slope may
// be larger than any f32; it is infinite then.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let none = vec4<f32>(0.0);
    let t = shares(e);
    let down = exponent4(e, vec4<f32>(-1.0));
    let up = exponent4(e, vec4<f32>(1.0));
    let pos = select(e.weight * exp(max(down - c.max_pos, vec4<f32>(-110.0))) * c.pos, none, down <= vec4<f32>(LOWEST));
    let neg = select(e.weight * exp(max(up - c.max_neg, vec4<f32>(-110.0))) * c.neg, none, up <= vec4<f32>(LOWEST));
    // A weight of 0 is left out, so that it never meets an exponent that its sum has not seen.
    let s = select(none, t.neg * neg, t.neg > none) - select(none, t.pos * pos, t.pos > none);
    // A class of weight 0 is in no sum, and its exponential may be infinite.
    let there = e.weight > none;
    return Grads(select(none, s, there), select(none, (1.0 - params.general.smoothing) * (pos - neg), there));
}
