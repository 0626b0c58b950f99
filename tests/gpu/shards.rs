//! Labels or keys in shards, each with its two halves of a call, as on several devices.

use crate::Test;
use crate::table::run;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::ops::Range;
use wgloss::check::{self, Depth, Outcome, Rng, ShardedRows};
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::{
    AnyLoss, Bce, Contrastive, ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType,
    Denominator, Gradient, Keys, LabelCountInputs, LabelCountOutputs, LabelCounts, Linear,
    LinearInputs, LinearOutputs, Prepared, Reduction, Setting, Targets, Tensor, Update, Zlpr,
    reference, wgpu,
};

pub const TESTS: &[Test] = &[
    ("shards/every_loss", every_loss),
    ("shards/last_layers", last_layers),
    ("shards/samples_of_each_device", samples),
    ("shards/lists_of_each_shard", lists),
    ("shards/anchors_of_each_device", anchors),
    ("shards/keys", keys),
    ("shards/keys_device_by_device", blocks),
];

/// Every loss whose rows merge from parts, in shards that end anywhere, some of them empty, with accumulators in either order
/// and in groups.
fn every_loss(gpu: &Gpu) -> Result<(), Failed> {
    let mut by_loss: BTreeMap<&str, Vec<ShardedRows>> = BTreeMap::new();
    for case in check::sharded_rows(Depth::Every) {
        by_loss.entry(case.case.name).or_default().push(case);
    }
    let each = by_loss.into_values().enumerate();
    let some = |(i, cases): (usize, Vec<ShardedRows>)| cases.into_iter().skip(i % 3).step_by(3);
    let cases: Vec<ShardedRows> = each.flat_map(some).collect();
    run(gpu, &cases)
}

/// The same of last layers, with tiles within the shards.
fn last_layers(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, &check::sharded_linear(Depth::Full))
}

/// HCAL with samples on several devices, some of which have none; and the same bits at a second run.
fn samples(gpu: &Gpu) -> Result<(), Failed> {
    let cases = check::sharded_hcal(Depth::Full);
    run(gpu, &cases)?;
    for case in cases.iter().step_by(9) {
        match check::run_twice(gpu, case)? {
            Outcome::Passed(_) => {}
            Outcome::Failed(message) => return Err(format!("{case}: {message}").into()),
        }
    }
    Ok(())
}

/// A last layer on three devices.
struct Layer {
    hidden: Vec<f32>,
    weights: Vec<f32>,
    /// Row by row.
    positive: Vec<bool>,
}

const ROWS: usize = 70;
const COLS: usize = 333;
const DIMS: usize = 12;
/// Labels of each device: the second has none.
const SHARDS: [Range<usize>; 3] = [0..100, 100..100, 100..COLS];

/// Three shards with lists of labels and weights of their own, one of them without a label, as devices have them: a step of the
/// weights, and means over what counts; twice, for the same bits.
fn lists(gpu: &Gpu) -> Result<(), Failed> {
    let mut rng = Rng(15);
    let mut normal = |count: usize, size: f64| -> Vec<f32> {
        (0..count).map(|_| (size * rng.normal()) as f32).collect()
    };
    let (hidden, weights) = (normal(ROWS * DIMS, 1.0), normal(COLS * DIMS, 0.5));
    let all = Layer {
        hidden,
        weights,
        positive: (0..ROWS * COLS).map(|_| rng.chance(0.02)).collect(),
    };
    let losses = [
        AnyLoss::from(Zlpr::lsep()).with_reduction(Reduction::MeanActive),
        AnyLoss::from(Bce::default()).with_reduction(Reduction::MeanElements),
    ];
    for loss in losses {
        let layer = Linear::new(loss).with_update(Update::sgd(0.5), 0);
        let layer = layer.with_tile_bytes(0);
        let real = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
        let targets = all.positive.iter().map(|p| f64::from(u8::from(*p)));
        let truth = layer.reference(&reference::LinearInputs {
            rows: ROWS,
            cols: COLS,
            dims: DIMS,
            hidden: &real(&all.hidden),
            weights: &real(&all.weights),
            targets: &targets.collect::<Vec<f64>>(),
            bias: None,
            class_mask: None,
            sample_weight: None,
            class_weight: None,
            state: None,
            grad_loss: None,
        })?;
        let found = all.in_shards(gpu, &layer)?;
        assert!(
            found == all.in_shards(gpu, &layer)?,
            "the same call has other bits"
        );
        let (losses, rest) = found.split_at(SHARDS.len());
        let (to_hidden, after) = rest.split_at(ROWS * DIMS);
        let near = |name: &str, found: &[u32], expected: &[f64]| {
            assert_eq!(found.len(), expected.len(), "{name}");
            for (bits, expected) in found.iter().zip(expected) {
                let found = f64::from(f32::from_bits(*bits));
                let off = (found - expected).abs();
                assert!(off <= 1e-6, "{name}: {found} where {expected} is expected");
            }
        };
        near("loss", losses, &[truth.loss[0]; 3]);
        near("grad_hidden", to_hidden, &truth.grad_hidden);
        near("weights", after, &truth.weights);
    }
    Ok(())
}

