//! Seeded numbers that CPU and GPU compute alike, bit for bit.

use crate::losses::linear::ROUNDING;
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

/// A number of f32 as one of f16, up or down by chance: as often as it takes for the mean to be right. Chance is
/// `hash = mix(mix(key + label * 0x9e3779b9) ^ (component * 0x85ebca6b))`, with the key of [`perturbation`] for the stream
/// 0x726f756e: the upper 13 bits of it are added behind the last digit that is kept; of numbers below 2^-14 the upper 24 bits
/// are compared with what is beyond the last step of 2^-24. What is not finite stays so.
pub fn f16_by_chance(value: f32, seed: u64, label: u32, component: u32) -> half::f16 {
    let (bits, chance) = (value.to_bits(), chance(seed, label, component));
    let magnitude = bits & 0x7fff_ffff;
    if magnitude >= 0x7f80_0000 {
        return half::f16::from_f32(value);
    }
    if magnitude < 0x3880_0000 {
        let steps = value.abs() * 16_777_216.0;
        let up = ((chance >> 8) as f32) < (steps - steps.floor()) * 16_777_216.0;
        let sign = (bits >> 16) & 0x8000;
        return half::f16::from_bits((sign | (steps as u32 + u32::from(up))) as u16);
    }
    let kept = (bits + (chance >> 19)) & 0xffff_e000;
    half::f16::from_f32(f32::from_bits(kept))
}

/// The same as one of bf16: the upper 16 bits of the hash are added behind the last digit that is kept.
pub fn bf16_by_chance(value: f32, seed: u64, label: u32, component: u32) -> half::bf16 {
    let bits = value.to_bits();
    if !value.is_finite() {
        return half::bf16::from_f32(value);
    }
    let kept = bits + (chance(seed, label, component) >> 16);
    half::bf16::from_bits((kept >> 16) as u16)
}

fn chance(seed: u64, label: u32, component: u32) -> u32 {
    let row = key(seed, ROUNDING).wrapping_add(label.wrapping_mul(0x9e37_79b9));
    mix(mix(row) ^ component.wrapping_mul(0x85eb_ca6b))
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
