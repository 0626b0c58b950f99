// Steps of quick sums, of a vector of four labels.
// provides: quick_step, quick_gradient_step, quick_load, quick_store
// expects:  Row, labels_plain, load, put4, put_second, masked, Quick, quick_add, quick_grads, Coef, Kept

fn quick_put_step(row: Row, k: u32, e: Labels, coef: Coef) {
    let bits = masked(e, quick_grads(e, coef));
    put4(row.grad, k, e.inside, bits.logit);
    put_second(row.second, k, e.inside, bits.label);
}

fn quick_step(quick: ptr<function, Quick>, row: Row, k: u32) {
    quick_add(quick, labels_plain(row, k, load(row.logits, k)));
}

fn quick_gradient_step(row: Row, k: u32, coef: Coef) {
    quick_put_step(row, k, labels_plain(row, k, load(row.logits, k)), coef);
}

// What a lane of a short row keeps of it.
fn quick_load(row: Row, own: u32) -> Kept {
    let other = own + params.grid.width;
    return Kept(labels_plain(row, own, load(row.logits, own)), labels_plain(row, other, load(row.logits, other)));
}

fn quick_store(row: Row, own: u32, kept: Kept, coef: Coef) {
    quick_put_step(row, own, kept.first, coef);
    quick_put_step(row, own + params.grid.width, kept.second, coef);
}