impl Layer {
    /// The losses that the shards find, the sum of their gradients to hidden states, and all weights after a step; as bits.
    fn in_shards(&self, gpu: &Gpu, layer: &Linear<AnyLoss>) -> Result<Vec<u32>, Failed> {
        let cx = gpu.context();
        let words = layer.accumulator()?.words;
        let upload = |bytes: &[u8]| gpu.upload(bytes);
        let hidden = upload(bytemuck::cast_slice(&self.hidden))?;
        let to_hidden = upload(bytemuck::cast_slice(&vec![f32::NAN; ROWS * DIMS]))?;
        let all = gpu.zeros(4 * (SHARDS.len() * ROWS * words) as u64)?;
        let met = Tensor::matrix(&all, DType::F32, SHARDS.len(), ROWS * words);
        // Of each shard its weights, its lists, the loss that it finds.
        let mut memory: Vec<(usize, [wgpu::Buffer; 4])> = Vec::new();
        for shard in &SHARDS {
            let (mut offsets, mut indices) = (vec![0_u32], Vec::new());
            for row in self.positive.chunks(COLS) {
                let own = row[shard.clone()].iter().enumerate().filter(|(_, p)| **p);
                indices.extend(own.map(|(label, _)| label as u32));
                offsets.push(indices.len() as u32);
            }
            let count = indices.len();
            // No buffer is empty.
            indices.push(0);
            let weights = &self.weights[shard.start * DIMS..shard.end * DIMS];
            let weights = [weights, &[0.0]].concat();
            let buffers = [
                upload(bytemuck::cast_slice(&weights))?,
                upload(bytemuck::cast_slice(&offsets))?,
                upload(bytemuck::cast_slice(&indices))?,
                gpu.zeros(4)?,
            ];
            memory.push((count, buffers));
        }
        let inputs: Vec<LinearInputs<'_>> = memory
            .iter()
            .zip(&SHARDS)
            .map(
                |((count, [weights, offsets, indices, _]), shard)| LinearInputs {
                    targets: Some(Targets::Sparse {
                        offsets: Tensor::vector(offsets, DType::U32, ROWS + 1),
                        indices: Tensor::vector(indices, DType::U32, *count),
                    }),
                    ..LinearInputs::new(
                        Tensor::matrix(&hidden, DType::F32, ROWS, DIMS),
                        Tensor::matrix(weights, DType::F32, shard.len(), DIMS),
                    )
                },
            )
            .collect();
        let mut calls: Vec<Prepared> = Vec::new();
        for (i, inputs) in inputs.iter().enumerate() {
            let own = Tensor::matrix(&all, DType::F32, ROWS, words);
            let own = own.with_offset((i * ROWS * words) as u64);
            calls.push(layer.prepare_partial(cx, inputs, own)?);
        }
        for (i, (inputs, (_, [.., loss]))) in inputs.iter().zip(&memory).enumerate() {
            let to = Tensor::matrix(&to_hidden, DType::F32, ROWS, DIMS);
            let outputs = LinearOutputs {
                loss: Some(Tensor::vector(loss, DType::F32, 1)),
                grad_hidden: Some(if i == 0 {
                    Gradient::To(to)
                } else {
                    Gradient::AddTo(to)
                }),
                ..LinearOutputs::default()
            };
            calls.push(layer.prepare_merged(cx, inputs, met, &outputs)?);
        }
        gpu.run(&calls.iter().collect::<Vec<&Prepared>>())?;
        let mut found = Vec::new();
        let mut get = |buffer: &wgpu::Buffer, count: usize| -> Result<(), Failed> {
            let bytes = gpu.download(buffer, 4 * count as u64)?;
            found.extend(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes));
            Ok(())
        };
        for (_, [.., loss]) in &memory {
            get(loss, 1)?;
        }
        get(&to_hidden, ROWS * DIMS)?;
        for ((_, [weights, ..]), shard) in memory.iter().zip(&SHARDS) {
            get(weights, shard.len() * DIMS)?;
        }
        Ok(found)
    }
}

