//! Seeded numbers that CPU and GPU compute alike, bit for bit.

use crate::reference::permutation::mix;

/// The perturbation of component `component` of prototype `class` of level `level` (from 0): uniform in
/// `[-epsilon, epsilon)`, in steps of `epsilon / 2^23`.
///
/// A hash of the counters in u32 arithmetic that wraps, then one f32 multiplication, so that a GPU gets the same bits:
///
/// ```text
/// key  = mix(low ^ mix(high ^ mix(level ^ 0x9e3779b9)))      low, high: the halves of the seed
/// hash = mix(mix(key + class * 0x9e3779b9) ^ (component * 0x85ebca6b))
/// eta  = epsilon * (((hash >> 8) - 2^23) / 2^23)
/// ```
///
/// `mix` is that of [`permutation`](super::permutation()).
pub fn perturbation(seed: u64, level: u32, class: u32, component: u32, epsilon: f32) -> f32 {
    let row = mix(key(seed, level).wrapping_add(class.wrapping_mul(0x9e37_79b9)));
    let hash = mix(row ^ component.wrapping_mul(0x85eb_ca6b));
    epsilon * (((hash >> 8) as f32 - 8_388_608.0) / 8_388_608.0)
}

/// A key for each stream of a seed.
fn key(seed: u64, stream: u32) -> u32 {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    mix(low ^ mix(high ^ mix(stream ^ 0x9e37_79b9)))
}

/// The two uniforms behind draw `k` of [`Balance::Random`](crate::Balance::Random): in `(0, 1]` and `[0, 1)`.
pub(super) fn uniforms(seed: u64, k: u32) -> (f64, f64) {
    let key = key(seed, 0x5bd1_e995);
    let unit = |i: u32| mix(key.wrapping_add(i.wrapping_mul(0x9e37_79b9))) >> 8;
    let step = 1.0 / 16_777_216.0;
    (
        (f64::from(unit(2 * k)) + 1.0) * step,
        f64::from(unit(2 * k + 1)) * step,
    )
}
