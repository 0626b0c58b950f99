//! The contrastive family.

use super::*;
use wgloss::losses::contrastive::{Normalizer, Placement, Weighting};
use wgloss::reference::{
    ContrastiveInputs, ContrastiveKeys, ContrastiveOutputs, contrastive, relations,
};
use wgloss::{Contrastive, ContrastiveReduction, Denominator};

/// A problem that owns its numbers.
#[derive(Clone, Default)]
struct Samples {
    dims: usize,
    labels: usize,
    x: Vec<f64>,
    y: Vec<bool>,
    /// Embeddings and flags of keys.
    keys: Option<(Vec<f64>, Vec<bool>)>,
    own: Option<Vec<Option<usize>>>,
    row_mask: Option<Vec<bool>>,
    key_mask: Option<Vec<bool>>,
    positives: Option<Vec<bool>>,
    pair_mask: Option<Vec<bool>>,
    label_weight: Option<Vec<f64>>,
    grad: Option<Vec<f64>>,
}

impl Samples {
    fn new(x: &[&[f64]], y: &[&[u8]]) -> Self {
        Samples {
            dims: x[0].len(),
            labels: y[0].len(),
            x: x.concat(),
            y: y.concat().iter().map(|y| *y == 1).collect(),
            ..Samples::default()
        }
    }

    /// Normal-ish rows and sets of every relation; keys as well where `m` is not 0.
    fn random(seed: u64, n: usize, m: usize) -> Self {
        let rng = &mut Rng(seed);
        let (dims, labels) = (3, 5);
        let mut sets = |rows: usize| -> Vec<bool> {
            let density: Vec<f64> = (0..rows).map(|row| [0.5, 0.3, 0.9, 0.0][row % 4]).collect();
            let flag = |i: usize, u: f64| u < density[i / labels];
            let units = rng.many(rows * labels, 0.0, 1.0);
            units.iter().enumerate().map(|(i, u)| flag(i, *u)).collect()
        };
        let (mut y, mut key_y) = (sets(n), sets(m));
        // Two equal sets at least.
        y.copy_within(..labels, (n / 2) * labels);
        if m > 0 {
            key_y[..labels].copy_from_slice(&y[..labels]);
            key_y[labels..2 * labels].copy_from_slice(&y[labels..2 * labels]);
        }
        Samples {
            dims,
            labels,
            x: rng.many(n * dims, -1.5, 1.5),
            y,
            keys: (m > 0).then(|| (rng.many(m * dims, -1.5, 1.5), key_y)),
            own: (m > 0).then(|| (0..n).map(|i| (i % 3 > 0 && i < m).then_some(i)).collect()),
            ..Samples::default()
        }
    }

    fn rows(&self) -> usize {
        self.y.len() / self.labels
    }

    /// Anchors times keys.
    fn pairs(&self) -> usize {
        let keys = self.keys.as_ref().map_or(&self.y, |(_, y)| y);
        self.rows() * keys.len() / self.labels
    }

    fn inputs<'a, T>(
        &'a self,
        x: &'a [T],
        keys: &'a [T],
        grad: Option<&'a [T]>,
    ) -> ContrastiveInputs<'a, T> {
        ContrastiveInputs {
            rows: self.rows(),
            dims: self.dims,
            classes: self.labels,
            embeddings: x,
            labels: &self.y,
            keys: self.keys.as_ref().map(|(_, y)| ContrastiveKeys {
                rows: y.len() / self.labels,
                embeddings: keys,
                labels: y,
            }),
            self_index: self.own.as_deref(),
            row_mask: self.row_mask.as_deref(),
            key_mask: self.key_mask.as_deref(),
            positives: self.positives.as_deref(),
            pair_mask: self.pair_mask.as_deref(),
            label_weight: None,
            grad_loss: grad,
        }
    }

    #[track_caller]
    fn run(&self, config: &Contrastive) -> ContrastiveOutputs<f64> {
        let keys = self.keys.as_ref().map_or(&[][..], |(x, _)| x);
        let inputs = ContrastiveInputs {
            label_weight: self.label_weight.as_deref(),
            ..self.inputs(&self.x, keys, self.grad.as_deref())
        };
        contrastive(config, &inputs).unwrap()
    }

    fn relations(&self) -> Vec<u32> {
        relations(&self.inputs::<f64>(&[], &[], None)).unwrap()
    }
}

const SUM: ContrastiveReduction = ContrastiveReduction::Sum;
const NONE: ContrastiveReduction = ContrastiveReduction::None;

/// Every member but the paired one, by the name of its golden values.
fn family() -> Vec<(&'static str, Contrastive)> {
    use {Normalizer::*, Placement::*};
    let mul = |per_label| Contrastive::new(Weighting::MulSupCon { per_label }, 0.1);
    vec![
        ("outside/count", Contrastive::sim_dis()),
        ("outside/ksum", Contrastive::sim_dis_at(Outside, KSum)),
        ("num/count", Contrastive::sim_dis_at(Numerator, Count)),
        ("numden/count", Contrastive::sim_dis_at(Both, Count)),
        ("any/count", Contrastive::sup_con_any()),
        ("all/count", Contrastive::sup_con_all()),
        ("mulsupcon/count", mul(true)),
        ("mulsupcon_sum/count", mul(false)),
        // The golden value has a threshold of 0.5, the authors 0.3.
        (
            "jaccard/count",
            Contrastive::new(Weighting::Jaccard { threshold: 0.5 }, 0.07),
        ),
    ]
}

fn six() -> Samples {
    let golden = &golden()["simdissim"];
    let rows = |key: &str| -> Vec<f64> {
        golden[key]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(numbers)
            .collect()
    };
    Samples {
        dims: 2,
        labels: 3,
        x: rows("X"),
        y: rows("Y").iter().map(|y| *y == 1.0).collect(),
        ..Samples::default()
    }
}

// ---- golden and hand-worked values

