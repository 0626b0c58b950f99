//! The names of the losses, the options that each takes, and what they configure. A new loss begins here.

use clap::{Args, ValueEnum};
use std::fmt;
use wgloss::losses::hcal::Aggregation;
use wgloss::losses::wdl::{Form, PairWeights, Phi, Prediction};
use wgloss::{
    AnyLoss, Asl, Balance, Bce, Dice, Error, Focal, Hcal, Hill, Mcm, Order, Reduction, Rowwise,
    Scope, Wdl, Zlpr,
};

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
    /// Weighted difference [--form, --prediction, --phi, --huber-delta, --epsilon, --lambda-presence, --lambda-ratio,
    /// --lambda-difference, --additive, --ascent, --seed, --seed-per-row]
    Wdl,
    /// Max constraint loss of a hierarchy [--row]
    Mcm,
    /// HCAL [--temperature, --gamma, --aggregation, --attach, --epsilon, --seed]
    Hcal,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Differences {
    /// Of neighbours in a permutation
    Adjacent,
    /// Of all pairs
    Pairs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Predict {
    /// Normalised sigmoid
    #[default]
    Sigmoid,
    /// Softmax
    Softmax,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Penalty {
    /// d^2
    #[default]
    Square,
    /// |d|
    Abs,
    /// d^2 / 2, linear beyond --huber-delta
    Huber,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Aggregate {
    /// The mean over a class's samples
    #[default]
    SampleMean,
    /// The mean over its child classes, of their means
    Tree,
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
    /// focal, hill: exponent of the positives' focus, in focal of the negatives' too [default: 2]; hcal: temperature of
    /// the levels' weights [default: 0.5]
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
    /// bce, focal, asl, hill: what a row's loss is [default: sum]; mcm: the same [default: mean]
    #[arg(long, value_enum)]
    row: Option<Row>,
    /// wdl: which differences [default: adjacent with a permutation or --seed, else pairs]
    #[arg(long, value_enum)]
    form: Option<Differences>,
    /// wdl: what makes a distribution of the logits [default: sigmoid]
    #[arg(long, value_enum)]
    prediction: Option<Predict>,
    /// wdl: what is made of a difference [default: square]
    #[arg(long, value_enum)]
    phi: Option<Penalty>,
    /// wdl, huber: where it becomes linear [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    huber_delta: Option<f32>,
    /// wdl: added to each target [default: 0]; hcal: size of the perturbation, with --seed [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    epsilon: Option<f32>,
    /// wdl: coefficient of the presence term [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lambda_presence: Option<f32>,
    /// wdl: coefficient of the proportions' term [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lambda_ratio: Option<f32>,
    /// wdl: coefficient of the differences' term [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lambda_difference: Option<f32>,
    /// wdl, pairs: a pair's weight is the mean of its labels' weights, not their product
    #[arg(long)]
    additive: bool,
    /// wdl: negates the gradient to theta
    #[arg(long)]
    ascent: bool,
    /// wdl, adjacent: makes the permutation, in place of the tensor; hcal: makes the perturbation, which there is none
    /// of without
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// wdl, adjacent: with --seed, another permutation for each row
    #[arg(long)]
    seed_per_row: bool,
    /// hcal: temperature [default: 0.1]; contrastive [default: 0.07, mulsupcon and jaccard 0.1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// hcal: what the classes of the levels beyond the first are compared by [default: sample-mean]
    #[arg(long, value_enum)]
    aggregation: Option<Aggregate>,
    /// hcal: do not detach the weights of the levels
    #[arg(long)]
    attach: bool,
}

/// What the tensors say of a loss before it is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// There is a permutation.
    pub permutation: bool,
    /// Rows of theta, where it is a matrix.
    pub theta_rows: Option<u32>,
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
            Loss::Wdl => &[
                "--form",
                "--prediction",
                "--phi",
                "--huber-delta",
                "--epsilon",
                "--lambda-presence",
                "--lambda-ratio",
                "--lambda-difference",
                "--additive",
                "--ascent",
                "--seed",
                "--seed-per-row",
            ],
            Loss::Mcm => &["--row"],
            Loss::Hcal => &[
                "--temperature",
                "--gamma",
                "--aggregation",
                "--attach",
                "--epsilon",
                "--seed",
            ],
            Loss::Contrastive => &["--temperature"],
        }
    }

    /// Whether it takes labels of 0 and 1 alone.
    pub fn hard(self) -> bool {
        matches!(self, Loss::Zlpr | Loss::Tlpr | Loss::Lsep | Loss::TwoWay)
    }
}

