// The Jaccard similarity of keys that share a label, from a threshold on.
// provides: weights
// expects:  Weights, params

// Four pairs, by the labels they share, the sizes of the anchors' and of the keys' sets, and whether the key is the
// anchor itself.
fn weights(meet: vec4<f32>, anchors: vec4<f32>, keys: vec4<f32>, same: vec4<bool>) -> Weights {
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let either = max(anchors + keys - meet, one);
    let enough = meet >= params.settings.threshold * either;
    return Weights(select(none, meet / either, (meet > none) & enough), none, none);
}
