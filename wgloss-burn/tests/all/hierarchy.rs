//! HCAL, the constraint module and the balance, both ways, against the reference.

use crate::common::{Numbers, bools, close, devices, f64s, floats, gradient, ints, read};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use wgloss::losses::hcal::Aggregation;
use wgloss::{
    Balance as Settings, BalanceState, Hcal, Hierarchy, Levels, Mcm, Reduction, reference,
};
use wgloss_burn::{BalanceConfig, HcalLossConfig, McmExtras, McmLossConfig, Targets};

/// A hierarchy in which some classes have two parents.
fn edges(nodes: usize, numbers: &mut Numbers) -> Vec<[u32; 2]> {
    let mut edges = Vec::new();
    for child in 1..nodes {
        let first = numbers.below(child) as u32;
        edges.push([child as u32, first]);
        let second = numbers.below(child) as u32;
        if second != first && numbers.below(3) == 0 {
            edges.push([child as u32, second]);
        }
    }
    edges
}

#[test]
fn the_constraint_module_agrees_with_the_reference() {
    let mut numbers = Numbers(5);
    for options in 0..16_u64 {
        let has = |bit: u32| options >> bit & 1 == 1;
        let (rows, nodes) = (1 + numbers.below(7), 2 + numbers.below(30));
        let edges = edges(nodes, &mut numbers);
        let reduction = [Reduction::Mean, Reduction::Sum, Reduction::None][options as usize % 3];
        let settings = Mcm {
            row_mean: has(3),
            reduction,
        };
        // Few values, so that many tie.
        let logits: Vec<f32> = (0..rows * nodes)
            .map(|_| numbers.below(7) as f32 - 3.0)
            .collect();
        let flags = numbers.flags(rows * nodes, 0.3);
        let targets: Vec<f32> = flags
            .iter()
            .map(|flag| f32::from(u8::from(*flag)))
            .collect();
        let class_mask = has(0).then(|| numbers.flags(nodes, 0.8));
        let mask = has(1).then(|| numbers.flags(rows * nodes, 0.8));
        let sample_weight =
            has(2).then(|| (0..rows).map(|row| row as f32 * 0.5).collect::<Vec<f32>>());
        let class_weight = has(0).then(|| numbers.reals(nodes, 0.1, 2.0));
        let upstream = numbers.reals(
            if reduction == Reduction::None {
                rows
            } else {
                1
            },
            -2.0,
            2.0,
        );
        let hierarchy = Hierarchy::from_edges(nodes, &edges).expect("a hierarchy");
        let (by_row, by_class) = (
            sample_weight.as_deref().map(f64s),
            class_weight.as_deref().map(f64s),
        );
        let inputs = reference::McmInputs {
            rows,
            logits: &f64s(&logits),
            targets: &f64s(&targets),
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            sample_weight: by_row.as_deref(),
            class_weight: by_class.as_deref(),
            grad_loss: Some(&f64s(&upstream)),
        };
        let expected = reference::mcm(&settings, &hierarchy, &inputs)
            .expect("a case that the reference takes");
        for (way, device) in devices() {
            let what = format!("{way}: options {options:04b} [{rows}, {nodes}]");
            let loss = McmLossConfig::new(nodes, edges.clone())
                .with_row_mean(settings.row_mean)
                .with_reduction(reduction)
                .init(&device);
            let s = floats(&logits, [rows, nodes], &device).require_grad();
            let extras = McmExtras {
                class_mask: class_mask.as_ref().map(|v| bools(v, [nodes], &device)),
                mask: mask.as_ref().map(|v| bools(v, [rows, nodes], &device)),
                sample_weight: sample_weight.as_ref().map(|v| floats(v, [rows], &device)),
                class_weight: class_weight.as_ref().map(|v| floats(v, [nodes], &device)),
            };
            let y = match options % 2 {
                0 => Targets::Bool(bools(&flags, [rows, nodes], &device)),
                _ => Targets::Float(floats(&targets, [rows, nodes], &device)),
            };
            let value = loss.forward_with(s.clone(), y, &extras);
            let grads = (value.clone() * floats(&upstream, [upstream.len()], &device))
                .sum()
                .backward();
            close(
                &format!("{what}, loss"),
                &read(&value),
                &expected.loss,
                3e-5,
            );
            close(
                &format!("{what}, logits"),
                &gradient(&s, &grads),
                &expected.grad_logits,
                1e-4,
            );
            let probabilities = loss.probabilities(s);
            close(
                &format!("{what}, probabilities"),
                &read(&probabilities),
                &expected.probabilities,
                1e-5,
            );
        }
    }
}

