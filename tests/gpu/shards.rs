//! Labels or keys in shards, each with its two halves of a call, as on several devices.

use crate::Test;
use crate::regimes::narrow;
use crate::table::run;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::ops::Range;
use wgloss::check::{self, Depth, HcalCase, HcalMode, Outcome, Rng, ShardedHcal, ShardedRows};
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::{
    AnyLoss, Bce, Contrastive, ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType,
    Denominator, Gradient, Hcal, HcalInputs, HcalOutputs, HcalSums, Keys, LabelCountInputs,
    LabelCountOutputs, LabelCounts, Levels, Linear, LinearInputs, LinearOutputs, Noise, Prepared,
    Reduction, Seed, Setting, Targets, Tensor, Update, Zlpr, reference, wgpu,
};

pub const TESTS: &[Test] = &[
    ("shards/every_loss", every_loss),
    ("shards/last_layers", last_layers),
    ("shards/samples_of_each_device", samples),
    ("shards/sums_added_on_the_host", sums_on_the_host),
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
    // Sums and their copies in windows of classes.
    let small = narrow(gpu, 64 << 10)?;
    let mut windows = Vec::new();
    for (i, mode) in [(0, HcalMode::Losses), (1, HcalMode::Prototypes)] {
        let case = HcalCase {
            mode,
            samples: 60,
            dim: 128,
            classes: &[40, 127],
            missing: 0.1,
            ..cases[i].case
        };
        windows.extend(ShardedHcal::of(i, case));
    }
    run(&small, &windows)?;
    for case in cases.iter().step_by(9) {
        match check::run_twice(gpu, case)? {
            Outcome::Passed(_) => {}
            Outcome::Failed(message) => return Err(format!("{case}: {message}").into()),
        }
    }
    Ok(())
}

const LEVELS: [usize; 3] = [9, 6, 4];
const FEATURES: usize = 23;
const WIDTH: usize = 5;
/// Samples of each device: the third has none.
const DEVICES: [Range<usize>; 4] = [0..7, 7..8, 8..8, 8..FEATURES];

/// A batch of HCAL over four devices, whose sums are added up in f32 on the host, among guard words: losses and gradients are the
/// reference's; a NaN among features makes NaN of what depends on it where it counts, and changes no bit where it does not.
fn sums_on_the_host(gpu: &Gpu) -> Result<(), Failed> {
    let mut rng = Rng(17);
    let parents: Vec<Vec<u32>> = (0..2)
        .map(|k| {
            (0..LEVELS[k])
                .map(|_| rng.below(LEVELS[k + 1]) as u32)
                .collect()
        })
        .collect();
    let levels = Levels::new(&LEVELS, &[&parents[0], &parents[1]])?;
    let mut normal =
        |count: usize| -> Vec<f32> { (0..count).map(|_| rng.normal() as f32).collect() };
    let prototypes = LEVELS.map(|classes| normal(classes * WIDTH));
    let features = normal(FEATURES * WIDTH);
    let mut labels = vec![Levels::NONE; LEVELS.len() * FEATURES];
    for i in 0..FEATURES {
        // Sample 3 has no label; a class of the finest level beyond the seventh has no sample.
        if i == 3 {
            continue;
        }
        let mut class = rng.below(7);
        for k in 0..LEVELS.len() {
            if !rng.chance(0.2) {
                labels[k * FEATURES + i] = class as u32;
            }
            class = parents.get(k).map_or(0, |parents| parents[class] as usize);
        }
    }
    // The last counts at the second level alone, with a label beyond the classes at the third.
    labels[FEATURES - 1] = Levels::NONE;
    labels[2 * FEATURES - 1] = 1;
    labels[3 * FEATURES - 1] = 77;
    let mut batch = Spread {
        levels: &levels,
        prototypes: &prototypes,
        features,
        labels,
    };
    let found = batch.on_devices(gpu)?;
    assert!(
        found == batch.on_devices(gpu)?,
        "other bits at a second run"
    );
    let real = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
    let wide = prototypes.each_ref().map(|values| real(values));
    let known = |label: &u32| if *label == 77 { Levels::NONE } else { *label };
    let truth = reference::hcal(
        &Hcal::default(),
        &levels,
        &reference::HcalInputs {
            samples: FEATURES,
            dim: WIDTH,
            features: &real(&batch.features),
            prototypes: &wide.each_ref().map(|values| &values[..]),
            labels: &batch.labels.iter().map(known).collect::<Vec<u32>>(),
            noise: Some(Noise::Seeded(5)),
            ..reference::HcalInputs::default()
        },
    )?;
    let expected = [
        truth.losses,
        truth.weights,
        vec![truth.loss],
        truth.grad_features,
        truth.grad_prototypes.concat(),
    ]
    .concat();
    assert_eq!(found.len(), expected.len());
    for (i, (bits, expected)) in found.iter().zip(&expected).enumerate() {
        let found = f64::from(f32::from_bits(*bits));
        let off = (found - expected).abs();
        assert!(
            off <= 3e-6 * expected.abs().max(1.0),
            "number {i}: {found} where {expected} is expected"
        );
    }
    let plain = batch.features.clone();
    batch.features[3 * WIDTH + 1] = f32::NAN;
    assert!(
        found == batch.on_devices(gpu)?,
        "what counts for nothing counts"
    );
    batch.features = plain;
    batch.features[(FEATURES - 1) * WIDTH] = f32::NAN;
    let bad = batch.on_devices(gpu)?;
    let nan: Vec<bool> = bad
        .iter()
        .map(|bits| f32::from_bits(*bits).is_nan())
        .collect();
    // The loss of the second level, and by the balance all weights.
    assert_eq!(nan[..7], [false, true, false, true, true, true, true]);
    Ok(())
}

