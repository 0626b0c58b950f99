//! HCAL.

use crate::error::{Error, check_len};
use crate::losses::balance::BalanceState;
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::Noise;
use crate::reference::balance::{BalanceInputs, balance};
use crate::reference::noise::perturbation;
use crate::reference::real::{Pairwise, Real, sum};
use std::collections::BTreeMap;

/// The tensors of HCAL; matrices are row-major.
#[derive(Clone, Copy, Debug, Default)]
pub struct HcalInputs<'a, T> {
    /// Number of samples.
    pub samples: usize,
    /// Components of a feature vector.
    pub dim: usize,
    /// `samples * dim` values.
    pub features: &'a [T],
    /// Of each level `classes * dim` values.
    pub prototypes: &'a [&'a [T]],
    /// `levels * samples` labels, [`Levels::NONE`] where there is none.
    pub labels: &'a [u32],
    /// The perturbation of the prototypes, for each level as many values as it has in its prototypes, or that of
    /// [`perturbation`] and of size [`Hcal::epsilon`].
    pub noise: Option<Noise<&'a [&'a [T]], u64>>,
    /// State or parameters of the balance.
    pub balance: Option<BalanceState<&'a [T], u64>>,
    /// The gradient that arrives from above; absent: 1.
    pub grad_loss: Option<T>,
}

/// What HCAL gives.
#[derive(Clone, Debug, PartialEq)]
pub struct HcalOutputs<T> {
    /// The loss of each level.
    pub losses: Vec<T>,
    /// Their weights.
    pub weights: Vec<T>,
    /// The weighted sum.
    pub loss: T,
    /// `samples * dim` values.
    pub grad_features: Vec<T>,
    /// Of each level `classes * dim` values.
    pub grad_prototypes: Vec<Vec<T>>,
    /// With [`crate::Balance::Uncertainty`]: one for each level.
    pub grad_log_variances: Vec<T>,
    /// Of each level a class for each sample.
    pub predictions: Vec<Vec<u32>>,
    /// Samples, samples with a violation, violations of each link from a level to the next.
    pub violations: Vec<u32>,
}

/// A vector to be compared with a level's prototypes: a combination of samples, and its class.
struct Row<T> {
    parts: Vec<(usize, T)>,
    class: usize,
}

