// Hard labels in sums of one base.
// provides: tally_add
// expects:  quick, hard

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    let positive = e.label > vec4<f32>(0.5);
    let x = signed_exponents(e, positive);
    let none = vec4<f32>(0.0);
    let low = vec4<f32>(LOWEST);
    let base = select(vec4<f32>((*tally).base_neg), vec4<f32>((*tally).base_pos), positive);
    let there = e.counts & (x > low) & (e.weight > none);
    let term = select(none, e.weight * exp(clamp(x - base, vec4<f32>(-110.0), vec4<f32>(80.0))), there);
    let most = select(low, x, there);
    (*tally).pos += select(none, term, positive);
    (*tally).neg += select(term, none, positive);
    (*tally).most_pos = max((*tally).most_pos, select(low, most, positive));
    (*tally).most_neg = max((*tally).most_neg, select(most, low, positive));
    (*tally).bad = (*tally).bad | e.bad;
}
