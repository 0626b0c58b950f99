// The logarithm of the factor of Similarity-Dissimilarity.
// provides: log_factor
// expects:  OF_KEY (1: the sets' roles are exchanged)

// 0 where no label is shared. Of rows beyond the last the words may hold anything, and share more than there is: no NaN of them,
// since what is made of this is multiplied with a weight of 0.
fn log_factor(meet: vec4<f32>, anchors: vec4<f32>, keys: vec4<f32>) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let first = select(anchors, keys, OF_KEY == 1u);
    let second = select(keys, anchors, OF_KEY == 1u);
    let log_k = log(max(meet, one)) - log(max(first, one)) - log(max(one + second - meet, one));
    return select(vec4<f32>(0.0), log_k, meet > vec4<f32>(0.0));
}