const SAMPLES: usize = 61;
const CLASSES: usize = 40;

/// A batch of samples.
struct Batch {
    embeddings: wgpu::Buffer,
    sets: wgpu::Buffer,
}

impl Batch {
    fn embeddings(&self, samples: &Range<usize>) -> Tensor<'_> {
        Tensor::matrix(&self.embeddings, DType::F32, samples.len(), DIMS)
            .with_offset((samples.start * DIMS) as u64)
    }

    fn labels(&self, samples: &Range<usize>) -> Targets<Tensor<'_>> {
        let words = CLASSES.div_ceil(32);
        let sets = Tensor::matrix(&self.sets, DType::U32, samples.len(), words);
        Targets::Bits(sets.with_offset((samples.start * words) as u64))
    }
}

/// Anchors on three devices, one of which has none, among the keys of all: by `self_offset`, with the count of all devices, and
/// the gradients to keys added up, what one device has of the whole batch.
fn anchors(gpu: &Gpu) -> Result<(), Failed> {
    let mut rng = Rng(16);
    let values: Vec<f32> = (0..SAMPLES * DIMS).map(|_| rng.normal() as f32).collect();
    let mut set = |label: usize| u32::from(label < CLASSES && rng.chance(0.05));
    let words = SAMPLES * CLASSES.div_ceil(32);
    let sets: Vec<u32> = (0..words)
        .map(|word| (0..32).fold(0, |all, bit| all | set(word % 2 * 32 + bit) << bit))
        .collect();
    let batch = Batch {
        embeddings: gpu.upload(bytemuck::cast_slice(&values))?,
        sets: gpu.upload(bytemuck::cast_slice(&sets))?,
    };
    let devices = [0..20, 20..20, 20..SAMPLES];
    for loss in [
        Contrastive::sim_dis(),
        Contrastive::mul_sup_con(),
        Contrastive::jaccard(),
    ] {
        let mean = loss.with_reduction(ContrastiveReduction::MeanActive);
        let sum = loss.with_reduction(ContrastiveReduction::Sum);
        let whole_batch = 0..SAMPLES;
        let one = std::slice::from_ref(&whole_batch);
        let (whole_sum, _) = on_devices(gpu, &sum, &batch, one, None)?;
        let (whole, expected) = on_devices(gpu, &mean, &batch, one, None)?;
        let count = (whole_sum / whole).round();
        assert!(
            count > 30.0 && count < SAMPLES as f64,
            "{count} anchors are active"
        );
        let (parts, found) = on_devices(gpu, &mean, &batch, &devices, Some(count as f32))?;
        assert!(
            (parts - whole).abs() < 2e-6 * whole,
            "{parts} of all is {whole}"
        );
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let off = (found - expected).abs();
            assert!(
                off < 2e-6,
                "gradient {i}: {found} where {expected} is expected"
            );
        }
    }
    Ok(())
}

