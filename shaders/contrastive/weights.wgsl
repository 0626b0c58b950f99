// What an anchor makes of a key.
// provides: Weights
// expects:  nothing

// Of four anchors and keys: the weight before the anchor's divisor, and what stands beside the similarity in the
// denominator and in the numerator.
struct Weights {
    weight: vec4<f32>,
    bias: vec4<f32>,
    shift: vec4<f32>,
}
