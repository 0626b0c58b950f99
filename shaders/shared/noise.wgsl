// Numbers from a seed and counters, in u32 arithmetic: the reference computes the same bits.
// Mirrors: src/reference/noise.rs.
// provides: counter_mix, counter_key, counter_uniform
// expects:  nothing

// The hash lowbias32 of Chris Wellons (public domain).
fn counter_mix(value: u32) -> u32 {
    var x = value ^ (value >> 16u);
    x *= 0x7feb352du;
    x ^= x >> 15u;
    x *= 0x846ca68bu;
    return x ^ (x >> 16u);
}

// A key for each stream of a seed.
fn counter_key(low: u32, high: u32, stream: u32) -> u32 {
    return counter_mix(low ^ counter_mix(high ^ counter_mix(stream ^ 0x9e3779b9u)));
}

// Uniform in [-size, size). One rounding, in the last multiplication.
fn counter_uniform(row: u32, component: u32, size: f32) -> f32 {
    let hash = counter_mix(row ^ (component * 0x85ebca6bu));
    return size * (f32(i32(hash >> 8u) - 8388608) / 8388608.0);
}
