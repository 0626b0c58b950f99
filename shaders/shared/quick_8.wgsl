// Steps of quick sums, of a vector of eight labels of 16 bits.
// provides: quick_step, quick_gradient_step, quick_load, quick_store
// expects:  Row, labels_plain, load, widen, put8, put_second, masked, Quick, quick_add, quick_grads, Coef, Kept

// Also what a lane of a short row keeps of it.
fn quick_load(row: Row, k: u32) -> Kept {
    let raw = load(row.logits, k);
    return Kept(labels_plain(row, 2u * k, widen(raw.xy)), labels_plain(row, 2u * k + 1u, widen(raw.zw)));
}

fn quick_store(row: Row, k: u32, kept: Kept, coef: Coef) {
    let first = masked(kept.first, quick_grads(kept.first, coef));
    let second = masked(kept.second, quick_grads(kept.second, coef));
    put8(row.grad, k, kept.first.inside, kept.second.inside, first.logit, second.logit);
    put_second(row.second, 2u * k, kept.first.inside, first.label);
    put_second(row.second, 2u * k + 1u, kept.second.inside, second.label);
}

fn quick_step(quick: ptr<function, Quick>, row: Row, k: u32) {
    let kept = quick_load(row, k);
    quick_add(quick, kept.first);
    quick_add(quick, kept.second);
}

fn quick_gradient_step(row: Row, k: u32, coef: Coef) {
    quick_store(row, k, quick_load(row, k), coef);
}
