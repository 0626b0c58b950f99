//! How the losses of the rows become the result.

use crate::error::Error;
/// How the rows' losses become the result, and what the gradient is the gradient of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// One loss per row. The upstream gradient, where given, has one value or one per row.
    None,
    /// The sum over the rows.
    Sum,
    /// The sum over the rows divided by their number. Sample weights do not change the divisor, and
    /// neither do rows in which nothing counts (the convention of PyTorch). An empty batch gives 0.
    Mean,
    /// The sum over the rows divided by a number that the caller gives: with gradient accumulation, the rows of the
    /// whole step instead of those of the micro-batch.
    MeanOver(f32),
}

impl Reduction {
    /// What the sum over `rows` rows is multiplied by (1 without a reduction).
    pub fn scale(self, rows: usize) -> f64 {
        match self {
            Reduction::None | Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / rows.max(1) as f64,
            Reduction::MeanOver(denominator) => 1.0 / f64::from(denominator),
        }
    }
}

/// Checks a setting: finite and within `range`.
pub(crate) fn check_setting(
    name: &str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
) -> Result<(), Error> {
    if range.contains(&value) && value.is_finite() {
        return Ok(());
    }
    let expected = if *range.end() == f32::MAX {
        format!("a finite number of at least {:e}", range.start())
    } else {
        format!("a number from {} to {}", range.start(), range.end())
    };
    Err(Error::value(name, expected, value))
}

/// Checks the divisor of [`Reduction::MeanOver`].
pub(crate) fn check_reduction(reduction: Reduction) -> Result<(), Error> {
    match reduction {
        Reduction::MeanOver(n) => check_setting("reduction", n, f32::MIN_POSITIVE..=f32::MAX),
        Reduction::None | Reduction::Sum | Reduction::Mean => Ok(()),
    }
}

/// Gives settings their setters: the method, what it sets to what, and what its documentation says.
macro_rules! setters {
    ($settings:ident: $($method:ident, $field:ident, $value:ty, $doc:literal;)*) => {
        impl $settings {$(
            #[doc = concat!("The same with ", $doc, ".")]
            pub fn $method(mut self, $field: $value) -> Self {
                self.$field = $field;
                self
            }
        )*}
    };
}
pub(crate) use setters;
