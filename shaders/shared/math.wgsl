// Scalar functions that WGSL lacks or that lose precision there, and the bit tests for NaN and infinity.
// provides: HUGE, LOWEST, is_nan, finite, exp_minus, log1p, expm1, softplus, sigmoid
// expects:  nothing

// The largest finite f32. WGSL may assume that infinities do not exist, so an infinite value is carried as +-HUGE.
const HUGE = 3.4028234663852886e38f;
// Where a running maximum starts.
const LOWEST = -3.4028234663852886e38f;

// Whether `bits` is the pattern of a NaN. An integer test, which no fast-math option removes.
fn is_nan(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

// The value of `bits`, with infinities brought to +-HUGE.
fn finite(bits: u32) -> f32 {
    let infinite = (bits & 0x7fffffffu) >= 0x7f800000u;
    return bitcast<f32>(select(bits, (bits & 0x80000000u) | 0x7f7fffffu, infinite));
}

// e^(x - m) for x <= m. The lower clamp is below the smallest f32, and keeps HUGE - LOWEST from becoming infinite; the
// upper one is for an x that a weight of 0 has kept out of the maximum m.
fn exp_minus(x: f32, m: f32) -> f32 {
    return exp(clamp(x - m, -110.0, 0.0));
}

// log(1 + x) for x >= 0, relative error below 4e-7 where x is small too.
fn log1p(x: f32) -> f32 {
    let t = x / (2.0 + x);
    let u = t * t;
    let small = 2.0 * t * (1.0 + u * (1.0 / 3.0 + u * (1.0 / 5.0 + u * (1.0 / 7.0))));
    return select(log(1.0 + x), small, x < 0.5);
}

// e^x - 1 for x <= 0.
fn expm1(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0))))));
    return select(exp(max(x, -110.0)) - 1.0, series, x > -0.5);
}

// log(1 + e^x).
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log1p(exp(max(-abs(x), -110.0)));
}

// 1 / (1 + e^-x), with full relative precision on both sides.
fn sigmoid(x: f32) -> f32 {
    let e = exp(max(-abs(x), -110.0));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
