//! Contrastive losses, over the whole matrix of anchors and keys.

use crate::contrastive::{ContrastiveCall, ContrastiveExtras};
use crate::ops::{FAR, all, log_sum, only, softplus, unit, wide};
use burn::tensor::{Bool, Int, Tensor};
use wgloss::losses::contrastive::{JACCARD_SLACK, Normalizer, Placement, Roles, Weighting};
use wgloss::{ContrastiveReduction, Denominator};

/// What pairs are to one another, all `[N, M]`.
struct Pairs {
    /// Weight of a positive before it is divided; 0 elsewhere.
    weight: Tensor<2>,
    /// What stands beside a similarity in the denominator.
    bias: Option<Tensor<2>>,
    /// What stands beside that of a positive in the numerator.
    shift: Option<Tensor<2>>,
}

/// The loss, reduced.
pub(crate) fn loss(call: ContrastiveCall<'_>) -> Tensor<1> {
    let settings = call.settings;
    let ContrastiveExtras {
        keys,
        row_mask,
        positives,
        pair_mask,
        label_weight,
    } = call.extras.clone();
    let device = call.embeddings.device();
    let [n, _] = call.embeddings.dims();
    let rows_count = row_mask.unwrap_or_else(|| all([n], &device));
    let of_rows = |rows: Tensor<2>, counts: &Tensor<1, Bool>| {
        let dims = rows.dims();
        only(
            wide(rows),
            counts.clone().reshape([dims[0], 1]).expand(dims),
        )
    };
    let vectors = |rows: Tensor<2>, counts: &Tensor<1, Bool>| {
        let rows = of_rows(rows, counts);
        if settings.normalize { unit(rows) } else { rows }
    };
    let z = vectors(call.embeddings.clone(), &rows_count);
    let anchors = of_rows(call.labels.clone().float(), &rows_count);
    let paired = settings.weighting == Weighting::Paired;
    let (k, others, keys_count, itself) = match keys {
        None => {
            let itself = Tensor::<2, Int>::eye(n, &device).not_equal_scalar(0);
            (z.clone(), anchors.clone(), rows_count.clone(), Some(itself))
        }
        Some(keys) => {
            let m = keys.embeddings.dims()[0];
            let count = keys.mask.unwrap_or_else(|| all([m], &device));
            let itself = keys.self_index.map(|index| {
                let numbers = Tensor::<1, Int>::arange(0..m as i64, &device).reshape([1, m]);
                let index = index.cast(numbers.dtype()).reshape([n, 1]);
                index.expand([n, m]).equal(numbers.expand([n, m]))
            });
            let labels = of_rows(keys.labels.float(), &count);
            (vectors(keys.embeddings, &count), labels, count, itself)
        }
    };
    let m = k.dims()[0];
    let square = [n, m];
    let mut counts = rows_count.clone().reshape([n, 1]).expand(square);
    counts = counts.bool_and(keys_count.reshape([1, m]).expand(square));
    if let Some(mask) = pair_mask {
        counts = counts.bool_and(mask);
    }
    if let (Some(itself), false) = (&itself, paired) {
        counts = counts.bool_and(itself.clone().bool_not());
    }

    let s = z.matmul(k.transpose());
    let s = match call.temperature {
        Some(temperature) => s / wide(temperature).reshape([1, 1]),
        None => s / settings.temperature,
    };

    let weigh = label_weight.map(wide);
    // Of each anchor the weight of its labels.
    let of_set = match &weigh {
        Some(weight) => {
            (anchors.clone() * weight.clone().reshape([1, weight.dims()[0]])).sum_dim(1)
        }
        None => anchors.clone().sum_dim(1),
    };
    let pairs = match settings.weighting {
        // What is missing has been refused.
        Weighting::Paired => by_flags(itself.unwrap_or_else(|| counts.clone())),
        Weighting::Given => by_flags(positives.unwrap_or_else(|| counts.clone())),
        weighting => by_labels(weighting, &anchors, &others, weigh, &counts),
    };
    let weight = only(pairs.weight, counts.clone());
    let positive = weight.clone().greater_scalar(0.0);
    let negative = counts.clone().bool_and(positive.clone().bool_not());
    let number = |flags: Tensor<2, Bool>| wide(flags.float()).sum_dim(1);
    let some = |sum: Tensor<2>| {
        let none = sum.clone().equal_scalar(0.0);
        sum.mask_fill(none, 1.0)
    };
    let divisor = match settings.weighting {
        Weighting::SimDis {
            normalizer: Normalizer::KSum,
            ..
        } => weight.clone().sum_dim(1),
        Weighting::MulSupCon { per_label: true } => of_set.clone(),
        Weighting::MulSupCon { per_label: false } | Weighting::Paired => {
            Tensor::ones([n, 1], &device)
        }
        _ => number(positive.clone()),
    };
    let c = weight / some(divisor);

    let logit = match pairs.bias {
        Some(bias) => s.clone() + bias,
        None => s.clone(),
    };
    let shifted = match pairs.shift {
        Some(shift) => s.clone() + shift,
        None => s.clone(),
    };
    let has = |flags: &Tensor<2, Bool>| number(flags.clone()).greater_scalar(0.0);
    let (each, active) = match settings.denominator {
        Denominator::All => {
            let of = log_sum(logit, None, counts.clone(), 0.0).expand(square);
            (only(c * (of - shifted), positive.clone()), has(&positive))
        }
        Denominator::Negatives => {
            let of = log_sum(logit, None, negative.clone(), 0.0).expand(square);
            let active = has(&positive).bool_and(has(&negative));
            let compared = positive.bool_and(active.clone().expand(square));
            (
                only(c * (only(of, compared.clone()) - shifted), compared),
                active,
            )
        }
        Denominator::OnePositive => {
            let below = log_sum(logit.clone(), None, negative, 0.0).expand(square);
            let above = softplus((below - logit.clone()).clamp_min(FAR));
            (
                only(c * (logit + above - shifted), positive.clone()),
                has(&positive),
            )
        }
        Denominator::Sigmoid => {
            let x = match call.bias {
                Some(bias) => s + wide(bias).reshape([1, 1]),
                None => s + settings.bias,
            };
            let wrong = x.clone().mask_where(positive, -x);
            (only(softplus(wrong), counts.clone()), has(&counts))
        }
    };
    let each = only(each.sum_dim(1), active.clone()).reshape([n]);
    let sum = each.clone().sum();
    let over = |count: Tensor<1>| {
        let none = count.clone().equal_scalar(0.0);
        (sum.clone() / count.mask_fill(none.clone(), 1.0)).mask_fill(none, 0.0)
    };
    match settings.reduction {
        ContrastiveReduction::None => each,
        ContrastiveReduction::Sum => sum,
        ContrastiveReduction::MeanActive => over(wide(active.float()).sum()),
        ContrastiveReduction::MeanAll => over(wide(rows_count.float()).sum()),
        ContrastiveReduction::MeanLabels => over(of_set.sum()),
    }
}