/// The sum of the losses of devices that have some anchors each, and the gradient to all samples.
fn on_devices(
    gpu: &Gpu,
    loss: &Contrastive,
    batch: &Batch,
    devices: &[Range<usize>],
    count: Option<f32>,
) -> Result<(f64, Vec<f64>), Failed> {
    let all = 0..SAMPLES;
    let losses = gpu.zeros(4 * devices.len() as u64)?;
    let gradients = gpu.upload(bytemuck::cast_slice(&[0.0_f32; SAMPLES * DIMS]))?;
    let count = count
        .map(|count| gpu.upload(bytemuck::bytes_of(&count)))
        .transpose()?;
    let settings: Vec<Setting<'_>> = count
        .iter()
        .map(|count| Setting {
            name: "count",
            value: Tensor::vector(count, DType::F32, 1),
        })
        .collect();
    let gradient = |samples: &Range<usize>| {
        let to = Tensor::matrix(&gradients, DType::F32, samples.len(), DIMS);
        Some(Gradient::AddTo(
            to.with_offset((samples.start * DIMS) as u64),
        ))
    };
    for (i, own) in devices.iter().enumerate() {
        let mut inputs = ContrastiveInputs::new(batch.embeddings(own), CLASSES, batch.labels(own));
        inputs.settings = &settings;
        let loss_of = Tensor::vector(&losses, DType::F32, 1).with_offset(i as u64);
        let mut outputs = ContrastiveOutputs {
            loss: Some(loss_of),
            grad_embeddings: gradient(own),
            ..ContrastiveOutputs::default()
        };
        if devices.len() > 1 {
            inputs.keys = Some(Keys {
                embeddings: batch.embeddings(&all),
                labels: batch.labels(&all),
            });
            inputs.self_offset = Some(own.start as u32);
            // Two gradients of a call go to memory of their own: those to keys in a call more.
            outputs.loss = None;
            outputs.grad_embeddings = None;
            outputs.grad_keys = gradient(&all);
            gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
            outputs = ContrastiveOutputs {
                loss: Some(loss_of),
                grad_embeddings: gradient(own),
                ..ContrastiveOutputs::default()
            };
        }
        gpu.run(&[&loss.prepare(gpu.context(), &inputs, &outputs)?])?;
    }
    let get = |buffer: &wgpu::Buffer, count: usize| -> Result<Vec<f64>, Failed> {
        let bytes = gpu.download(buffer, 4 * count as u64)?;
        let values = bytemuck::pod_collect_to_vec::<u8, f32>(&bytes);
        Ok(values.into_iter().map(f64::from).collect())
    };
    let losses = get(&losses, devices.len())?;
    Ok((losses.iter().sum(), get(&gradients, SAMPLES * DIMS)?))
}

/// Every contrastive loss whose sums over keys come together from parts.
fn keys(gpu: &Gpu) -> Result<(), Failed> {
    run(gpu, &check::sharded_contrastive(Depth::Every))
}

