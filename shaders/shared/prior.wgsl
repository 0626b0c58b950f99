// A gradient that is added to what is there.
// provides: kept4, added4
// expects:  math, Labels, prior4(Labels) -> vec4<u32>: the f32 bit patterns of what is there

// What stands where a label does not count.
fn kept4(e: Labels) -> vec4<u32> {
    return prior4(e);
}

// The bit patterns of what is stored of a gradient.
fn added4(e: Labels, slope: vec4<f32>) -> vec4<u32> {
    let before = prior4(e);
    let sum = slope + bitcast<vec4<f32>>(before);
    return select(bitcast<vec4<u32>>(sum), vec4<u32>(0x7fc00000u), is_nan4(before));
}