impl Settings {
    /// The loss with these settings, which are checked.
    pub fn configure(&self, loss: Loss, given: Given) -> Result<AnyLoss, Error> {
        self.refuse_others(loss)?;
        self.rowwise(loss, given)
    }

    /// The constraint module with these settings.
    pub fn mcm(&self) -> Result<Mcm, Error> {
        self.refuse_others(Loss::Mcm)?;
        Ok(Mcm {
            row_mean: self.row != Some(Row::Sum),
            reduction: self.to_reduction()?,
        })
    }

    /// HCAL with these settings, and the seed of its perturbation.
    pub fn hcal(&self) -> Result<(Hcal, Option<u64>), Error> {
        self.refuse_others(Loss::Hcal)?;
        if self.reduction != Reduce::Mean {
            return Err(Error::value(
                "--reduction",
                "mean (hcal's only one)",
                self.reduction(),
            ));
        }
        if let (Some(epsilon), None) = (self.epsilon, self.seed) {
            return Err(Error::value("--seed", "a seed beside --epsilon", epsilon));
        }
        let plain = Hcal::default();
        let config = Hcal {
            temperature: self.temperature.unwrap_or(plain.temperature),
            aggregation: match self.aggregation.unwrap_or_default() {
                Aggregate::SampleMean => Aggregation::SampleMean,
                Aggregate::Tree => Aggregation::Tree,
            },
            balance: Balance::Adaptive {
                gamma: self.gamma.unwrap_or(0.5),
                attach: self.attach,
            },
            epsilon: self.epsilon.unwrap_or(plain.epsilon),
            ..plain
        };
        config.check()?;
        Ok((config, self.seed))
    }

    fn to_reduction(&self) -> Result<Reduction, Error> {
        match self.reduction {
            Reduce::Mean => Ok(Reduction::Mean),
            Reduce::Sum => Ok(Reduction::Sum),
            Reduce::None => Ok(Reduction::None),
            Reduce::MeanAll | Reduce::MeanLabels => {
                let found = self.reduction();
                Err(Error::value("--reduction", "mean, sum or none", found))
            }
        }
    }

    /// The temperature, where one is given.
    pub fn temperature(&self) -> Option<f32> {
        self.temperature
    }

