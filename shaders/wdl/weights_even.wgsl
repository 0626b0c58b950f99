// Without theta all weights are 1.
// provides: weight_at, weight_four
// expects:  nothing

fn weight_at(k: u32, i: u32) -> f32 {
    return 1.0;
}

fn weight_four(k: u32, i: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}