/// What HCAL gives, by the module or by the reference.
struct Outcome {
    values: Vec<(&'static str, Vec<f64>)>,
}

const CLASSES: [usize; 3] = [9, 4, 2];
const PARENTS: [&[u32]; 2] = [&[0, 0, 0, 1, 1, 2, 2, 3, 3], &[0, 0, 1, 1]];

struct HcalCase {
    settings: Hcal,
    dim: usize,
    rows: usize,
    features: Vec<f32>,
    prototypes: Vec<f32>,
    /// By level.
    labels: Vec<i32>,
    state: Option<Vec<f32>>,
}

impl HcalCase {
    fn reference(&self) -> Outcome {
        let levels = Levels::new(&CLASSES, &PARENTS).expect("levels");
        let labels: Vec<u32> = self
            .labels
            .iter()
            .map(|label| label.cast_unsigned())
            .collect();
        let prototypes = f64s(&self.prototypes);
        let mut first = 0;
        let by_level: Vec<&[f64]> = CLASSES
            .iter()
            .map(|classes| {
                first += classes * self.dim;
                &prototypes[first - classes * self.dim..first]
            })
            .collect();
        let state = self.state.as_deref().map(f64s);
        let state = state.as_deref().map(|values| match self.settings.balance {
            Settings::Uncertainty => BalanceState::LogVariances(values),
            _ => BalanceState::Weights(values),
        });
        let out = reference::hcal(
            &self.settings,
            &levels,
            &reference::HcalInputs {
                samples: self.rows,
                dim: self.dim,
                features: &f64s(&self.features),
                prototypes: &by_level,
                labels: &labels,
                noise: None,
                balance: state,
                grad_loss: Some(-1.5),
            },
        );
        let out = out.expect("a case that the reference takes");
        let predictions = out
            .predictions
            .into_iter()
            .flatten()
            .map(f64::from)
            .collect();
        Outcome {
            values: vec![
                ("loss", vec![out.loss]),
                ("losses", out.losses),
                ("weights", out.weights),
                ("features", out.grad_features),
                (
                    "prototypes",
                    out.grad_prototypes.into_iter().flatten().collect(),
                ),
                ("log variances", out.grad_log_variances),
                ("predictions", predictions),
            ],
        }
    }

