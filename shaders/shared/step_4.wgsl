// A step of a sweep is one vector of four labels.
// provides: STEP, tally_step, gradient_step, both_step, Kept, kept_load, kept_store
// expects:  Row, labels_at, load, put4, put_second, stored, Tally, tally_add, Coef

const STEP = 4u;

fn store(row: Row, k: u32, e: Labels, coef: Coef) {
    let bits = stored(e, coef);
    put4(row.grad, k, e.inside, bits.logit);
    put_second(row.second, k, e.inside, bits.label);
}

fn tally_step(tally: ptr<function, Tally>, row: Row, k: u32) {
    tally_add(tally, labels_at(row, k, load(row.logits, k)));
}

fn gradient_step(row: Row, k: u32, coef: Coef) {
    store(row, k, labels_at(row, k, load(row.logits, k)), coef);
}

// Both at once.
fn both_step(tally: ptr<function, Tally>, row: Row, k: u32, coef: Coef) {
    let e = labels_at(row, k, load(row.logits, k));
    tally_add(tally, e);
    store(row, k, e, coef);
}

// What a lane of a short row keeps of it: two vectors.
struct Kept {
    first: Labels,
    second: Labels,
}

fn kept_load(row: Row, own: u32) -> Kept {
    let other = own + params.grid.width;
    return Kept(labels_at(row, own, load(row.logits, own)), labels_at(row, other, load(row.logits, other)));
}

fn kept_store(row: Row, own: u32, kept: Kept, coef: Coef) {
    store(row, own, kept.first, coef);
    store(row, own + params.grid.width, kept.second, coef);
}
