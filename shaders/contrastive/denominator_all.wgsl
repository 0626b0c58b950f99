// Denominators of all keys.
// provides: in_denominator, base
// expects:  nothing

// Whether a key is in the denominator, by its weight.
fn in_denominator(weight: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(true);
}

// What distances are from: as near to the similarities as may be.
fn base(largest: vec4<f32>) -> vec4<f32> {
    return largest;
}
