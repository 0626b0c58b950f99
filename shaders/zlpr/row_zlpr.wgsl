// The row's loss and coefficients: the sum of the two sides, log(1 + sum_pos) + log(1 + sum_neg).
// provides: FLOOR, RowResult, row_result
// expects:  side, two_sided, element

const FLOOR = 0.0;

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // gradient to a threshold of the row
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let k = row_coefficient(row);
    let c = Coef(
        a.max_pos,
        k / (exp_minus(0.0, a.max_pos) + a.sum_pos),
        a.max_neg,
        k / (exp_minus(0.0, a.max_neg) + a.sum_neg),
        (a.flags & BAD) != 0u,
        (a.flags & EXACT) != 0u,
    );
    var loss = side_lse0(a.max_pos, a.sum_pos) + side_lse0(a.max_neg, a.sum_neg);
    var threshold = a.sum_pos * c.pos - a.sum_neg * c.neg;
    if (max(a.max_pos, a.max_neg) >= HUGE) {
        loss = bitcast<f32>(params.general.infinity);
    }
    if (c.bad) {
        loss = bitcast<f32>(params.general.nan);
        threshold = loss;
    }
    return RowResult(loss * row_weight(row), threshold, c);
}
