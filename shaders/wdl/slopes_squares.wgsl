// D of a row and g, of all pairs' squares with weights.
// provides: slopes_begin, slopes, difference
// expects:  Labels, found, weight_four, row_spread, row_scale, params, square_slopes

// The first set, which often is the only one.
var<private> row_found: Found;

fn slopes_begin(row: u32) {
    row_found = found_load(row, 0u);
}

fn slopes(l: Labels, e: vec4<f32>) -> vec4<f32> {
    let n = f32(row_spread.count);
    var h = square_slopes(row_found, n, weight_four(0u, l.col), e);
    for (var k = 1u; k < params.own.sets; k++) {
        h += square_slopes(found_load(l.row, k), n, weight_four(k, l.col), e);
    }
    return 2.0 * params.own.lambda_ratio * e + row_scale * h;
}

fn difference(row: u32, squares: f32) -> f32 {
    var total = row_found.total;
    for (var k = 1u; k < params.own.sets; k++) {
        total += found_load(row, k).total;
    }
    return total;
}
