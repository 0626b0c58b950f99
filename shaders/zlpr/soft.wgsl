// Soft labels: every label is in both sums, with weights t and 1 - t, where t is the target after smoothing.
// provides: acc_add, element_grad
// expects:  side, two_sided, element

fn acc_add(acc: ptr<function, Acc>, e: Element) {
    if (e.bad) {
        (*acc).bad = 1u;
    }
    if (!e.counts || e.bad) {
        return;
    }
    let t = e.weight * shares(e);
    let pos = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), exponent(e, -1.0), t.x);
    let neg = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), exponent(e, 1.0), t.y);
    (*acc).max_pos = pos.x;
    (*acc).sum_pos = pos.y;
    (*acc).max_neg = neg.x;
    (*acc).sum_neg = neg.y;
}

// The gradients to the logit and to the target. A target of 0 (or 1) is in one sum only, and the other side's slope may
// be larger than any f32; it is infinite then.
fn element_grad(e: Element, c: Coef) -> vec2<f32> {
    // A class of weight 0 is in no sum, and its exponential may be infinite.
    if (e.weight <= 0.0) {
        return vec2<f32>(0.0);
    }
    let t = shares(e);
    let down = exponent(e, -1.0);
    let up = exponent(e, 1.0);
    let pos = select(e.weight * exp(max(down - c.max_pos, -110.0)) * c.pos, 0.0, down <= LOWEST);
    let neg = select(e.weight * exp(max(up - c.max_neg, -110.0)) * c.neg, 0.0, up <= LOWEST);
    // A weight of 0 is left out, so that it never meets an exponent that its sum has not seen.
    let s = select(0.0, t.y * neg, t.y > 0.0) - select(0.0, t.x * pos, t.x > 0.0);
    return vec2<f32>(s, (1.0 - params.general.smoothing) * (pos - neg));
}
