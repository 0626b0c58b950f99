// The two distributions of a row: p of the logits, q of the targets. Found by distribution.wgsl, then kept in scratch.
// provides: Settings, Spread, spread_store, spread_load, log_shares, predicted, proportion, difference_scale
// expects:  math, params, sides, scratch

struct Settings {
    epsilon: f32,
    lambda_presence: f32,
    lambda_ratio: f32,
    lambda_difference: f32,
    prediction: u32,       // SIGMOID or SOFTMAX
    huber_delta: f32,
    sets: u32,             // rows of theta
    weights: u32,          // weights in each
    per_pair: f32,         // of the sum of differences, over n (n - 1)
    degree: f32,           // of the sum in the weights
    spread_at: u32,        // places in `scratch`
    e_at: u32,             // where no binding of its own reaches it
    h_at: u32,             // or ABSENT
    c_at: u32,             // or ABSENT
    weights_at: u32,       // or ABSENT: all weights are 1
    order_offset: u32,     // of the permutation
    order_stride: u32,     // 0 where one serves all rows
    found_at: u32,         // what is found of the differences of each row and set
    unit: u32,             // first of a dispatch of `sweep`
}

struct Spread {
    shift: f32,       // largest log share
    sum: f32,         // sum of e^(log share - shift)
    total: f32,       // sum of y + epsilon
    presence: f32,    // the presence term
    count: u32,       // labels that count
    infinite: bool,   // the presence term is infinite
    bad: bool,        // a NaN in the row
}

fn spread_store(at: u32, s: Spread) {
    scratch[at] = bitcast<u32>(s.shift);
    scratch[at + 1u] = bitcast<u32>(s.sum);
    scratch[at + 2u] = bitcast<u32>(s.total);
    scratch[at + 3u] = bitcast<u32>(s.presence);
    scratch[at + 4u] = s.count;
    scratch[at + 5u] = u32(s.infinite);
    scratch[at + 6u] = u32(s.bad);
}

fn spread_load(at: u32) -> Spread {
    return Spread(
        bitcast<f32>(scratch[at]),
        bitcast<f32>(scratch[at + 1u]),
        bitcast<f32>(scratch[at + 2u]),
        bitcast<f32>(scratch[at + 3u]),
        scratch[at + 4u],
        scratch[at + 5u] != 0u,
        scratch[at + 6u] != 0u,
    );
}

// The logarithms of labels' shares before normalising: log sigma(s), or s.
fn log_shares(logit: vec4<f32>) -> vec4<f32> {
    return select(-softplus4(-logit), logit, vec4<bool>(params.own.prediction == SOFTMAX));
}

fn predicted(logit: vec4<f32>, s: Spread) -> vec4<f32> {
    return exp_minus4(log_shares(logit), vec4<f32>(s.shift)) / s.sum;
}

// 0 in a row without proportions, which has no other term that would look at it.
fn proportion(label: vec4<f32>, s: Spread) -> vec4<f32> {
    return select(vec4<f32>(0.0), (label + params.own.epsilon) / s.total, vec4<bool>(s.total > 0.0));
}

// What the sum of weighted differences is multiplied by: lambda, one over the number of differences, and of the bounded
// form e^-theta0 / 2. 0 where there are none.
fn difference_scale(s: Spread) -> f32 {
    if (s.count < 2u || s.total <= 0.0) {
        return 0.0;
    }
    let n = f32(s.count);
    var scale = params.own.lambda_difference * params.own.per_pair / (n * (n - 1.0));
    if (params.sides.threshold != ABSENT) {
        scale *= 0.5 * exp(-finite(row_threshold(0u)));
    }
    return scale;
}
