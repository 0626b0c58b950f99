//! The number types, and the functions that all losses are made of.

/// The number types of the reference: `f32` and `f64`.
pub trait Real: num_traits::Float + std::fmt::Debug {
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

/// `sigma(x) = 1 / (1 + e^-x)`.
pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// `sp(x) = log(1 + e^x)`, with full relative precision on both ends.
pub(super) fn softplus<T: Real>(x: T) -> T {
    x.max(T::zero()) + (-x.abs()).exp().ln_1p()
}

/// The sum in pairs of pairs, as [`Pairwise`] makes it; +0 of nothing (that of the standard library is -0).
pub(super) fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    let mut all = Sum::new();
    values.for_each(|value| all.add(value));
    all.total()
}

/// Numbers that [`sum`] takes at once.
const EIGHT: usize = 8;

/// A [`sum`] in the making. To the bit what [`Pairwise`] finds, whose pairs of pairs begin at every eighth number, but
/// several times as fast.
pub(super) struct Sum<T> {
    eights: Pairwise<T>,
    next: [T; EIGHT],
    filled: usize,
}

impl<T: Real> Sum<T> {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Sum {
            eights: Pairwise::new(),
            next: [T::zero(); EIGHT],
            filled: 0,
        }
    }

    /// One more.
    pub(super) fn add(&mut self, value: T) {
        self.next[self.filled] = value;
        self.filled += 1;
        if self.filled == EIGHT {
            let [a, b, c, d, e, f, g, h] = self.next;
            self.eights.add(((a + b) + (c + d)) + ((e + f) + (g + h)));
            self.filled = 0;
        }
    }

    /// The sum of all; +0 of nothing.
    pub(super) fn total(self) -> T {
        let mut rest = Pairwise::new();
        for value in &self.next[..self.filled] {
            rest.add(*value);
        }
        let mut all = self.eights;
        all.parts.extend(rest.parts);
        T::zero() + all.total().unwrap_or(T::zero())
    }
}

/// Numbers or vectors added up in pairs, the sums of pairs again in pairs, and so on: the error grows with the logarithm
/// of how many there are.
#[derive(Clone)]
pub(super) struct Pairwise<A> {
    /// For every 1 in the binary digits of the count, from the highest, the sum of so many.
    parts: Vec<A>,
    count: u64,
}

/// What can be added up.
pub(super) trait Addend {
    /// The sum.
    fn plus(self, other: Self) -> Self;
}

impl<T: Real> Addend for T {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl<T: Real> Addend for Vec<T> {
    fn plus(self, other: Self) -> Self {
        self.into_iter().zip(other).map(|(a, b)| a + b).collect()
    }
}

impl<A: Addend> Pairwise<A> {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Pairwise {
            parts: Vec::new(),
            count: 0,
        }
    }

    /// One more.
    pub(super) fn add(&mut self, value: A) {
        let mut sum = value;
        for _ in 0..self.count.trailing_ones() {
            if let Some(before) = self.parts.pop() {
                sum = before.plus(sum);
            }
        }
        self.parts.push(sum);
        self.count += 1;
    }

    /// The sum of all, if there is one.
    pub(super) fn total(self) -> Option<A> {
        let later = self.parts.into_iter().rev();
        later.reduce(|later, before| before.plus(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_sum_does_not_grow_with_its_length() {
        for n in [0_usize, 1, 2, 3, 7, 8, 1000, 4_000_000] {
            let values = || (0..n).map(|i| 0.1 + (i % 7) as f32);
            let exact: f64 = values().map(f64::from).sum();
            let off = (f64::from(sum(values())) - exact).abs();
            assert!(off <= 3e-7 * exact, "{n}: off by {off}");
        }
        assert!(sum([-0.0_f32].into_iter()).is_sign_positive());
    }

    #[test]
    fn numbers_in_eights_have_the_sum_of_numbers_in_pairs() {
        for n in 0..300 {
            let values = || (0..n).map(|i| 1.0 / (1 + i) as f32);
            let mut pairs = Pairwise::new();
            values().for_each(|value| pairs.add(value));
            assert_eq!(sum(values()), pairs.total().unwrap_or(0.0), "{n}");
        }
    }
}
