// First stage of WDL: the two distributions of a row and its presence term. What the driver takes for the gradient is
// e = p - q.
// provides: Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load, label_grads,
//           RowResult, row_result
// expects:  math, Labels, scratch, label, spread

struct Acc {
    shift: f32,       // largest log share
    sum: f32,         // sum of e^(log share - shift)
    total: f32,       // sum of y + epsilon
    presence: f32,    // sum of w BCE
    count: u32,
    flags: u32,       // 1: a NaN in the row, 2: an infinite term of presence
}

fn acc_start() -> Acc {
    return Acc(LOWEST, 0.0, 0.0, 0.0, 0u, 0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    let shift = max(a.shift, b.shift);
    return Acc(
        shift,
        a.sum * exp_minus(a.shift, shift) + b.sum * exp_minus(b.shift, shift),
        a.total + b.total,
        a.presence + b.presence,
        a.count + b.count,
        a.flags | b.flags,
    );
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.shift);
    scratch[at + 1u] = bitcast<u32>(a.sum);
    scratch[at + 2u] = bitcast<u32>(a.total);
    scratch[at + 3u] = bitcast<u32>(a.presence);
    scratch[at + 4u] = a.count;
    scratch[at + 5u] = a.flags;
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

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let none = vec4<f32>(0.0);
    let sound = e.counts & !e.bad;
    let log = log_shares(e.logit);
    let before = (*acc).shift;
    let shift = max(before, max_of(select(vec4<f32>(LOWEST), log, sound)));
    (*acc).shift = shift;
    (*acc).sum = (*acc).sum * exp_minus(before, shift) + sum_of(select(none, exp_minus4(log, vec4<f32>(shift)), sound));
    (*acc).total += sum_of(select(none, e.label + params.own.epsilon, sound));
    let weight = e.weight * params.own.lambda_presence;
    let cost = label_loss(e);
    let weighs = sound & (weight > none);
    let infinite = abs(cost) >= vec4<f32>(HUGE);
    (*acc).presence += sum_of(select(none, weight * cost, weighs & !infinite));
    let counted = vec4<u32>(e.counts);
    (*acc).count += counted.x + counted.y + counted.z + counted.w;
    (*acc).flags |= select(0u, 1u, any(e.bad)) | select(0u, 2u, any(weighs & infinite));
}

alias Coef = Spread;

fn coef_store(at: u32, c: Coef) {
    spread_store(at, c);
}

fn coef_load(at: u32) -> Coef {
    return spread_load(at);
}

fn label_grads(e: Labels, c: Coef) -> Grads {
    return Grads(predicted(e.logit, c) - proportion(e.label, c), vec4<f32>(0.0));
}

struct RowResult {
    loss: f32,         // not of this stage
    threshold: f32,    // nor this
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let presence = a.presence / f32(max(a.count, 1u));
    let s = Spread(a.shift, a.sum, a.total, presence, a.count, (a.flags & 2u) != 0u, (a.flags & 1u) != 0u);
    return RowResult(0.0, 0.0, s);
}
