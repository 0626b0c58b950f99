// A step of a sweep is one vector of eight labels of 16 bits.
// provides: STEP, tally_step, gradient_step, both_step, Kept, kept_load, kept_store
// expects:  Row, labels_at, load, widen, put8, put_second, stored, Tally, tally_add, Coef

const STEP = 8u;

// Eight labels, four and four. Also what a lane of a short row keeps of it.
struct Kept {
    first: Labels,
    second: Labels,
}

fn kept_load(row: Row, k: u32) -> Kept {
    let raw = load(row.logits, k);
    return Kept(labels_at(row, 2u * k, widen(raw.xy)), labels_at(row, 2u * k + 1u, widen(raw.zw)));
}

fn kept_store(row: Row, k: u32, kept: Kept, coef: Coef) {
    let first = stored(kept.first, coef);
    let second = stored(kept.second, coef);
    put8(row.grad, k, kept.first.inside, kept.second.inside, first.logit, second.logit);
    put_second(row.second, 2u * k, kept.first.inside, first.label);
    put_second(row.second, 2u * k + 1u, kept.second.inside, second.label);
}

fn tally_step(tally: ptr<function, Tally>, row: Row, k: u32) {
    let kept = kept_load(row, k);
    tally_add(tally, kept.first);
    tally_add(tally, kept.second);
}

fn gradient_step(row: Row, k: u32, coef: Coef) {
    kept_store(row, k, kept_load(row, k), coef);
}

// Both at once.
fn both_step(tally: ptr<function, Tally>, row: Row, k: u32, coef: Coef) {
    let kept = kept_load(row, k);
    tally_add(tally, kept.first);
    tally_add(tally, kept.second);
    kept_store(row, k, kept, coef);
}