#[test]
fn golden_contrastive() {
    let all = golden();
    let golden = &all["simdissim"]["cases"];
    let samples = six();
    for (name, config) in family() {
        let want = &golden[name];
        let config = config.with_temperature(0.5);
        let mean = samples.run(&config);
        close(name, &mean.loss, &numbers(&want["mean"]), 1e-12);
        close(name, &mean.loss_rows, &numbers(&want["per_anchor"]), 1e-12);
        close(name, &mean.grad_temperature, &numbers(&want["dtau"]), 1e-12);
        let rows = |key: &str| -> Vec<f64> {
            want[key]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(numbers)
                .collect()
        };
        close(name, &mean.grad_embeddings, &rows("dX"), 1e-12);
        let sum = samples.run(&config.with_reduction(SUM));
        close(name, &sum.loss, &numbers(&want["sum"]), 1e-12);
        // On rows that are unit rows already, without normalisation, it is the gradient to those.
        let mut unit = samples.clone();
        for x in unit.x.chunks_mut(2) {
            let norm = x[0].hypot(x[1]);
            x.iter_mut().for_each(|x| *x /= norm);
        }
        let plain = Contrastive {
            normalize: false,
            ..config
        };
        let out = unit.run(&plain);
        close(name, &out.loss, &mean.loss, 1e-12);
        close(name, &out.grad_embeddings, &rows("dZ"), 1e-12);
    }
}

#[test]
fn authors_mulsupcon_divides_by_all_labels() {
    let config = Contrastive::mul_sup_con_sum().with_temperature(0.5);
    let all = golden();
    let sum = &all["simdissim"]["cases"]["mulsupcon_sum/count"]["sum"];
    close(
        "ten labels",
        &six().run(&config).loss,
        &[numbers(sum)[0] / 10.0],
        1e-12,
    );
}

#[test]
fn factors_of_the_example() {
    // S = {0, 1} and the six T of the table; all similarities are 0, so the loss is sum K / |P| log 6.
    let sets: [&[u8]; 7] = [
        &[1, 1, 0, 0],
        &[1, 1, 0, 0],
        &[0, 0, 1, 0],
        &[1, 0, 1, 0],
        &[1, 0, 0, 0],
        &[1, 1, 1, 1],
        &[0; 4],
    ];
    let factors = [1.0, 0.0, 0.25, 0.5, 1.0 / 3.0, 0.0];
    for (key, factor) in (1..7).zip(factors) {
        let pair = Samples::new(
            &[&[1.0, 0.0], &[0.0, 1.0], &[0.0, -1.0]],
            &[sets[0], sets[key], &[0; 4]],
        );
        let out = pair.run(&Contrastive::sim_dis().with_reduction(NONE));
        close("K log 2", &out.loss[..1], &[factor * 2f64.ln()], 1e-15);
    }
    let x: &[&[f64]] = &[
        &[1.0, 0.0],
        &[0.0, 1.0],
        &[0.0, 1.0],
        &[0.0, 1.0],
        &[0.0, 1.0],
        &[0.0, 1.0],
        &[0.0, 1.0],
    ];
    let all = Samples::new(x, &sets);
    let out = all.run(&Contrastive::sim_dis().with_reduction(NONE));
    let want = factors.iter().sum::<f64>() / 4.0 * 6f64.ln();
    close("all", &out.loss[..1], &[want], 1e-15);
    // Nothing shared: {2} and {}; equal; overlap {0,2}; inside {0}; around {0,1,2,3}.
    assert_eq!(all.relations()[..5], [2, 1, 1, 1, 1]);
    let sums: Vec<u32> = all
        .relations()
        .chunks(5)
        .map(|row| row.iter().sum())
        .collect();
    assert_eq!(sums, [6; 7]);
}

