// The row's loss and coefficients: softplus(t_pos a + t_neg b) of the two log-sum-exps (LSEP, two-way); 0 where a
// side is empty.
// provides: FLOOR, RowResult, row_result
// expects:  side, two_sided, element

const FLOOR = LOWEST;

struct RowResult {
    loss: f32,         // times the row's weight
    threshold: f32,    // gradient to a threshold of the row
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    let empty = a.sum_pos <= 0.0 || a.sum_neg <= 0.0;
    let bad = (a.flags & BAD) != 0u;
    if (empty && !bad) {
        return RowResult(0.0, 0.0, coef_none());
    }
    // Each side divided before the sum: it may be huge where the temperature is small.
    let pos = clamp((a.max_pos + log(a.sum_pos)) / params.own.inv_t_pos, LOWEST, HUGE);
    let neg = clamp((a.max_neg + log(a.sum_neg)) / params.own.inv_t_neg, LOWEST, HUGE);
    // Of halves, whose sum is finite: beyond the largest number it is an infinity, as a logit is.
    let infinite = max(a.max_pos, a.max_neg) >= HUGE || 0.5 * pos + 0.5 * neg > 0.5 * HUGE;
    let x = select(clamp(pos + neg, LOWEST, HUGE), HUGE, infinite);
    let q = row_coefficient(row) * sigmoid(x);
    // A threshold moves both sides by the same amount, in opposite directions.
    var threshold = 0.0;
    var loss = softplus(x);
    if (infinite) {
        loss = bitcast<f32>(params.general.infinity);
    }
    if (bad) {
        loss = bitcast<f32>(params.general.nan);
        threshold = loss;
    }
    let exact = (a.flags & EXACT) != 0u;
    let coef = Coef(a.max_pos, q / a.sum_pos, a.max_neg, q / a.sum_neg, bad, exact);
    return RowResult(loss * row_weight(row), threshold, coef);
}
