// Hard labels in quick sums.
// provides: quick_add, quick_grads, tally_add
// expects:  quick, signed_exponents, plain_exponents, Labels, Grads, Coef

fn quick_add(quick: ptr<function, Quick>, e: Labels) {
    let positive = e.label > vec4<f32>(0.5);
    let x = plain_exponents(e, positive);
    let power = exp(x);
    quick_put(quick, x, e.weight, power, e.counts & positive, x, e.weight, power, e.counts & !positive);
}

// The gradient of a row of which quick sums were good enough.
fn quick_grads(e: Labels, c: Coef) -> Grads {
    let positive = e.label > vec4<f32>(0.5);
    let k = select(vec4<f32>(c.neg), vec4<f32>(-c.pos), positive);
    return Grads(e.weight * exp(plain_exponents(e, positive)) * k, vec4<f32>(0.0));
}

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    let positive = e.label > vec4<f32>(0.5);
    let x = signed_exponents(e, positive);
    tally_put(tally, x, e.weight, e.counts & positive, x, e.weight, e.counts & !positive);
    (*tally).bad = (*tally).bad | e.bad;
}
