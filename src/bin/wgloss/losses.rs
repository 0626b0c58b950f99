//! The names of the losses, the options that each takes, and what they configure. A new loss begins here.

use clap::{Args, ValueEnum};
use std::fmt;
use wgloss::host::{Engine, Rows, RowsResult, Wanted};
use wgloss::{Bce, Error, Reduction, Rowwise, TargetKind, Zlpr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loss {
    /// ZLPR of hard labels; with --smoothing, of the same labels smoothed
    Zlpr,
    /// ZLPR of soft labels [--smoothing]
    ZlprSoft,
    /// KL divergence of two logit vectors [--kl, --beta]
    ZlprKl,
    /// ZLPR with a threshold, one of the tensors
    Tlpr,
    /// Log-sum-exp pairwise
    Lsep,
    /// Two-way loss, sample half [--t-pos, --t-neg]
    TwoWay,
    /// Binary cross-entropy [--pos-weight, --smoothing, --row]
    Bce,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Reduce {
    /// Mean over the rows
    #[default]
    Mean,
    /// Sum over the rows
    Sum,
    /// One loss per row
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kl {
    /// Symmetric KL of the labels' probabilities
    #[default]
    Symmetric,
    /// Excess risk over the other logits
    Excess,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// A row's loss is the sum over its labels
    Sum,
    /// Divided by the number of labels that count
    Mean,
}

/// The settings of the losses. Each loss takes some; any other is an error.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// How the rows' losses become the result
    #[arg(long, value_enum, default_value_t)]
    reduction: Reduce,
    /// zlpr-kl: which divergence [default: symmetric]
    #[arg(long, value_enum)]
    kl: Option<Kl>,
    /// zlpr-kl, symmetric: slope of the probabilities sigma(beta s) [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    beta: Option<f32>,
    /// two-way: temperature of the positives [default: 4]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    t_pos: Option<f32>,
    /// two-way: temperature of the negatives [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    t_neg: Option<f32>,
    /// bce: weight of the positive side [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pos_weight: Option<f32>,
    /// zlpr, zlpr-soft, bce: label smoothing; targets become (1 - X) y + X/2 [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    smoothing: Option<f32>,
    /// bce: what a row's loss is [default: sum]
    #[arg(long, value_enum)]
    row: Option<Row>,
}

impl Loss {
    /// The options it takes beside those that all take.
    fn options(self) -> &'static [&'static str] {
        match self {
            Loss::Zlpr | Loss::ZlprSoft => &["--smoothing"],
            Loss::ZlprKl => &["--kl", "--beta"],
            Loss::Tlpr | Loss::Lsep => &[],
            Loss::TwoWay => &["--t-pos", "--t-neg"],
            Loss::Bce => &["--pos-weight", "--smoothing", "--row"],
        }
    }

    /// Whether it takes labels of 0 and 1 alone.
    pub fn hard(self) -> bool {
        matches!(self, Loss::Zlpr | Loss::Tlpr | Loss::Lsep | Loss::TwoWay)
    }
}

impl Settings {
    /// The loss with these settings, which are checked.
    pub fn configure(&self, loss: Loss) -> Result<RowLoss, Error> {
        let given = [
            ("--kl", self.kl.is_some()),
            ("--beta", self.beta.is_some()),
            ("--t-pos", self.t_pos.is_some()),
            ("--t-neg", self.t_neg.is_some()),
            ("--pos-weight", self.pos_weight.is_some()),
            ("--smoothing", self.smoothing.is_some()),
            ("--row", self.row.is_some()),
        ];
        let takes = loss.options();
        if let Some((option, _)) = given.iter().find(|(o, given)| *given && !takes.contains(o)) {
            let takes = match takes {
                [] => "none".into(),
                takes => takes.join(", "),
            };
            return Err(Error::value(
                option,
                format!("an option of {loss} ({takes})"),
                "one of another loss",
            ));
        }
        let smoothing = self.smoothing.unwrap_or(0.0);
        let config = match loss {
            // 0 and what is no number stay with the hard form, whose check has the last word.
            Loss::Zlpr if smoothing > 0.0 => RowLoss::Zlpr(Zlpr::soft().with_smoothing(smoothing)),
            Loss::Zlpr => RowLoss::Zlpr(Zlpr::hard().with_smoothing(smoothing)),
            Loss::Tlpr => RowLoss::Zlpr(Zlpr::hard()),
            Loss::ZlprSoft => RowLoss::Zlpr(Zlpr::soft().with_smoothing(smoothing)),
            Loss::ZlprKl => match (self.kl.unwrap_or_default(), self.beta) {
                (Kl::Symmetric, beta) => RowLoss::Zlpr(Zlpr::kl_symmetric(beta.unwrap_or(1.0))),
                (Kl::Excess, None) => RowLoss::Zlpr(Zlpr::kl_excess()),
                (Kl::Excess, Some(beta)) => {
                    return Err(Error::value("--beta", "none with --kl excess", beta));
                }
            },
            Loss::Lsep => RowLoss::Zlpr(Zlpr::lsep()),
            Loss::TwoWay => RowLoss::Zlpr(Zlpr::two_way(
                self.t_pos.unwrap_or(4.0),
                self.t_neg.unwrap_or(1.0),
            )),
            Loss::Bce => RowLoss::Bce(Bce {
                pos_weight: self.pos_weight.unwrap_or(1.0),
                smoothing,
                row_mean: self.row == Some(Row::Mean),
                reduction: Reduction::Mean,
            }),
        };
        let config = config.with_reduction(match self.reduction {
            Reduce::Mean => Reduction::Mean,
            Reduce::Sum => Reduction::Sum,
            Reduce::None => Reduction::None,
        });
        config.check()?;
        Ok(config)
    }

    /// The name of the reduction, as the option has it.
    pub fn reduction(&self) -> &'static str {
        match self.reduction {
            Reduce::Mean => "mean",
            Reduce::Sum => "sum",
            Reduce::None => "none",
        }
    }
}

/// A loss of rows with its settings.
#[derive(Clone, Copy, Debug)]
pub enum RowLoss {
    Zlpr(Zlpr),
    Bce(Bce),
}

impl RowLoss {
    fn with_reduction(self, reduction: Reduction) -> Self {
        match self {
            RowLoss::Zlpr(loss) => RowLoss::Zlpr(loss.with_reduction(reduction)),
            RowLoss::Bce(loss) => RowLoss::Bce(loss.with_reduction(reduction)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            RowLoss::Zlpr(loss) => loss.check(),
            RowLoss::Bce(loss) => loss.check(),
        }
    }

    /// How the rows' losses become the result.
    pub fn reduction(&self) -> Reduction {
        match self {
            RowLoss::Zlpr(loss) => loss.reduction,
            RowLoss::Bce(loss) => loss.reduction,
        }
    }

    /// What the targets mean to it.
    pub fn target_kind(&self) -> TargetKind {
        match self {
            RowLoss::Zlpr(loss) => loss.target_kind(),
            RowLoss::Bce(loss) => loss.target_kind(),
        }
    }

    /// Computes it.
    pub fn compute(
        &self,
        engine: &Engine,
        rows: &Rows<'_>,
        wanted: Wanted,
    ) -> Result<RowsResult, Error> {
        match self {
            RowLoss::Zlpr(loss) => engine.rows(loss, rows, wanted),
            RowLoss::Bce(loss) => engine.rows(loss, rows, wanted),
        }
    }
}
