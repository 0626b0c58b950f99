// D of a row and h = dD/de as `adjacent` and `sweep` left them.
// provides: slopes_begin, slopes, difference
// expects:  Labels, found, h_four

fn slopes_begin(row: u32) {
}

fn slopes(l: Labels, e: vec4<f32>) -> vec4<f32> {
    if (params.own.h_at == ABSENT) {
        return vec4<f32>(0.0);
    }
    return h_four(l.row, l.col);
}

fn difference(row: u32, squares: f32) -> f32 {
    return found_load(row, 0u).total;
}
