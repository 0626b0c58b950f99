// A logit of -infinity leaves its label out: that is how users mask.
// provides: left_out4
// expects:  nothing

fn left_out4(bits: vec4<u32>) -> vec4<bool> {
    return bits == vec4<u32>(0xff800000u);
}
