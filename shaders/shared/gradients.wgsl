// The gradients of four labels as they are stored.
// provides: Stored, stored, masked
// expects:  Labels, Grads, label_grads, joined, kept4, added4, Coef

struct Stored {
    logit: vec4<u32>,
    label: vec4<u32>,
}

// What stands already or 0 where a label does not count, NaN where the row holds one.
fn stored(e: Labels, coef: Coef) -> Stored {
    let plain = masked(e, label_grads(e, coef));
    let nan = e.counts & vec4<bool>(coef.bad);
    return Stored(
        select(plain.logit, vec4<u32>(0x7fc00000u), nan),
        select(plain.label, vec4<u32>(0x7fc00000u), nan),
    );
}

// What stands already or 0 where a label does not count.
fn masked(e: Labels, both: Grads) -> Stored {
    let none = vec4<u32>(0u);
    return Stored(
        select(kept4(e), added4(e, joined(e, both.logit)), e.counts),
        select(none, bitcast<vec4<u32>>(both.label), e.counts),
    );
}
