// Soft labels in quick sums.
// provides: quick_add, quick_grads, tally_add
// expects:  quick, side, Labels, Grads, shares, Coef

fn quick_add(quick: ptr<function, Quick>, e: Labels) {
    let t = shares(e);
    let s = e.logit - e.threshold;
    quick_put(quick, -s, e.weight * t.pos, exp(-s), e.counts, s, e.weight * t.neg, exp(s), e.counts);
}

// The gradients of a row of which quick sums were good enough.
fn quick_grads(e: Labels, c: Coef) -> Grads {
    let t = shares(e);
    let s = e.logit - e.threshold;
    let pos = e.weight * exp(-s) * c.pos;
    let neg = e.weight * exp(s) * c.neg;
    return Grads(t.neg * neg - t.pos * pos, (1.0 - params.general.smoothing) * (pos - neg));
}

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    let t = shares(e);
    let down = exponent4(e, vec4<f32>(-1.0));
    let up = exponent4(e, vec4<f32>(1.0));
    tally_put(tally, down, e.weight * t.pos, e.counts, up, e.weight * t.neg, e.counts);
    (*tally).bad = (*tally).bad | e.bad;
}