#[test]
fn info_nce_is_cross_entropy_over_the_keys() {
    // Similarities 1 and 0 at temperature 0.5: log(1 + e^-2) both ways.
    let samples = Samples {
        keys: Some((vec![1.0, 0.0, 0.0, 3.0], vec![false; 2])),
        own: Some(vec![Some(0), Some(1)]),
        ..Samples::new(&[&[2.0, 0.0], &[0.0, 1.0]], &[&[0], &[0]])
    };
    let config = Contrastive::info_nce().with_temperature(0.5);
    let out = samples.run(&config);
    let want = (-2f64).exp().ln_1p();
    close("loss", &out.loss, &[want], 1e-15);
    close("rows", &out.loss_rows, &[want; 2], 1e-15);
    // The same by labels: each its own, nothing left out.
    let one_hot = vec![true, false, false, true];
    let labelled = Samples {
        labels: 2,
        y: one_hot.clone(),
        keys: samples.keys.clone().map(|(x, _)| (x, one_hot)),
        own: None,
        ..samples.clone()
    };
    let same = labelled.run(&Contrastive::sup_con_any().with_temperature(0.5));
    close("by labels", &same.loss, &out.loss, 1e-15);
    close("to keys", &same.grad_keys, &out.grad_keys, 1e-15);
    // An anchor without a pair is inactive.
    let half = Samples {
        own: Some(vec![None, Some(1)]),
        ..samples
    };
    close("half", &half.run(&config).loss_rows, &[0.0, want], 1e-15);
    assert!(contrastive(&config, &half.inputs(&half.x, &[1.0; 4], None)).is_ok());
    let without = Samples { own: None, ..half };
    let error = contrastive(&config, &without.inputs(&without.x, &[1.0; 4], None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "self_index: this loss needs each anchor's pair"
    );
}

// ---- gradients

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut members = family();
    members.push(("paired", Contrastive::info_nce()));
    members.push(("given", Contrastive::new(Weighting::Given, 0.07)));
    let mut others = Vec::new();
    for denominator in [
        Denominator::Negatives,
        Denominator::OnePositive,
        Denominator::Sigmoid,
    ] {
        let with =
            |(name, config): &(_, Contrastive)| (*name, config.with_denominator(denominator));
        others.extend(members.iter().map(with));
    }
    members.extend(
        others
            .into_iter()
            .filter(|(_, config)| config.check().is_ok()),
    );
    let reductions = [
        ContrastiveReduction::MeanActive,
        ContrastiveReduction::MeanAll,
        ContrastiveReduction::MeanLabels,
        SUM,
        NONE,
    ];
    for (turn, (name, config)) in members.iter().enumerate().cycle().take(120) {
        for (seed, m) in [(turn as u64, 0), (turn as u64 + 100, 6)] {
            if m == 0 && *name == "paired" {
                continue;
            }
            let config = Contrastive {
                temperature: 0.5,
                normalize: seed % 3 > 0,
                reduction: reductions[(turn + seed as usize / 7) % 5],
                ..*config
            };
            let mut samples = Samples::random(seed, 7, m);
            let upstream = match config.reduction {
                NONE => samples.rows(),
                _ => 1,
            };
            let grad = Rng(seed + 5).many(upstream, -2.0, 2.0);
            samples.grad = Some(grad.clone());
            if matches!(config.weighting, Weighting::MulSupCon { .. }) && turn % 2 == 0 {
                samples.label_weight = Some(vec![0.5, 2.0, 0.0, 1.0, 3.0]);
            }
            let flags = |share: f64| -> Vec<bool> {
                let units = Rng(seed + 9).many(samples.pairs(), 0.0, 1.0);
                units.iter().map(|u| *u < share).collect()
            };
            let positives = (config.weighting == Weighting::Given).then(|| flags(0.4));
            let counted = matches!(config.weighting, Weighting::MulSupCon { .. });
            let pair_mask = (!counted && turn % 3 == 0).then(|| flags(0.9));
            (samples.positives, samples.pair_mask) = (positives, pair_mask);
            let sigmoid = config.denominator == Denominator::Sigmoid;
            let config = config.with_bias(if sigmoid { -0.5 } else { 0.0 });
            let what = format!("{name}, seed {seed}, {config:?}");
            let out = samples.run(&config);
            let value = |samples: &Samples, config: &Contrastive| -> f64 {
                let out = samples.run(config);
                out.loss.iter().zip(&grad).map(|(l, g)| l * g).sum()
            };
            let h = 1e-5;
            let mut differences = Vec::new();
            for i in 0..samples.x.len() {
                let mut moved = [samples.clone(), samples.clone()];
                moved[0].x[i] += h;
                moved[1].x[i] -= h;
                differences
                    .push((value(&moved[0], &config) - value(&moved[1], &config)) / (2.0 * h));
            }
            close(&what, &out.grad_embeddings, &differences, 2e-8);
            let mut differences = Vec::new();
            for i in 0..out.grad_keys.len() {
                let mut moved = [samples.clone(), samples.clone()];
                moved[0].keys.as_mut().unwrap().0[i] += h;
                moved[1].keys.as_mut().unwrap().0[i] -= h;
                differences
                    .push((value(&moved[0], &config) - value(&moved[1], &config)) / (2.0 * h));
            }
            close(&what, &out.grad_keys, &differences, 2e-8);
            // The temperature is an f32.
            let (low, high) = (0.498_046_88, 0.501_953_1);
            let slope = (value(&samples, &config.with_temperature(high))
                - value(&samples, &config.with_temperature(low)))
                / f64::from(high - low);
            close(&what, &out.grad_temperature, &[slope], 2e-4);
            let bias = |bias| value(&samples, &config.with_bias(bias));
            let slope = sigmoid.then(|| (bias(-0.498_046_88) - bias(-0.501_953_1)) / 0.003_906_22);
            close(&what, &out.grad_bias, &Vec::from_iter(slope), 2e-4);
            // Positives alone, each in a denominator of its own, have no slope.
            let flat =
                config.denominator != Denominator::All && out.loss_rows.iter().all(|l| *l == 0.0);
            assert!(
                flat || out.grad_embeddings.iter().any(|g| *g != 0.0),
                "{what}"
            );
        }
    }
}

// ---- laws

/// What the documentation says of the placements.
#[test]
fn the_numerator_alone_has_the_gradient_of_any() {
    use {Normalizer::Count, Placement::*};
    for seed in 0..20 {
        let samples = Samples::random(seed, 9, if seed % 2 == 0 { 0 } else { 7 });
        let at = |placement| samples.run(&Contrastive::sim_dis_at(placement, Count));
        let any = samples.run(&Contrastive::sup_con_any());
        let numerator = at(Numerator);
        assert_eq!(
            numerator.grad_embeddings, any.grad_embeddings,
            "seed {seed}"
        );
        assert_eq!(numerator.grad_keys, any.grad_keys, "seed {seed}");
        assert_eq!(
            numerator.grad_temperature, any.grad_temperature,
            "seed {seed}"
        );
        assert!(numerator.loss[0] > any.loss[0] + 1e-3, "seed {seed}");
        assert_ne!(
            at(Outside).grad_embeddings,
            any.grad_embeddings,
            "seed {seed}"
        );
        assert_ne!(at(Both).grad_embeddings, any.grad_embeddings, "seed {seed}");
    }
}

