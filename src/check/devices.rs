//! Cases of HCAL whose samples lie on several devices: the same numbers, and the same truth, as where they lie together.

use crate::check::case::Depth;
use crate::check::hcal::{HcalCase, HcalMode, hcal_cases};
use crate::check::numbers::Numbers;
use crate::check::rng::Rng;
use crate::check::shards::{InShards, Sharded};
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::balance::{BalanceInputs, BalanceOutputs};
use crate::kernels::gradient::Gradient;
use crate::kernels::hcal::call::{HcalInputs, HcalOutputs, HcalSums};
use crate::losses::balance::{Balance, BalanceState};
use crate::losses::hcal::{Aggregation, Hcal};
use crate::losses::labels::{AfterCall, Noise, Seed};
use std::fmt;
use std::ops::Range;

/// A case of HCAL on several devices.
pub type ShardedHcal = Sharded<HcalCase, Devices>;

/// Devices that have some of the samples each.
#[derive(Clone, Debug, PartialEq)]
pub struct Devices {
    /// Where the samples of each device end; some devices have none.
    ends: Vec<usize>,
    /// The device from which what is the same on all is taken.
    own: usize,
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "devices to {:?}, as device {}", self.ends, self.own)
    }
}

/// A buffer of the context's device that holds these words.
fn words(cx: &Context, words: &[u32]) -> Result<wgpu::Buffer, Error> {
    let buffer = cx.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("devices"),
        size: 4 * words.len().max(1) as u64,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: true,
    });
    match buffer.slice(..).get_mapped_range_mut() {
        Ok(mut view) => {
            let bytes = bytemuck::cast_slice(words);
            view.slice(..bytes.len()).copy_from_slice(bytes);
        }
        Err(_) => return Err(Error::refused("devices", "a buffer that is mapped")),
    }
    buffer.unmap();
    Ok(buffer)
}

fn nan(count: usize) -> Vec<u32> {
    vec![f32::NAN.to_bits(); count]
}

impl InShards<Devices> for HcalCase {
    fn calls(
        &self,
        at: &Devices,
        cx: &Context,
        numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let losses = self.mode != HcalMode::Predictions;
        self.with_call(tensors, |all, outputs| {
            let whole = Whole {
                cx,
                config: &self.config,
                all,
                outputs,
                numbers,
            };
            whole.on_devices(at, self.seed % 7, losses)
        })
    }
}

/// The call of the whole batch.
struct Whole<'a, 'c> {
    cx: &'c Context,
    config: &'c Hcal,
    all: &'c HcalInputs<'a>,
    outputs: &'c HcalOutputs<'a>,
    numbers: &'c Numbers,
}

