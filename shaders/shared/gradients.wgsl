// The gradients of four labels as they are stored: 0 where a label does not count, NaN where the row holds one.
// provides: Stored, stored
// expects:  Labels, Grads, label_grads, Coef

struct Stored {
    logit: vec4<u32>,
    label: vec4<u32>,
}

fn stored(e: Labels, coef: Coef) -> Stored {
    let both = label_grads(e, coef);
    let nan = e.counts & vec4<bool>(coef.bad);
    let none = vec4<u32>(0u);
    return Stored(
        select(select(none, bitcast<vec4<u32>>(both.logit), e.counts), vec4<u32>(0x7fc00000u), nan),
        select(select(none, bitcast<vec4<u32>>(both.label), e.counts), vec4<u32>(0x7fc00000u), nan),
    );
}
