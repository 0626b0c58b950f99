// Where the stages of WDL leave what they find, one row of the window after the other: e and h for each label, c for
// each weight.
// provides: e_place, h_place, c_place, weight_at
// expects:  params, scratch

fn e_place(row: u32, col: u32) -> u32 {
    return params.own.e_at + row * params.window.cols + col;
}

fn h_place(row: u32, col: u32) -> u32 {
    return params.own.h_at + row * params.window.cols + col;
}

fn c_place(row: u32, k: u32, i: u32) -> u32 {
    return params.own.c_at + (row * params.own.sets + k) * params.own.weights + i;
}

// A weight, of mean 1 over its set.
fn weight_at(k: u32, i: u32) -> f32 {
    if (params.own.weights_at == ABSENT) {
        return 1.0;
    }
    return bitcast<f32>(scratch[params.own.weights_at + k * params.own.weights + i]);
}
