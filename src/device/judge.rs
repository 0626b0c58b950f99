//! What the words of a driver's probes should be, and what it means where they are not. Knows no device.

use crate::device::caps::{Half, Reduce, Variant};
use crate::device::module::constants;
use crate::error::{Error, ErrorKind};
use half::f16;
use std::fmt;
use std::ops::Range;

/// Workgroups of a probe.
pub(crate) const GROUPS: u32 = 2;
/// Turns of the long loop: twice what Mesa 22.3.6 lets a loop run.
pub(crate) const ROUNDS: u32 = 131_072;
/// What it counts to.
const COUNT: u32 = 196_608;
/// How often lanes hand their numbers on.
const TURNS: u32 = 16;

/// Bits of f32 that probes look at: those where a conversion to f16 can go wrong on both sides, and what is no number.
pub(crate) const GIVEN: [u32; 4 * PATTERNS as usize] = [
    // 0, powers of two, thirds.
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x3f000000, 0x40000000, 0x3eaaaaab, 0xbeaaaaab,
    // Halfway between two f16, and beside it.
    0x3f801000, 0x3f803000, 0x3f801001, 0x3f800fff, 0xbf801000, 0xbf803000, 0x45001000, 0x45003000,
    // The largest f16, the last that rounds to it, and what is infinite there.
    0x477fe000, 0xc77fe000, 0x477fefff, 0xc77fefff, 0x477ff000, 0x49742400, 0xce6e6b28, 0x7f7fffff,
    0x7f800000, 0xff800000, // NaN, also a signalling one.
    0x7fc00000, 0xffc00001, 0x7f800001, 0xffffffff,
    // The smallest normal f16 and what rounds to it; subnormal ones, halfway and beside it; less than they are.
    0x38800000, 0x387fffff, 0x387fc000, 0xb87fc000, 0x33800000, 0x33000000, 0x33000001, 0x33c00000,
    0xb3c00000, 0x32800000, 0x2edbe6ff, 0x00800000, 0x80800000, // Whatever else.
    0x42f6e979, 0xc2f6e979, 0x4640e400, 0x3a83126f, 0xb951b717,
];

constants! {
    /// Numbers that the shaders have too.
    SIZES {
        /// Patterns of four.
        PATTERNS = 12,
    }
}
/// Lanes of a probe.
pub(crate) const fn lanes(workgroup: u32) -> u32 {
    GROUPS * workgroup
}

/// What a probe looks at; its name, as [`Fault`]s and errors say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// A loop of 131,072 turns.
    Loops,
    /// NaN and infinity are known by their bits.
    Bits,
    /// `exp`, `log`, division and what is made of them.
    Functions,
    /// f16 in words of 32 bits.
    Halves,
    /// Workgroup memory across barriers, and the tree of sums.
    Barriers,
    /// Sums, maxima and halves of words by integer atomics.
    Atomics,
    /// WGSL's f16; where the variant has it.
    NativeHalves,
    /// Every subgroup of a workgroup is full, of one size, and lanes are numbered by it; where the variant uses subgroups.
    Subgroups,
    /// Shuffles and broadcasts within subgroups, and a sum over them; where the variant uses subgroups.
    Shuffles,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Probe::Loops => "long loops",
            Probe::Bits => "NaN and infinity by bits",
            Probe::Functions => "exp, log and division",
            Probe::Halves => "f16 in words",
            Probe::Barriers => "barriers",
            Probe::Atomics => "integer atomics",
            Probe::NativeHalves => "native f16",
            Probe::Subgroups => "full subgroups",
            Probe::Shuffles => "subgroup shuffles",
        })
    }
}

/// What a driver got wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which probe says so.
    pub probe: Probe,
    /// What was expected and what was found.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.probe, self.reason)
    }
}

impl Fault {
    /// The same as the crate's one error.
    pub fn error(&self) -> Error {
        Error::because(ErrorKind::Unsupported, self.probe, &self.reason)
    }
}

impl Variant {
    /// The variant that does without what is at fault, or none where every variant needs it. Cooperative matrices stay.
    pub fn without(self, probe: Probe) -> Option<Variant> {
        match probe {
            Probe::Subgroups | Probe::Shuffles => Some(Variant {
                reduce: Reduce::Tree,
                ..self
            }),
            Probe::NativeHalves => Some(Variant {
                half: Half::Packed,
                ..self
            }),
            _ => None,
        }
    }
}

