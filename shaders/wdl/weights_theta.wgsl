// The weights that theta.wgsl made, of mean 1 over their set.
// provides: weight_at, weight_four
// expects:  params, scratch

fn weight_at(k: u32, i: u32) -> f32 {
    return bitcast<f32>(scratch[params.own.weights_at + k * params.own.weights + i]);
}

// Of the four labels from `i` on, which may wrap before the first.
fn weight_four(k: u32, i: u32) -> vec4<f32> {
    return vec4<f32>(weight_at(k, i), weight_at(k, i + 1u), weight_at(k, i + 2u), weight_at(k, i + 3u));
}
