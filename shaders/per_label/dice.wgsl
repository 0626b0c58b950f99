// Soft dice of a row: 1 - N / M, N = 2 sum w p y + smooth, M = sum w (p + y) + smooth, or sum w (p^2 + y^2) + smooth.
// provides: Settings, Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load,
//           label_grads, RowResult, row_result
// expects:  math, Labels, scratch

struct Settings {
    smoothing_term: f32,
    squared: f32,          // 1 for squares in D
}

struct Acc {
    both: f32,        // sum of 2 w p y
    each: f32,        // sum of w (p + y), or of the squares
    bad: u32,         // 1 where the row holds a NaN
}

fn acc_start() -> Acc {
    return Acc(0.0, 0.0, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.both + b.both, a.each + b.each, a.bad | b.bad);
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.both);
    scratch[at + 1u] = bitcast<u32>(a.each);
    scratch[at + 2u] = a.bad;
}

fn acc_load(at: u32) -> Acc {
    return Acc(bitcast<f32>(scratch[at]), bitcast<f32>(scratch[at + 1u]), scratch[at + 2u]);
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let sound = e.counts & !e.bad;
    let p = sigmoid4(e.logit);
    let none = vec4<f32>(0.0);
    let each = select(p + e.label, p * p + e.label * e.label, vec4<bool>(params.own.squared != 0.0));
    (*acc).both += sum_of(select(none, 2.0 * e.weight * p * e.label, sound));
    (*acc).each += sum_of(select(none, e.weight * each, sound));
    (*acc).bad |= select(0u, 1u, any(e.bad));
}

// What a row's gradient needs: N / M, and what each element's is multiplied by, over M.
struct Coef {
    ratio: f32,
    k: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.ratio, c.k, u32(c.bad)));
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.both, a.each, a.bad != 0u);
}

// The gradients to the logits and to the targets: p and y stand in the loss alike.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let p = sigmoid4(e.logit);
    let squared = vec4<bool>(params.own.squared != 0.0);
    let one = vec4<f32>(1.0);
    let k = c.k * e.weight;
    let to_p = select(one, 2.0 * p, squared) * c.ratio - 2.0 * e.label;
    let to_label = select(one, 2.0 * e.label, squared) * c.ratio - 2.0 * p;
    return Grads(k * to_p * p * sigmoid4(-e.logit), k * to_label);
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // there is no threshold here
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let n = a.both + params.own.smoothing_term;
    let m = a.each + params.own.smoothing_term;
    let bad = a.bad != 0u;
    let loss = select(1.0 - n / m, bitcast<f32>(params.general.nan), bad);
    return RowResult(loss * row_weight(row), 0.0, Coef(n / m, row_coefficient(row) / m, bad));
}
