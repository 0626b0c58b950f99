// What is kept of a row: its loss, its threshold's gradient, its coefficients.
// provides: row_store
// expects:  params, scratch, RowResult, coef_store

fn row_store(row: u32, r: RowResult) {
    if (params.places.loss_at != ABSENT) {
        scratch[params.places.loss_at + row] = bitcast<u32>(r.loss);
    }
    if (params.places.threshold_at != ABSENT) {
        scratch[params.places.threshold_at + row] = bitcast<u32>(r.threshold);
    }
    if (params.places.coef_at != ABSENT) {
        coef_store(params.places.coef_at + row * COEF_WORDS, r.coef);
    }
}
