// A gradient that replaces what is there.
// provides: kept4, added4
// expects:  Labels

// What stands where a label does not count.
fn kept4(e: Labels) -> vec4<u32> {
    return vec4<u32>(0u);
}

// The bit patterns of what is stored of a gradient.
fn added4(e: Labels, slope: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(slope);
}
