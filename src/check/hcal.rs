//! Cases of HCAL: shape x element types, with aggregation, perturbation, balance, outputs, layout and missing labels
//! running through all their values beside them.

use crate::check::Outcome;
use crate::check::arena::{Arena, Place, rounded};
use crate::check::compare::compare;
use crate::check::data::Rng;
use crate::check::rows::{Depth, Layout};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs};
use crate::losses::balance::{Balance, BalanceState};
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{Noise, Seed};
use crate::reference;
use std::fmt;

/// The perturbation of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseCase {
    /// None.
    None,
    /// Tensors.
    Given,
    /// From a seed, which the call moves on.
    Seeded,
}

/// What a case asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HcalMode {
    /// Everything.
    All,
    /// Losses, weights and their sum.
    Losses,
    /// The gradient to the features alone.
    Features,
    /// The gradients to the prototypes alone.
    Prototypes,
    /// Predictions and violations, without labels.
    Predictions,
}

/// One case of HCAL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HcalCase {
    /// Settings.
    pub config: Hcal,
    /// The perturbation.
    pub noise: NoiseCase,
    /// Element types of features and prototypes.
    pub dtypes: (DType, DType),
    /// What is asked for.
    pub mode: HcalMode,
    /// Share of labels that are missing; 1 leaves the second level without any.
    pub missing: f64,
    /// How the tensors lie.
    pub layout: Layout,
    /// Size of the features and prototypes.
    pub size: f64,
    /// Samples.
    pub samples: usize,
    /// Components.
    pub dim: usize,
    /// Classes of each level.
    pub classes: &'static [usize],
    /// Seed of the numbers.
    pub seed: u64,
}

impl fmt::Display for HcalCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hcal {}/{} {:?} {:?} tau={} noise={:?} {:?} missing={} {:?} size={} {}x{} classes={:?} scores={} seed={}",
            self.dtypes.0,
            self.dtypes.1,
            self.config.aggregation,
            self.config.balance,
            self.config.temperature,
            self.noise,
            self.mode,
            self.missing,
            self.layout,
            self.size,
            self.samples,
            self.dim,
            self.classes,
            self.config.scores,
            self.seed
        )
    }
}

/// Samples, components, classes: the reason beside each.
const SHAPES: &[(usize, usize, &[usize])] = &[
    (1, 1, &[1]),             // the smallest
    (5, 3, &[4, 3, 2]),       // smaller than a tile
    (33, 17, &[37, 9, 3, 2]), // one more than a tile
    (64, 64, &[64, 32]),      // exactly tiles
    (70, 40, &[300, 41, 7]),  // odd
    (9, 129, &[5]),           // one level; longer than a workgroup
    (
        40,
        12,
        &[66, 65, 64, 40, 39, 31, 30, 20, 16, 12, 11, 9, 7, 5, 4, 3],
    ), // sixteen levels
];

/// The cases.
pub fn hcal_cases(depth: Depth) -> Vec<HcalCase> {
    let balances = [
        Balance::default(),
        Balance::Adaptive {
            gamma: 0.8,
            attach: true,
        },
        Balance::Uncertainty,
        Balance::Dwa { temperature: 2.0 },
        Balance::Random,
    ];
    let modes = [
        HcalMode::All,
        HcalMode::All,
        HcalMode::Losses,
        HcalMode::Features,
        HcalMode::Prototypes,
        HcalMode::Predictions,
    ];
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 4,
        Depth::Full => 20,
    };
    let types = [DType::F32, DType::F16, DType::Bf16];
    let mut cases = Vec::new();
    let mut turn = 0;
    for (samples, dim, classes) in SHAPES {
        for _ in 0..repeats {
            cases.push(HcalCase {
                config: Hcal {
                    temperature: [0.1, 0.5, 0.07][turn % 3],
                    aggregation: [Aggregation::SampleMean, Aggregation::Tree][turn % 2],
                    balance: balances[turn % 5],
                    epsilon: 0.05,
                    // One sample at a time, some, all.
                    scores: [1, 1000, 1 << 20][(turn / 2) % 3],
                },
                noise: [NoiseCase::Seeded, NoiseCase::None, NoiseCase::Given][(turn / 2) % 3],
                dtypes: (types[turn % 3], types[(turn / 3) % 3]),
                mode: modes[(turn / 3) % 6],
                missing: [0.0, 0.2, 0.0, 1.0][turn % 4],
                layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                size: [1.0, 1e-3, 1e3][(turn / 4) % 3],
                samples: *samples,
                dim: *dim,
                classes,
                seed: 7000 + turn as u64,
            });
            turn += 1;
        }
    }
    cases
}