/// HCAL and its gradients; see [`crate::losses::hcal`] for the formulas.
///
/// # Errors
/// Settings out of range, wrong lengths, labels that are out of range or, in a tree, not each other's parents.
pub fn hcal<T: Real>(
    config: &Hcal,
    levels: &Levels,
    inputs: &HcalInputs<'_, T>,
) -> Result<HcalOutputs<T>, Error> {
    config.check()?;
    let (samples, dim, m) = (inputs.samples, inputs.dim, levels.len());
    check_len(
        "features",
        samples.saturating_mul(dim),
        inputs.features.len(),
    )?;
    check_len("prototypes", m, inputs.prototypes.len())?;
    for (prototypes, classes) in inputs.prototypes.iter().zip(levels.classes()) {
        check_len("prototypes", classes.saturating_mul(dim), prototypes.len())?;
    }
    if let Some(Noise::Given(noise)) = inputs.noise {
        check_len("noise", m, noise.len())?;
        for (noise, classes) in noise.iter().zip(levels.classes()) {
            check_len("noise", classes.saturating_mul(dim), noise.len())?;
        }
    }
    config.check_labels(levels, samples, inputs.labels)?;

    let tau = T::from_f64(f64::from(config.temperature));
    let f: Vec<Unit<T>> = vectors(inputs.features, dim, samples).map(unit).collect();
    let mut level_losses = Vec::new();
    let mut present = Vec::new();
    // Of each level the gradients to f and to pt, before the weight of the level.
    let mut to_f = Vec::new();
    let mut to_pt = Vec::new();
    let mut perturbed = Vec::new();
    let mut is_part = vec![false; samples];
    for k in 0..m {
        let classes = levels.classes()[k];
        let ph: Vec<Unit<T>> = vectors(inputs.prototypes[k], dim, classes)
            .map(unit)
            .collect();
        let pt: Vec<Unit<T>> = ph
            .iter()
            .enumerate()
            .map(|(c, ph)| match noise_of(config, inputs, k, c) {
                None => Unit {
                    norm: T::one(),
                    direction: ph.direction.clone(),
                },
                Some(eta) => {
                    let moved: Vec<T> = ph
                        .direction
                        .iter()
                        .zip(&eta)
                        .map(|(&p, &e)| p + e)
                        .collect();
                    unit(&moved)
                }
            })
            .collect();
        let rows = rows_of(config, levels, inputs, k);
        let count = T::from_f64(rows.len().max(1) as f64);
        let mut losses = Vec::new();
        let mut df = vec![vec![T::zero(); dim]; samples];
        let mut dpt = vec![Pairwise::new(); classes];
        for row in &rows {
            let parts = row.parts.iter();
            let vector = combined(dim, parts.map(|&(i, weight)| (weight, &f[i].direction[..])));
            let scores: Vec<T> = pt
                .iter()
                .map(|pt| dot(&vector, &pt.direction) / tau)
                .collect();
            let largest = scores.iter().copied().fold(T::neg_infinity(), T::max);
            let powers: Vec<T> = scores.iter().map(|&z| (z - largest).exp()).collect();
            let all = sum(powers.iter().copied());
            losses.push((all.ln() + largest - scores[row.class]) / count);
            let slope = |c: usize| {
                let hit = if c == row.class { T::one() } else { T::zero() };
                (powers[c] / all - hit) / (count * tau)
            };
            for (c, dpt) in dpt.iter_mut().enumerate() {
                dpt.add(scaled(slope(c), &vector));
            }
            let slopes = (0..classes).map(|c| (slope(c), &pt[c].direction[..]));
            let to_vector = combined(dim, slopes);
            for &(i, weight) in &row.parts {
                // No other vector of the level is made of this sample.
                df[i] = scaled(weight, &to_vector);
                is_part[i] = true;
            }
        }
        let total = |one: Pairwise<_>| one.total().unwrap_or(vec![T::zero(); dim]);
        let dpt: Vec<T> = dpt.into_iter().flat_map(total).collect();
        level_losses.push(sum(losses.into_iter()));
        present.push(!rows.is_empty());
        to_f.push(df);
        to_pt.push(dpt);
        perturbed.push((ph, pt));
    }

    let balanced = balance(
        &config.balance,
        &BalanceInputs {
            losses: &level_losses,
            present: Some(&present),
            state: inputs.balance,
            grad_loss: inputs.grad_loss,
        },
    )?;

    let mut grad_features = Vec::new();
    for (i, f) in f.iter().enumerate() {
        let mut g = vec![T::zero(); dim];
        if !is_part[i] {
            // It counts for nothing, whatever it holds.
            grad_features.extend(g);
            continue;
        }
        for (df, &weight) in to_f.iter().zip(&balanced.grad_losses) {
            for (g, &df) in g.iter_mut().zip(&df[i]) {
                *g = *g + weight * df;
            }
        }
        grad_features.extend(f.backward(&g));
    }
    let mut grad_prototypes = Vec::new();
    for (k, (ph, pt)) in perturbed.iter().enumerate() {
        let mut all = Vec::new();
        for (c, (ph, pt)) in ph.iter().zip(pt).enumerate() {
            let weight = balanced.grad_losses[k];
            let g: Vec<T> = to_pt[k][c * dim..][..dim]
                .iter()
                .map(|&g| weight * g)
                .collect();
            let g = match inputs.noise {
                None => g,
                Some(Noise::Given(_) | Noise::Seeded(_)) => pt.backward(&g),
            };
            all.extend(ph.backward(&g));
        }
        grad_prototypes.push(all);
    }

    let predictions: Vec<Vec<u32>> = perturbed
        .iter()
        .map(|(ph, _)| f.iter().map(|f| nearest(f, ph)).collect())
        .collect();
    Ok(HcalOutputs {
        violations: violations(levels, samples, &predictions),
        losses: level_losses,
        weights: balanced.weights,
        loss: balanced.loss,
        grad_features,
        grad_prototypes,
        grad_log_variances: balanced.grad_log_variances,
        predictions,
    })
}

/// Samples, samples of which the predicted class of a level is not the parent of that of the level before, and how
/// often that is so from each level to the next.
fn violations(levels: &Levels, samples: usize, predictions: &[Vec<u32>]) -> Vec<u32> {
    let mut counts = vec![0; levels.len() + 1];
    let broken = |i: usize| -> Vec<usize> {
        let at = |k: usize| predictions[k][i];
        let is_broken = |&k: &usize| levels.parents(k)[at(k) as usize] != at(k + 1);
        (0..levels.len() - 1).filter(is_broken).collect()
    };
    for links in (0..samples).map(broken) {
        counts[0] += 1;
        counts[1] += u32::from(!links.is_empty());
        for k in links {
            counts[2 + k] += 1;
        }
    }
    counts
}

/// The vectors of level `k`.
fn rows_of<T: Real>(
    config: &Hcal,
    levels: &Levels,
    inputs: &HcalInputs<'_, T>,
    k: usize,
) -> Vec<Row<T>> {
    if k > 0 {
        let classes = class_means(config, levels, inputs, k).into_iter();
        return classes
            .map(|(class, parts)| Row {
                parts,
                class: class as usize,
            })
            .collect();
    }
    let labels = &inputs.labels[..inputs.samples];
    let labelled = labels
        .iter()
        .enumerate()
        .filter(|(_, y)| **y != Levels::NONE);
    labelled
        .map(|(i, y)| Row {
            parts: vec![(i, T::one())],
            class: *y as usize,
        })
        .collect()
}

