// BP-MLL of a row: the mean over all pairs of a positive and a negative of w_p w_n e^(s_n - s_p), as e^(a + b) over
// their number, a and b being the log-sum-exps of the two sides. 0 where a side is empty, infinite where it overflows.
// provides: FLOOR, SMALLEST, Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load,
//           label_grads, RowResult, row_result
// expects:  side, Labels, scratch

const FLOOR = LOWEST;
const SMALLEST = 1.1754944e-38f;

struct Acc {
    max_pos: f32,
    sum_pos: f32,     // sum of w e^(exponent - max_pos)
    max_neg: f32,
    sum_neg: f32,
    count_pos: u32,   // labels that count, and BAD
    count_neg: u32,
}
// Beside the number of positives: the row holds a NaN.
const BAD = 0x80000000u;

fn acc_start() -> Acc {
    return Acc(FLOOR, 0.0, FLOOR, 0.0, 0u, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    let max_pos = max(a.max_pos, b.max_pos);
    let max_neg = max(a.max_neg, b.max_neg);
    return Acc(
        max_pos,
        a.sum_pos * exp_minus(a.max_pos, max_pos) + b.sum_pos * exp_minus(b.max_pos, max_pos),
        max_neg,
        a.sum_neg * exp_minus(a.max_neg, max_neg) + b.sum_neg * exp_minus(b.max_neg, max_neg),
        ((a.count_pos & ~BAD) + (b.count_pos & ~BAD)) | ((a.count_pos | b.count_pos) & BAD),
        a.count_neg + b.count_neg,
    );
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.max_pos);
    scratch[at + 1u] = bitcast<u32>(a.sum_pos);
    scratch[at + 2u] = bitcast<u32>(a.max_neg);
    scratch[at + 3u] = bitcast<u32>(a.sum_neg);
    scratch[at + 4u] = a.count_pos;
    scratch[at + 5u] = a.count_neg;
}

fn acc_load(at: u32) -> Acc {
    return Acc(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        scratch[at + 4u],
        scratch[at + 5u],
    );
}

fn counted(there: vec4<bool>) -> u32 {
    let one = vec4<u32>(there);
    return one.x + one.y + one.z + one.w;
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let sound = e.counts & !e.bad;
    let positive = sound & (e.label > vec4<f32>(0.5));
    let negative = sound & !positive;
    let pos = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), exponent4(e, vec4<f32>(-1.0)), e.weight, positive);
    let neg = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), exponent4(e, vec4<f32>(1.0)), e.weight, negative);
    (*acc).max_pos = pos.x;
    (*acc).sum_pos = pos.y;
    (*acc).max_neg = neg.x;
    (*acc).sum_neg = neg.y;
    (*acc).count_pos = ((*acc).count_pos + counted(positive)) | select(0u, BAD, any(e.bad));
    (*acc).count_neg += counted(negative);
}

// What a row's gradient needs: that of a label is its weight times k e^(exponent + max + log) of the other side. The
// two stay apart: exponents of large logits cancel exactly, and only then is the small logarithm added.
struct Coef {
    max_pos: f32,
    log_pos: f32,     // logarithm of the sum over the positives, divided by the number of pairs
    max_neg: f32,
    log_neg: f32,
    k: f32,           // 0 where a side is empty
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    scratch[at] = bitcast<u32>(c.max_pos);
    scratch[at + 1u] = bitcast<u32>(c.log_pos);
    scratch[at + 2u] = bitcast<u32>(c.max_neg);
    scratch[at + 3u] = bitcast<u32>(c.log_neg);
    scratch[at + 4u] = bitcast<u32>(c.k);
    scratch[at + 5u] = u32(c.bad);
}

fn coef_load(at: u32) -> Coef {
    return Coef(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        bitcast<f32>(scratch[at + 4u]),
        scratch[at + 5u] != 0u,
    );
}

// e^x, infinite from the largest f32 on.
fn power(x: vec4<f32>) -> vec4<f32> {
    let finite = exp(clamp(x, vec4<f32>(-110.0), vec4<f32>(88.0))) * exp(clamp(x - 88.0, vec4<f32>(0.0), vec4<f32>(0.7228)));
    return select(finite, vec4<f32>(bitcast<f32>(params.general.infinity)), x > vec4<f32>(88.7228));
}

// The gradient to the logits; there is none to hard labels.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let none = vec4<f32>(0.0);
    let positive = e.label > vec4<f32>(0.5);
    let x = exponent4(e, select(vec4<f32>(1.0), vec4<f32>(-1.0), positive));
    let most = select(vec4<f32>(c.max_pos), vec4<f32>(c.max_neg), positive);
    let log = select(vec4<f32>(c.log_pos), vec4<f32>(c.log_neg), positive);
    let y = clamp(x + most, vec4<f32>(LOWEST), vec4<f32>(HUGE)) + log;
    let out = (x <= vec4<f32>(LOWEST)) | (e.weight <= none) | vec4<bool>(c.k == 0.0);
    return Grads(select(select(vec4<f32>(c.k), vec4<f32>(-c.k), positive) * e.weight * power(y), none, out), none);
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // a threshold would move nothing
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let bad = (a.count_pos & BAD) != 0u;
    let empty = a.sum_pos <= 0.0 || a.sum_neg <= 0.0;
    if (empty && !bad) {
        return RowResult(0.0, 0.0, Coef(0.0, 0.0, 0.0, 0.0, 0.0, false));
    }
    let pairs = log(f32(max(a.count_pos & ~BAD, 1u))) + log(f32(max(a.count_neg, 1u)));
    // A NaN's row may have an empty side.
    let log_pos = log(max(a.sum_pos, SMALLEST));
    let log_neg = log(max(a.sum_neg, SMALLEST));
    // An infinite exponent is infinite whatever stands beside it.
    let infinite = max(a.max_pos, a.max_neg) >= HUGE;
    let both = clamp(a.max_pos + a.max_neg, LOWEST, HUGE);
    var loss = power(vec4<f32>(select(both + (log_pos + log_neg - pairs), HUGE, infinite))).x;
    if (bad) {
        loss = bitcast<f32>(params.general.nan);
    }
    let coef = Coef(a.max_pos, log_pos - pairs, a.max_neg, log_neg - pairs, row_coefficient(row), bad);
    return RowResult(loss * row_weight(row), 0.0, coef);
}
