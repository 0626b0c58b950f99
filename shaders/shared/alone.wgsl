// A gradient to the logits of the loss alone.
// provides: joined
// expects:  Labels

fn joined(e: Labels, slope: vec4<f32>) -> vec4<f32> {
    return slope;
}
