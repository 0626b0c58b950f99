// Every element has weight 1.
// provides: element_weight4
// expects:  nothing

// The bit patterns of the weights.
fn element_weight4(base: u32, q: u32) -> vec4<u32> {
    return vec4<u32>(0x3f800000u);
}
