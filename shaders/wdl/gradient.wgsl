// Last stage of WDL: the loss, and the gradients to logits and targets. With g = dL/dp = 2 lambda e + scale h:
// to s: p (g - <p,g>), times sigma(-s) for the normalised sigmoid; to y: (<q,g> - g) / (sum y + n epsilon).
// The differences come from differences.wgsl: h = dD/de for each label, c = dD/dw for each weight, and D itself is
// sum w c / degree, since it is homogeneous in the weights.
// provides: Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load, element_grad, RowResult, row_result, row_begin
// expects:  math, element, scratch, label, spread, planes

// What the first stage found of the row, and what its differences are multiplied by.
var<private> row_spread: Spread;
var<private> row_scale: f32;

fn row_begin(row: u32) {
    row_spread = spread_load(params.own.spread_at + row * SPREAD_WORDS);
    row_scale = difference_scale(row_spread);
}

struct Acc {
    pg: f32,             // <p,g>
    qg: f32,             // <q,g>
    ratio: f32,          // sum of e^2
    difference: f32,     // sum of w c
}

fn acc_start() -> Acc {
    return Acc(0.0, 0.0, 0.0, 0.0);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.pg + b.pg, a.qg + b.qg, a.ratio + b.ratio, a.difference + b.difference);
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = bitcast<u32>(a.pg);
    scratch[at + 1u] = bitcast<u32>(a.qg);
    scratch[at + 2u] = bitcast<u32>(a.ratio);
    scratch[at + 3u] = bitcast<u32>(a.difference);
}

fn acc_load(at: u32) -> Acc {
    return Acc(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
    );
}

// dL/dp of a label. Only the gradients need h.
fn to_p(row: u32, col: u32, e: f32) -> f32 {
    var g = 2.0 * params.own.lambda_ratio * e;
    if (params.own.h_at != ABSENT) {
        g += row_scale * bitcast<f32>(scratch[h_place(row, col)]);
    }
    return g;
}

fn acc_add(acc: ptr<function, Acc>, e: Element) {
    // Each column also stands for the weights of its number, whether its label counts or not.
    if (e.col < params.own.weights) {
        for (var k = 0u; k < params.own.sets; k++) {
            (*acc).difference += weight_at(k, e.col) * bitcast<f32>(scratch[c_place(e.row, k, e.col)]);
        }
    }
    if (!e.counts || row_spread.bad) {
        return;
    }
    let p = predicted(e.logit, row_spread);
    let q = proportion(e.label, row_spread);
    let g = to_p(e.row, e.col, p - q);
    (*acc).pg += p * g;
    (*acc).qg += q * g;
    (*acc).ratio += (p - q) * (p - q);
}

struct Coef {
    pg: f32,
    qg: f32,
    k: f32,
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    acc_store(at, Acc(c.pg, c.qg, c.k, f32(c.bad)));
}

fn coef_load(at: u32) -> Coef {
    let a = acc_load(at);
    return Coef(a.pg, a.qg, a.ratio, a.difference != 0.0);
}

fn element_grad(e: Element, c: Coef) -> vec2<f32> {
    let s = row_spread;
    let weight = params.own.lambda_presence * e.weight / f32(max(s.count, 1u));
    let presence = select(vec2<f32>(0.0), weight * label_grad(e), weight > 0.0);
    if (s.total <= 0.0) {
        return c.k * presence;
    }
    let p = predicted(e.logit, s);
    let g = to_p(e.row, e.col, p - proportion(e.label, s));
    let slope = select(sigmoid(-e.logit), 1.0, params.own.prediction == SOFTMAX);
    return c.k * (presence + vec2<f32>(slope * p * (g - c.pg), (c.qg - g) / s.total));
}

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // gradient to theta0
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let s = row_spread;
    let k = row_coefficient(row);
    let difference = row_scale * a.difference / params.own.degree;
    var loss = s.presence;
    var to_theta0 = 0.0;
    if (s.total > 0.0) {
        loss += params.own.lambda_ratio * a.ratio + difference;
        if (params.sides.threshold != ABSENT && s.count > 1u) {
            loss += 0.5 * params.own.lambda_difference * finite(sides[params.sides.threshold]);
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