/// Of each class of level `k` in the batch, which samples its mean is made of.
fn class_means<T: Real>(
    config: &Hcal,
    levels: &Levels,
    inputs: &HcalInputs<'_, T>,
    k: usize,
) -> BTreeMap<u32, Vec<(usize, T)>> {
    let labels = &inputs.labels[k * inputs.samples..][..inputs.samples];
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, &y) in labels.iter().enumerate() {
        if y != Levels::NONE {
            members.entry(y).or_default().push(i);
        }
    }
    let below = match (config.aggregation, k) {
        (Aggregation::SampleMean, _) | (_, 0) => BTreeMap::new(),
        (Aggregation::Tree, _) => class_means(config, levels, inputs, k - 1),
    };
    let mean = |(class, members): (u32, Vec<usize>)| {
        let children: Vec<&Vec<(usize, T)>> = below
            .iter()
            .filter(|(child, _)| levels.parents(k - 1)[**child as usize] == class)
            .map(|(_, parts)| parts)
            .collect();
        let parts = if children.is_empty() {
            let share = T::one() / T::from_f64(members.len() as f64);
            members.into_iter().map(|i| (i, share)).collect()
        } else {
            let share = T::one() / T::from_f64(children.len() as f64);
            let all = children.into_iter().flatten();
            all.map(|&(i, weight)| (i, share * weight)).collect()
        };
        (class, parts)
    };
    members.into_iter().map(mean).collect()
}

/// The perturbation of one prototype.
fn noise_of<T: Real>(
    config: &Hcal,
    inputs: &HcalInputs<'_, T>,
    k: usize,
    c: usize,
) -> Option<Vec<T>> {
    match inputs.noise {
        None => None,
        Some(Noise::Given(noise)) => Some(noise[k][c * inputs.dim..][..inputs.dim].to_vec()),
        Some(Noise::Seeded(seed)) => {
            let one = |d| perturbation(seed, k as u32, c as u32, d as u32, config.epsilon);
            let all = (0..inputs.dim).map(|d| T::from_f64(f64::from(one(d))));
            Some(all.collect())
        }
    }
}

/// The first class whose prototype has the largest product with `f`.
fn nearest<T: Real>(f: &Unit<T>, prototypes: &[Unit<T>]) -> u32 {
    let mut best = (0, T::neg_infinity());
    for (c, p) in prototypes.iter().enumerate() {
        let score = dot(&f.direction, &p.direction);
        if score > best.1 {
            best = (c as u32, score);
        }
    }
    best.0
}

/// A vector by its norm and `v / max(|v|, 1e-12)`.
struct Unit<T> {
    norm: T,
    direction: Vec<T>,
}

fn unit<T: Real>(v: &[T]) -> Unit<T> {
    // By shares of the largest component: no square, and no norm either, leaves the range of f32.
    let largest = v.iter().fold(T::zero(), |most, x| most.max(x.abs()));
    let size = if largest > T::zero() && largest.is_finite() {
        largest
    } else {
        T::one()
    };
    let root = sum(v.iter().map(|&x| (x / size) * (x / size))).sqrt();
    let norm = size * root;
    let floor = T::from_f64(FLOOR);
    let finite = v.iter().all(|x| x.is_finite());
    let one = |&x: &T| match finite {
        false => T::nan(),
        true if norm > floor => x / size / root,
        true => x / floor,
    };
    Unit {
        norm,
        direction: v.iter().map(one).collect(),
    }
}

/// Below this a norm counts as this.
const FLOOR: f64 = 1e-12;

impl<T: Real> Unit<T> {
    /// The gradient to the vector, of that to its direction.
    fn backward(&self, g: &[T]) -> Vec<T> {
        if self.norm < T::from_f64(FLOOR) {
            return vec![T::zero(); g.len()];
        }
        let along = dot(g, &self.direction);
        let each = g.iter().zip(&self.direction);
        each.map(|(&g, &d)| (g - along * d) / self.norm).collect()
    }
}

fn vectors<T>(all: &[T], dim: usize, count: usize) -> impl Iterator<Item = &[T]> {
    (0..count).map(move |i| &all[i * dim..(i + 1) * dim])
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    sum(a.iter().zip(b).map(|(&a, &b)| a * b))
}

fn scaled<T: Real>(weight: T, v: &[T]) -> Vec<T> {
    v.iter().map(|&x| weight * x).collect()
}

/// `sum w v`.
fn combined<'a, T: Real + 'a>(dim: usize, parts: impl Iterator<Item = (T, &'a [T])>) -> Vec<T> {
    let mut all = Pairwise::new();
    parts.for_each(|(weight, v)| all.add(scaled(weight, v)));
    all.total().unwrap_or(vec![T::zero(); dim])
}
