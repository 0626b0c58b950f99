// Where `adjacent` and `sweep` leave what they find, one row of the window after the other: h = dD/de for each label,
// c = dD/dw for each weight.
// provides: h_place, h_four, c_place, c_four
// expects:  params, scratch

fn h_place(row: u32, col: u32) -> u32 {
    return params.own.h_at + row * params.window.cols + col;
}

fn c_place(row: u32, k: u32, i: u32) -> u32 {
    return params.own.c_at + (row * params.own.sets + k) * params.own.weights + i;
}

// Of the four labels from `col` on, which may wrap before the row's first.
fn plane_four(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]));
}

fn h_four(row: u32, col: u32) -> vec4<f32> {
    return plane_four(h_place(row, col));
}

fn c_four(row: u32, k: u32, i: u32) -> vec4<f32> {
    return plane_four(c_place(row, k, i));
}
