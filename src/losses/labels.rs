//! How labels and what belongs to them are given, whatever holds the numbers.

/// What the targets mean to a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// 0 or 1; there is no gradient to them.
    Hard,
    /// Values in `[0, 1]`, with a gradient to them where they are real numbers.
    Soft,
    /// Values that are not negative, with a gradient to them where they are real numbers.
    Proportions,
    /// Other logits, dense, with a gradient to them.
    Logits,
}
