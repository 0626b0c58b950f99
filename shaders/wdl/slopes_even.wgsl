// D of a row and g, of all pairs' squares with weights of 1. Since both distributions sum to 1, e sums to 0, and of
// the closed form there remains  D = n sum e^2.
// provides: slopes_begin, slopes, difference
// expects:  params, Labels, row_spread, row_scale

fn pairs_all() -> f32 {
    return f32(params.own.sets * row_spread.count);
}

fn slopes_begin(row: u32) {
}

fn slopes(l: Labels, e: vec4<f32>) -> vec4<f32> {
    return (2.0 * (params.own.lambda_ratio + row_scale * pairs_all())) * e;
}

fn difference(row: u32, squares: f32) -> f32 {
    return pairs_all() * squares;
}
