// Slopes where positives are not in the denominator.
// provides: slope
// expects:  Weights

// Four slopes dL/ds.
fn slope(s: vec4<f32>, pair: Weights, largest: vec4<f32>, exponential: vec4<f32>, weight: vec4<f32>) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let below = clamp(s + pair.bias - largest, vec4<f32>(-110.0), none);
    return select(exponential * exp(below), -weight * pair.weight, pair.weight > none);
}