/// With exchanged roles the key's set takes the anchor's place in both factors.
#[test]
fn roles_exchange_the_sets() {
    let y = [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1u8]];
    let x: [[f64; 2]; 4] = [[0.6, 0.8], [1.0, 0.0], [0.0, 1.0], [0.8, -0.6]];
    let samples = Samples::new(&x.each_ref().map(|x| &x[..]), &y.each_ref().map(|y| &y[..]));
    let config = Contrastive::sim_dis_of_keys()
        .with_temperature(0.5)
        .with_reduction(NONE);
    let found = samples.run(&config).loss;
    let count = |set: &[u8; 3]| set.iter().filter(|l| **l == 1).count() as f64;
    let similar = |i: usize, p: usize| 2.0 * (x[i][0] * x[p][0] + x[i][1] * x[p][1]);
    for i in 0..4 {
        let others: Vec<usize> = (0..4).filter(|p| *p != i).collect();
        let lse = others
            .iter()
            .map(|a| similar(i, *a).exp())
            .sum::<f64>()
            .ln();
        let (mut sum, mut positives) = (0.0, 0.0);
        for p in others {
            let both = (0..3).filter(|l| y[i][*l] * y[p][*l] == 1).count() as f64;
            if both > 0.0 {
                positives += 1.0;
                let k = both / count(&y[p]) / (1.0 + count(&y[i]) - both);
                sum -= k * (similar(i, p) - lse);
            }
        }
        close("roles", &found[i..=i], &[sum / positives], 1e-6);
    }
    let anchor = samples.run(&Contrastive::sim_dis().with_temperature(0.5));
    assert_ne!(
        anchor.loss,
        samples.run(&config.with_reduction(Default::default())).loss
    );
}

#[test]
fn with_one_label_each_all_are_supcon() {
    let mut samples = Samples::random(3, 8, 0);
    samples.y = (0..8 * 5).map(|i| i % 5 == (i / 5) % 3).collect();
    let any = samples.run(&Contrastive::sup_con_any().with_temperature(0.2));
    for (name, config) in family() {
        let out = samples.run(&config.with_temperature(0.2));
        close(name, &out.loss, &any.loss, 1e-12);
        close(name, &out.grad_embeddings, &any.grad_embeddings, 1e-12);
    }
}

#[test]
fn losses_do_not_depend_on_the_order_or_the_length_of_rows() {
    for (turn, (name, config)) in family().into_iter().enumerate() {
        let samples = Samples::random(turn as u64, 8, 0);
        let out = samples.run(&config);
        let order = Rng(9).permutation(8);
        let mut moved = samples.clone();
        for (to, from) in order.iter().enumerate() {
            for d in 0..3 {
                moved.x[3 * to + d] = samples.x[3 * from + d] * (1.0 + to as f64);
            }
            for l in 0..5 {
                moved.y[5 * to + l] = samples.y[5 * from + l];
            }
        }
        let other = moved.run(&config);
        close(name, &other.loss, &out.loss, 1e-12);
        for (to, from) in order.iter().enumerate() {
            close(
                name,
                &other.loss_rows[to..=to],
                &out.loss_rows[*from..=*from],
                1e-12,
            );
            let scaled: Vec<f64> = other.grad_embeddings[3 * to..3 * to + 3]
                .iter()
                .map(|g| g * (1.0 + to as f64))
                .collect();
            close(
                name,
                &scaled,
                &out.grad_embeddings[3 * from..3 * from + 3],
                1e-11,
            );
        }
    }
}

/// A batch is the same as itself as keys with the self index, its gradient being the sum of both sides'.
#[test]
fn a_batch_is_its_own_keys() {
    for (name, config) in family() {
        let samples = Samples::random(11, 7, 0);
        let twice = Samples {
            keys: Some((samples.x.clone(), samples.y.clone())),
            own: Some((0..7).map(Some).collect()),
            ..samples.clone()
        };
        let (one, two) = (samples.run(&config), twice.run(&config));
        close(name, &two.loss, &one.loss, 1e-13);
        let both: Vec<f64> = two
            .grad_embeddings
            .iter()
            .zip(&two.grad_keys)
            .map(|(a, b)| a + b)
            .collect();
        close(name, &both, &one.grad_embeddings, 1e-12);
        close(name, &two.grad_temperature, &one.grad_temperature, 1e-12);
        assert_eq!(samples.relations(), twice.relations());
    }
}

/// All share label 0, and the third one more with each of the others.
#[test]
fn weights_of_labels_by_hand() {
    let x: &[&[f64]] = &[&[1.0, 0.0], &[0.6, 0.8], &[0.0, 1.0]];
    let mut samples = Samples::new(x, &[&[1, 1, 0], &[1, 0, 1], &[1, 1, 1]]);
    samples.label_weight = Some(vec![3.0, 0.5, 2.0]);
    let run = |config: Contrastive| samples.run(&config.with_temperature(0.5).with_reduction(NONE));
    // Similarities: 1.2 of the first two, 0 of the first and third, 1.6 of the last two.
    let both = |a: f64, b: f64| (a.exp() + b.exp()).ln();
    let first = 1.5 * (both(1.2, 0.0) - 1.2) + (1.5 + 0.5) * both(1.2, 0.0);
    let second = 1.5 * (both(1.2, 1.6) - 1.2) + (1.5 + 2.0) * (both(1.2, 1.6) - 1.6);
    let third = (1.5 + 0.5) * both(0.0, 1.6) + (1.5 + 2.0) * (both(0.0, 1.6) - 1.6);
    let out = run(Contrastive::mul_sup_con_sum());
    close("sum", &out.loss, &[first, second, third], 1e-12);
    let out = run(Contrastive::mul_sup_con());
    close(
        "mean",
        &out.loss,
        &[first / 3.5, second / 5.0, third / 5.5],
        1e-12,
    );
    let config = Contrastive::mul_sup_con_sum().with_temperature(0.5);
    let mean = (first + second + third) / 14.0;
    close("by labels", &samples.run(&config).loss, &[mean], 1e-12);
}