    /// Refuses what the loss does not take.
    pub fn refuse_others(&self, loss: Loss) -> Result<(), Error> {
        let options = [
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
            ("--form", self.form.is_some()),
            ("--prediction", self.prediction.is_some()),
            ("--phi", self.phi.is_some()),
            ("--huber-delta", self.huber_delta.is_some()),
            ("--epsilon", self.epsilon.is_some()),
            ("--lambda-presence", self.lambda_presence.is_some()),
            ("--lambda-ratio", self.lambda_ratio.is_some()),
            ("--lambda-difference", self.lambda_difference.is_some()),
            ("--additive", self.additive),
            ("--ascent", self.ascent),
            ("--seed", self.seed.is_some()),
            ("--seed-per-row", self.seed_per_row),
            ("--temperature", self.temperature.is_some()),
            ("--aggregation", self.aggregation.is_some()),
            ("--attach", self.attach),
        ];
        let takes = loss.options();
        if let Some((option, _)) = options
            .iter()
            .find(|(o, given)| *given && !takes.contains(o))
        {
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

    fn rowwise(&self, loss: Loss, given: Given) -> Result<AnyLoss, Error> {
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
            Loss::Dice => AnyLoss::Dice(Dice {
                squared: self.squared,
                ..Dice::default()
            }),
            Loss::Wdl => AnyLoss::Wdl(self.wdl(given)?),
            Loss::Mcm | Loss::Hcal | Loss::Contrastive => {
                return Err(Error::value("loss", "a loss of rows", loss));
            }
        };
        let config = config.with_reduction(self.to_reduction()?);
        config.check()?;
        Ok(config)
    }

    fn wdl(&self, given: Given) -> Result<Wdl, Error> {
        let seeded = self.seed.is_some();
        let form = self.form.unwrap_or(match given.permutation || seeded {
            true => Differences::Adjacent,
            false => Differences::Pairs,
        });
        let unwanted =
            |option: &str, with: &str| Err(Error::value(option, format!("none {with}"), "one"));
        if self.additive && form == Differences::Adjacent {
            return unwanted("--additive", "with --form adjacent");
        }
        if self.additive && given.theta_rows.is_some() {
            return unwanted("--additive", "with several rows of theta");
        }
        if seeded && form == Differences::Pairs {
            return unwanted("--seed", "with --form pairs");
        }
        if seeded && given.permutation {
            return unwanted("--seed", "beside the tensor permutation");
        }
        if self.seed_per_row && !seeded {
            return unwanted("--seed-per-row", "without --seed");
        }
        if self.huber_delta.is_some() && self.phi != Some(Penalty::Huber) {
            return unwanted("--huber-delta", "without --phi huber");
        }
        let plain = Wdl::default();
        Ok(Wdl {
            form: match (form, given.theta_rows) {
                (Differences::Adjacent, _) => Form::Adjacent,
                (Differences::Pairs, Some(rows)) => Form::Pairs {
                    weights: PairWeights::Rank(rows),
                },
                (Differences::Pairs, None) if self.additive => Form::Pairs {
                    weights: PairWeights::Additive,
                },
                (Differences::Pairs, None) => Form::Pairs {
                    weights: PairWeights::RankOne,
                },
            },
            prediction: match self.prediction.unwrap_or_default() {
                Predict::Sigmoid => Prediction::Sigmoid,
                Predict::Softmax => Prediction::Softmax,
            },
            phi: match self.phi.unwrap_or_default() {
                Penalty::Square => Phi::Square,
                Penalty::Abs => Phi::Abs,
                Penalty::Huber => Phi::Huber {
                    delta: self.huber_delta.unwrap_or(1.0),
                },
            },
            epsilon: self.epsilon.unwrap_or(plain.epsilon),
            lambda_presence: self.lambda_presence.unwrap_or(plain.lambda_presence),
            lambda_ratio: self.lambda_ratio.unwrap_or(plain.lambda_ratio),
            lambda_difference: self.lambda_difference.unwrap_or(plain.lambda_difference),
            ascent: self.ascent,
            ..plain
        })
    }

    /// The permutation that a seed makes.
    pub fn seed(&self) -> Option<Order<&'static [u32], u64>> {
        self.seed.map(|seed| Order::Seeded {
            seed,
            scope: match self.seed_per_row {
                true => Scope::Row,
                false => Scope::Batch,
            },
        })
    }

    /// The reduction.
    pub fn reduce(&self) -> Reduce {
        self.reduction
    }

    /// The name of the reduction, as the option has it.
    pub fn reduction(&self) -> &'static str {
        match self.reduction {
            Reduce::MeanAll => "mean-all",
            Reduce::MeanLabels => "mean-labels",
            Reduce::Mean => "mean",
            Reduce::Sum => "sum",
            Reduce::None => "none",
        }
    }
}
