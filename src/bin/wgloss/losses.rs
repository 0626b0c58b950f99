//! The names of the losses, the options that each takes, and what they configure. A new loss begins here.

use clap::{Args, ValueEnum};
use std::fmt;
use wgloss::{AnyLoss, Asl, Bce, Dice, Error, Focal, Hill, Reduction, Rowwise, Zlpr};

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
    /// Focal loss [--gamma, --alpha, --smoothing, --row]
    Focal,
    /// Asymmetric loss [--gamma-pos, --gamma-neg, --margin, --smoothing, --row]
    Asl,
    /// Hill loss [--gamma, --margin, --smoothing, --row]
    Hill,
    /// Soft dice over the labels of a row [--squared]
    Dice,
    /// Contrastive losses of label sets [--weighting, --placement, --normalizer, --temperature, --threshold,
    /// --no-normalize]
    Contrastive,
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
pub enum Reduce {
    /// Mean over the rows; of contrastive: over the anchors that have a positive
    #[default]
    Mean,
    /// contrastive: mean over all anchors
    MeanAll,
    /// contrastive: the sum divided by the number of all anchors' labels
    MeanLabels,
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
    /// How the rows' losses become the result [default: mean; contrastive with mulsupcon-sum: mean-labels]
    #[arg(long, value_enum)]
    reduction: Option<Reduce>,
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
    /// focal, hill: exponent of the positives' focus, in focal of the negatives' too [default: 2]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    gamma: Option<f32>,
    /// asl: exponent of the positives [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    gamma_pos: Option<f32>,
    /// asl: exponent of the negatives [default: 4]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    gamma_neg: Option<f32>,
    /// asl: probability margin of the negatives [default: 0.05]; hill: what is taken from a positive's logit [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    margin: Option<f32>,
    /// focal: weight of the positives, the negatives having 1 - X [default: 0.25]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    alpha: Option<f32>,
    /// dice: squares below the line
    #[arg(long)]
    squared: bool,
    /// zlpr, zlpr-soft, bce, focal, asl, hill: label smoothing; targets become (1 - X) y + X/2 [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    smoothing: Option<f32>,
    /// bce, focal, asl, hill: what a row's loss is [default: sum]
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
            Loss::Focal => &["--gamma", "--alpha", "--smoothing", "--row"],
            Loss::Asl => &[
                "--gamma-pos",
                "--gamma-neg",
                "--margin",
                "--smoothing",
                "--row",
            ],
            Loss::Hill => &["--gamma", "--margin", "--smoothing", "--row"],
            Loss::Dice => &["--squared"],
            Loss::Contrastive => &[],
        }
    }

    /// Whether it takes labels of 0 and 1 alone.
    pub fn hard(self) -> bool {
        matches!(self, Loss::Zlpr | Loss::Tlpr | Loss::Lsep | Loss::TwoWay)
    }
}

impl Settings {
    /// Refuses what the loss does not take.
    pub fn refuse_others(&self, loss: Loss) -> Result<(), Error> {
        let given = [
            ("--kl", self.kl.is_some()),
            ("--beta", self.beta.is_some()),
            ("--t-pos", self.t_pos.is_some()),
            ("--t-neg", self.t_neg.is_some()),
            ("--pos-weight", self.pos_weight.is_some()),
            ("--smoothing", self.smoothing.is_some()),
            ("--row", self.row.is_some()),
            ("--gamma", self.gamma.is_some()),
            ("--gamma-pos", self.gamma_pos.is_some()),
            ("--gamma-neg", self.gamma_neg.is_some()),
            ("--margin", self.margin.is_some()),
            ("--alpha", self.alpha.is_some()),
            ("--squared", self.squared),
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
        Ok(())
    }

    /// The loss of rows with these settings, which are checked.
    pub fn configure(&self, loss: Loss) -> Result<AnyLoss, Error> {
        self.refuse_others(loss)?;
        let smoothing = self.smoothing.unwrap_or(0.0);
        let row_mean = self.row == Some(Row::Mean);
        let config = match loss {
            // 0 and what is no number stay with the hard form, whose check has the last word.
            Loss::Zlpr if smoothing > 0.0 => AnyLoss::Zlpr(Zlpr::soft().with_smoothing(smoothing)),
            Loss::Zlpr => AnyLoss::Zlpr(Zlpr::hard().with_smoothing(smoothing)),
            Loss::Tlpr => AnyLoss::Zlpr(Zlpr::hard()),
            Loss::ZlprSoft => AnyLoss::Zlpr(Zlpr::soft().with_smoothing(smoothing)),
            Loss::ZlprKl => match (self.kl.unwrap_or_default(), self.beta) {
                (Kl::Symmetric, beta) => AnyLoss::Zlpr(Zlpr::kl_symmetric(beta.unwrap_or(1.0))),
                (Kl::Excess, None) => AnyLoss::Zlpr(Zlpr::kl_excess()),
                (Kl::Excess, Some(beta)) => {
                    return Err(Error::value("--beta", "none with --kl excess", beta));
                }
            },
            Loss::Lsep => AnyLoss::Zlpr(Zlpr::lsep()),
            Loss::TwoWay => AnyLoss::Zlpr(Zlpr::two_way(
                self.t_pos.unwrap_or(4.0),
                self.t_neg.unwrap_or(1.0),
            )),
            Loss::Bce => AnyLoss::Bce(Bce {
                pos_weight: self.pos_weight.unwrap_or(1.0),
                smoothing,
                row_mean,
                ..Bce::default()
            }),
            Loss::Focal => {
                let plain = Focal::default();
                AnyLoss::Focal(Focal {
                    gamma: self.gamma.unwrap_or(plain.gamma),
                    alpha: self.alpha.unwrap_or(plain.alpha),
                    smoothing,
                    row_mean,
                    ..plain
                })
            }
            Loss::Asl => {
                let plain = Asl::default();
                AnyLoss::Asl(Asl {
                    gamma_pos: self.gamma_pos.unwrap_or(plain.gamma_pos),
                    gamma_neg: self.gamma_neg.unwrap_or(plain.gamma_neg),
                    margin: self.margin.unwrap_or(plain.margin),
                    smoothing,
                    row_mean,
                    ..plain
                })
            }
            Loss::Hill => {
                let plain = Hill::default();
                AnyLoss::Hill(Hill {
                    gamma: self.gamma.unwrap_or(plain.gamma),
                    margin: self.margin.unwrap_or(plain.margin),
                    smoothing,
                    row_mean,
                    ..plain
                })
            }
            Loss::Contrastive => {
                return Err(Error::value("loss", "a loss of rows", loss));
            }
            Loss::Dice => AnyLoss::Dice(Dice {
                squared: self.squared,
                ..Dice::default()
            }),
        };
        let config = config.with_reduction(match self.reduction.unwrap_or_default() {
            Reduce::Mean => Reduction::Mean,
            Reduce::Sum => Reduction::Sum,
            Reduce::None => Reduction::None,
            Reduce::MeanAll | Reduce::MeanLabels => {
                let found = self.reduction();
                return Err(Error::value("--reduction", "mean, sum or none", found));
            }
        });
        config.check()?;
        Ok(config)
    }

    /// The reduction, where one is given.
    pub fn reduce(&self) -> Option<Reduce> {
        self.reduction
    }

    /// The name of the reduction, as the option has it.
    pub fn reduction(&self) -> &'static str {
        match self.reduction.unwrap_or_default() {
            Reduce::MeanAll => "mean-all",
            Reduce::MeanLabels => "mean-labels",
            Reduce::Mean => "mean",
            Reduce::Sum => "sum",
            Reduce::None => "none",
        }
    }
}