/// Anchors and keys on three devices, one of which has none, where each meets the keys of one device after the other: against one
/// device with all of them. In between go the numbers of keys with each label, and of active anchors. Twice, for the same bits.
fn blocks(gpu: &Gpu) -> Result<(), Failed> {
    let mut rng = Rng(17);
    let mut values = || -> Vec<f32> { (0..SAMPLES * DIMS).map(|_| rng.normal() as f32).collect() };
    let (own, others) = (values(), values());
    let mut set = |label: usize| u32::from(label < CLASSES && rng.chance(0.05));
    let words = SAMPLES * CLASSES.div_ceil(32);
    let sets: Vec<u32> = (0..words)
        .map(|word| (0..32).fold(0, |all, bit| all | set(word % 2 * 32 + bit) << bit))
        .collect();
    let batch = |values: &[f32]| -> Result<Batch, Failed> {
        Ok(Batch {
            embeddings: gpu.upload(bytemuck::cast_slice(values))?,
            sets: gpu.upload(bytemuck::cast_slice(&sets))?,
        })
    };
    let (own, others) = (batch(&own)?, batch(&others)?);
    for (loss, keys) in [
        (Contrastive::sim_dis(), &own),
        (Contrastive::mul_sup_con(), &own),
        (Contrastive::mul_sup_con_sum(), &own),
        (Contrastive::jaccard(), &own),
        (
            Contrastive::sup_con_any().with_denominator(Denominator::Negatives),
            &own,
        ),
        (Contrastive::sup_con_any(), &others),
        (Contrastive::info_nce(), &others),
        (Contrastive::sig_lip().with_bias(-1.0), &others),
    ] {
        let met = Met {
            loss,
            own: &own,
            keys,
        };
        let whole = 0..SAMPLES;
        let expected = met.on_devices(gpu, std::slice::from_ref(&whole))?;
        let devices = [0..20, 20..20, 20..SAMPLES];
        let found = met.on_devices(gpu, &devices)?;
        if found != met.on_devices(gpu, &devices)? {
            return Err(format!("{loss:?}: other bits the second time").into());
        }
        assert!(expected[0] > 0.0, "{loss:?}: a loss of {}", expected[0]);
        let size = |values: &[f32]| values.iter().fold(1e-3_f32, |most, v| most.max(v.abs()));
        for (i, (found, whole)) in found.iter().zip(&expected).enumerate() {
            let scale = if i < NUMBERS {
                whole.abs()
            } else {
                size(&expected[NUMBERS..])
            };
            let off = (found - whole).abs();
            assert!(
                off <= 1e-5 * scale,
                "{loss:?}: number {i} is {found}, of all {whole}"
            );
        }
    }
    Ok(())
}

/// Loss, gradient to the temperature, and what the mean is over.
const NUMBERS: usize = 3;

/// Anchors and keys that meet.
struct Met<'a> {
    loss: Contrastive,
    own: &'a Batch,
    keys: &'a Batch,
}

