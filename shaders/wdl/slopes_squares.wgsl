// D of a row and h = dD/de, of all pairs' squares with weights.
// provides: slopes_begin, slopes, difference
// expects:  Labels, found, weight_four, row_spread, square_slopes

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
    return h;
}

fn difference(row: u32, squares: f32) -> f32 {
    var total = row_found.total;
    for (var k = 1u; k < params.own.sets; k++) {
        total += found_load(row, k).total;
    }
    return total;
}
