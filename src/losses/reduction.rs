//! How the losses of the rows become the result.

use crate::error::Error;
/// How the rows' losses become the result, and what the gradient is the gradient of.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// The sum over all elements divided by the number of those that count in the batch, counted on the device: neither a
    /// mask nor a sample weight of 0 leaves them out. Other weights do not change the divisor. For losses that are sums
    /// over labels.
    MeanElements,
    /// The sum over the rows divided by the number of those with a positive that counts, counted on the device. For LSEP
    /// and the two-way loss, in which other rows have no loss.
    MeanActive,
}

impl Reduction {
    /// What tables and the command call it.
    pub fn name(self) -> &'static str {
        match self {
            Reduction::None => "none",
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::MeanOver(_) => "mean-over",
            Reduction::MeanElements => "mean-elements",
            Reduction::MeanActive => "mean-active",
        }
    }

    /// What the sum is multiplied by (1 without a reduction); `count` is the number of what the mean is over.
    pub fn scale(self, count: usize) -> f64 {
        match self {
            Reduction::None | Reduction::Sum => 1.0,
            Reduction::Mean | Reduction::MeanElements | Reduction::MeanActive => {
                1.0 / count.max(1) as f64
            }
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

/// Checks the divisor of [`Reduction::MeanOver`], and that there is no mean over what only some losses count.
pub(crate) fn check_reduction(reduction: Reduction) -> Result<(), Error> {
    match reduction {
        Reduction::MeanOver(n) => check_setting("reduction", n, f32::MIN_POSITIVE..=f32::MAX),
        Reduction::None | Reduction::Sum | Reduction::Mean => Ok(()),
        Reduction::MeanElements => Err(Error::refused(
            "reduction",
            "the mean over elements is for losses whose rows are sums over labels",
        )),
        Reduction::MeanActive => Err(Error::refused(
            "reduction",
            "the mean over rows with a positive is for lsep and two-way",
        )),
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