/// Equal weights change nothing but a sum's size, and a label of weight 0 might as well not be there.
#[test]
fn weights_of_labels_are_relative() {
    let members = [Contrastive::mul_sup_con(), Contrastive::mul_sup_con_sum()];
    for (seed, config) in members.into_iter().cycle().take(20).enumerate() {
        let m = if seed % 4 < 2 { 0 } else { 6 };
        let samples = Samples::random(seed as u64, 7, m);
        let with = |weights: [f64; 5], samples: &Samples| {
            let label_weight = Some(weights.to_vec());
            let samples = Samples {
                label_weight,
                ..samples.clone()
            };
            samples.run(&config)
        };
        let (plain, even) = (samples.run(&config), with([2.5; 5], &samples));
        close("even", &even.loss, &plain.loss, 1e-12);
        close("even", &even.grad_embeddings, &plain.grad_embeddings, 1e-12);
        let out = with([1.0, 0.0, 1.0, 1.0, 0.0], &samples);
        let mut fewer = samples.clone();
        let without = |y: &mut Vec<bool>| {
            let labels = y.iter_mut().enumerate();
            labels.for_each(|(i, y)| *y &= i % 5 != 1 && i % 5 != 4);
        };
        without(&mut fewer.y);
        if let Some((_, y)) = &mut fewer.keys {
            without(y);
        }
        let truth = fewer.run(&config);
        close("fewer", &out.loss, &truth.loss, 1e-12);
        close("fewer", &out.grad_embeddings, &truth.grad_embeddings, 1e-12);
        close("fewer", &out.grad_keys, &truth.grad_keys, 1e-12);
    }
}