impl Met<'_> {
    /// The numbers of all devices together, then the gradients to all anchors and to all keys.
    fn on_devices(&self, gpu: &Gpu, devices: &[Range<usize>]) -> Result<Vec<f32>, Failed> {
        let cx = gpu.context();
        let words = self.loss.accumulator()?.words;
        let label_counts = self.label_counts(gpu, devices)?;
        let none = vec![0.0_f32; SAMPLES * DIMS];
        let to_own = gpu.upload(bytemuck::cast_slice(&none))?;
        let to_keys = gpu.upload(bytemuck::cast_slice(&none))?;
        let count = gpu.zeros(4)?;
        let paired = self.loss.weighting == Weighting::Paired;
        let by_label = matches!(self.loss.weighting, Weighting::MulSupCon { .. });
        let inputs = |own: &Range<usize>, keys: &Range<usize>| ContrastiveInputs {
            keys: Some(Keys {
                embeddings: self.keys.embeddings(keys),
                labels: self.keys.labels(keys),
            }),
            self_offset: (paired || std::ptr::eq(self.own, self.keys))
                .then(|| (own.start as u32).wrapping_sub(keys.start as u32)),
            label_counts: (by_label && devices.len() > 1)
                .then(|| Tensor::vector(&label_counts, DType::U32, CLASSES)),
            ..ContrastiveInputs::new(self.own.embeddings(own), CLASSES, self.own.labels(own))
        };
        // Sums by the keys of each device, and what the mean of each is over.
        let mut counted = 0.0;
        let mut sums = Vec::new();
        for own in devices {
            let all = gpu.zeros(4 * (devices.len() * own.len() * words) as u64)?;
            for (i, keys) in devices.iter().enumerate() {
                let of_device = Tensor::matrix(&all, DType::F32, own.len(), words)
                    .with_offset((i * own.len() * words) as u64);
                if devices.len() > 1 {
                    let partial = (self.loss).prepare_partial(cx, &inputs(own, keys), of_device)?;
                    gpu.run(&[&partial])?;
                }
            }
            let outputs = ContrastiveOutputs {
                count: Some(Tensor::vector(&count, DType::F32, 1)),
                ..ContrastiveOutputs::default()
            };
            let met = Tensor::matrix(&all, DType::F32, devices.len(), own.len() * words);
            let inputs = inputs(own, &devices[0]);
            let merged = self.second(gpu, &inputs, met, &outputs)?;
            gpu.run(&[&merged])?;
            counted += read(gpu, &count, 1)?[0];
            sums.push(all);
        }
        let count = gpu.upload(bytemuck::bytes_of(&counted))?;
        let settings = [Setting {
            name: "count",
            value: Tensor::vector(&count, DType::F32, 1),
        }];
        let mut numbers = [0.0, 0.0, counted];
        for (own, all) in devices.iter().zip(&sums) {
            let met = Tensor::matrix(all, DType::F32, devices.len(), own.len() * words);
            for (i, keys) in devices.iter().enumerate() {
                let of = |buffer, rows: &Range<usize>| {
                    let to = Tensor::matrix(buffer, DType::F32, rows.len(), DIMS);
                    Some(Gradient::AddTo(to.with_offset((rows.start * DIMS) as u64)))
                };
                let found = gpu.upload(bytemuck::cast_slice(&[f32::NAN; 2]))?;
                let one = |i| Tensor::vector(&found, DType::F32, 1).with_offset(i);
                let outputs = ContrastiveOutputs {
                    loss: Some(one(0)),
                    grad_temperature: Some(one(1).into()),
                    grad_embeddings: of(&to_own, own),
                    grad_keys: of(&to_keys, keys),
                    ..ContrastiveOutputs::default()
                };
                let inputs = ContrastiveInputs {
                    settings: &settings,
                    ..inputs(own, keys)
                };
                let merged = self.second(gpu, &inputs, met, &outputs)?;
                gpu.run(&[&merged])?;
                // The same whichever keys there are.
                let found = read(gpu, &found, 2)?;
                if i == 0 {
                    numbers[0] += found[0];
                    numbers[1] += found[1];
                }
            }
        }
        let gradients = [
            read(gpu, &to_own, none.len())?,
            read(gpu, &to_keys, none.len())?,
        ];
        Ok([&numbers[..], &gradients[0], &gradients[1]].concat())
    }

    /// The second half, of which one device is the whole.
    fn second(
        &self,
        gpu: &Gpu,
        inputs: &ContrastiveInputs<'_>,
        met: Tensor<'_>,
        outputs: &ContrastiveOutputs<'_>,
    ) -> Result<Prepared, Failed> {
        let cx = gpu.context();
        Ok(match met.rows() {
            1 => self.loss.prepare(cx, inputs, outputs)?,
            _ => self.loss.prepare_merged(cx, inputs, met, outputs)?,
        })
    }

    /// How many keys have each label, counted on each device and added up.
    fn label_counts(&self, gpu: &Gpu, devices: &[Range<usize>]) -> Result<wgpu::Buffer, Failed> {
        let mut sums = vec![0_u32; CLASSES];
        for keys in devices {
            let counts = gpu.upload(bytemuck::cast_slice(&[u32::MAX; CLASSES + 1]))?;
            let inputs = LabelCountInputs {
                rows: keys.len(),
                classes: CLASSES,
                labels: self.keys.labels(keys),
                row_mask: None,
            };
            let outputs = LabelCountOutputs {
                counts: Tensor::vector(&counts, DType::U32, CLASSES),
            };
            gpu.run(&[&LabelCounts.prepare(gpu.context(), &inputs, &outputs)?])?;
            let found = gpu.download(&counts, 4 * (CLASSES as u64 + 1))?;
            let found = bytemuck::pod_collect_to_vec::<u8, u32>(&found);
            assert_eq!(found[CLASSES], u32::MAX, "a word behind the counts");
            for (sum, count) in sums.iter_mut().zip(found) {
                *sum += count;
            }
        }
        Ok(gpu.upload(bytemuck::cast_slice(&sums))?)
    }
}

fn read(gpu: &Gpu, buffer: &wgpu::Buffer, count: usize) -> Result<Vec<f32>, Failed> {
    let bytes = gpu.download(buffer, 4 * count as u64)?;
    Ok(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes))
}
