// Soft labels in sums of one base.
// provides: tally_add
// expects:  quick, side, Labels

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    let t = shares(e);
    let none = vec4<f32>(0.0);
    let low = vec4<f32>(LOWEST);
    let down = exponent4(e, vec4<f32>(-1.0));
    let up = exponent4(e, vec4<f32>(1.0));
    let w_pos = e.weight * t.pos;
    let w_neg = e.weight * t.neg;
    let pos = e.counts & (down > low) & (w_pos > none);
    let neg = e.counts & (up > low) & (w_neg > none);
    let e_pos = exp(clamp(down - (*tally).base_pos, vec4<f32>(-110.0), vec4<f32>(80.0)));
    let e_neg = exp(clamp(up - (*tally).base_neg, vec4<f32>(-110.0), vec4<f32>(80.0)));
    (*tally).pos += select(none, w_pos * e_pos, pos);
    (*tally).neg += select(none, w_neg * e_neg, neg);
    (*tally).most_pos = max((*tally).most_pos, select(low, down, pos));
    (*tally).most_neg = max((*tally).most_neg, select(low, up, neg));
    (*tally).bad = (*tally).bad | e.bad;
}
