//! HCAL.

use crate::balance::BalanceCall;
use crate::hcal::{HcalCall, HcalOutput};
use crate::ops::{FAR, balance, only, unit, wide};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Int, Tensor};
use wgloss::Levels;
use wgloss::losses::hcal::Aggregation;

/// The loss, and those of the levels with their weights.
pub(crate) fn loss(call: HcalCall<'_>) -> HcalOutput {
    let device = call.features.device();
    let [rows, dim] = call.features.dims();
    let levels = call.levels.classes();
    let labels = |k: usize| call.labels.clone().narrow(0, k, 1);
    // Of each level who is a member of which class, `[C, B]`.
    let member = |k: usize| {
        let shape = [levels[k], rows];
        let numbers =
            Tensor::<1, Int>::arange(0..levels[k] as i64, &device).reshape([levels[k], 1]);
        let labels = labels(k).cast(numbers.dtype());
        numbers.expand(shape).equal(labels.expand(shape))
    };
    let mut losses: Vec<Tensor<1>> = Vec::new();
    let mut present: Vec<Tensor<1, Bool>> = Vec::new();
    if rows == 0 {
        let none = || Tensor::<1>::zeros([1], &device) + call.features.clone().sum() * 0.0;
        losses = levels.iter().map(|_| none()).collect();
        present = levels
            .iter()
            .map(|_| Tensor::<1, Int>::zeros([1], &device).not_equal_scalar(0))
            .collect();
    } else {
        // A sample without any label counts for nothing, whatever its features hold.
        let known = (0..levels.len()).map(|k| wide(member(k).float()).sum_dim(0));
        let known = known
            .reduce(|a, b| a + b)
            .map(|sum| sum.greater_scalar(0.0).transpose());
        let features = wide(call.features.clone());
        let features = match known {
            Some(known) => only(features, known.expand([rows, dim])),
            None => features,
        };
        let f = unit(features);
        let mut first = 0;
        // Means of the level before, and which of them there are.
        let mut below: Option<(Tensor<2>, Tensor<2>)> = None;
        for (k, &classes) in levels.iter().enumerate() {
            let own = |all: &Tensor<2>| wide(all.clone().narrow(0, first, classes));
            let ph = unit(own(&call.prototypes));
            let pt = match &call.noise {
                Some(noise) => unit(ph + own(noise)),
                None => ph,
            };
            first += classes;
            let member = wide(member(k).float());
            let count = member.clone().sum_dim(1);
            let here = count.clone().greater_scalar(0.0);
            let mean = member.clone().matmul(f.clone()) / count.clamp_min(1.0);
            let mean = match (&below, call.settings.aggregation) {
                (Some((means, there)), Aggregation::Tree) => {
                    let of = parents(call.levels, k - 1, classes, &device);
                    let children = of.clone().matmul(there.clone());
                    let sum = of.matmul(means.clone() * there.clone());
                    let some = children.clone().greater_scalar(0.0).expand([classes, dim]);
                    mean.mask_where(some, sum / children.clamp_min(1.0))
                }
                _ => mean,
            };
            // Vectors to be compared, each with its class: samples at the first level, means of classes beyond.
            let (vectors, hits, counted) = match k {
                0 => {
                    let labelled = member.clone().sum_dim(0).greater_scalar(0.0).transpose();
                    (f.clone(), member.transpose(), labelled)
                }
                _ => (
                    mean.clone(),
                    wide(Tensor::<2>::eye(classes, &device)),
                    here.clone(),
                ),
            };
            let z = vectors.matmul(pt.transpose()) / call.settings.temperature;
            let each = -(log_softmax(z, 1) * hits).sum_dim(1);
            let number = wide(counted.clone().float()).sum();
            let sum = only(each, counted).sum();
            losses.push(sum / number.clone().clamp_min(1.0));
            present.push(number.greater_scalar(0.0));
            below = Some((mean, wide(here.float())));
        }
    }
    let losses = Tensor::cat(losses, 0);
    let call = BalanceCall {
        settings: call.settings.balance,
        losses: losses.clone(),
        state: call.state,
    };
    let (loss, weights) = balance::loss(&call, Some(Tensor::cat(present, 0)));
    HcalOutput {
        loss,
        losses: losses.detach(),
        weights,
    }
}

/// Which classes of level `k` each class of the next is the parent of.
fn parents(levels: &Levels, k: usize, classes: usize, device: &burn::tensor::Device) -> Tensor<2> {
    let of = levels.parents(k);
    let mut all = vec![0.0_f32; classes * of.len()];
    for (child, parent) in of.iter().enumerate() {
        all[*parent as usize * of.len() + child] = 1.0;
    }
    Tensor::<1>::from_floats(all.as_slice(), device).reshape([classes, of.len()])
}

/// The class of each level that each sample is nearest to, the first of several; `[m, B]`.
pub(crate) fn predict(
    levels: &Levels,
    features: Tensor<2>,
    prototypes: Tensor<2>,
) -> Tensor<2, Int> {
    let [rows, _] = features.dims();
    if rows == 0 {
        return Tensor::zeros([levels.len(), 0], &features.device());
    }
    let f = unit(wide(features));
    let mut first = 0;
    let of_level = |&classes: &usize| {
        let ph = unit(wide(prototypes.clone().narrow(0, first, classes)));
        first += classes;
        let scores = f.clone().matmul(ph.transpose());
        let less = scores
            .clone()
            .lower(scores.clone().max_dim(1).expand([rows, classes]));
        // The number of a class, and a large one where the score is less: the least is the first of the largest.
        let numbers =
            Tensor::<1, Int>::arange(0..classes as i64, &f.device()).reshape([1, classes]);
        let numbers = wide(numbers.float())
            .expand([rows, classes])
            .mask_fill(less, -FAR);
        numbers
            .min_dim(1)
            .clamp_max(classes as f32 - 1.0)
            .int()
            .transpose()
    };
    Tensor::cat(levels.classes().iter().map(of_level).collect(), 0)
}
