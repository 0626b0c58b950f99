// Last stage of WDL: the loss, and the gradients to logits and targets. With g = dL/dp = 2 lambda e + scale h:
// to s: p (g - <p,g>), times sigma(-s) for the normalised sigmoid; to y: (<q,g> - g) / (sum y + n epsilon).
// D and g, of the derivatives h = dD/de, come from one of the files slopes_*.wgsl.
// provides: Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load, label_grads,
//           RowResult, row_result, row_begin, row_spread, row_scale
// expects:  math, Labels, scratch, label, spread, slopes_begin, slopes, difference

// What the first stage found of the row, and what its differences are multiplied by.
var<private> row_spread: Spread;
var<private> row_scale: f32;

fn row_begin(row: u32) {
    row_spread = spread_load(params.own.spread_at + row * SPREAD_WORDS);
    row_scale = difference_scale(row_spread);
    slopes_begin(row);
}

struct Acc {
    pg: f32,       // <p,g>
    qg: f32,       // <q,g>
    ratio: f32,    // sum of e^2
}

fn acc_start() -> Acc {
    return Acc(0.0, 0.0, 0.0);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.pg + b.pg, a.qg + b.qg, a.ratio + b.ratio);
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.pg);
    scratch[at + 1u] = bitcast<u32>(a.qg);
    scratch[at + 2u] = bitcast<u32>(a.ratio);
}

fn acc_load(at: u32) -> Acc {
    return Acc(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
    );
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let none = vec4<f32>(0.0);
    let sound = e.counts & vec4<bool>(!row_spread.bad);
    let p = predicted(e.logit, row_spread);
    let q = proportion(e.label, row_spread);
    let g = slopes(e, p - q);
    (*acc).pg += sum_of(select(none, p * g, sound));
    (*acc).qg += sum_of(select(none, q * g, sound));
    (*acc).ratio += sum_of(select(none, (p - q) * (p - q), sound));
}

struct Coef {
    pg: f32,
    qg: f32,
    k: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.pg, c.qg, c.k));
    scratch[at + 3u] = u32(c.bad);
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.pg, a.qg, a.ratio, scratch[at + 3u] != 0u);
}

fn label_grads(e: Labels, c: Coef) -> Grads {
    let none = vec4<f32>(0.0);
    let s = row_spread;
    let weight = params.own.lambda_presence * e.weight / f32(max(s.count, 1u));
    let presence = label_slopes(e);
    let weighs = weight > none;
    let to_logit = select(none, weight * presence.logit, weighs);
    let to_label = select(none, weight * presence.label, weighs);
    let share = c.k * weight;
    if (s.total <= 0.0) {
        return Grads(c.k * to_logit, infinite_too(share, presence.label, c.k * to_label));
    }
    let p = predicted(e.logit, s);
    // A label that has all of p has <p,g> itself, however either of the two is rounded.
    let g = select(slopes(e, p - proportion(e.label, s)), vec4<f32>(c.pg), p == vec4<f32>(1.0));
    let slope = select(sigmoid4(-e.logit), vec4<f32>(1.0), vec4<bool>(params.own.prediction == SOFTMAX));
    let label = infinite_too(share, presence.label, c.k * (to_label + (c.qg - g) / s.total));
    return Grads(c.k * (to_logit + slope * p * (g - c.pg)), label);
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // gradient to theta0
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let s = row_spread;
    let k = row_coefficient(row);
    let difference = row_scale * difference(row, a.ratio);
    var loss = s.presence;
    var to_theta0 = 0.0;
    if (s.total > 0.0) {
        loss += params.own.lambda_ratio * a.ratio + difference;
        if (params.sides.threshold != ABSENT && s.count > 1u) {
            loss += 0.5 * params.own.lambda_difference * finite(row_threshold(0u));
            to_theta0 = k * (0.5 * params.own.lambda_difference - difference);
        }
    }
    if (s.infinite) {
        loss = bitcast<f32>(params.general.infinity);
    }
    if (s.bad) {
        loss = bitcast<f32>(params.general.nan);
        to_theta0 = loss;
    }
    return RowResult(loss * row_weight(row), to_theta0, Coef(a.pg, a.qg, k, s.bad));
}
