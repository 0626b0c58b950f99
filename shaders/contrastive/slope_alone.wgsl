// Slopes where pairs are judged by themselves.
// provides: slope
// expects:  params, Weights, sigmoid4

// Four slopes dL/ds; `exponential` is what the anchor's loss is multiplied by.
fn slope(s: vec4<f32>, pair: Weights, largest: vec4<f32>, exponential: vec4<f32>, weight: vec4<f32>) -> vec4<f32> {
    let attract = pair.weight > vec4<f32>(0.0);
    let biased = s + vec4<f32>(params.bias);
    let pull = sigmoid4(select(biased, -biased, attract));
    return exponential * select(pull, -pull, attract);
}
