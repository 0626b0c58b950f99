// Where the stages of WDL leave what they find, one row of the window after the other: e and h for each label, c for
// each weight.
// provides: e_place, h_place, c_place, weight_at, h_four, c_four, weight_four
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

// The same of the four labels from `col` on, which may wrap before the row's first.
fn scratch_four(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]));
}

fn h_four(row: u32, col: u32) -> vec4<f32> {
    return scratch_four(h_place(row, col));
}

fn c_four(row: u32, k: u32, i: u32) -> vec4<f32> {
    return scratch_four(c_place(row, k, i));
}

fn weight_four(k: u32, i: u32) -> vec4<f32> {
    if (params.own.weights_at == ABSENT) {
        return vec4<f32>(1.0);
    }
    return scratch_four(params.own.weights_at + k * params.own.weights + i);
}