/// Where the words of each probe begin.
pub(crate) struct Words {
    pub(crate) loops: usize,
    pub(crate) numbers: usize,
    pub(crate) halves: usize,
    pub(crate) widths: usize,
    pub(crate) barriers: usize,
    pub(crate) atomics: usize,
    pub(crate) native: usize,
    pub(crate) subgroups: usize,
    pub(crate) len: usize,
}

impl Words {
    pub(crate) fn of(variant: Variant) -> Words {
        let lanes = lanes(variant.workgroup) as usize;
        let mut len = 0;
        let mut take = |words: usize| {
            len += words;
            len - words
        };
        Words {
            loops: take(lanes),
            numbers: take(10 * lanes),
            halves: take(2 * lanes),
            widths: take(6 * lanes),
            barriers: take(3 * lanes),
            atomics: take(2 + lanes + lanes / 2),
            native: take(match variant.half {
                Half::Native => 4 * lanes,
                Half::Packed => 0,
            }),
            subgroups: take(match variant.reduce {
                Reduce::Subgroup => 15 * lanes,
                Reduce::Tree => 0,
            }),
            len,
        }
    }
}

/// What the words of the probes of a variant say.
pub(crate) fn judge(variant: Variant, words: &[u32]) -> Vec<Fault> {
    let places = Words::of(variant);
    let judge = Judge { variant, words };
    let mut faults = vec![
        judge.loops(places.loops),
        judge.bits(places.numbers),
        judge.functions(places.numbers),
        judge.halves(places.halves, places.widths),
        judge.barriers(places.barriers),
        judge.atomics(places.atomics),
    ];
    if variant.half == Half::Native {
        faults.push(judge.native(places.native));
    }
    if variant.reduce == Reduce::Subgroup {
        // Where lanes have no place, shuffles between them mean nothing.
        let numbered = judge.subgroups(places.subgroups);
        faults.push(numbered.and_then(|all| judge.shuffles(places.subgroups, &all)));
    }
    faults.into_iter().filter_map(Result::err).collect()
}

struct Judge<'a> {
    variant: Variant,
    words: &'a [u32],
}

/// A lane's number in its workgroup as subgroups have it, and the lanes that shuffles reach.
type Numbered = Vec<(u32, u32)>;

