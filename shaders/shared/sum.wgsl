// The accumulator of losses that are a sum over labels.
// provides: Acc, acc_start, acc_merge, acc_store, acc_load, Coef, coef_store, coef_load, RowResult, row_result,
//           row_coefficients, Tally, tally_start, tally_add, tally_end, acc_add, label_grads
// expects:  Labels, scratch, and from the loss: label_loss(Labels) -> vec4<f32> (+-HUGE where infinite),
//           label_slopes(Labels) -> Grads (to the logits, to the targets: +-HUGE where infinite)

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

// What the gradient of a row of `count` labels is multiplied by, if it holds no NaN.
fn row_coefficients(row: u32, count: u32) -> Coef {
    var k = row_coefficient(row);
    if (params.general.row_mean != 0u) {
        k /= f32(max(count, 1u));
    }
    return Coef(k, false);
}

// Four sums.
struct Tally {
    sum: vec4<f32>,
    count: vec4<u32>,
    bad: vec4<bool>,
    infinite: vec4<bool>,
}

fn tally_start(base: Acc) -> Tally {
    return Tally(vec4<f32>(0.0), vec4<u32>(0u), vec4<bool>(false), vec4<bool>(false));
}

fn tally_add(tally: ptr<function, Tally>, e: Labels) {
    let loss = label_loss(e);
    let infinite = (abs(loss) >= vec4<f32>(HUGE)) & (e.weight > vec4<f32>(0.0));
    (*tally).sum += select(vec4<f32>(0.0), e.weight * loss, e.counts & !e.bad & !infinite);
    (*tally).count += vec4<u32>(e.counts);
    (*tally).bad = (*tally).bad | e.bad;
    (*tally).infinite = (*tally).infinite | (e.counts & !e.bad & infinite);
}

fn tally_end(tally: Tally) -> Acc {
    let count = tally.count.x + tally.count.y + tally.count.z + tally.count.w;
    return Acc(sum_of(tally.sum), count, select(0u, 1u, any(tally.bad)) | select(0u, 2u, any(tally.infinite)));
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    var tally = tally_start(*acc);
    tally_add(&tally, e);
    *acc = acc_merge(*acc, tally_end(tally));
}

// The gradients to the logits and to the targets.
fn label_grads(e: Labels, c: Coef) -> Grads {
    let slopes = label_slopes(e);
    let k = c.k * e.weight;
    return Grads(k * slopes.logit, infinite_too(k, slopes.label, k * slopes.label));
}
