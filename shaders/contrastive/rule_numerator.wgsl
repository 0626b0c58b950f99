// Similarity-Dissimilarity with its factor in the numerator.
// provides: weights
// expects:  OF_KEY (1: the sets' roles are exchanged), Weights, log_factor

// Four pairs, by the labels they share, the sizes of the anchors' and of the keys' sets, and whether the key is the
// anchor itself.
fn weights(meet: vec4<f32>, anchors: vec4<f32>, keys: vec4<f32>, same: vec4<bool>) -> Weights {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let first = select(anchors, keys, OF_KEY == 1u);
    let second = select(keys, anchors, OF_KEY == 1u);
    let log_k = log_factor(meet, first, second);
    return Weights(select(none, one, meet > none), none, log_k);
}
