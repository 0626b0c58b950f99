// Functions that WGSL lacks or that lose precision there, and the bit tests for NaN and infinity. Those of four labels
// have the formulas; one value is the first of four.
// provides: HUGE, LOWEST, is_nan, is_nan4, finite, finite4, exp_minus, exp_minus4, log1p, log1p4, expm1, expm1_4, softplus,
//           softplus4, sigmoid, sigmoid4, sum_of, max_of
// expects:  nothing

// The largest finite f32. WGSL may assume that infinities do not exist, so an infinite value is carried as +-HUGE.
const HUGE = 3.4028234663852886e38f;
// Where a running maximum starts.
const LOWEST = -3.4028234663852886e38f;

// Whether `bits` is the pattern of a NaN. An integer test, which no fast-math option removes.
fn is_nan4(bits: vec4<u32>) -> vec4<bool> {
    return (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

fn is_nan(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

// The value of `bits`, with infinities brought to +-HUGE.
fn finite4(bits: vec4<u32>) -> vec4<f32> {
    let infinite = (bits & vec4<u32>(0x7fffffffu)) >= vec4<u32>(0x7f800000u);
    return bitcast<vec4<f32>>(select(bits, (bits & vec4<u32>(0x80000000u)) | vec4<u32>(0x7f7fffffu), infinite));
}

fn finite(bits: u32) -> f32 {
    return finite4(vec4<u32>(bits)).x;
}

// e^(x - m) for x <= m. The lower clamp is below the smallest f32, and keeps HUGE - LOWEST from becoming infinite; the
// upper one is for an x that a weight of 0 has kept out of the maximum m.
fn exp_minus4(x: vec4<f32>, m: vec4<f32>) -> vec4<f32> {
    return exp(clamp(x - m, vec4<f32>(-110.0), vec4<f32>(0.0)));
}

fn exp_minus(x: f32, m: f32) -> f32 {
    return exp(clamp(x - m, -110.0, 0.0));
}

// log(1 + x) for x >= 0, relative error below 4e-7 where x is small too.
fn log1p4(x: vec4<f32>) -> vec4<f32> {
    let t = x / (2.0 + x);
    let u = t * t;
    let small = 2.0 * t * (1.0 + u * (1.0 / 3.0 + u * (1.0 / 5.0 + u * (1.0 / 7.0))));
    return select(log(1.0 + x), small, x < vec4<f32>(0.5));
}

fn log1p(x: f32) -> f32 {
    return log1p4(vec4<f32>(x)).x;
}

// e^x - 1 for x <= 0.
fn expm1_4(x: vec4<f32>) -> vec4<f32> {
    let series = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0))))));
    return select(exp(max(x, vec4<f32>(-110.0))) - 1.0, series, x > vec4<f32>(-0.5));
}

fn expm1(x: f32) -> f32 {
    return expm1_4(vec4<f32>(x)).x;
}

// log(1 + e^x).
fn softplus4(x: vec4<f32>) -> vec4<f32> {
    return max(x, vec4<f32>(0.0)) + log1p4(exp(max(-abs(x), vec4<f32>(-110.0))));
}

fn softplus(x: f32) -> f32 {
    return softplus4(vec4<f32>(x)).x;
}

// 1 / (1 + e^-x), with full relative precision on both sides.
fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    let e = exp(max(-abs(x), vec4<f32>(-110.0)));
    return select(e, vec4<f32>(1.0), x >= vec4<f32>(0.0)) / (1.0 + e);
}

fn sigmoid(x: f32) -> f32 {
    return sigmoid4(vec4<f32>(x)).x;
}

fn sum_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn max_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}