/// The numbers of a case, as they are after rounding to their element types.
struct Numbers {
    levels: Levels,
    features: Vec<f64>,
    prototypes: Vec<Vec<f64>>,
    noise: Vec<Vec<f64>>,
    labels: Vec<u32>,
    state: Vec<f64>,
    seed: u64,
    grad_loss: f64,
}

fn numbers(case: &HcalCase) -> Result<Numbers, Error> {
    let mut rng = Rng::new(case.seed);
    let (samples, dim, m) = (case.samples, case.dim, case.classes.len());
    let below = |rng: &mut Rng, n: usize| rng.uniform(0.0, n as f64) as u32;
    let mut parents = Vec::new();
    for k in 0..m - 1 {
        let one = |_| below(&mut rng, case.classes[k + 1]);
        parents.push((0..case.classes[k]).map(one).collect::<Vec<u32>>());
    }
    let parents: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
    let levels = Levels::new(case.classes, &parents)?;
    let mut labels = vec![Levels::NONE; m * samples];
    for i in 0..samples {
        let mut class = below(&mut rng, case.classes[0]);
        for k in 0..m {
            let missing = if case.missing < 1.0 {
                rng.chance(case.missing)
            } else {
                k == 1
            };
            if !missing {
                labels[k * samples + i] = class;
            }
            if k + 1 < m {
                class = levels.parents(k)[class as usize];
            }
        }
    }
    let mut random = |dtype: DType, n: usize, size: f64| -> Vec<f64> {
        (0..n)
            .map(|_| rounded(dtype, size * rng.normal()))
            .collect()
    };
    let mut features = random(case.dtypes.0, samples * dim, case.size);
    // A vector of zeros has no direction and no gradient.
    if samples > 6 {
        features[..dim].fill(0.0);
    }
    let sizes = case.classes.iter().map(|classes| classes * dim);
    let prototypes = sizes.clone().map(|n| random(case.dtypes.1, n, case.size));
    let prototypes = prototypes.collect();
    let noise = sizes.map(|n| random(DType::F32, n, 0.03)).collect();
    let state = (0..2 * m).map(|_| rounded(DType::F32, rng.uniform(0.2, 1.5)));
    Ok(Numbers {
        state: state.collect(),
        seed: case.seed.wrapping_mul(0x1_0000_0001) | 0xffff_ffff,
        grad_loss: rounded(DType::F32, rng.uniform(-2.0, 2.0)),
        levels,
        features,
        prototypes,
        noise,
        labels,
    })
}

fn reference_of<T: reference::Real>(
    case: &HcalCase,
    n: &Numbers,
) -> Result<reference::HcalOutputs<T>, Error> {
    let real = |v: &[f64]| -> Vec<T> { v.iter().map(|x| T::from_f64(*x)).collect() };
    let all = |of: &[Vec<f64>]| -> Vec<Vec<T>> { of.iter().map(|v| real(v)).collect() };
    fn slices<T>(of: &[Vec<T>]) -> Vec<&[T]> {
        of.iter().map(Vec::as_slice).collect()
    }
    let prototypes = all(&n.prototypes);
    let noise = all(&n.noise);
    let noise = slices(&noise);
    let state = real(&n.state);
    reference::hcal(
        &case.config,
        &n.levels,
        &reference::HcalInputs {
            samples: case.samples,
            dim: case.dim,
            features: &real(&n.features),
            prototypes: &slices(&prototypes),
            labels: &n.labels,
            noise: match case.noise {
                NoiseCase::None => None,
                NoiseCase::Given => Some(Noise::Given(&noise[..])),
                NoiseCase::Seeded => Some(Noise::Seeded(n.seed)),
            },
            balance: match case.config.balance {
                Balance::Adaptive { .. } => None,
                Balance::Dwa { .. } => Some(BalanceState::History(&state[..])),
                Balance::Uncertainty => {
                    Some(BalanceState::LogVariances(&state[..case.classes.len()]))
                }
                Balance::Random => Some(BalanceState::Seed(n.seed)),
            },
            grad_loss: Some(T::from_f64(n.grad_loss)),
        },
    )
}

/// An output: name, place, truth, naive values, and by how much of its largest value an element may be off because
/// larger ones cancel in it.
type Expected = (String, Place, Vec<f64>, Vec<f32>, f64);

