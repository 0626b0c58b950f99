//! HCAL: its cases (shape x element types, with aggregation, perturbation, balance, outputs, layout and missing labels
//! running through all their values beside them), and how it is measured.

use crate::check::case::{Case, Depth, Layout, Output};
use crate::check::measure::{Reference, Work, Workload, check_shape};
use crate::check::numbers::{Numbers, rounded};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs};
use crate::losses::balance::{Balance, BalanceState};
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::hierarchy::Levels;
use crate::losses::labels::{Noise, Seed};
use crate::reference;
use std::fmt;
use std::hint::black_box;

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
    pub noise: Option<Noise<(), ()>>,
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
        Balance::Fixed,
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
                    balance: balances[(turn + turn / 6) % 6],
                    epsilon: 0.05,
                    // One sample at a time, some, all.
                    scores: [1, 1000, 1 << 20][(turn / 2) % 3],
                },
                noise: [Some(Noise::Seeded(())), None, Some(Noise::Given(()))][(turn / 2) % 3],
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

/// Each probability may be off by the error of the device's exp, and what the normalisations take out cancels: this many
/// times the largest value of a tensor.
const EXP: f64 = 20.0;

/// Has something done with the loss's call on the tensors that there are, by their names.
fn with_call<R>(
    config: &Hcal,
    levels: &Levels,
    labels: bool,
    noise: Option<Noise<(), Seed<()>>>,
    t: &Tensors,
    with: impl FnOnce(&HcalInputs<'_>, &HcalOutputs<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let prototypes = t.levels("prototypes");
    let given = t.levels("noise");
    let grad_prototypes = t.gradients("grad_prototypes");
    let state = match config.balance {
        Balance::Adaptive { .. } => None,
        Balance::Dwa { .. } => t.find("history").map(BalanceState::History),
        Balance::Uncertainty => t.find("log_variances").map(BalanceState::LogVariances),
        Balance::Random => t.find("balance_seed").map(BalanceState::Seed),
        Balance::Fixed => t.find("level_weights").map(BalanceState::Weights),
    };
    let inputs = HcalInputs {
        features: t.get("features")?,
        prototypes: &prototypes,
        labels: t.find("labels").filter(|_| labels),
        levels: levels.on_device(t.get("levels")?)?,
        noise: match noise {
            None => None,
            Some(Noise::Given(())) => Some(Noise::Given(&given[..])),
            Some(Noise::Seeded(seed)) => Some(Noise::Seeded(Seed {
                words: t.get("noise_seed")?,
                after: seed.after,
            })),
        },
        balance: state,
        grad_loss: t.find("grad_loss"),
        settings: &[],
    };
    let outputs = HcalOutputs {
        losses: t.find("losses"),
        weights: t.find("weights"),
        loss: t.find("loss"),
        grad_features: t.gradient("grad_features"),
        grad_prototypes: (!grad_prototypes.is_empty()).then_some(&grad_prototypes[..]),
        grad_log_variances: t.gradient("grad_log_variances"),
        predictions: t.find("predictions"),
        violations: t.find("violations"),
    };
    with(&inputs, &outputs)
}

/// Matrices of a reference, of all levels.
fn all_levels<T: reference::Real>(n: &Numbers, name: &str, levels: usize) -> Vec<Vec<T>> {
    let level = |k: usize| n.real(&format!("{name}_{k}")).unwrap_or_default();
    (1..=levels).map(level).collect()
}

impl HcalCase {
    /// The seed of perturbation and balance, which the call advances into the high word.
    fn stored_seed(&self) -> u64 {
        self.seed.wrapping_mul(0x1_0000_0001) | 0xffff_ffff
    }

    /// The classes' parents, from the first of the case's numbers.
    fn levels(&self, rng: &mut Rng) -> Result<Levels, Error> {
        let mut parents = Vec::new();
        for pair in self.classes.windows(2) {
            let one = |_| rng.below(pair[1]) as u32;
            parents.push((0..pair[0]).map(one).collect::<Vec<u32>>());
        }
        let parents: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
        Levels::new(self.classes, &parents)
    }

    /// Has something done with the case's call.
    pub(super) fn with_call<R>(
        &self,
        tensors: &Tensors,
        with: impl FnOnce(&HcalInputs<'_>, &HcalOutputs<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let levels = self.levels(&mut Rng(self.seed))?;
        let noise = match self.noise {
            None => None,
            Some(Noise::Given(())) => Some(Noise::Given(())),
            Some(Noise::Seeded(())) => Some(Noise::Seeded(Seed::advancing(()))),
        };
        let labels = self.wants_labels();
        with_call(&self.config, &levels, labels, noise, tensors, with)
    }

    fn wants_labels(&self) -> bool {
        self.mode != HcalMode::Predictions
    }

    fn reference<T: reference::Real>(
        &self,
        levels: &Levels,
        n: &Numbers,
    ) -> Result<reference::HcalOutputs<T>, Error> {
        fn slices<T>(of: &[Vec<T>]) -> Vec<&[T]> {
            of.iter().map(Vec::as_slice).collect()
        }
        let m = self.classes.len();
        let prototypes = all_levels(n, "prototypes", m);
        let noise = all_levels(n, "noise", m);
        let noise = slices(&noise);
        let history = n.real("history").unwrap_or_default();
        let log_variances = n.real("log_variances").unwrap_or_default();
        let level_weights = n.real("level_weights").unwrap_or_default();
        reference::hcal(
            &self.config,
            levels,
            &reference::HcalInputs {
                samples: self.samples,
                dim: self.dim,
                features: &n.real("features").unwrap_or_default(),
                prototypes: &slices(&prototypes),
                labels: &n.words("labels").unwrap_or_default(),
                noise: self.noise.map(|form| match form {
                    Noise::Given(()) => Noise::Given(&noise[..]),
                    Noise::Seeded(()) => Noise::Seeded(self.stored_seed()),
                }),
                balance: match self.config.balance {
                    Balance::Adaptive { .. } => None,
                    Balance::Dwa { .. } => Some(BalanceState::History(&history[..])),
                    Balance::Uncertainty => Some(BalanceState::LogVariances(&log_variances[..])),
                    Balance::Random => Some(BalanceState::Seed(self.stored_seed())),
                    Balance::Fixed => Some(BalanceState::Weights(&level_weights[..])),
                },
                grad_loss: n.real("grad_loss").and_then(|g: Vec<T>| g.first().copied()),
            },
        )
    }
}

impl Case for HcalCase {
    fn name(&self) -> &'static str {
        "hcal"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let levels = self.levels(&mut rng)?;
        let (samples, dim, m) = (self.samples, self.dim, self.classes.len());
        let mut labels = vec![Levels::NONE; m * samples];
        for i in 0..samples {
            let mut class = rng.below(self.classes[0]) as u32;
            for k in 0..m {
                let missing = if self.missing < 1.0 {
                    rng.chance(self.missing)
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
        let mut random = |dtype: DType, count: usize, size: f64| -> Vec<f64> {
            let one = |_| rounded(dtype, size * rng.normal());
            (0..count).map(one).collect()
        };
        let mut features = random(self.dtypes.0, samples * dim, self.size);
        // A vector of zeros has no direction and no gradient.
        if samples > 6 {
            features[..dim].fill(0.0);
        }
        let sizes = || self.classes.iter().map(|classes| classes * dim);
        let prototypes: Vec<Vec<f64>> = sizes()
            .map(|n| random(self.dtypes.1, n, self.size))
            .collect();
        let noise: Vec<Vec<f64>> = sizes().map(|n| random(DType::F32, n, 0.03)).collect();
        let mut single = |count: usize, low: f64, high: f64| -> Vec<f64> {
            let all = rng.many(count, low, high).into_iter();
            all.map(|value| rounded(DType::F32, value)).collect()
        };
        let state = single(2 * m, 0.2, 1.5);
        let grad_loss = single(1, -2.0, 2.0);
        let level_weights = single(m, 0.0, 3.0);
        let words = levels.words();

        let mut n = Numbers::default();
        n.put("features", self.dtypes.0, (samples, dim), features);
        for (k, (prototypes, noise)) in prototypes.into_iter().zip(noise).enumerate() {
            let shape = (self.classes[k], dim);
            n.put(
                format!("prototypes_{}", k + 1),
                self.dtypes.1,
                shape,
                prototypes,
            );
            n.put(format!("noise_{}", k + 1), DType::F32, shape, noise);
        }
        n.put_words("labels", (m, samples), &labels);
        n.put_words("levels", (1, words.len()), &words);
        n.put_vector("grad_loss", DType::F32, Some(grad_loss));
        n.put_seed("noise_seed", self.stored_seed());
        n.put_vector("history", DType::F32, Some(state.clone()));
        n.put_vector("log_variances", DType::F32, state.get(..m).map(Vec::from));
        n.put_seed("balance_seed", self.stored_seed());
        n.put_vector("level_weights", DType::F32, Some(level_weights));
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let levels = self.levels(&mut Rng(self.seed))?;
        let truth = self.reference::<f64>(&levels, n)?;
        let naive = self.reference::<f32>(&levels, n)?;
        let (samples, dim, m) = (self.samples, self.dim, self.classes.len());
        let largest = |of: &[f64]| of.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let near = |name: &str, shape, truth: Vec<f64>, naive: Vec<f32>| {
            let size = EXP * largest(&truth);
            Output::near(name, DType::F32, shape, truth, naive).cancelling(size)
        };
        let mode = self.mode;
        let all = mode == HcalMode::All;
        let mut outputs = Vec::new();
        if all || mode == HcalMode::Losses {
            outputs.push(near("losses", (1, m), truth.losses, naive.losses));
            outputs.push(near("weights", (1, m), truth.weights, naive.weights));
            outputs.push(near("loss", (1, 1), vec![truth.loss], vec![naive.loss]));
        }
        if all || mode == HcalMode::Features {
            let (t, f) = (truth.grad_features, naive.grad_features);
            outputs.push(near("grad_features", (samples, dim), t, f));
        }
        if all || mode == HcalMode::Prototypes {
            let both = truth.grad_prototypes.into_iter().zip(naive.grad_prototypes);
            for (k, (t, f)) in both.enumerate() {
                let name = format!("grad_prototypes_{}", k + 1);
                outputs.push(near(&name, (self.classes[k], dim), t, f));
            }
        }
        if all && self.config.balance == Balance::Uncertainty {
            let (t, f) = (truth.grad_log_variances, naive.grad_log_variances);
            // Of its two parts, which cancel, one is half the upstream gradient.
            let half: f64 = n.get("grad_loss").iter().map(|g| 0.5 * g.abs()).sum();
            let size = half.max(EXP * largest(&t));
            let output = near("grad_log_variances", (1, m), t, f);
            outputs.push(output.cancelling(size));
        }
        if all || mode == HcalMode::Predictions {
            let before = vec![77; m * samples];
            outputs.push(Output::words("predictions", (m, samples), &before));
            let before = violations_before(m);
            outputs.push(Output::words("violations", (1, m + 1), &before));
        }
        // What the call moves on.
        let next = self.stored_seed().wrapping_add(1);
        let next = || vec![f64::from(next as u32), f64::from((next >> 32) as u32)];
        if self.noise == Some(Noise::Seeded(())) {
            outputs.push(Output::changed("noise_seed").exactly(next()));
        }
        if self.wants_labels() {
            match self.config.balance {
                Balance::Random => outputs.push(Output::changed("balance_seed").exactly(next())),
                Balance::Dwa { .. } => outputs.push(Output::changed("history")),
                Balance::Adaptive { .. } | Balance::Uncertainty | Balance::Fixed => {}
            }
        }
        Ok(outputs)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let whole = |inputs: &HcalInputs<'_>, outputs: &HcalOutputs<'_>| {
            self.config.prepare(cx, inputs, outputs)
        };
        Ok(vec![self.with_call(tensors, whole)?])
    }

    fn judge(&self, n: &Numbers, found: &Numbers) -> Result<(), String> {
        let levels = self.levels(&mut Rng(self.seed));
        let levels = levels.map_err(|error| error.to_string())?;
        if let (Some(predictions), Some(violations)) =
            (found.find("predictions"), found.find("violations"))
        {
            self.judge_predictions(n, &levels, predictions, violations)?;
        }
        match found.find("history") {
            Some(moved) => self.judge_history(n, &levels, moved),
            None => Ok(()),
        }
    }
}

/// Counts of violations that the call adds to.
fn violations_before(levels: usize) -> Vec<u32> {
    (0..=levels as u32).map(|i| 100 + i).collect()
}

impl HcalCase {
    /// Whether each level's loss came first and the one before it second; a level without labels keeps both.
    fn judge_history(&self, n: &Numbers, levels: &Levels, moved: &[f64]) -> Result<(), String> {
        let truth = self.reference::<f64>(levels, n);
        let truth = truth.map_err(|error| error.to_string())?;
        let (m, state) = (self.classes.len(), n.get("history"));
        let labels = n.words("labels").unwrap_or_default();
        for k in 0..m {
            let here = &labels[k * self.samples..][..self.samples];
            let (last, before) = match here.iter().any(|y| *y != Levels::NONE) {
                true => (truth.losses[k], state[k]),
                false => (state[k], state[m + k]),
            };
            let near = (moved[k] - last).abs() <= 1e-4 * last.abs().max(1.0);
            if !near || moved[m + k] != before {
                return Err(format!("history: not moved at level {}", k + 1));
            }
        }
        Ok(())
    }

    /// Whether each prediction has the largest product but for rounding, and the violations are those of the predictions.
    fn judge_predictions(
        &self,
        n: &Numbers,
        levels: &Levels,
        predictions: &[f64],
        violations: &[f64],
    ) -> Result<(), String> {
        let (samples, dim, m) = (self.samples, self.dim, self.classes.len());
        let unit = |v: &[f64]| -> Vec<f64> {
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            v.iter().map(|x| x / norm).collect()
        };
        for k in 0..m {
            let prototypes: Vec<Vec<f64>> = n
                .get(&format!("prototypes_{}", k + 1))
                .chunks(dim)
                .map(unit)
                .collect();
            for i in 0..samples {
                let f = unit(&n.get("features")[i * dim..][..dim]);
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
        let mut expected = violations_before(m);
        for i in 0..samples {
            let mut any = 0;
            for k in 0..m - 1 {
                let child = predictions[k * samples + i] as usize;
                let parent = f64::from(levels.parents(k)[child]);
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
}

/// HCAL at a shape: three levels, each of an eighth of the classes of the one before, seeded noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HcalWorkload {
    /// Settings.
    pub config: Hcal,
    /// Element type of features and prototypes.
    pub dtype: DType,
    /// Whether the gradients are computed too.
    pub gradient: bool,
    /// Samples.
    pub rows: usize,
    /// Classes of the finest level.
    pub cols: usize,
    /// Components of a feature vector.
    pub dim: usize,
}

/// The data of an [`HcalWorkload`].
struct HcalData {
    levels: Levels,
    features: Vec<f64>,
    prototypes: Vec<Vec<f64>>,
    labels: Vec<u32>,
}

impl HcalWorkload {
    fn data(&self) -> Result<HcalData, Error> {
        self.config.check()?;
        check_shape(self.rows, self.dim)?;
        check_shape(self.cols, self.dim)?;
        let classes = [self.cols, self.cols.div_ceil(8), self.cols.div_ceil(64)];
        let parents = [0, 1].map(|k| (0..classes[k] as u32).map(|c| c / 8).collect::<Vec<u32>>());
        let levels = Levels::new(&classes, &[&parents[0], &parents[1]])?;
        let mut rng = Rng(1);
        let one = |_| rng.below(self.cols) as u32;
        let fine: Vec<u32> = (0..self.rows).map(one).collect();
        let up = |shift: u32| fine.iter().map(move |c| c >> shift);
        let labels = up(0).chain(up(3)).chain(up(6)).collect();
        let mut rng = Rng(2);
        let mut matrix = |n: usize| -> Vec<f64> {
            let one = |_| rounded(self.dtype, rng.normal());
            (0..n * self.dim).map(one).collect()
        };
        Ok(HcalData {
            features: matrix(self.rows),
            prototypes: classes.iter().map(|n| matrix(*n)).collect(),
            levels,
            labels,
        })
    }
}

impl Workload for HcalWorkload {
    fn settings(&self) -> String {
        format!("{:?}, dim {}", self.config, self.dim)
    }

    fn elements(&self) -> u64 {
        (self.rows as u64 * self.cols as u64).saturating_mul(self.dim as u64)
    }

    fn input_bytes(&self) -> u64 {
        self.rows as u64 * self.dim as u64 * self.dtype.size()
    }

    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let data = self.data()?;
        let levels = &data.levels;
        let words = levels.words();
        let shape = |n: usize| (n, self.dim);
        let mut n = Numbers::default();
        n.put("features", self.dtype, shape(self.rows), data.features);
        n.put_words("labels", (3, self.rows), &data.labels);
        n.put_words("levels", (1, words.len()), &words);
        n.put_seed("noise_seed", 0);
        let mut outputs = vec![("loss".to_owned(), (1, 1))];
        if self.gradient {
            outputs.push(("grad_features".into(), shape(self.rows)));
        }
        for (k, values) in data.prototypes.into_iter().enumerate() {
            let shape = shape(levels.classes()[k]);
            n.put(format!("prototypes_{}", k + 1), self.dtype, shape, values);
            if self.gradient {
                outputs.push((format!("grad_prototypes_{}", k + 1), shape));
            }
        }
        let noise = Some(Noise::Seeded(Seed::fixed(())));
        let (config, levels) = (self.config, data.levels);
        Work::new(gpu, &n, &outputs, move |cx, tensors| {
            let whole = |inputs: &HcalInputs<'_>, outputs: &HcalOutputs<'_>| {
                config.prepare(cx, inputs, outputs)
            };
            with_call(&config, &levels, true, noise, tensors, whole)
        })
    }

    fn on_host(&self) -> Result<Reference, Error> {
        let data = self.data()?;
        let bench = *self;
        Ok(Box::new(move || {
            let prototypes: Vec<&[f64]> = data.prototypes.iter().map(Vec::as_slice).collect();
            let inputs = reference::HcalInputs {
                samples: bench.rows,
                dim: bench.dim,
                features: &data.features,
                prototypes: &prototypes,
                labels: &data.labels,
                noise: Some(Noise::Seeded(0)),
                ..reference::HcalInputs::default()
            };
            Ok(black_box(reference::hcal(&bench.config, &data.levels, &inputs)?).loss)
        }))
    }
}
