// A logit of -infinity leaves its label out: that is how users mask.
// provides: left_out4, unfit4
// expects:  nothing

fn left_out4(bits: vec4<u32>) -> vec4<bool> {
    return bits == vec4<u32>(0xff800000u);
}

// Where the logits or the other logits are more than the loss can take.
fn unfit4(logit: vec4<f32>, other: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(false);
}
