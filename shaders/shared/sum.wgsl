// The accumulator of losses that are a sum over labels.
// provides: Acc, acc_start, acc_merge, acc_store, acc_load, Coef, coef_store, coef_load, acc_add, element_grad, RowResult, row_result
// expects:  element, scratch, and from the loss: label_loss(Element) -> f32 (+-HUGE where infinite),
//           label_grad(Element) -> vec2<f32> (to the logit, to the target)

struct Acc {
    sum: f32,
    count: u32,       // labels that count
    flags: u32,       // 1: a NaN in the row, 2: an infinite term
}

fn acc_start() -> Acc {
    return Acc(0.0, 0u, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.sum + b.sum, a.count + b.count, a.flags | b.flags);
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.sum);
    scratch[at + 1u] = a.count;
    scratch[at + 2u] = a.flags;
}

fn acc_load(at: u32) -> Acc {
    return Acc(bitcast<f32>(scratch[at]), scratch[at + 1u], scratch[at + 2u]);
}

// What a row's gradient needs: what each label's own is multiplied by.
struct Coef {
    k: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    scratch[at] = bitcast<u32>(c.k);
    scratch[at + 1u] = u32(c.bad);
}

fn coef_load(at: u32) -> Coef {
    return Coef(bitcast<f32>(scratch[at]), scratch[at + 1u] != 0u);
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // there is no threshold here
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    var share = 1.0;
    if (params.general.row_mean != 0u) {
        share = 1.0 / f32(max(a.count, 1u));
    }
    let bad = (a.flags & 1u) != 0u;
    var loss = a.sum * share;
    if ((a.flags & 2u) != 0u) {
        loss = bitcast<f32>(params.general.infinity);
    }
    if (bad) {
        loss = bitcast<f32>(params.general.nan);
    }
    return RowResult(loss * row_weight(row), 0.0, Coef(row_coefficient(row) * share, bad));
}

fn acc_add(acc: ptr<function, Acc>, e: Element) {
    if (!e.counts) {
        return;
    }
    (*acc).count += 1u;
    if (e.bad) {
        (*acc).flags |= 1u;
        return;
    }
    let loss = label_loss(e);
    if (abs(loss) >= HUGE && e.weight > 0.0) {
        (*acc).flags |= 2u;
        return;
    }
    (*acc).sum += e.weight * loss;
}

fn element_grad(e: Element, c: Coef) -> vec2<f32> {
    return c.k * e.weight * label_grad(e);
}
