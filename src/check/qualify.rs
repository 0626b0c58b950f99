//! What qualifies a device: which cases it has to pass in which variant, and what came of them as text.

use crate::check::case::{Case, Depth, Outcome};
use crate::check::{ALIKE, boxed, other_cases, random_case, row_cases};
use crate::device::caps::Variant;
use crate::error::Error;
use std::fmt;
use std::time::Duration;

/// Cases that one device runs after the other, each with the number of its variant.
pub type Batch = Vec<(usize, Box<dyn Case>)>;

/// The cases of `wgloss check` for a device.
pub struct Qualification {
    /// What the device has, the cases refer to them by number.
    pub variants: Vec<Variant>,
    /// The one that is taken where none is asked for.
    pub default: Variant,
    /// The cases in the order in which they are run.
    pub batches: Vec<Batch>,
}

/// What a variant's cases came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    cases: usize,
    worst: f64,
    seconds: f64,
    failures: Vec<String>,
}

impl Qualification {
    /// In these variants of a device. A sample of the cases where it is to be quick: every loss once in the default variant, one
    /// or two in the others.
    pub fn new(variants: Vec<Variant>, default: Variant, quick: bool) -> Self {
        let mut all: Vec<Batch> = Vec::new();
        for (i, variant) in variants.iter().enumerate() {
            let depth = match (quick, *variant == default) {
                (false, true) => Depth::Full,
                (false, false) => Depth::Every,
                (true, _) => Depth::Sample,
            };
            let cases = match (quick, *variant == default) {
                // Losses of rows know nothing of them.
                _ if variant.cooperative => Vec::new(),
                (false, _) => row_cases(depth),
                // Every loss once; with each of the other variants one or two, in turn.
                (true, true) => {
                    let mut cases = row_cases(depth);
                    cases.dedup_by_key(|case| case.name);
                    cases
                }
                (true, false) => {
                    let cases = row_cases(depth).into_iter();
                    cases.skip(7 * i % 36).step_by(36).collect()
                }
            };
            let others = match quick && *variant != default && !variant.cooperative {
                true => Vec::new(),
                false => other_cases(depth, *variant, default),
            };
            let cases = boxed(cases).into_iter().chain(others);
            all.extend(cases.map(|case| vec![(i, case)]));
        }
        Qualification {
            variants,
            default,
            batches: all,
        }
    }

    /// Random calls from a seed on, those together that share kernels; every fourth time in another variant than the default.
    pub fn soak(variants: Vec<Variant>, default: Variant, seed: u64, count: u64) -> Self {
        let at = variants.iter().position(|variant| *variant == default);
        let mut batches: Vec<Batch> = Vec::new();
        for seed in (0..count).map(|i| seed.wrapping_add(i)) {
            let batch = seed / ALIKE;
            let variant = match batch % 4 {
                3 => (batch / 4) as usize % variants.len().max(1),
                _ => at.unwrap_or(0),
            };
            if batches.is_empty() || seed.is_multiple_of(ALIKE) {
                batches.push(Vec::new());
            }
            if let Some(last) = batches.last_mut() {
                last.push((variant, random_case(seed)));
            }
        }
        Qualification {
            variants,
            default,
            batches,
        }
    }

    /// All cases, each with the number of its variant.
    pub fn cases(&self) -> impl Iterator<Item = &(usize, Box<dyn Case>)> {
        self.batches.iter().flatten()
    }

    /// The table of what came of the cases, a tally for each variant: a line each, the failures, a sentence.
    pub fn table(&self, tallies: &[Tally]) -> String {
        let mut lines = vec![format!(
            "  {:<32} {:>6} {:>7} {:>22} {:>8}",
            "variant", "cases", "failed", "worst error/tolerance", "seconds"
        )];
        let mut failures = Vec::new();
        let mut cases = 0;
        for (variant, tally) in self.variants.iter().zip(tallies) {
            let mark = if *variant == self.default {
                " (default)"
            } else {
                ""
            };
            lines.push(format!(
                "  {:<32} {:>6} {:>7} {:>22.3} {:>8.1}",
                format!("{variant}{mark}"),
                tally.cases,
                tally.failures.len(),
                tally.worst,
                tally.seconds
            ));
            cases += tally.cases;
            let of_variant = tally.failures.iter();
            failures.extend(of_variant.map(|failure| format!("  FAILED {variant} {failure}")));
        }
        let failed = failures.len();
        lines.append(&mut failures);
        lines.push(match failed {
            0 => format!("  all {cases} cases within tolerance of the CPU reference"),
            n => format!("  {n} of {cases} cases FAILED"),
        });
        lines.join("\n")
    }
}

impl fmt::Debug for Qualification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = self.cases().count();
        write!(f, "{cases} cases in {:?}", self.variants)
    }
}

impl Tally {
    /// Adds what came of a case.
    pub fn note(&mut self, case: &dyn Case, outcome: Result<Outcome, Error>, took: Duration) {
        self.cases += 1;
        self.seconds += took.as_secs_f64();
        match outcome {
            Ok(Outcome::Passed(share)) => self.worst = self.worst.max(share),
            Ok(Outcome::Failed(message)) => self.failures.push(format!("{case}: {message}")),
            Err(error) => self.failures.push(format!("{case}: {error}")),
        }
    }

    /// Whether all of its cases passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}
