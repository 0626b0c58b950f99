// The logarithm of the factor of Similarity-Dissimilarity.
// provides: log_factor
// expects:  nothing

// 0 where no label is shared.
fn log_factor(meet: vec4<f32>, first: vec4<f32>, second: vec4<f32>) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let log_k = log(max(meet, one)) - log(max(first, one)) - log(one + second - meet);
    return select(vec4<f32>(0.0), log_k, meet > vec4<f32>(0.0));
}