    fn run(&self, device: &Device) -> Outcome {
        let parents = PARENTS.iter().map(|of| of.to_vec()).collect();
        let config = HcalLossConfig::new(CLASSES.to_vec(), parents, self.dim)
            .with_temperature(self.settings.temperature)
            .with_aggregation(self.settings.aggregation)
            .with_balance(self.settings.balance)
            .with_epsilon(0.0);
        let fixed = self.settings.balance == Settings::Fixed;
        let config = if fixed {
            config.with_level_weights(self.state.clone())
        } else {
            config
        };
        let mut loss = config.init(device);
        let all: usize = CLASSES.iter().sum();
        loss.prototypes = Param::from_tensor(floats(&self.prototypes, [all, self.dim], device));
        if let (Some(state), Settings::Uncertainty) = (&self.state, self.settings.balance) {
            loss.balance.log_variances =
                Some(Param::from_tensor(floats(state, [state.len()], device)));
        }
        let features = floats(&self.features, [self.rows, self.dim], device).require_grad();
        let labels = ints(&self.labels, [CLASSES.len(), self.rows], device);
        let made = loss
            .try_forward(features.clone(), labels)
            .expect("shapes that fit");
        let grads = (made.loss.clone() * -1.5).backward();
        let variances = loss.balance.log_variances.as_ref();
        let predictions = loss.predict(features.clone().inner().detach());
        Outcome {
            values: vec![
                ("loss", read(&made.loss)),
                ("losses", read(&made.losses)),
                ("weights", read(&made.weights)),
                ("features", gradient(&features, &grads)),
                ("prototypes", gradient(&loss.prototypes.val(), &grads)),
                (
                    "log variances",
                    variances.map_or(Vec::new(), |v| gradient(&v.val(), &grads)),
                ),
                ("predictions", predictions.to_data().iter::<f64>().collect()),
            ],
        }
    }
}

#[test]
fn hcal_agrees_with_the_reference() {
    let mut numbers = Numbers(17);
    for balance in [
        Settings::default(),
        Settings::Adaptive {
            gamma: 0.7,
            attach: true,
        },
        Settings::Uncertainty,
        Settings::Fixed,
    ] {
        for aggregation in [Aggregation::SampleMean, Aggregation::Tree] {
            for missing in [0, 1] {
                let (rows, dim) = (1 + numbers.below(30), 2 + numbers.below(12));
                let fine: Vec<usize> = (0..rows).map(|_| numbers.below(CLASSES[0])).collect();
                let middle: Vec<usize> = fine.iter().map(|c| PARENTS[0][*c] as usize).collect();
                let coarse: Vec<usize> = middle.iter().map(|c| PARENTS[1][*c] as usize).collect();
                let mut label = |class: usize| {
                    if missing == 1 && numbers.below(4) == 0 {
                        -1
                    } else {
                        class as i32
                    }
                };
                let labels = [fine, middle, coarse]
                    .concat()
                    .into_iter()
                    .map(&mut label)
                    .collect();
                let case = HcalCase {
                    settings: Hcal::default()
                        .with_temperature(0.5)
                        .with_aggregation(aggregation)
                        .with_balance(balance),
                    dim,
                    rows,
                    features: numbers.reals(rows * dim, -1.0, 1.0),
                    prototypes: numbers.reals(CLASSES.iter().sum::<usize>() * dim, -1.0, 1.0),
                    labels,
                    state: matches!(balance, Settings::Uncertainty | Settings::Fixed)
                        .then(|| numbers.reals(3, 0.1, 1.0)),
                };
                let expected = case.reference();
                for (way, device) in devices() {
                    let found = case.run(&device);
                    for ((name, found), (_, expected)) in found.values.iter().zip(&expected.values)
                    {
                        let what = format!(
                            "{way}: {name} of {balance:?} {aggregation:?} missing {missing} [{rows}, {dim}]"
                        );
                        close(&what, found, expected, 2e-4);
                    }
                }
            }
        }
    }
}

#[test]
fn balances_agree_with_the_reference() {
    for settings in [
        Settings::default(),
        Settings::Adaptive {
            gamma: 0.3,
            attach: true,
        },
        Settings::Dwa { temperature: 2.0 },
        Settings::Uncertainty,
        Settings::Fixed,
    ] {
        for (way, device) in devices() {
            let weights = vec![0.2, 0.5, 1.5];
            let config = BalanceConfig::new(3).with_settings(settings);
            let fixed = settings == Settings::Fixed;
            let config = if fixed {
                config.with_weights(Some(weights.clone()))
            } else {
                config
            };
            let balance = config.init(&device);
            let mut history = vec![0.0; 6];
            for step in 0..4 {
                let values: Vec<f32> = (0..3)
                    .map(|k| 0.5 + (k * step) as f32 * 0.4 + k as f32)
                    .collect();
                let losses = floats(&values, [3], &device).require_grad();
                let (loss, found) = balance.forward_with_weights(losses.clone());
                let grads = (loss.clone() * 2.0).backward();
                let (theta, weights) = ([0.0; 3], f64s(&weights));
                let out = reference::balance(
                    &settings,
                    &reference::BalanceInputs {
                        losses: &f64s(&values),
                        present: None,
                        state: match settings {
                            Settings::Dwa { .. } => Some(BalanceState::History(&history)),
                            Settings::Uncertainty => Some(BalanceState::LogVariances(&theta)),
                            Settings::Fixed => Some(BalanceState::Weights(&weights)),
                            _ => None,
                        },
                        grad_loss: Some(2.0),
                    },
                );
                let out = out.expect("a case that the reference takes");
                let what = format!("{way}: {settings:?} step {step}");
                close(&format!("{what}, loss"), &read(&loss), &[out.loss], 1e-5);
                close(
                    &format!("{what}, weights"),
                    &read(&found),
                    &out.weights,
                    1e-5,
                );
                close(
                    &format!("{what}, losses"),
                    &gradient(&losses, &grads),
                    &out.grad_losses,
                    1e-5,
                );
                if let Some(theta) = &balance.log_variances {
                    let found = gradient(&theta.val(), &grads);
                    close(
                        &format!("{what}, log variances"),
                        &found,
                        &out.grad_log_variances,
                        1e-5,
                    );
                }
                history = out.history;
            }
        }
    }
}

/// Random weights are positive, sum to 1, and are drawn anew.
#[test]
fn random_weights_are_drawn_anew() {
    for (way, device) in devices() {
        let balance = BalanceConfig::new(4)
            .with_settings(Settings::Random)
            .init(&device);
        let losses = || Tensor::<1>::ones([4], &device);
        let draw = || read(&balance.forward_with_weights(losses()).1);
        let (first, second) = (draw(), draw());
        assert_ne!(first, second, "{way}");
        for weights in [first, second] {
            assert!(weights.iter().all(|w| *w > 0.0), "{way}: {weights:?}");
            assert!(
                (weights.iter().sum::<f64>() - 1.0).abs() < 1e-5,
                "{way}: {weights:?}"
            );
        }
    }
}

/// The perturbation moves the loss in training, within its size, and not in validation.
#[test]
fn hcal_is_perturbed_in_training_alone() {
    for (way, device) in devices() {
        let parents = PARENTS.iter().map(|of| of.to_vec()).collect();
        let loss = HcalLossConfig::new(CLASSES.to_vec(), parents, 8)
            .with_epsilon(0.1)
            .init(&device);
        let mut numbers = Numbers(2);
        let values = numbers.reals(40, -1.0, 1.0);
        let labels = [[0, 4, 8, 2, 6], [0, 1, 3, 0, 2], [0, 0, 1, 0, 1]].concat();
        let run = |device: &Device| {
            let (features, labels) = (
                floats(&values, [5, 8], device),
                ints(&labels, [3, 5], device),
            );
            read(&loss.forward(features, labels))[0]
        };
        let (first, second) = (run(&device), run(&device));
        assert!(
            first != second && (first - second).abs() < 1.0,
            "{way}: {first} {second}"
        );
    }
}
