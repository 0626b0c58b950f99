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

/// The sum in the order given; +0 of nothing (that of the standard library is -0).
pub(super) fn sum<T: Real>(values: impl Iterator<Item = T>) -> T {
    values.fold(T::zero(), |sum, value| sum + value)
}
