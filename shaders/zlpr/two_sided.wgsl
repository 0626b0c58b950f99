// The two-sided log-sum-exp of a row: online (maximum, sum) pairs of the positive and the negative side.
// provides: Acc, BAD, EXACT, acc_start, acc_merge, acc_store, acc_load, Coef, coef_none, coef_quick,
//           coef_store, coef_load
// expects:  math, scratch, FLOOR (where the maxima start: 0 for log(1 + sum), LOWEST without the 1)

struct Acc {
    max_pos: f32,
    sum_pos: f32,     // sum of w e^(exponent - max_pos)
    max_neg: f32,
    sum_neg: f32,
    flags: u32,       // as below
}
// The row holds a NaN.
const BAD = 1u;
// Some of its sums are relative to maxima.
const EXACT = 2u;

fn acc_start() -> Acc {
    return Acc(FLOOR, 0.0, FLOOR, 0.0, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    let max_pos = max(a.max_pos, b.max_pos);
    let max_neg = max(a.max_neg, b.max_neg);
    return Acc(
        max_pos,
        a.sum_pos * exp_minus(a.max_pos, max_pos) + b.sum_pos * exp_minus(b.max_pos, max_pos),
        max_neg,
        a.sum_neg * exp_minus(a.max_neg, max_neg) + b.sum_neg * exp_minus(b.max_neg, max_neg),
        a.flags | b.flags,
    );
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.max_pos);
    scratch[at + 1u] = bitcast<u32>(a.sum_pos);
    scratch[at + 2u] = bitcast<u32>(a.max_neg);
    scratch[at + 3u] = bitcast<u32>(a.sum_neg);
    scratch[at + 4u] = a.flags;
}

fn acc_load(at: u32) -> Acc {
    return Acc(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        scratch[at + 4u],
    );
}

// What a row's gradient needs: an element's is its weight times e^(exponent - max) times `pos` or `neg`.
struct Coef {
    max_pos: f32,
    pos: f32,
    max_neg: f32,
    neg: f32,
    bad: bool,
    exact: bool,
}

// Of a row of which nothing has a gradient.
fn coef_none() -> Coef {
    return Coef(0.0, 0.0, 0.0, 0.0, false, true);
}

// Whether quick sums were good enough for the row.
fn coef_quick(c: Coef) -> bool {
    return !c.exact;
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.max_pos, c.pos, c.max_neg, c.neg, u32(c.bad)));
    scratch[at + 5u] = u32(c.exact);
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.max_pos, a.sum_pos, a.max_neg, a.sum_neg, a.flags != 0u, scratch[at + 5u] != 0u);
}
