// Four neighbouring labels of a row with everything that belongs to them: targets, masks, weights, thresholds.
// provides: IOTA, Row, Labels, Grads, Shares, shares, infinite_too
// expects:  params, math

const IOTA = vec4<u32>(0u, 1u, 2u, 3u);

// A row, and where its vectors begin in each tensor.
struct Row {
    row: u32,         // of the window
    cols: u32,        // 0 of a row that is not there
    phase: u32,       // how many labels before the first its first vector begins
    logits: u32,
    targets: u32,
    mask: u32,
    sides: u32,
    grad: u32,
    second: u32,
    threshold: f32,
    bad: bool,        // its threshold is a NaN
    counts: bool,     // its weight is not 0
}

struct Labels {
    row: u32,
    col: u32,                 // of the first; wraps to a large number before the row's first
    logit: vec4<f32>,         // finite, or +-HUGE for an infinite one
    label: vec4<f32>,         // the targets, or the other logits
    weight: vec4<f32>,        // of the classes and elements
    threshold: vec4<f32>,
    inside: vec4<bool>,       // false: not in this row
    counts: vec4<bool>,       // false: masked out too, takes part in nothing
    bad: vec4<bool>,          // a NaN makes the row's loss and gradient NaN
}

// Gradients to four logits, and to the four targets or other logits.
struct Grads {
    logit: vec4<f32>,
    label: vec4<f32>,
}

// How much soft labels count as positives and as negatives, after smoothing.
struct Shares {
    pos: vec4<f32>,
    neg: vec4<f32>,
}

// A gradient that is infinite where the slope in it is +-HUGE: some share of that is infinite too.
fn infinite_too(k: vec4<f32>, slope: vec4<f32>, all: vec4<f32>) -> vec4<f32> {
    let far = (abs(slope) >= vec4<f32>(HUGE)) & (k != vec4<f32>(0.0));
    return select(all, sign(k * slope) * bitcast<f32>(params.general.infinity), far);
}

fn shares(e: Labels) -> Shares {
    let keep = 1.0 - params.general.smoothing;
    let half_eps = 0.5 * params.general.smoothing;
    return Shares(keep * e.label + half_eps, keep * (1.0 - e.label) + half_eps);
}