/// The formulas, word by word, with positives by the sets themselves.
#[test]
fn denominators_are_those_of_the_formulas() {
    for seed in 0..20 {
        let samples = Samples::random(seed, 8, 0);
        let unit = |i: usize| {
            let x = &samples.x[3 * i..3 * i + 3];
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            [x[0] / norm, x[1] / norm, x[2] / norm]
        };
        let s = |i: usize, a: usize| {
            let (x, y) = (unit(i), unit(a));
            2.0 * (0..3).map(|d| x[d] * y[d]).sum::<f64>()
        };
        let set = |i: usize| &samples.y[5 * i..5 * i + 5];
        let meet = |i: usize, p: usize| set(i).iter().zip(set(p)).any(|(a, b)| *a && *b);
        let equal = |i: usize, p: usize| meet(i, p) && set(i) == set(p);
        type Positive<'a> = &'a dyn Fn(usize, usize) -> bool;
        let rules: [(_, Positive<'_>); 2] = [
            (Contrastive::sup_con_any(), &meet),
            (Contrastive::sup_con_all(), &equal),
        ];
        for (config, positive) in rules {
            let config = config.with_temperature(0.5).with_reduction(NONE);
            let found = |denominator| samples.run(&config.with_denominator(denominator)).loss;
            let (negatives, one) = (
                found(Denominator::Negatives),
                found(Denominator::OnePositive),
            );
            for i in 0..8 {
                let others = || (0..8).filter(|a| *a != i);
                let count = others().filter(|p| positive(i, *p)).count() as f64;
                let rest = others().filter(|a| !positive(i, *a));
                let rest = rest.map(|a| s(i, a).exp()).sum::<f64>();
                let (mut without, mut with) = (0.0, 0.0);
                for p in others().filter(|p| positive(i, *p)) {
                    without -= (s(i, p) - rest.ln()) / count;
                    with -= (s(i, p) - (s(i, p).exp() + rest).ln()) / count;
                }
                let without = if rest == 0.0 { 0.0 } else { without };
                close("negatives", &negatives[i..=i], &[without], 1e-12);
                close("one positive", &one[i..=i], &[with], 1e-12);
            }
        }
    }
}

#[test]
fn one_positive_alone_is_in_the_usual_denominator() {
    let mut pairs = Samples::random(5, 8, 0);
    pairs.labels = 4;
    pairs.y = (0..8 * 4).map(|i| i % 4 == i / 4 % 4).collect();
    let named = Samples {
        own: Some(vec![Some(2), Some(0), None, Some(4), Some(1)]),
        ..Samples::random(6, 5, 7)
    };
    let mut members = family();
    members.push(("paired", Contrastive::info_nce()));
    for (name, config) in members {
        let samples = if name == "paired" { &named } else { &pairs };
        let config = config.with_temperature(0.3);
        let all = samples.run(&config);
        let one = samples.run(&config.with_denominator(Denominator::OnePositive));
        close(name, &one.loss, &all.loss, 1e-12);
        close(name, &one.grad_embeddings, &all.grad_embeddings, 1e-12);
        close(name, &one.grad_keys, &all.grad_keys, 1e-12);
        close(name, &one.grad_temperature, &all.grad_temperature, 1e-11);
    }
}

/// An anchor whose every other sample is a positive has no denominator of negatives, and is out of the mean; with one
/// positive in the denominator its loss is 0, and it is in.
#[test]
fn anchors_without_negatives() {
    let x: &[&[f64]] = &[&[1.0, 0.2], &[0.8, 0.9], &[-0.1, 1.0]];
    let samples = Samples::new(x, &[&[1, 1], &[1, 0], &[0, 1]]);
    for config in [Contrastive::sim_dis(), Contrastive::mul_sup_con()] {
        let run = |denominator| samples.run(&config.with_denominator(denominator));
        let out = run(Denominator::Negatives);
        assert_eq!(out.loss_rows[0], 0.0);
        let mean = (out.loss_rows[1] + out.loss_rows[2]) / 2.0;
        close("two active", &out.loss, &[mean], 1e-15);
        let out = run(Denominator::OnePositive);
        assert!(out.loss_rows[0] == 0.0 && out.loss_rows[1] > 0.0);
        let mean = (out.loss_rows[1] + out.loss_rows[2]) / 3.0;
        close("three active", &out.loss, &[mean], 1e-15);
    }
}

/// What is given in place of labels, and what an anchor does not see.
#[test]
fn pairs_as_the_caller_has_them() {
    for seed in 0..20 {
        let m = if seed % 2 == 0 { 0 } else { 6 };
        let plain = Samples::random(seed, 7, m);
        let keys = plain.keys.as_ref().map_or(&plain.y, |(_, y)| y);
        let meet = |i: usize, p: usize| (0..5).any(|l| plain.y[5 * i + l] && keys[5 * p + l]);
        let count = keys.len() / 5;
        // Keys that share a label are SupCon, however many others share the anchor's own.
        let mut given = plain.clone();
        let shared = (0..plain.pairs()).map(|at| meet(at / count, at % count));
        given.positives = Some(shared.collect());
        for denominator in [
            Denominator::All,
            Denominator::OnePositive,
            Denominator::Sigmoid,
        ] {
            let any = Contrastive::sup_con_any().with_denominator(denominator);
            let named = Contrastive {
                weighting: Weighting::Given,
                ..any
            };
            assert_eq!(given.run(&named), plain.run(&any), "{denominator:?}");
        }
        // A pair that is left out is a key that is left out, for that anchor.
        let mut masked = plain.clone();
        let units = Rng(seed + 3).many(plain.pairs(), 0.0, 1.0);
        let mask: Vec<bool> = units.iter().map(|u| *u < 0.7).collect();
        masked.pair_mask = Some(mask.clone());
        let config = Contrastive::sim_dis().with_reduction(NONE);
        let found = masked.run(&config).loss;
        for i in 0..7 {
            let mut alone = plain.clone();
            let mut seen = mask[i * count..(i + 1) * count].to_vec();
            if m == 0 {
                seen[i] = true;
                alone.row_mask = Some(seen);
            } else {
                alone.key_mask = Some(seen);
            }
            close(
                "a row",
                &found[i..=i],
                &alone.run(&config).loss[i..=i],
                1e-12,
            );
        }
    }
    let plain = Samples::random(1, 7, 0);
    let refused = |samples: &Samples, config: Contrastive| {
        let inputs = samples.inputs(&samples.x, &[], None);
        contrastive(&config, &inputs).unwrap_err().to_string()
    };
    let given = Contrastive::new(Weighting::Given, 0.1);
    assert!(refused(&plain, given).contains("positives"));
    let mut masked = plain.clone();
    masked.pair_mask = Some(vec![true; 49]);
    assert!(refused(&masked, Contrastive::mul_sup_con()).contains("pair_mask"));
    let mut named = plain.clone();
    named.positives = Some(vec![true; 49]);
    assert!(refused(&named, Contrastive::sim_dis()).contains("positives"));
    let sigmoid = Contrastive::sim_dis().with_denominator(Denominator::Sigmoid);
    assert!(refused(&plain, sigmoid).contains("denominator"));
    assert!(refused(&plain, Contrastive::sim_dis().with_bias(1.0)).contains("bias"));
}

/// SigLIP as its paper writes it.
#[test]
fn siglip_is_the_mean_of_logistic_losses() {
    for seed in 0..10 {
        let mut samples = Samples::random(seed, 6, 6);
        samples.own = Some((0..6).map(Some).collect());
        let config = Contrastive::sig_lip();
        let unit = |x: &[f64], i: usize| {
            let row = &x[3 * i..3 * i + 3];
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            [row[0] / norm, row[1] / norm, row[2] / norm]
        };
        let keys = &samples.keys.as_ref().unwrap().0;
        let mut sum = 0.0;
        for i in 0..6 {
            for a in 0..6 {
                let (x, y) = (unit(&samples.x, i), unit(keys, a));
                let dot: f64 = (0..3).map(|d| x[d] * y[d]).sum();
                let z = (dot / f64::from(0.1_f32) - 10.0) * if i == a { 1.0 } else { -1.0 };
                sum -= (1.0 / (1.0 + (-z).exp())).ln();
            }
        }
        close("siglip", &samples.run(&config).loss, &[sum / 6.0], 1e-12);
    }
}

/// The kept ones among `width` values of each row.
fn kept<T: Copy>(mask: &[bool], width: usize, values: &[T]) -> Vec<T> {
    let rows = values.chunks(width).zip(mask);
    rows.filter(|(_, kept)| **kept)
        .flat_map(|(row, _)| row.to_vec())
        .collect()
}

/// What masks leave out might as well not be there, whatever it holds: every result is that of the batch without it, and
/// its own loss and gradient are 0.
#[test]
fn masks_are_batches_with_rows_taken_out() {
    let mut members = family();
    members.push(("paired", Contrastive::info_nce()));
    for (turn, (name, config)) in members.into_iter().cycle().take(60).enumerate() {
        let m = if name == "paired" || turn % 2 == 0 {
            8
        } else {
            0
        };
        let reduction = [
            ContrastiveReduction::MeanActive,
            ContrastiveReduction::MeanAll,
            ContrastiveReduction::MeanLabels,
            SUM,
            NONE,
        ][turn / 3 % 5];
        let denominator = match turn / 2 % 4 {
            2 => Denominator::Negatives,
            3 => Denominator::OnePositive,
            _ => Denominator::All,
        };
        let mut config = config.with_temperature(0.3).with_reduction(reduction);
        if config.with_denominator(denominator).check().is_ok() {
            config.denominator = denominator;
        }
        let mut all = Samples::random(turn as u64, 10, m);
        let rng = &mut Rng(turn as u64 + 9);
        let row_mask: Vec<bool> = (0..10).map(|_| rng.unit() < 0.7).collect();
        let key_mask: Vec<bool> = (0..m).map(|_| rng.unit() < 0.7).collect();
        let upstream = rng.many(if reduction == NONE { 10 } else { 1 }, -2.0, 2.0);

        let mut small = all.clone();
        small.x = kept(&row_mask, 3, &all.x);
        small.y = kept(&row_mask, 5, &all.y);
        small.grad = Some(match reduction {
            NONE => kept(&row_mask, 1, &upstream),
            _ => upstream.clone(),
        });
        // The numbers of keys among those that are left.
        let number = |key: usize| key_mask[key].then(|| kept(&key_mask[..key], 1, &key_mask).len());
        if let Some((keys, sets)) = &all.keys {
            small.keys = Some((kept(&key_mask, 3, keys), kept(&key_mask, 5, sets)));
            let own = all
                .own
                .as_ref()
                .unwrap()
                .iter()
                .map(|own| own.and_then(number));
            small.own = Some(kept(&row_mask, 1, &own.collect::<Vec<_>>()));
        }
        let truth = small.run(&config);

        all.grad = Some(upstream);
        for (row, _) in row_mask.iter().enumerate().filter(|(_, kept)| !**kept) {
            all.x[3 * row..3 * row + 3].copy_from_slice(&[f64::NAN, INF, 1.0]);
            all.y[5 * row..5 * row + 5].fill(row % 2 == 0);
            if let Some(own) = &mut all.own {
                own[row] = Some(usize::MAX);
            }
            if let Some(grad) = all.grad.as_mut().filter(|_| reduction == NONE) {
                grad[row] = f64::NAN;
            }
        }
        if let Some((keys, sets)) = &mut all.keys {
            for (key, _) in key_mask.iter().enumerate().filter(|(_, kept)| !**kept) {
                keys[3 * key..3 * key + 3].fill(f64::NAN);
                sets[5 * key..5 * key + 5].fill(key % 2 == 0);
            }
        }
        all.row_mask = Some(row_mask.clone());
        all.key_mask = (m > 0).then(|| key_mask.clone());
        let out = all.run(&config);
        let what = format!("{name}, {turn}, {reduction:?}");
        let left: Vec<bool> = row_mask.iter().map(|kept| !kept).collect();
        let loss = match reduction {
            NONE => kept(&row_mask, 1, &out.loss),
            _ => out.loss.clone(),
        };
        close(&what, &loss, &truth.loss, 1e-13);
        close(
            &what,
            &kept(&row_mask, 1, &out.loss_rows),
            &truth.loss_rows,
            1e-13,
        );
        let gradient = kept(&row_mask, 3, &out.grad_embeddings);
        close(&what, &gradient, &truth.grad_embeddings, 1e-12);
        close(
            &what,
            &kept(&key_mask, 3, &out.grad_keys),
            &truth.grad_keys,
            1e-12,
        );
        close(&what, &out.grad_temperature, &truth.grad_temperature, 1e-11);
        let zero = |values: Vec<f64>| values.iter().all(|v| *v == 0.0);
        assert!(zero(kept(&left, 1, &out.loss_rows)), "{what}");
        assert!(zero(kept(&left, 3, &out.grad_embeddings)), "{what}");
        // So they are where all others are NaN.
        let active = m == 0 && truth.loss_rows.iter().any(|l| *l != 0.0);
        if let Some(row) = row_mask.iter().position(|kept| *kept && active) {
            all.x[3 * row] = f64::NAN;
            let out = all.run(&config);
            assert!(zero(kept(&left, 3, &out.grad_embeddings)), "{what}");
            let gradient = kept(&row_mask, 3, &out.grad_embeddings);
            assert!(gradient.iter().all(|g| g.is_nan()), "{what}");
        }
    }
}

// ---- edges

#[test]
fn inactive_anchors_cost_nothing() {
    for (name, config) in family() {
        for samples in [
            // Alone; no labels at all; nothing shared.
            Samples::new(&[&[1.0, 2.0]], &[&[1, 0]]),
            Samples::new(&[&[1.0, 2.0], &[0.5, 1.0]], &[&[0, 0], &[0, 0]]),
            Samples::new(&[&[1.0, 2.0], &[0.5, 1.0]], &[&[1, 0], &[0, 1]]),
        ] {
            let out = samples.run(&config);
            assert_eq!(out.loss, [0.0], "{name}");
            assert!(
                out.grad_embeddings
                    .iter()
                    .chain(&out.grad_temperature)
                    .all(|g| *g == 0.0),
                "{name}"
            );
        }
        // An anchor with an empty set is a key for the others still, and gets their gradient.
        let samples = Samples::new(
            &[&[1.0, 0.2], &[0.8, 0.9], &[-0.1, 1.0]],
            &[&[1, 0], &[1, 0], &[0, 0]],
        );
        let out = samples.run(&config);
        assert!(out.loss_rows[2] == 0.0 && out.loss_rows[0] > 0.0, "{name}");
        close(
            name,
            &out.loss,
            &[(out.loss_rows[0] + out.loss_rows[1]) / 2.0],
            1e-15,
        );
        let all = samples.run(&config.with_reduction(ContrastiveReduction::MeanAll));
        close(name, &all.loss, &[out.loss[0] * 2.0 / 3.0], 1e-15);
        assert!(out.grad_embeddings[4] != 0.0, "{name}");
    }
}

#[test]
fn no_rows_no_loss() {
    let empty = Samples {
        labels: 1,
        dims: 2,
        ..Samples::default()
    };
    for (name, config) in family() {
        assert_eq!(empty.run(&config).loss, [0.0], "{name}");
        assert_eq!(
            empty.run(&config.with_reduction(NONE)).loss.len(),
            0,
            "{name}"
        );
    }
}

#[test]
fn rows_of_norm_zero_have_no_gradient() {
    let x: &[&[f64]] = &[&[0.0, 0.0], &[1.0, 0.5], &[1e-13, 0.0], &[-1.0, 0.5]];
    let samples = Samples::new(x, &[&[1], &[1], &[1], &[1]]);
    for (name, config) in family() {
        let out = samples.run(&config);
        assert!(out.loss[0].is_finite() && out.loss[0] > 0.0, "{name}");
        assert_eq!(out.grad_embeddings[..2], [0.0; 2], "{name}");
        assert_eq!(out.grad_embeddings[4..6], [0.0; 2], "{name}");
        assert!(out.grad_embeddings[2] != 0.0, "{name}");
    }
}

/// Duplicates at a small temperature: the anchor itself, as near as they are, is left out before the maximum.
#[test]
fn sharp_temperatures_and_duplicates_stay_exact() {
    let x: &[&[f64]] = &[&[1.0, 0.0], &[1.0, 0.0], &[-1.0, 0.0], &[-1.0, 0.0]];
    let samples = Samples::new(x, &[&[1, 0], &[1, 0], &[0, 1], &[0, 1]]);
    for (name, config) in family() {
        let out = samples.run(&config.with_temperature(0.01));
        close(name, &out.loss, &[0.0], 1e-15);
        // The positive is the farthest: log(2 e^100 + e^-100) + 100.
        let crossed = Samples::new(x, &[&[1, 0], &[0, 1], &[1, 0], &[0, 1]]);
        let out = crossed.run(&config.with_temperature(0.01));
        let tau = f64::from(0.01f32);
        let want = 2.0 / tau + (2.0 * (-2.0 / tau).exp()).ln_1p();
        relatively_close(name, &out.loss, &[want], 1e-12);
        // Alone with a far key: were the anchor in its own denominator, this would be 200.
        let two = Samples::new(&x[1..3], &[&[1], &[1]]);
        close(
            name,
            &two.run(&config.with_temperature(0.01)).loss,
            &[0.0],
            1e-12,
        );
    }
}

#[test]
fn what_is_not_finite_reaches_active_anchors_alone() {
    let x: &[&[f64]] = &[&[1.0, 0.0], &[0.6, 0.8], &[0.0, f64::NAN], &[-1.0, 0.0]];
    for bad in [f64::NAN, INF] {
        let mut samples = Samples::new(x, &[&[1, 0], &[1, 0], &[0, 0], &[0, 1]]);
        samples.x[5] = bad;
        for (name, config) in family() {
            let out = samples.run(&config);
            assert!(out.loss[0].is_nan() && out.loss_rows[1].is_nan(), "{name}");
            assert_eq!(out.loss_rows[2..], [0.0; 2], "{name}");
            assert!(out.grad_embeddings.iter().all(|g| g.is_nan()), "{name}");
        }
    }
}

/// 3 of 10 is 0.3, in f32 too.
#[test]
fn jaccard_thresholds_are_met_by_equals() {
    let mut sets = [[0u8; 10], [1; 10]];
    sets[0][..3].fill(1);
    let samples = Samples::new(&[&[1.0], &[1.0]], &[&sets[0], &sets[1]]);
    for (threshold, active) in [(0.3, true), (0.30001, false), (0.0, true), (1.0, false)] {
        let config = Contrastive::new(Weighting::Jaccard { threshold }, 0.5).with_reduction(NONE);
        let x = [2.0f32, -1.0];
        let out = contrastive(&config, &samples.inputs::<f32>(&x, &[], None)).unwrap();
        assert_eq!(out.grad_temperature, [0.0], "one key alone has no slope");
        // One key: loss 0 either way; what is left of the weight shows in relations of three.
        let three = Samples::new(
            &[&[1.0, 0.0], &[0.0, 1.0], &[1.0, 1.0]],
            &[&sets[0], &sets[1], &[0; 10]],
        );
        assert_eq!(three.run(&config).loss[0] > 0.0, active, "{threshold}");
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let samples = Samples::random(1, 4, 3);
    let good = samples.inputs(&samples.x, &samples.x[..9], None);
    let config = Contrastive::sim_dis();
    assert!(contrastive(&config, &good).is_ok());
    let own = [Some(0), Some(3), None, None];
    let refused = |config: Contrastive, inputs: ContrastiveInputs<'_, f64>, message: &str| {
        let error = contrastive(&config, &inputs).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    for tau in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let message = format!("temperature: expected a finite number above 0, found {tau}");
        refused(config.with_temperature(tau), good, &message);
    }
    let inputs = ContrastiveInputs {
        embeddings: &samples.x[1..],
        ..good
    };
    refused(config, inputs, "embeddings: expected [12], found [11]");
    let inputs = ContrastiveInputs {
        labels: &samples.y[1..],
        ..good
    };
    refused(config, inputs, "labels: expected [20], found [19]");
    let inputs = ContrastiveInputs {
        self_index: Some(&own),
        ..good
    };
    refused(config, inputs, "self_index: expected keys below 3, found 3");
    let inputs = ContrastiveInputs {
        self_index: Some(&own[..2]),
        ..good
    };
    refused(config, inputs, "self_index: expected [4], found [2]");
    let inputs = ContrastiveInputs { keys: None, ..good };
    refused(config, inputs, "self_index: needs keys");
    let inputs = ContrastiveInputs {
        label_weight: Some(&samples.x[..5]),
        ..good
    };
    refused(config, inputs, "label_weight: needs MulSupCon");
    let inputs = ContrastiveInputs {
        label_weight: Some(&samples.x[..4]),
        ..good
    };
    let message = "label_weight: expected [5], found [4]";
    refused(Contrastive::mul_sup_con(), inputs, message);
    let inputs = ContrastiveInputs {
        row_mask: Some(&[true; 3]),
        ..good
    };
    refused(config, inputs, "row_mask: expected [4], found [3]");
    let inputs = ContrastiveInputs {
        key_mask: Some(&[true; 4]),
        ..good
    };
    refused(config, inputs, "key_mask: expected [3], found [4]");
    let inputs = ContrastiveInputs {
        keys: None,
        ..inputs
    };
    let message = "key_mask: needs keys; row_mask leaves out keys that are anchors too";
    refused(config, inputs, message);
    let inputs = ContrastiveInputs {
        grad_loss: Some(&[1.0, 2.0]),
        ..good
    };
    refused(config, inputs, "grad_loss: expected [1], found [2]");
    let ksum = Contrastive::sim_dis_at(Placement::Both, Normalizer::KSum);
    refused(
        ksum,
        good,
        "normalizer: expected count, or the factor outside, found ksum",
    );
    let nowhere = Contrastive::sim_dis_at(Placement::Both, Normalizer::Count);
    let message = "denominator: expected all or one-positive, where the factor is to stand in the denominator, found negatives";
    refused(
        nowhere.with_denominator(Denominator::Negatives),
        good,
        message,
    );
    let far = Contrastive::new(Weighting::Jaccard { threshold: 1.5 }, 0.1);
    refused(
        far,
        good,
        "threshold: expected a number from 0 to 1, found 1.5",
    );
}
