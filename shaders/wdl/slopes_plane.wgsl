// D of a row and g, with h = dD/de as `adjacent` and `sweep` left them.
// provides: slopes_begin, slopes, difference
// expects:  params, Labels, found, h_four, row_scale

fn slopes_begin(row: u32) {
}

fn slopes(l: Labels, e: vec4<f32>) -> vec4<f32> {
    let g = 2.0 * params.own.lambda_ratio * e;
    if (params.own.h_at == ABSENT) {
        return g;
    }
    return g + row_scale * h_four(l.row, l.col);
}

fn difference(row: u32, squares: f32) -> f32 {
    return found_load(row, 0u).total;
}
