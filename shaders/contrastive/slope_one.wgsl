// Slopes where each positive is in a denominator of its own with the negatives, of whose sum `largest` is the logarithm.
// provides: slope
// expects:  Weights, sigmoid4

// Four slopes dL/ds.
fn slope(s: vec4<f32>, pair: Weights, largest: vec4<f32>, exponential: vec4<f32>, weight: vec4<f32>) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let above = s + pair.bias - largest;
    let below = clamp(above, vec4<f32>(-110.0), none);
    return select(exponential * exp(below), -weight * pair.weight * sigmoid4(-above), pair.weight > none);
}