impl Judge<'_> {
    fn lanes(&self) -> usize {
        lanes(self.variant.workgroup) as usize
    }

    /// Word `k` of lane `w`.
    fn word(&self, first: usize, k: usize, w: usize) -> Option<u32> {
        self.at(first + k * self.lanes() + w)
    }

    fn at(&self, place: usize) -> Option<u32> {
        self.words.get(place).copied()
    }

    /// The 16 bits at half `i` behind a place.
    fn half(&self, first: usize, i: usize) -> Option<f16> {
        let word = self.at(first + i / 2)?;
        Some(f16::from_bits((word >> (16 * (i % 2))) as u16))
    }

    /// All words of the lanes as they should be.
    fn each(
        &self,
        probe: Probe,
        (first, words): (usize, Range<usize>),
        expected: impl Fn(usize, usize) -> u32,
    ) -> Result<(), Fault> {
        for k in words {
            for w in 0..self.lanes() {
                let found = self.word(first, k, w);
                if found != Some(expected(k, w)) {
                    return Err(wrong(probe, w, expected(k, w), found));
                }
            }
        }
        Ok(())
    }

    fn loops(&self, first: usize) -> Result<(), Fault> {
        for w in 0..self.lanes() {
            let found = self.word(first, 0, w);
            if found != Some(COUNT) {
                let found = found.map_or("nothing".into(), |count| count.to_string());
                return Err(Fault {
                    probe: Probe::Loops,
                    reason: format!(
                        "expected a loop of {ROUNDS} turns to count to {COUNT}, found {found}: this driver cuts long loops \
                         short without a word, as Mesa 22.3.6 (stock Debian 12) does; install a newer one"
                    ),
                });
            }
        }
        Ok(())
    }

    fn bits(&self, first: usize) -> Result<(), Fault> {
        let nan = |i: usize, w: usize| u32::from(f32::from_bits(given(i, w)).is_nan());
        self.each(Probe::Bits, (first, 0..5), |k, w| match k {
            0 => 16 + nan(0, w) + 2 * nan(1, w) + 4 * nan(2, w) + 8 * nan(3, w),
            k => finite(given(k - 1, w)),
        })
    }

    fn functions(&self, first: usize) -> Result<(), Fault> {
        for w in 0..self.lanes() {
            let x = (w % 256) as f64 / 4.0;
            let (e, more) = ((-x).exp(), x + 1.0);
            let all = [e, x.ln_1p(), e.ln_1p(), e / (1.0 + e), more / 7.0];
            for (i, expected) in all.into_iter().enumerate() {
                let found = self.word(first, 5 + i, w).map(f32::from_bits);
                // WGSL lets exp of -64 be off by a ten-thousandth of that.
                let near = |found: f32| (f64::from(found) - expected).abs() <= 1e-4 * expected;
                if !found.is_some_and(near) {
                    return Err(wrong(Probe::Functions, w, expected, found.map(f64::from)));
                }
            }
        }
        Ok(())
    }

    fn halves(&self, first: usize, widths: usize) -> Result<(), Fault> {
        for w in 0..self.lanes() {
            for i in 0..4 {
                let bits = given(i, w);
                let expected = f16::from_f32(f32::from_bits(bits));
                let found = self.half(first, 4 * w + i);
                if !found.is_some_and(|found| same(found, expected)) {
                    return Err(wrong(Probe::Halves, w, expected, found));
                }
                let found = self.word(widths, i, w).map(f32::from_bits);
                if !found.is_some_and(|found| widened(found, expected)) {
                    return Err(wrong(Probe::Halves, w, expected.to_f32(), found));
                }
                let value = f32::from_bits(finite(bits)).clamp(-65504.0, 65504.0);
                let found = self.word(widths, 4 + i / 2, w);
                let found = found.map(|word| f16::from_bits((word >> (16 * (i % 2))) as u16));
                if !found.is_some_and(|found| beside(found, value)) {
                    return Err(wrong(Probe::Halves, w, f16::from_f32(value), found));
                }
            }
        }
        Ok(())
    }

    fn barriers(&self, first: usize) -> Result<(), Fault> {
        let size = self.variant.workgroup as usize;
        let mut values: Vec<u32> = (0..self.lanes() as u32)
            .map(|w| {
                let lane = w % self.variant.workgroup;
                let late = 0..(7 * lane) % 32;
                late.fold(w + 1, |value, i| value.wrapping_mul(5).wrapping_add(i))
            })
            .collect();
        for group in values.chunks_exact_mut(size) {
            for turn in 0..TURNS as usize {
                let before = group.to_vec();
                for (lane, value) in group.iter_mut().enumerate() {
                    let other = before[(lane + turn + 1) % size];
                    *value = value.wrapping_add(other.wrapping_mul(3));
                }
            }
        }
        let sum = self.variant.workgroup * (self.variant.workgroup - 1) / 2;
        self.each(Probe::Barriers, (first, 0..3), |k, w| match k {
            0 => values[w],
            1 => sum,
            _ => self.variant.workgroup,
        })
    }

    fn atomics(&self, first: usize) -> Result<(), Fault> {
        let lanes = self.lanes() as u32;
        let own = |w: u32| (w.wrapping_mul(40_503) + 1) & 0xffff;
        let most = (0..lanes).map(own).max().unwrap_or(0);
        let ends = [lanes * (lanes + 1) / 2, most];
        for (i, expected) in ends.into_iter().enumerate() {
            let found = self.at(first + i);
            if found != Some(expected) {
                return Err(wrong(Probe::Atomics, i, expected, found));
            }
        }
        // What each lane found is the sum of those before it, in whatever order they came.
        let before = (0..lanes).map(|w| (self.at(first + 2 + w as usize), w));
        let mut before: Vec<_> = before.collect();
        before.sort_unstable();
        let mut sum = 0;
        for (found, w) in before {
            if found != Some(sum) {
                return Err(wrong(Probe::Atomics, w as usize, sum, found));
            }
            sum += w + 1;
        }
        for w in 0..lanes / 2 {
            let expected = own(w) | (own(lanes - 1 - w) << 16);
            let found = self.at(first + (2 + lanes + w) as usize);
            if found != Some(expected) {
                return Err(wrong(Probe::Atomics, w as usize, expected, found));
            }
        }
        Ok(())
    }

    fn native(&self, first: usize) -> Result<(), Fault> {
        for w in 0..self.lanes() {
            for i in 0..4 {
                let value = f32::from_bits(given(i, w));
                let narrowed = f16::from_f32(value);
                let found = self.half(first, i * self.lanes() + w);
                // WGSL does not say what becomes of a number beyond all f16.
                let beyond = value.is_finite() && narrowed.is_infinite();
                if !beyond && !found.is_some_and(|found| beside(found, value)) {
                    return Err(wrong(Probe::NativeHalves, w, narrowed, found));
                }
                let found = self.half(first, (4 + i) * self.lanes() + w);
                if !found.is_some_and(|found| same(found, narrowed) || flushed(found, narrowed)) {
                    return Err(wrong(Probe::NativeHalves, w, narrowed, found));
                }
            }
        }
        Ok(())
    }

    fn subgroups(&self, first: usize) -> Result<Numbered, Fault> {
        let fault = |reason: String| Fault {
            probe: Probe::Subgroups,
            reason,
        };
        let size = self.variant.workgroup;
        let mut numbered = Vec::new();
        for group in 0..GROUPS as usize {
            let near = self.word(first, 1, group * size as usize).unwrap_or(0);
            if !(near.is_power_of_two() && (4..=128).contains(&near)) {
                return Err(fault(format!(
                    "expected subgroups of 4, 8, 16, 32, 64 or 128 lanes, found {near}"
                )));
            }
            let mut taken = vec![false; size as usize];
            for lane in 0..size as usize {
                let w = group * size as usize + lane;
                let found = self.word(first, 1, w).unwrap_or(0);
                if found != near {
                    return Err(fault(format!(
                        "expected subgroups of one size in a workgroup, found {near} and {found}"
                    )));
                }
                let number = self.word(first, 0, w).unwrap_or(0);
                let (subgroup, index) = (number & 0xffff, number >> 16);
                let inside = (1..=near).contains(&index) && subgroup > 0;
                let at = subgroup
                    .saturating_sub(1)
                    .saturating_mul(near)
                    .saturating_add(index.saturating_sub(1));
                match taken
                    .get_mut(at as usize)
                    .filter(|taken| inside && !**taken)
                {
                    Some(taken) => *taken = true,
                    None => {
                        return Err(fault(format!(
                            "expected every subgroup of {near} lanes to be full, found lane {lane} of {size} as \
                             {} of subgroup {}",
                            index.wrapping_sub(1) as i32,
                            subgroup.wrapping_sub(1) as i32
                        )));
                    }
                }
                numbered.push((at, near.min(size)));
            }
        }
        Ok(numbered)
    }

    fn shuffles(&self, first: usize, numbered: &Numbered) -> Result<(), Fault> {
        let size = self.variant.workgroup;
        let value = |at: u32| at + 1 + 2048 * ((7 * at) % 32);
        self.each(Probe::Shuffles, (first, 2..15), |k, w| {
            let (at, reached) = numbered[w];
            let of = at - at % reached;
            match k {
                2..9 if 1 << (k - 2) < reached => value(at ^ (1 << (k - 2))),
                2..9 => value(at),
                9..13 => value(of + (k - 9) as u32),
                13 => (of + 1..=of + reached).sum(),
                _ => size * (size + 1) / 2,
            }
        })
    }
}

