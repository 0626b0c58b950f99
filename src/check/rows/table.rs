//! The table of cases: loss x element type x target form, with reduction, outputs, shape, layout, options and kinds of
//! data running through all their values beside them.

use crate::check::case::{Data, Depth, Layout};
use crate::check::numbers::SPARSE;
use crate::check::rows::case::{Extras, Mode, RowCase, WdlCase};
use crate::device::tensor::DType;
use crate::losses::bce::Bce;
use crate::losses::bp_mll::BpMll;
use crate::losses::labels::{Order, Scope, Targets, Threshold};
use crate::losses::per_label::{Asl, Dice, Focal, Hill};
use crate::losses::reduction::Reduction;
use crate::losses::softmax_ce::SoftmaxCe;
use crate::losses::takes::TargetKind;
use crate::losses::wdl::{self, PairWeights, Phi, Prediction, Wdl};
use crate::losses::zlpr::{Half, Zlpr};
use crate::rowwise::{AnyLoss, CATALOG, Rowwise};

/// A loss of the table: its name (a setting by label where it ends with by-label, weights by element where it ends with
/// by-element), its settings, its threshold, what WDL takes.
type Row = (&'static str, AnyLoss, Option<Threshold<()>>, WdlCase);

/// Every loss of the table. One of the catalogue that has no row by its name (or by its name and more) gets one with the
/// settings of the catalogue.
fn losses() -> Vec<Row> {
    let mut all = [plain_losses(), wdl_losses()].concat();
    for entry in CATALOG {
        let same = |other: &str| {
            let rest = other.strip_prefix(entry.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if !all.iter().any(|(other, ..)| same(other)) {
            let threshold = entry.threshold.then_some(Threshold::Label(()));
            let wdl = WdlCase {
                order: entry.loss().takes().permutation.then_some(Order::Batch(())),
                theta: entry.loss().takes().theta.is_some(),
                theta0: false,
            };
            all.push((entry.name, entry.loss(), threshold, wdl));
        }
    }
    all
}

fn wdl_losses() -> Vec<Row> {
    let with = |order, theta, theta0| WdlCase {
        order,
        theta,
        theta0,
    };
    let seeded = |scope| Some(Order::Seeded { seed: (), scope });
    let weighted = Wdl {
        lambda_presence: 0.5,
        lambda_ratio: 0.75,
        lambda_difference: 2.0,
        epsilon: 0.01,
        ..Wdl::default()
    };
    let all = [
        (
            "wdl-adjacent",
            Wdl::adjacent(),
            with(Some(Order::Batch(())), true, false),
        ),
        (
            "wdl-adjacent-huber",
            Wdl {
                form: wdl::Form::Adjacent,
                phi: Phi::Huber { delta: 0.05 },
                prediction: Prediction::Softmax,
                ..weighted
            },
            with(Some(Order::PerRow(())), true, true),
        ),
        (
            "wdl-adjacent-seed",
            Wdl {
                phi: Phi::Abs,
                ..Wdl::adjacent()
            },
            with(seeded(Scope::Batch), false, false),
        ),
        (
            "wdl-adjacent-seeds",
            Wdl {
                ascent: true,
                ..Wdl::adjacent()
            },
            with(seeded(Scope::Row), true, false),
        ),
        ("wdl-pairs", Wdl::default(), with(None, true, false)),
        (
            "wdl-pairs-bounded",
            Wdl {
                form: wdl::Form::Pairs {
                    weights: PairWeights::Rank(3),
                },
                prediction: Prediction::Softmax,
                ..weighted
            },
            with(None, true, true),
        ),
        (
            "wdl-pairs-additive",
            Wdl {
                form: wdl::Form::Pairs {
                    weights: PairWeights::Additive,
                },
                ..weighted
            },
            with(None, true, false),
        ),
        (
            "wdl-sweep",
            Wdl {
                phi: Phi::Huber { delta: 0.02 },
                ..Wdl::pairs(PairWeights::Rank(2))
            },
            with(None, true, false),
        ),
        (
            "wdl-sweep-additive",
            Wdl {
                phi: Phi::Abs,
                ..Wdl::pairs(PairWeights::Additive)
            },
            with(None, true, true),
        ),
        (
            "wdl-sweep-additive-even",
            Wdl {
                phi: Phi::Huber { delta: 0.02 },
                ..Wdl::pairs(PairWeights::Additive)
            },
            with(None, false, false),
        ),
    ];
    let row = |(name, loss, wdl): (_, Wdl, _)| (name, loss.into(), None, wdl);
    all.into_iter().map(row).collect()
}

fn plain_losses() -> Vec<Row> {
    let batch = Some(Threshold::Batch(()));
    let row = Some(Threshold::Row(()));
    let label = Some(Threshold::Label(()));
    let zlpr = AnyLoss::Zlpr;
    let all = [
        ("zlpr", zlpr(Zlpr::hard()), None),
        ("tlpr-batch", zlpr(Zlpr::hard()), batch),
        ("tlpr-row", zlpr(Zlpr::hard()), row),
        ("tlpr-label", zlpr(Zlpr::hard()), label),
        ("zlpr-by-element", zlpr(Zlpr::hard()), None),
        ("tlpr-by-element", zlpr(Zlpr::hard()), label),
        ("zlpr-soft-by-element", zlpr(Zlpr::soft()), None),
        ("zlpr-soft", zlpr(Zlpr::soft()), None),
        (
            "zlpr-soft-smooth",
            zlpr(Zlpr::soft().with_smoothing(0.1)),
            batch,
        ),
        ("lsep", zlpr(Zlpr::lsep()), None),
        ("two-way", zlpr(Zlpr::two_way(4.0, 1.0)), row),
        (
            "two-way-classes",
            zlpr(Zlpr::two_way(4.0, 1.0).with_half(Half::Class)),
            None,
        ),
        (
            "two-way-both-by-element",
            zlpr(Zlpr::two_way(2.0, 1.0).with_half(Half::Both)),
            None,
        ),
        ("zlpr-kl-symmetric", zlpr(Zlpr::kl_symmetric(2.0)), None),
        ("zlpr-kl-excess", zlpr(Zlpr::kl_excess()), None),
        ("bce", Bce::default().into(), None),
        (
            "bce-weighted",
            AnyLoss::Bce(Bce {
                pos_weight: 2.5,
                smoothing: 0.1,
                row_mean: true,
                ..Bce::default()
            }),
            None,
        ),
        ("bce-by-label", Bce::default().into(), None),
        ("bce-by-element", Bce::default().into(), None),
        ("softmax-ce", SoftmaxCe::default().into(), None),
        ("softmax-ce-by-element", SoftmaxCe::default().into(), None),
        ("bp-mll", BpMll::default().into(), None),
        ("bp-mll-by-element", BpMll::default().into(), None),
        ("focal", Focal::default().into(), None),
        ("focal-by-label", Focal::default().into(), None),
        (
            "focal-detached",
            Focal::default()
                .without_alpha()
                .with_detached_focus()
                .into(),
            None,
        ),
        ("asl", Asl::default().into(), None),
        (
            "asl-detached",
            Asl::default().with_detached_focus().into(),
            None,
        ),
        (
            "asl-no-margin",
            AnyLoss::Asl(Asl {
                margin: 0.0,
                smoothing: 0.1,
                ..Asl::default()
            }),
            None,
        ),
        ("hill", Hill::default().into(), None),
        ("dice", Dice::default().into(), None),
        (
            "dice-squared",
            AnyLoss::Dice(Dice {
                squared: true,
                ..Dice::default()
            }),
            None,
        ),
    ];
    let row = |(name, loss, threshold)| (name, loss, threshold, WdlCase::default());
    all.into_iter().map(row).collect()
}

/// Shapes: the reason beside each.
const SHAPES: &[(usize, usize)] = &[
    (5, 1),   // one label, one lane a row
    (70, 3),  // several rows a word in 16 bits
    (64, 14), // the Yeast set
    (33, 17), // odd; one more than a CPU keeps in registers
    (9, 64),  // whole vectors
    (9, 65),
    (1, 127), // one row
    (7, 257), // one more than 32 lanes keep in registers
    (4, 511),
    (3, 1000), // within a subgroup of a GPU
    (3, 1537), // a workgroup a row there
    (2, 5003),
    (3, 8191), // border of the rows that a GPU cuts
    (3, 8193),
    (2, 33_003), // rows that a CPU cuts too
    (300, 131),  // many workgroups
];
/// Most labels of a loss that is a sum over pairs which no closed form spares: the reference meets them all.
const MOST_SWEPT: usize = 3001;

/// The table.
pub fn row_cases(depth: Depth) -> Vec<RowCase> {
    let reductions = [
        Reduction::Mean,
        Reduction::None,
        Reduction::Sum,
        Reduction::MeanOver(7.5),
    ];
    let modes = [
        Mode::Both,
        Mode::InPlace,
        Mode::Gradient,
        Mode::BothSame,
        Mode::Loss,
    ];
    let extras = [
        None,
        Some(Extras::All),
        Some(Extras::Upstream),
        Some(Extras::Sides),
    ];
    let weights = [DType::F32, DType::F16, DType::F32, DType::Bf16];
    let datas = [Data::Normal, Data::Edges, Data::Large];
    let mut cases = Vec::new();
    // Steps of the counter that are coprime to the lists' lengths make all of them meet all others.
    let mut turn = 0;
    for (i, (name, loss, threshold, wdl)) in losses().into_iter().enumerate() {
        let all = [DType::F32, DType::F16, DType::Bf16];
        // The kernels of WDL that know element types are the same in all of its forms, which take turns.
        let dtypes = match depth {
            Depth::Sample if loss.takes().theta.is_some() => &all[i % 3..=i % 3],
            Depth::Sample | Depth::Every | Depth::Full => &all[..],
        };
        for (j, &dtype) in dtypes.iter().enumerate() {
            let forms = match loss.target_kind() {
                TargetKind::Logits => vec![Targets::Dense(dtype)],
                TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => {
                    let other = [DType::F32, DType::F16, DType::Bf16][(turn + 1) % 3];
                    vec![
                        Targets::Dense([DType::U8, DType::U32][(i + j) % 2]),
                        Targets::Bits(()),
                        SPARSE,
                        Targets::Dense(dtype),
                        Targets::Dense(other),
                    ]
                }
            };
            let forms = match depth {
                Depth::Sample => vec![forms[turn % forms.len()]],
                Depth::Every | Depth::Full => forms,
            };
            for form in forms {
                let repeats = if depth == Depth::Full { 6 } else { 1 };
                for _ in 0..repeats {
                    let (rows, cols) = SHAPES[(turn * 5) % SHAPES.len()];
                    let cols = match name.starts_with("wdl-sweep") {
                        true => cols.min(MOST_SWEPT),
                        false => cols,
                    };
                    let reduction = match loss.takes().counted {
                        Some(mean) if turn % 3 == 0 => mean,
                        _ => reductions[turn % 4],
                    };
                    // Not every loss has every reduction.
                    let reduction = match loss.with_reduction(reduction).check() {
                        Ok(()) => reduction,
                        Err(_) => Reduction::Sum,
                    };
                    cases.push(RowCase {
                        name,
                        loss: loss.with_reduction(reduction),
                        threshold,
                        wdl,
                        by_label: name.ends_with("-by-label"),
                        weight: name.ends_with("-by-element").then_some(weights[turn % 4]),
                        dtype,
                        form,
                        mode: modes[turn % 5],
                        extras: extras[(turn / 2) % 4],
                        layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                        data: datas[turn % 3],
                        rows,
                        cols,
                        seed: 1000 + turn as u64,
                    });
                    turn += 1;
                }
            }
        }
    }
    if depth == Depth::Full {
        let many = cases.clone();
        // More rows than a dispatch has workgroups; and a row split over hundreds of them.
        for case in many.iter().step_by(67) {
            cases.push(case.with_shape(66_000, 2, case.seed + 1));
        }
        for case in many.iter().step_by(41) {
            cases.push(case.with_shape(1, 300_007, case.seed + 2));
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_of_the_catalogue_is_in_the_table_under_its_name() {
        let cases = row_cases(Depth::Sample);
        for entry in CATALOG {
            let like = |case: &&RowCase| {
                case.name == entry.name || case.name.starts_with(&format!("{}-", entry.name))
            };
            let found = cases.iter().filter(like).count();
            assert!(found > 0, "{}: no case", entry.name);
        }
        let names = losses().into_iter().map(|(name, ..)| name);
        let distinct: std::collections::BTreeSet<&str> = names.clone().collect();
        assert_eq!(distinct.len(), names.count(), "two rows have one name");
    }
}
