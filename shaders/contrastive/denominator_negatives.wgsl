// Denominators without the keys that weigh.
// provides: in_denominator, base
// expects:  nothing

// Whether a key is in the denominator, by its weight.
fn in_denominator(weight: vec4<f32>) -> vec4<bool> {
    return weight <= vec4<f32>(0.0);
}

// What distances are from: positives may be met before there is anything in the denominator.
fn base(largest: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(0.0);
}