/// Bits `i` of the four that lane `w` looks at.
fn given(i: usize, w: usize) -> u32 {
    GIVEN[4 * (w % PATTERNS as usize) + i]
}

/// The bits with what is not finite brought to the largest number, as shaders/shared/math.wgsl does.
fn finite(bits: u32) -> u32 {
    match f32::from_bits(bits).is_finite() {
        true => bits,
        false => (bits & 0x8000_0000) | 0x7f7f_ffff,
    }
}

/// One NaN is as good as another.
fn same(found: f16, expected: f16) -> bool {
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}

/// A device may take a subnormal number for 0.
fn flushed(found: f16, expected: f16) -> bool {
    expected.classify() == std::num::FpCategory::Subnormal && found.to_bits() & 0x7fff == 0
}

/// The same of what was widened.
fn widened(found: f32, expected: f16) -> bool {
    let exact = found.to_bits() == expected.to_f32().to_bits();
    let subnormal = expected.classify() == std::num::FpCategory::Subnormal;
    exact || (found.is_nan() && expected.is_nan()) || (subnormal && found == 0.0)
}

/// Whether one of the two f16 beside a value is found: WGSL leaves open which. A device may take a subnormal number for 0.
fn beside(found: f16, value: f32) -> bool {
    let near = f16::from_f32(value);
    if value.is_nan() || near.to_f32() == value {
        return same(found, near) || flushed(found, near);
    }
    let apart = i32::from(found.to_bits()) - i32::from(near.to_bits());
    let next = f16::from_bits(near.to_bits() ^ 1).to_f32();
    let within = (found.to_f32() - value).abs() <= (next - near.to_f32()).abs();
    (apart.abs() <= 1 && within) || flushed(found, near)
}

fn wrong<T: fmt::Debug>(probe: Probe, lane: usize, expected: T, found: Option<T>) -> Fault {
    let found = found.map_or("nothing".into(), |found| format!("{found:?}"));
    Fault {
        probe,
        reason: format!("expected {expected:?}, found {found} (lane {lane})"),
    }
}
