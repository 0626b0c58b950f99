//! How the losses of the rows become the result.

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
    /// The sum over the rows divided by a number of the caller's: with gradient accumulation, the
    /// rows of the whole step instead of those of the micro-batch.
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