pub(super) fn run(gpu: &Gpu, case: &HcalCase) -> Result<Outcome, Error> {
    let n = numbers(case)?;
    let truth = reference_of::<f64>(case, &n)?;
    let naive = reference_of::<f32>(case, &n)?;
    let (samples, dim, m) = (case.samples, case.dim, case.classes.len());
    let seed = [n.seed as u32, (n.seed >> 32) as u32];

    let mut arena = Arena::new(case.layout == Layout::Together);
    let features = arena.put(case.dtypes.0, samples, dim, &n.features);
    let mut prototypes = Vec::new();
    let mut noise = Vec::new();
    for (k, classes) in case.classes.iter().enumerate() {
        prototypes.push(arena.put(case.dtypes.1, *classes, dim, &n.prototypes[k]));
        noise.push(arena.put(DType::F32, *classes, dim, &n.noise[k]));
    }
    let labels = arena.put_words(m, samples, &n.labels);
    let words = n.levels.words();
    let levels = arena.put_words(1, words.len(), &words);
    let grad_loss = arena.put(DType::F32, 1, 1, &[n.grad_loss]);
    let noise_seed = arena.put_words(1, 2, &seed);
    let history = arena.put(DType::F32, 1, 2 * m, &n.state);
    let log_variances = arena.put(DType::F32, 1, m, &n.state[..m]);
    let balance_seed = arena.put_words(1, 2, &seed);

    let mode = case.mode;
    let all = mode == HcalMode::All;
    let losses = all || mode == HcalMode::Losses;
    let to_features = all || mode == HcalMode::Features;
    let to_prototypes = all || mode == HcalMode::Prototypes;
    let predicted = all || mode == HcalMode::Predictions;
    let mut expected: Vec<Expected> = Vec::new();
    let mut output = |name: String, shape: (usize, usize), truth: &[f64], naive: &[f32], off| {
        let place = arena.output(DType::F32, shape.0, shape.1);
        expected.push((name, place, truth.to_vec(), naive.to_vec(), off));
        place
    };
    // Each probability may be off by the error of the device's exp, and what the normalisations take out cancels.
    const EXP: f64 = 20.0;
    let loss_at = losses.then(|| {
        let truths = [&truth.losses, &truth.weights];
        let [losses, weights] = [("losses", 0), ("weights", 1)].map(|(name, i)| {
            let naive = [&naive.losses, &naive.weights][i];
            output(name.into(), (1, m), truths[i], naive, EXP)
        });
        let loss = output("loss".into(), (1, 1), &[truth.loss], &[naive.loss], EXP);
        (losses, weights, loss)
    });
    let grad_features = to_features.then(|| {
        let (truth, naive) = (&truth.grad_features, &naive.grad_features);
        output("grad_features".into(), (samples, dim), truth, naive, EXP)
    });
    let mut grad_prototypes = Vec::new();
    for (k, classes) in case.classes.iter().enumerate().filter(|_| to_prototypes) {
        let (truth, naive) = (&truth.grad_prototypes[k], &naive.grad_prototypes[k]);
        let name = format!("grad_prototypes_{}", k + 1);
        grad_prototypes.push(output(name, (*classes, dim), truth, naive, EXP));
    }
    let uncertain = case.config.balance == Balance::Uncertainty && all;
    let grad_log_variances = uncertain.then(|| {
        let (truth, naive) = (&truth.grad_log_variances, &naive.grad_log_variances);
        output("grad_log_variances".into(), (1, m), truth, naive, EXP)
    });
    let predictions = predicted.then(|| arena.put_words(m, samples, &vec![77; m * samples]));
    let before: Vec<u32> = (0..=m as u32).map(|i| 100 + i).collect();
    let violations = predicted.then(|| arena.put_words(1, m + 1, &before));
    arena.upload(gpu)?;

    let tensor = |place: &Place| arena.tensor(place);
    let each = |places: &[Place]| -> Vec<Tensor<'_>> { places.iter().map(tensor).collect() };
    let (prototypes, noise, grads) = (each(&prototypes), each(&noise), each(&grad_prototypes));
    let needs_labels = mode != HcalMode::Predictions;
    let inputs = HcalInputs {
        features: tensor(&features),
        prototypes: &prototypes,
        labels: needs_labels.then(|| tensor(&labels)),
        levels: n.levels.on_device(tensor(&levels))?,
        noise: match case.noise {
            NoiseCase::None => None,
            NoiseCase::Given => Some(Noise::Given(&noise[..])),
            NoiseCase::Seeded => Some(Noise::Seeded(Seed::advancing(tensor(&noise_seed)))),
        },
        balance: match case.config.balance {
            Balance::Adaptive { .. } => None,
            Balance::Dwa { .. } => Some(BalanceState::History(tensor(&history))),
            Balance::Uncertainty => Some(BalanceState::LogVariances(tensor(&log_variances))),
            Balance::Random => Some(BalanceState::Seed(tensor(&balance_seed))),
        },
        grad_loss: Some(tensor(&grad_loss)),
    };
    let outputs = HcalOutputs {
        losses: loss_at.map(|(losses, ..)| tensor(&losses)),
        weights: loss_at.map(|(_, weights, _)| tensor(&weights)),
        loss: loss_at.map(|(.., loss)| tensor(&loss)),
        grad_features: grad_features.as_ref().map(tensor),
        grad_prototypes: to_prototypes.then_some(&grads[..]),
        grad_log_variances: grad_log_variances.as_ref().map(tensor),
        predictions: predictions.as_ref().map(tensor),
        violations: violations.as_ref().map(tensor),
    };
    let call = case.config.prepare(gpu.context(), &inputs, &outputs)?;
    gpu.run(&[&call])?;

    let mut places: Vec<Place> = expected.iter().map(|e| e.1).collect();
    places.extend(predictions.iter().chain(&violations));
    // What the call moves on.
    let seeded = case.noise == NoiseCase::Seeded;
    let weighed = needs_labels && matches!(case.config.balance, Balance::Random);
    let averaged = needs_labels && matches!(case.config.balance, Balance::Dwa { .. });
    places.extend(seeded.then_some(noise_seed));
    places.extend(weighed.then_some(balance_seed));
    places.extend(averaged.then_some(history));
    let mut found = match arena.read(gpu, &places) {
        Ok(found) => found.into_iter(),
        Err(error) if error.kind() == crate::ErrorKind::Buffer => {
            return Ok(Outcome::Failed(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let mut worst: f64 = 0.0;
    for (name, _, truth, naive, off) in &expected {
        let largest = truth.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let found = found.next().unwrap_or_default();
        match compare(name, DType::F32, &found, truth, naive, off * largest) {
            Ok(share) => worst = worst.max(share),
            Err(message) => return Ok(Outcome::Failed(message)),
        }
    }
    if predicted {
        let predictions = found.next().unwrap_or_default();
        let violations = found.next().unwrap_or_default();
        if let Err(message) = right_predictions(&n, case, &predictions, &violations, &before) {
            return Ok(Outcome::Failed(message));
        }
    }
    for (name, here) in [("noise seed", seeded), ("balance seed", weighed)] {
        let next = n.seed.wrapping_add(1);
        let words = [next as u32, (next >> 32) as u32].map(f64::from);
        if here && found.next().unwrap_or_default() != words {
            return Ok(Outcome::Failed(format!("{name}: not one more")));
        }
    }
    if averaged {
        let moved = found.next().unwrap_or_default();
        for k in 0..m {
            let labelled = n.labels[k * samples..][..samples]
                .iter()
                .any(|y| *y != Levels::NONE);
            let (last, before) = match labelled {
                true => (truth.losses[k], n.state[k]),
                false => (n.state[k], n.state[m + k]),
            };
            let near = (moved[k] - last).abs() <= 1e-4 * last.abs().max(1.0);
            if !near || moved[m + k] != before {
                return Ok(Outcome::Failed(format!(
                    "history: not moved at level {}",
                    k + 1
                )));
            }
        }
    }
    Ok(Outcome::Passed(worst))
}

/// Whether each prediction has the largest product but for rounding, and the violations are those of the predictions.
fn right_predictions(
    n: &Numbers,
    case: &HcalCase,
    predictions: &[f64],
    violations: &[f64],
    before: &[u32],
) -> Result<(), String> {
    let (samples, dim, m) = (case.samples, case.dim, case.classes.len());
    let unit = |v: &[f64]| -> Vec<f64> {
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        v.iter().map(|x| x / norm).collect()
    };
    for k in 0..m {
        let prototypes: Vec<Vec<f64>> = n.prototypes[k].chunks(dim).map(unit).collect();
        for i in 0..samples {
            let f = unit(&n.features[i * dim..][..dim]);
            let score = |p: &Vec<f64>| f.iter().zip(p).map(|(a, b)| a * b).sum::<f64>();
            let scores: Vec<f64> = prototypes.iter().map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let found = predictions[k * samples + i] as usize;
            let good = scores
                .get(found)
                .is_some_and(|score| *score >= largest - 1e-6);
            if !good {
                return Err(format!("predictions[{k}, {i}] is {found}"));
            }
        }
    }
    let mut expected: Vec<u32> = before.to_vec();
    for i in 0..samples {
        let mut any = 0;
        for k in 0..m - 1 {
            let child = predictions[k * samples + i] as usize;
            let parent = f64::from(n.levels.parents(k)[child]);
            let broken = u32::from(parent != predictions[(k + 1) * samples + i]);
            expected[2 + k] += broken;
            any |= broken;
        }
        expected[0] += 1;
        expected[1] += any;
    }
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    if violations != expected {
        return Err(format!(
            "violations are {violations:?}, expected {expected:?}"
        ));
    }
    Ok(())
}