impl Whole<'_, '_> {
    /// The inputs of a device whose state of the balance is its own.
    fn inputs<'b>(
        &'b self,
        samples: &Range<usize>,
        state: Option<&'b wgpu::Buffer>,
        last: bool,
    ) -> HcalInputs<'b> {
        HcalInputs {
            features: self.all.features.of_rows(samples.start, samples.len()),
            labels: self
                .all
                .labels
                .map(|labels| labels.of_cols(samples.start, samples.len())),
            noise: self.all.noise.map(|noise| match noise {
                Noise::Seeded(seed) if !last => Noise::Seeded(Seed {
                    after: AfterCall::Keep,
                    ..seed
                }),
                noise => noise,
            }),
            balance: match (self.all.balance, state) {
                (Some(BalanceState::History(t)), Some(buffer)) => {
                    let own = Tensor::vector(buffer, DType::F32, t.cols());
                    Some(BalanceState::History(own))
                }
                (Some(BalanceState::Seed(_)), Some(buffer)) => {
                    Some(BalanceState::Seed(Tensor::vector(buffer, DType::U32, 2)))
                }
                (state, _) => state,
            },
            ..*self.all
        }
    }

    /// What a state of the balance holds that a call moves on, so that each device has its own.
    fn state(&self) -> Vec<u32> {
        let of = |name: &str| self.numbers.get(name).iter();
        match self.all.balance {
            Some(BalanceState::History(_)) => of("history")
                .map(|value| (*value as f32).to_bits())
                .collect(),
            Some(BalanceState::Seed(_)) => of("balance_seed").map(|word| *word as u32).collect(),
            _ => Vec::new(),
        }
    }

    /// The calls of all devices: sums, losses, what is made of them.
    fn on_devices(&self, devices: &Devices, at: u64, losses: bool) -> Result<Vec<Prepared>, Error> {
        let (cx, config, all, outputs) = (self.cx, self.config, self.all, self.outputs);
        let (m, count) = (all.prototypes.len(), devices.ends.len());
        let firsts = std::iter::once(0).chain(devices.ends.iter().copied());
        let samples: Vec<Range<usize>> = firsts
            .zip(&devices.ends)
            .map(|(first, end)| first..*end)
            .collect();
        let len = Hcal::sums_len(all.levels.host, all.features.cols());
        // The sums begin anywhere.
        let at = at as usize;
        let sums = words(cx, &nan(len + at))?;
        let sums = Tensor::vector(&sums, DType::F32, len).with_offset(at as u64);
        let parts = words(cx, &nan(count * m))?;
        let part = |of: usize| Tensor::vector(&parts, DType::F32, m).with_offset((of * m) as u64);
        let own_losses = words(cx, &nan(m))?;
        let all_losses = outputs
            .losses
            .unwrap_or(Tensor::vector(&own_losses, DType::F32, m));
        let mut calls = Vec::new();
        let fixed = config.balance == Balance::Fixed;
        if losses {
            for (i, samples) in samples.iter().enumerate() {
                let to = match i {
                    0 => Gradient::To(sums),
                    _ => Gradient::AddTo(sums),
                };
                calls.push(config.prepare_partial(cx, &self.inputs(samples, None, false), to)?);
            }
            let met = HcalSums { sums, losses: None };
            let of_device = |i: usize, to: Tensor<'_>| {
                let only = HcalOutputs {
                    losses: Some(to),
                    ..HcalOutputs::default()
                };
                config.prepare_merged(cx, &self.inputs(&samples[i], None, false), &met, &only)
            };
            for i in 0..count {
                calls.push(of_device(i, part(i))?);
            }
            // The levels beyond the first are the same on any; the parts of the first are added up as losses of weight 1.
            calls.push(of_device(devices.own, all_losses)?);
            let chosen: Vec<u32> = (0..count * m)
                .map(|i| f32::from(u8::from(i % m == 0)).to_bits())
                .collect();
            let chosen = words(cx, &chosen)?;
            let inputs = BalanceInputs {
                losses: Tensor::vector(&parts, DType::F32, count * m),
                state: Some(BalanceState::Weights(Tensor::vector(
                    &chosen,
                    DType::F32,
                    count * m,
                ))),
                grad_loss: None,
                settings: &[],
            };
            let first = BalanceOutputs {
                loss: Some(all_losses.of_cols(0, 1)),
                ..BalanceOutputs::default()
            };
            calls.push(Balance::Fixed.prepare(cx, &inputs, &first)?);
        }
        let met = HcalSums {
            sums,
            losses: (!fixed || outputs.loss.is_some()).then_some(all_losses),
        };
        let state = self.state();
        for (i, samples) in samples.iter().enumerate() {
            let own = i == devices.own;
            let state = words(cx, &state)?;
            let inputs = self.inputs(samples, (!own).then_some(&state), i + 1 == count);
            // What is the same on all devices and not taken from this one.
            let mut aside = Vec::new();
            for classes in all.levels.host.classes() {
                aside.push(words(cx, &nan(classes * all.features.cols()))?);
            }
            let mut to_prototypes: Vec<Gradient<'_>> = Vec::new();
            for (k, grad) in outputs.grad_prototypes.into_iter().flatten().enumerate() {
                to_prototypes.push(match (*grad, k, grad.tensor(), aside.get(k)) {
                    (Gradient::To(t), 0, ..) if i > 0 => Gradient::AddTo(t),
                    (_, 1.., Some(t), Some(buffer)) if !own => {
                        Gradient::To(Tensor::matrix(buffer, DType::F32, t.rows(), t.cols()))
                    }
                    (grad, ..) => grad,
                });
            }
            let outputs = HcalOutputs {
                losses: None,
                weights: outputs.weights.filter(|_| own),
                loss: outputs.loss.filter(|_| own),
                grad_features: (outputs.grad_features)
                    .map(|grad| grad.part(|t| t.of_rows(samples.start, samples.len()))),
                grad_prototypes: outputs.grad_prototypes.map(|_| &to_prototypes[..]),
                grad_log_variances: outputs.grad_log_variances.filter(|_| own),
                predictions: outputs
                    .predictions
                    .map(|t| t.of_cols(samples.start, samples.len())),
                violations: outputs.violations,
            };
            let any = own
                || outputs.grad_features.is_some()
                || outputs.grad_prototypes.is_some()
                || outputs.predictions.is_some()
                || i + 1 == count;
            if any {
                let outputs = HcalOutputs {
                    // A call without any output is refused; this one may have to move the seed.
                    losses: losses.then(|| part(i)),
                    ..outputs
                };
                calls.push(config.prepare_merged(cx, &inputs, &met, &outputs)?);
            }
        }
        Ok(calls)
    }
}

impl ShardedHcal {
    /// The case over so many devices as come in turn, with means over samples.
    pub fn of(i: usize, mut case: HcalCase) -> Option<ShardedHcal> {
        case.config.aggregation = Aggregation::SampleMean;
        let devices = [2, 5, 1, 3][i % 4];
        let mut rng = Rng(case.seed);
        let cut = |_| rng.below(case.samples + 1);
        let mut ends: Vec<usize> = (1..devices).map(cut).collect();
        ends.push(case.samples);
        ends.sort_unstable();
        let own = rng.below(devices);
        let at = Devices { ends, own };
        Some(Sharded { case, at })
    }
}

/// The table of HCAL on several devices.
pub fn sharded_hcal(depth: Depth) -> Vec<ShardedHcal> {
    let cases = hcal_cases(depth).into_iter().enumerate();
    cases
        .filter_map(|(i, case)| ShardedHcal::of(i, case))
        .collect()
}
