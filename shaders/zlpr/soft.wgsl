// Soft labels: every label is in both sums, with weights t and 1 - t, where t is the target after smoothing.
// provides: label_grads
// expects:  side, two_sided, Labels, Grads, shares

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
