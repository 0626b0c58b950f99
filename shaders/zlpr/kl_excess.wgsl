// Excess risk D(s|u) = soft(t = sigma(2u), s) - 2 log(1 + Q), Q = sum w/(2 cosh u); zero where s = u.
// The targets are the other logits u, and the second gradient goes to them.
// provides: FLOOR, Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load,
//           label_grads, RowResult, row_result
// expects:  math, side, Labels, scratch

const FLOOR = 0.0;

struct Acc {
    max_pos: f32,
    sum_pos: f32,     // sum of w t e^(-s - max_pos)
    max_neg: f32,
    sum_neg: f32,
    q: f32,
    bad: u32,         // 1 where the row holds a NaN
}

fn acc_start() -> Acc {
    return Acc(FLOOR, 0.0, FLOOR, 0.0, 0.0, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    let max_pos = max(a.max_pos, b.max_pos);
    let max_neg = max(a.max_neg, b.max_neg);
    return Acc(
        max_pos,
        a.sum_pos * exp_minus(a.max_pos, max_pos) + b.sum_pos * exp_minus(b.max_pos, max_pos),
        max_neg,
        a.sum_neg * exp_minus(a.max_neg, max_neg) + b.sum_neg * exp_minus(b.max_neg, max_neg),
        a.q + b.q,
        a.bad | b.bad,
    );
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.max_pos);
    scratch[at + 1u] = bitcast<u32>(a.sum_pos);
    scratch[at + 2u] = bitcast<u32>(a.max_neg);
    scratch[at + 3u] = bitcast<u32>(a.sum_neg);
    scratch[at + 4u] = bitcast<u32>(a.q);
    scratch[at + 5u] = a.bad;
}

fn acc_load(at: u32) -> Acc {
    return Acc(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        bitcast<f32>(scratch[at + 4u]),
        scratch[at + 5u],
    );
}

// What a row's gradient needs: the sums' maxima, k over each sum with its 1, and k over 1 + Q.
struct Coef {
    max_pos: f32,
    pos: f32,
    max_neg: f32,
    neg: f32,
    q: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.max_pos, c.pos, c.max_neg, c.neg, c.q, u32(c.bad)));
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.max_pos, a.sum_pos, a.max_neg, a.sum_neg, a.q, a.bad != 0u);
}

// e^-|u| and 1 / (2 cosh u).
struct HalfSech {
    e: vec4<f32>,
    value: vec4<f32>,
}

fn half_sech(u: vec4<f32>) -> HalfSech {
    let e = exp(max(-abs(u), vec4<f32>(-110.0)));
    return HalfSech(e, e / (1.0 + e * e));
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let sound = e.counts & !e.bad;
    let pos = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), -e.logit, e.weight * sigmoid4(2.0 * e.label), sound);
    let neg = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), e.logit, e.weight * sigmoid4(-2.0 * e.label), sound);
    (*acc).max_pos = pos.x;
    (*acc).sum_pos = pos.y;
    (*acc).max_neg = neg.x;
    (*acc).sum_neg = neg.y;
    (*acc).q += sum_of(select(vec4<f32>(0.0), e.weight * half_sech(e.label).value, sound));
    (*acc).bad |= select(0u, 1u, any(e.bad));
}

// The gradients to the logits s and to the other logits u.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let none = vec4<f32>(0.0);
    let t = sigmoid4(2.0 * e.label);
    let rest = sigmoid4(-2.0 * e.label);
    let pos = exp(max(-e.logit - c.max_pos, vec4<f32>(-110.0))) * c.pos;
    let neg = exp(max(e.logit - c.max_neg, vec4<f32>(-110.0))) * c.neg;
    // A weight that has underflown to 0 was never in its sum, whose exponential may be infinite.
    let t_pos = select(none, t * pos, t > none);
    let t_neg = select(none, t * neg, t > none);
    let r_pos = select(none, rest * pos, rest > none);
    let r_neg = select(none, rest * neg, rest > none);
    // Q' = sinh u / (2 cosh^2 u) = tanh u / (2 cosh u).
    let sech = half_sech(e.label);
    let tanh = sign(e.label) * -expm1_4(max(-2.0 * abs(e.label), vec4<f32>(-110.0))) / (1.0 + sech.e * sech.e);
    let apart = select(none, rest * t_pos, rest > none) - select(none, t * r_neg, t > none);
    let other = 2.0 * apart + 2.0 * c.q * tanh * sech.value;
    // A class of weight 0 is in no sum, and its exponential may be infinite.
    let there = e.weight > none;
    return Grads(select(none, e.weight * (r_neg - t_pos), there), select(none, e.weight * other, there));
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // there is no threshold here
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let k = row_coefficient(row);
    let c = Coef(
        a.max_pos,
        k / (exp_minus(0.0, a.max_pos) + a.sum_pos),
        a.max_neg,
        k / (exp_minus(0.0, a.max_neg) + a.sum_neg),
        k / (1.0 + a.q),
        a.bad != 0u,
    );
    // Never negative but for rounding.
    var loss = max(side_lse0(a.max_pos, a.sum_pos) + side_lse0(a.max_neg, a.sum_neg) - 2.0 * log1p(a.q), 0.0);
    if (c.bad) {
        loss = bitcast<f32>(params.general.nan);
    }
    return RowResult(loss * row_weight(row), 0.0, c);
}