/// A tensor behind a guard word.
fn at(buffer: &wgpu::Buffer, rows: usize, cols: usize) -> Tensor<'_> {
    Tensor::matrix(buffer, DType::F32, rows, cols).with_offset(1)
}

/// A batch of HCAL.
struct Spread<'a> {
    levels: &'a Levels,
    prototypes: &'a [Vec<f32>; 3],
    features: Vec<f32>,
    labels: Vec<u32>,
}

impl Spread<'_> {
    /// Losses, weights, their sum, gradients to features and to prototypes, as bits; the same on all devices what is to be.
    fn on_devices(&self, gpu: &Gpu) -> Result<Vec<u32>, Failed> {
        const GUARD: u32 = 0x1234_5678;
        let (cx, config, m) = (gpu.context(), Hcal::default(), LEVELS.len());
        let len = Hcal::sums_len(self.levels, WIDTH);
        // A tensor behind a guard word and before another.
        let guarded = |values: &[u32]| -> Result<wgpu::Buffer, Failed> {
            let all = [&[GUARD][..], values, &[GUARD]].concat();
            Ok(gpu.upload(bytemuck::cast_slice(&all))?)
        };
        let nan = |count: usize| guarded(&vec![f32::NAN.to_bits(); count]);
        let get = |buffer: &wgpu::Buffer, count: usize| -> Result<Vec<u32>, Failed> {
            let all: Vec<u32> =
                bytemuck::pod_collect_to_vec(&gpu.download(buffer, 4 * (count as u64 + 2))?);
            assert!(all[0] == GUARD && all[count + 1] == GUARD, "a guard word");
            Ok(all[1..=count].to_vec())
        };
        // As a collective operation does it.
        let add = |sum: &mut [f32], part: &[u32]| {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += f32::from_bits(*part);
            }
        };
        let features = gpu.upload(bytemuck::cast_slice(&self.features))?;
        let labels = gpu.upload(bytemuck::cast_slice(&self.labels))?;
        let words = gpu.upload(bytemuck::cast_slice(&self.levels.words()))?;
        let seed = gpu.upload(bytemuck::cast_slice(&[5_u32, 0]))?;
        let mut buffers = Vec::new();
        for values in self.prototypes {
            buffers.push(gpu.upload(bytemuck::cast_slice(values))?);
        }
        let prototypes: Vec<Tensor<'_>> = buffers
            .iter()
            .zip(LEVELS)
            .map(|(buffer, classes)| Tensor::matrix(buffer, DType::F32, classes, WIDTH))
            .collect();
        let inputs = |own: &Range<usize>| -> Result<HcalInputs<'_>, Failed> {
            let all = Tensor::matrix(&features, DType::F32, FEATURES, WIDTH);
            let labels = Tensor::matrix(&labels, DType::U32, m, FEATURES);
            let words = Tensor::vector(&words, DType::U32, self.levels.words_len());
            let seed = Seed::fixed(Tensor::vector(&seed, DType::U32, 2));
            Ok(HcalInputs {
                features: all.of_rows(own.start, own.len()),
                prototypes: &prototypes,
                labels: Some(labels.of_cols(own.start, own.len())),
                levels: self.levels.on_device(words)?,
                noise: Some(Noise::Seeded(seed)),
                balance: None,
                grad_loss: None,
                settings: &[],
            })
        };
        let mut sums = vec![0.0_f32; len];
        for own in &DEVICES {
            let to = nan(len)?;
            let call = config.prepare_partial(cx, &inputs(own)?, at(&to, 1, len).into())?;
            gpu.run(&[&call])?;
            add(&mut sums, &get(&to, len)?);
        }
        let sums = guarded(bytemuck::cast_slice(&sums))?;
        let mut met = HcalSums {
            sums: at(&sums, 1, len),
            losses: None,
        };
        let mut losses = vec![0.0_f32; m];
        for own in &DEVICES {
            let to = nan(m)?;
            let outputs = HcalOutputs {
                losses: Some(at(&to, 1, m)),
                ..HcalOutputs::default()
            };
            let call = config.prepare_merged(cx, &inputs(own)?, &met, &outputs)?;
            gpu.run(&[&call])?;
            let found = get(&to, m)?;
            add(&mut losses[..1], &found);
            losses[1..].copy_from_slice(bytemuck::cast_slice(&found[1..]));
        }
        let all_losses = guarded(bytemuck::cast_slice(&losses))?;
        met.losses = Some(at(&all_losses, 1, m));
        let mut same: Option<Vec<u32>> = None;
        let mut to_features = Vec::new();
        let mut first = vec![0.0_f32; LEVELS[0] * WIDTH];
        for own in &DEVICES {
            let (weights, loss) = (nan(m)?, nan(1)?);
            let grad = nan(own.len() * WIDTH)?;
            let mut grads = Vec::new();
            for classes in LEVELS {
                grads.push(nan(classes * WIDTH)?);
            }
            let to = |(buffer, classes)| Gradient::To(at(buffer, classes, WIDTH));
            let to_prototypes: Vec<Gradient<'_>> = grads.iter().zip(LEVELS).map(to).collect();
            let outputs = HcalOutputs {
                weights: Some(at(&weights, 1, m)),
                loss: Some(at(&loss, 1, 1)),
                grad_features: Some(at(&grad, own.len(), WIDTH).into()),
                grad_prototypes: Some(&to_prototypes),
                ..HcalOutputs::default()
            };
            let call = config.prepare_merged(cx, &inputs(own)?, &met, &outputs)?;
            gpu.run(&[&call])?;
            to_features.extend(get(&grad, own.len() * WIDTH)?);
            add(&mut first, &get(&grads[0], LEVELS[0] * WIDTH)?);
            let mut whole = [get(&weights, m)?, get(&loss, 1)?].concat();
            for (buffer, classes) in grads.iter().zip(LEVELS).skip(1) {
                whole.extend(get(buffer, classes * WIDTH)?);
            }
            let before = same.get_or_insert_with(|| whole.clone());
            assert!(*before == whole, "what is the same on all devices differs");
        }
        let same = same.unwrap_or_default();
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
        let mut all = bits(&losses);
        all.extend(&same[..=m]);
        all.extend(to_features);
        all.extend(bits(&first));
        all.extend(&same[m + 1..]);
        Ok(all)
    }
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
