// Softmax cross-entropy of a row: -sum w q log p, q = t / sum t, p = e^(s - lse) over the labels that count. All sums are
// relative to the largest logit, so that neither large logits nor confident rows cancel.
// provides: Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load,
//           label_grads, RowResult, row_result
// expects:  math, Labels, scratch

struct Acc {
    shift: f32,       // largest logit
    rest: f32,        // sum of e^(s - shift), less the 1 of the largest; -1 before the first
    total: f32,       // sum of t
    weight: f32,      // sum of w t
    below: f32,       // sum of w t (shift - s)
    flags: u32,       // as below
}
// A NaN in the row; a target at -infinity; a target that is not at +infinity.
const BAD = 1u;
const LOW = 2u;
const NOT_HIGH = 4u;

fn acc_start() -> Acc {
    return Acc(LOWEST, -1.0, 0.0, 0.0, 0.0, 0u);
}

// What `below` gains where the largest logit becomes `shift`.
fn raised(a: Acc, shift: f32) -> f32 {
    return a.below + select(0.0, a.weight * (shift - a.shift), a.weight > 0.0);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    let shift = max(a.shift, b.shift);
    let share = vec2<f32>(exp_minus(a.shift, shift), exp_minus(b.shift, shift));
    return Acc(
        shift,
        // One of the two largest is a part of the rest now.
        a.rest * share.x + b.rest * share.y + min(share.x, share.y),
        a.total + b.total,
        a.weight + b.weight,
        raised(a, shift) + raised(b, shift),
        a.flags | b.flags,
    );
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.shift);
    scratch[at + 1u] = bitcast<u32>(a.rest);
    scratch[at + 2u] = bitcast<u32>(a.total);
    scratch[at + 3u] = bitcast<u32>(a.weight);
    scratch[at + 4u] = bitcast<u32>(a.below);
    scratch[at + 5u] = a.flags;
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

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let none = vec4<f32>(0.0);
    let sound = e.counts & !e.bad;
    let shift = max_of(select(vec4<f32>(LOWEST), e.logit, sound));
    // Each of the largest has power 1, and one of these is left out.
    let largest = sound & (e.logit == vec4<f32>(shift));
    let powers = select(none, exp_minus4(e.logit, vec4<f32>(shift)), sound & !largest);
    let weight = select(none, e.weight * e.label, sound);
    let weighs = weight > none;
    let low = e.logit <= vec4<f32>(-HUGE);
    var flags = select(0u, BAD, any(e.bad));
    flags |= select(0u, LOW, any(weighs & low));
    flags |= select(0u, NOT_HIGH, any(weighs & (e.logit < vec4<f32>(HUGE))));
    let four = Acc(
        shift,
        sum_of(powers) + (sum_of(vec4<f32>(largest)) - 1.0),
        sum_of(select(none, e.label, sound)),
        sum_of(weight),
        sum_of(select(none, weight * (shift - e.logit), weighs & !low)),
        flags,
    );
    *acc = acc_merge(*acc, four);
}

// What a row's gradient needs: the largest logit and the rest beside it, k sum w q, k / sum t, and the loss times that,
// k being what the gradient of the row's loss is multiplied by.
struct Coef {
    shift: f32,
    rest: f32,
    to_all: f32,
    to_one: f32,
    loss: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.shift, c.rest, c.to_all, c.to_one, c.loss, u32(c.bad)));
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.shift, a.rest, a.total, a.weight, a.below, a.flags != 0u);
}

// The gradients to the logits and to the targets; where the loss is infinite or constant there is none to targets.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let p = exp_minus4(e.logit, vec4<f32>(c.shift)) / (1.0 + c.rest);
    let cost = clamp(c.shift - e.logit, vec4<f32>(0.0), vec4<f32>(HUGE)) + log1p(c.rest);
    let constant = vec4<bool>(abs(c.loss) >= HUGE || c.to_one == 0.0);
    let k = e.weight * c.to_one;
    let to_label = select(infinite_too(k, cost, k * cost - c.loss), vec4<f32>(0.0), constant);
    return Grads(c.to_all * p - e.weight * e.label * c.to_one, to_label);
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // there is no threshold here
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let bad = (a.flags & BAD) != 0u;
    if (a.total <= 0.0 && !bad) {
        return RowResult(0.0, 0.0, Coef(0.0, 0.0, 0.0, 0.0, 0.0, false));
    }
    let low = (a.flags & LOW) != 0u && a.shift > -HUGE;
    let high = (a.flags & NOT_HIGH) != 0u && a.shift >= HUGE;
    let infinite = low || high;
    let k = row_coefficient(row);
    let finite_loss = (a.weight * log1p(a.rest) + a.below) / a.total;
    let to_one = k / a.total;
    let to_targets = select(to_one * finite_loss, HUGE, infinite);
    // A row's only label has gradient 0, not what rounding leaves: both terms are the same product.
    let coef = Coef(a.shift, a.rest, a.weight * to_one, to_one, to_targets, bad);
    var loss = select(finite_loss, bitcast<f32>(params.general.infinity), infinite);
    if (bad) {
        loss = bitcast<f32>(params.general.nan);
    }
    return RowResult(loss * row_weight(row), 0.0, coef);
}