/// Pairs that weigh 1 where a flag says so.
fn by_flags(flags: Tensor<2, Bool>) -> Pairs {
    Pairs {
        weight: wide(flags.float()),
        bias: None,
        shift: None,
    }
}

/// Pairs by what their label sets share.
fn by_labels(
    weighting: Weighting,
    anchors: &Tensor<2>,
    others: &Tensor<2>,
    weigh: Option<Tensor<1>>,
    counts: &Tensor<2, Bool>,
) -> Pairs {
    let square = counts.dims();
    let both = anchors.clone().matmul(others.clone().transpose());
    let sharing = both.clone().greater_scalar(0.5);
    let of_anchor = anchors.clone().sum_dim(1).expand(square);
    let of_key = others.clone().sum_dim(1).transpose().expand(square);
    let flag = |flags: Tensor<2, Bool>| wide(flags.float());
    let some = |sizes: Tensor<2>| sizes.clamp_min(1.0);
    let weight = match weighting {
        Weighting::SimDis {
            placement, roles, ..
        } => {
            let (first, second) = match roles {
                Roles::Anchor => (of_anchor, of_key),
                Roles::Key => (of_key, of_anchor),
            };
            let k = both.clone() / some(first) / (second - both + 1.0);
            if placement == Placement::Outside {
                only(k, sharing)
            } else {
                let log = only(
                    k.mask_fill(sharing.clone().bool_not(), 1.0).log(),
                    sharing.clone(),
                );
                return Pairs {
                    weight: flag(sharing),
                    bias: (placement == Placement::Both).then(|| log.clone()),
                    shift: Some(log),
                };
            }
        }
        Weighting::All => {
            let same = both.clone().equal(of_anchor).bool_and(both.equal(of_key));
            flag(same.bool_and(sharing))
        }
        Weighting::MulSupCon { .. } => {
            // Of each anchor and label, how many keys that count have the label.
            let with = flag(counts.clone()).matmul(others.clone());
            let none = with.clone().lower_scalar(0.5);
            let share = only(
                anchors.clone() / with.mask_fill(none.clone(), 1.0),
                none.bool_not(),
            );
            let share = match weigh {
                Some(weight) => share * weight.clone().reshape([1, weight.dims()[0]]),
                None => share,
            };
            share.matmul(others.clone().transpose())
        }
        Weighting::Jaccard { threshold } => {
            let union = some(of_anchor + of_key - both.clone());
            let enough = both
                .clone()
                .greater_equal(union.clone() * (threshold - JACCARD_SLACK));
            only(both / union, enough.bool_and(sharing))
        }
        _ => flag(sharing),
    };
    Pairs {
        weight,
        bias: None,
        shift: None,
    }
}
