// A row without a loss of its own: of the two-way loss's classes alone.
// provides: FLOOR, RowResult, row_result
// expects:  two_sided

const FLOOR = LOWEST;

struct RowResult {
    loss: f32,
    threshold: f32,
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    return RowResult(0.0, 0.0, coef_none());
}
