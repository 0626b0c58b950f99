// Similarity-Dissimilarity with its factor in the numerator.
// provides: weights
// expects:  Weights, log_factor

// Four pairs, by the labels they share, the sizes of the anchors' and of the keys' sets, and whether the key is the
// anchor itself.
fn weights(meet: vec4<f32>, anchors: vec4<f32>, keys: vec4<f32>, same: vec4<bool>) -> Weights {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let log_k = log_factor(meet, anchors, keys);
    return Weights(select(none, one, meet > none), none, log_k);
}
