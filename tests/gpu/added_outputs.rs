//! Gradients that are added to what is there: every output that has some, of every family. What is found has to be what
//! was there and the gradient that the same call gives alone, once for each run.

use crate::Test;
use crate::regimes::narrow;
use half::{bf16, f16};
use libtest_mimic::Failed;
use wgloss::host::Gpu;
use wgloss::losses::wdl::{PairWeights, Phi};
use wgloss::{
    AnyLoss, Balance, BalanceInputs, BalanceOutputs, BalanceState, Bce, Contrastive,
    ContrastiveInputs, ContrastiveOutputs, ContrastiveReduction, DType, Denominator, Error,
    Gradient, Hcal, HcalInputs, HcalOutputs, Hierarchy, Keys, Levels, Mcm, McmInputs, McmOutputs,
    Noise, Prepared, Reduction, RowInputs, RowOutputs, Rowwise, Setting, SoftmaxCe, Targets,
    Tensor, Threshold, Wdl, Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[
    ("added/gradients_to_targets", targets),
    ("added/gradients_to_thresholds", thresholds),
    ("added/gradients_of_wdl", wdl),
    ("added/gradients_of_contrastive_losses", contrastive),
    ("added/gradients_of_hcal", hcal),
    ("added/gradients_of_the_constraint_module", mcm),
    ("added/gradients_of_balances", balances),
    ("added/once_in_windows", windows),
];

/// A gradient that is added to what is there.
#[derive(Clone, Copy, Debug)]
struct Output {
    name: &'static str,
    dtype: DType,
    rows: usize,
    cols: usize,
    /// Whether a step of its own adds it. A kernel that makes it too may join its last product and the sum.
    apart: bool,
}

impl Output {
    fn joined(name: &'static str, rows: usize, cols: usize) -> Output {
        Output {
            name,
            dtype: DType::F32,
            rows,
            cols,
            apart: false,
        }
    }

    fn apart(name: &'static str, rows: usize, cols: usize) -> Output {
        Output {
            apart: true,
            ..Output::joined(name, rows, cols)
        }
    }
}

/// Makes the call with gradients going where it is told, in the order of the outputs.
type Prepare<'c> = &'c dyn Fn(&Gpu, &[Gradient<'_>]) -> Result<Prepared, Error>;

fn number(i: usize, by: usize) -> f32 {
    ((i * by + 17) % 1009) as f32 / 100.0 - 5.0
}

fn numbers(len: usize, by: usize) -> Vec<f32> {
    (0..len).map(|i| number(i, by)).collect()
}

/// Values in a buffer, in a type.
fn put(gpu: &Gpu, dtype: DType, values: &[f32]) -> Result<wgpu::Buffer, Error> {
    let bytes: Vec<u8> = match dtype {
        DType::U8 => values.iter().map(|v| u8::from(*v > 0.5)).collect(),
        _ => values.iter().flat_map(|v| encode(dtype, *v)).collect(),
    };
    gpu.upload(&bytes)
}

fn encode(dtype: DType, value: f32) -> Vec<u8> {
    match dtype {
        DType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        DType::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> f32 {
    match dtype {
        DType::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        DType::Bf16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}

/// Where an output lies in its buffer: elements before it, and behind each row.
#[derive(Clone, Copy, Debug)]
struct Place {
    before: usize,
    gap: usize,
}

impl Place {
    fn at(self, output: &Output, i: usize) -> usize {
        self.before + i / output.cols * (output.cols + self.gap) + i % output.cols
    }

    /// Elements of the buffer, some of them behind the output.
    fn elements(self, output: &Output) -> usize {
        self.before + output.rows * (output.cols + self.gap) + 8
    }

    fn tensor<'a>(self, output: &Output, dtype: DType, buffer: &'a wgpu::Buffer) -> Tensor<'a> {
        Tensor::matrix(buffer, dtype, output.rows, output.cols)
            .with_offset(self.before as u64)
            .with_row_stride(output.cols + self.gap)
    }
}

/// What the buffers of the outputs hold before: numbers, many a -0, of which some meet a gradient of 0, and a NaN.
fn before(output: &Output, place: Place) -> Vec<u8> {
    let dtype = output.dtype;
    let one = |i| match i % 4 {
        1 => -0.0,
        _ => 0.01 * number(i, 7727),
    };
    let mut all: Vec<f32> = (0..place.elements(output)).map(one).collect();
    let len = output.rows * output.cols;
    if len > 3 {
        all[place.at(output, len / 2)] = f32::NAN;
    }
    all.iter().flat_map(|v| encode(dtype, *v)).collect()
}

/// Runs a call with its outputs among other numbers, whole vectors and not.
fn check(gpu: &Gpu, what: &str, outputs: &[Output], prepare: Prepare<'_>) -> Result<(), Failed> {
    for place in [
        Place { before: 0, gap: 0 },
        Place { before: 3, gap: 3 },
        Place { before: 8, gap: 8 },
    ] {
        check_at(gpu, place, outputs, prepare)
            .map_err(|error| format!("{what}, {place:?}: {}", error.message().unwrap_or("")))?;
    }
    Ok(())
}

fn check_at(
    gpu: &Gpu,
    place: Place,
    outputs: &[Output],
    prepare: Prepare<'_>,
) -> Result<(), Failed> {
    let run = |times: usize| -> Result<Vec<Vec<u8>>, Failed> {
        let mut buffers = Vec::new();
        for output in outputs {
            // A whole word, whose other half is looked at too.
            let mut bytes = before(output, place);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            buffers.push(gpu.upload(&bytes)?);
        }
        let tensor = |(output, buffer): (&Output, _)| place.tensor(output, output.dtype, buffer);
        let tensors = outputs.iter().zip(&buffers).map(tensor);
        let to: Vec<Gradient<'_>> = tensors.map(Gradient::AddTo).collect();
        let call = prepare(gpu, &to)?;
        gpu.run(&vec![&call; times])?;
        let read = |buffer: &wgpu::Buffer| gpu.download(buffer, buffer.size());
        Ok(buffers.iter().map(read).collect::<Result<_, _>>()?)
    };
    let mut alone = Vec::new();
    for output in outputs {
        alone.push(gpu.zeros(4 * (output.rows * output.cols) as u64)?);
    }
    let tensors = outputs.iter().zip(&alone);
    let to: Vec<Gradient<'_>> = tensors
        .map(|(o, buffer)| Tensor::matrix(buffer, DType::F32, o.rows, o.cols).into())
        .collect();
    gpu.run(&[&prepare(gpu, &to)?])?;

    let (once, twice) = (run(1)?, run(2)?);
    if run(1)? != once {
        return Err("another run has other bits".into());
    }
    for (i, output) in outputs.iter().enumerate() {
        let len = output.rows * output.cols;
        let alone = gpu.download(&alone[i], 4 * len as u64)?;
        let alone: Vec<f32> = bytemuck::pod_collect_to_vec(&alone);
        if alone.iter().all(|grad| *grad == 0.0) {
            return Err(format!("{}: nothing to add", output.name).into());
        }
        for (found, times) in [(&once[i], 1), (&twice[i], 2)] {
            compare(output, place, &alone, found, times)?;
        }
    }
    Ok(())
}

/// Compares the bytes of an output that a gradient was added to some times.
fn compare(
    output: &Output,
    place: Place,
    alone: &[f32],
    found: &[u8],
    times: usize,
) -> Result<(), Failed> {
    let dtype = output.dtype;
    let size = dtype.size() as usize;
    let before = before(output, place);
    let mut grads = vec![None; place.elements(output)];
    for (i, grad) in alone.iter().enumerate() {
        grads[place.at(output, i)] = Some(*grad);
    }
    // Of one sum.
    let places = match (dtype, output.apart) {
        (DType::F16, _) => 1e-3,
        (DType::Bf16, _) => 8e-3,
        (_, true) => 0.0,
        _ => 2.4e-7,
    };
    let pairs = before.chunks(size).zip(found.chunks(size));
    for (i, ((was, is), grad)) in pairs.zip(&grads).enumerate() {
        let same = match grad {
            None | Some(0.0) => was == is,
            Some(grad) => {
                let (was, is) = (decode(dtype, was), decode(dtype, is));
                let (mut sum, mut most) = (was, 0.0);
                for _ in 0..times {
                    most += sum.abs() + grad.abs();
                    sum = decode(dtype, &encode(dtype, sum + grad));
                }
                is.is_nan() && sum.is_nan() || (is - sum).abs() <= places * most
            }
        };
        if !same {
            let (was, is) = (decode(dtype, was), decode(dtype, is));
            let what = format!("{} {dtype} {times} times", output.name);
            return Err(format!("{what}: {is} at {i}, was {was}, and {grad:?}").into());
        }
    }
    Ok(())
}

/// A batch of rows on the device.
struct Batch {
    rows: usize,
    cols: usize,
    dtype: DType,
    logits: wgpu::Buffer,
    soft: wgpu::Buffer,
    hard: wgpu::Buffer,
    mask: wgpu::Buffer,
    /// Small numbers for everything else.
    more: wgpu::Buffer,
    /// A gradient to the logits that nobody looks at.
    spare: wgpu::Buffer,
}

impl Batch {
    fn new(gpu: &Gpu, rows: usize, cols: usize, dtype: DType) -> Result<Batch, Error> {
        let n = rows * cols;
        let flags = |by: usize| -> Vec<f32> {
            (0..n)
                .map(|i| f32::from(u8::from(i * 31 % by < 3)))
                .collect()
        };
        let soft: Vec<f32> = numbers(n, 271).iter().map(|v| v.abs() / 5.1).collect();
        let mask: Vec<f32> = flags(11).iter().map(|v| 1.0 - v).collect();
        Ok(Batch {
            rows,
            cols,
            dtype,
            logits: put(gpu, dtype, &numbers(n, 7919))?,
            soft: put(gpu, dtype, &soft)?,
            hard: put(gpu, DType::U8, &flags(7))?,
            mask: put(gpu, DType::U8, &mask)?,
            more: put(gpu, DType::F32, &numbers(2 * (rows + cols), 433))?,
            spare: gpu.zeros(4 * n as u64)?,
        })
    }

    fn matrix<'a>(&self, buffer: &'a wgpu::Buffer, dtype: DType) -> Tensor<'a> {
        Tensor::matrix(buffer, dtype, self.rows, self.cols)
    }

    fn more(&self, len: usize) -> Tensor<'_> {
        Tensor::vector(&self.more, DType::F32, len)
    }

    fn inputs(&self, soft: bool, masked: bool) -> RowInputs<'_> {
        let targets = match soft {
            true => self.matrix(&self.soft, self.dtype),
            false => self.matrix(&self.hard, DType::U8),
        };
        RowInputs {
            mask: masked.then(|| self.matrix(&self.mask, DType::U8)),
            ..RowInputs::new(
                self.matrix(&self.logits, self.dtype),
                Targets::Dense(targets),
            )
        }
    }

    fn spare(&self) -> Option<Gradient<'_>> {
        Some(self.matrix(&self.spare, DType::F32).into())
    }
}

fn targets(gpu: &Gpu) -> Result<(), Failed> {
    let losses: [AnyLoss; 5] = [
        Zlpr::soft().into(),
        Bce::default().into(),
        SoftmaxCe::default().into(),
        Zlpr::kl_excess().into(),
        Wdl::pairs(PairWeights::RankOne).into(),
    ];
    // Rows that are done at once, of eight values a vector, that are split.
    for (rows, cols, dtype, most) in [
        (7, 64, DType::F32, 5),
        (5, 33, DType::F32, 1),
        (4, 48, DType::Bf16, 2),
        (2, 33_004, DType::F32, 2),
    ] {
        let batch = Batch::new(gpu, rows, cols, dtype)?;
        for (i, loss) in losses[..most].iter().enumerate() {
            let inputs = batch.inputs(true, i % 2 == 0);
            let outputs = [Output::joined("grad_targets", rows, cols)];
            let what = format!("{loss:?} of {rows}x{cols} {dtype}");
            check(gpu, &what, &outputs, &|gpu, to| {
                let outputs = RowOutputs {
                    grad_logits: batch.spare(),
                    grad_targets: Some(to[0]),
                    ..RowOutputs::default()
                };
                loss.prepare(gpu.context(), &inputs, &outputs)
            })?;
        }
    }
    Ok(())
}

fn thresholds(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, cols) in [(9, 21), (2, 33_003)] {
        let batch = Batch::new(gpu, rows, cols, DType::F32)?;
        // The labels again as lists.
        let positive = |i: &usize| i * 31 % 7 < 3;
        let mut offsets = vec![0];
        let mut indices = Vec::new();
        for row in 0..rows {
            let all = row * cols..(row + 1) * cols;
            indices.extend(all.filter(positive).map(|i| (i % cols) as u32));
            offsets.push(indices.len() as u32);
        }
        let offsets = gpu.upload(bytemuck::cast_slice(&offsets))?;
        let list = gpu.upload(bytemuck::cast_slice(&indices))?;
        let lists = Targets::Sparse {
            offsets: Tensor::vector(&offsets, DType::U32, rows + 1),
            indices: Tensor::vector(&list, DType::U32, indices.len()),
        };
        for (threshold, reduction) in [
            (Threshold::Batch(batch.more(1)), Reduction::Mean),
            (Threshold::Row(batch.more(rows)), Reduction::None),
            (Threshold::Label(batch.more(cols)), Reduction::Sum),
        ] {
            let loss = Zlpr::hard().with_reduction(reduction);
            let inputs = RowInputs {
                threshold: Some(threshold),
                targets: lists,
                ..batch.inputs(false, true)
            };
            let outputs = [
                Output::apart("grad_threshold", 1, threshold.values().cols()),
                Output::joined("grad_logits", rows, cols),
            ];
            let what = format!("{threshold:?} of {rows}x{cols}, {reduction:?}");
            check(gpu, &what, &outputs, &|gpu, to| {
                let outputs = RowOutputs {
                    grad_threshold: Some(to[0]),
                    grad_logits: Some(to[1]),
                    ..RowOutputs::default()
                };
                loss.prepare(gpu.context(), &inputs, &outputs)
            })?;
        }
    }
    Ok(())
}

fn wdl(gpu: &Gpu) -> Result<(), Failed> {
    let (rows, cols) = (6, 37);
    let batch = Batch::new(gpu, rows, cols, DType::F32)?;
    for loss in [
        Wdl::pairs(PairWeights::Rank(2)),
        Wdl::pairs(PairWeights::Additive).with_phi(Phi::Abs),
        Wdl::adjacent().with_reduction(Reduction::Sum),
    ] {
        let order: Vec<u32> = (0..cols as u32).map(|i| i * 5 % cols as u32).collect();
        let order = gpu.upload(bytemuck::cast_slice(&order))?;
        let order = Tensor::vector(&order, DType::U32, cols);
        let adjacent = loss.form == wgloss::losses::wdl::Form::Adjacent;
        let (sets, len) = loss.theta_shape(cols);
        let inputs = RowInputs {
            permutation: adjacent.then_some(wgloss::Order::Batch(order)),
            theta: Some(Tensor::matrix(&batch.more, DType::F32, sets, len)),
            theta0: Some(batch.more(1)),
            ..batch.inputs(true, false)
        };
        let outputs = [
            Output::apart("grad_theta", sets, len),
            Output::apart("grad_theta0", 1, 1),
            Output::joined("grad_targets", rows, cols),
        ];
        check(gpu, &format!("{loss:?}"), &outputs, &|gpu, to| {
            let outputs = RowOutputs {
                grad_logits: batch.spare(),
                grad_theta: Some(to[0]),
                grad_theta0: Some(to[1]),
                grad_targets: Some(to[2]),
                ..RowOutputs::default()
            };
            loss.prepare(gpu.context(), &inputs, &outputs)
        })?;
    }
    Ok(())
}

fn contrastive(gpu: &Gpu) -> Result<(), Failed> {
    let (n, m, dims, classes) = (70, 41, 13, 12);
    let sets = |rows: usize| -> Vec<f32> {
        let one = |i: usize| f32::from(u8::from(i * 31 % 7 < 2));
        (0..rows * classes).map(one).collect()
    };
    let embeddings = put(gpu, DType::F16, &numbers(n * dims, 7919))?;
    let keys = put(gpu, DType::F16, &numbers(m * dims, 271))?;
    let labels = put(gpu, DType::U8, &sets(n))?;
    let more = put(gpu, DType::F32, &[0.25, 1.5])?;
    let mask: Vec<f32> = (0..n).map(|i| f32::from(u8::from(i % 9 != 4))).collect();
    let mask = put(gpu, DType::U8, &mask)?;
    let setting = [Setting {
        name: "temperature",
        value: Tensor::vector(&more, DType::F32, 1),
    }];
    for (config, others, live) in [
        (Contrastive::sim_dis(), true, true),
        (Contrastive::mul_sup_con().with_tile_bytes(0), false, false),
        (
            Contrastive::sup_con_any().with_reduction(ContrastiveReduction::None),
            false,
            true,
        ),
        (
            Contrastive::sup_con_any().with_denominator(Denominator::Sigmoid),
            true,
            true,
        ),
    ] {
        let of = |buffer, rows, cols, dtype| Tensor::matrix(buffer, dtype, rows, cols);
        let inputs = ContrastiveInputs {
            keys: others.then(|| Keys {
                embeddings: of(&keys, m, dims, DType::F16),
                labels: Targets::Dense(of(&labels, m, classes, DType::U8)),
            }),
            row_mask: Some(Tensor::vector(&mask, DType::U8, n)),
            settings: if live { &setting } else { &[] },
            ..ContrastiveInputs::new(
                of(&embeddings, n, dims, DType::F16),
                classes,
                Targets::Dense(of(&labels, n, classes, DType::U8)),
            )
        };
        let mut outputs = vec![
            Output::joined("grad_embeddings", n, dims),
            Output::apart("grad_temperature", 1, 1),
        ];
        if others {
            outputs.push(Output::joined("grad_keys", m, dims));
        }
        if config.denominator == Denominator::Sigmoid {
            outputs.push(Output::apart("grad_bias", 1, 1));
        }
        check(gpu, &format!("{config:?}"), &outputs, &|gpu, to| {
            let outputs = ContrastiveOutputs {
                grad_embeddings: Some(to[0]),
                grad_temperature: Some(to[1]),
                grad_keys: to.get(2).copied(),
                grad_bias: to.get(3).copied(),
                ..ContrastiveOutputs::default()
            };
            config.prepare(gpu.context(), &inputs, &outputs)
        })?;
    }
    Ok(())
}

fn hcal(gpu: &Gpu) -> Result<(), Failed> {
    let (samples, dim) = (11, 7);
    let levels = Levels::new(&[5, 3], &[&[0, 0, 1, 2, 2]])?;
    let features = put(gpu, DType::Bf16, &numbers(samples * dim, 7919))?;
    let first = put(gpu, DType::F32, &numbers(5 * dim, 271))?;
    let second = put(gpu, DType::F32, &numbers(3 * dim, 433))?;
    let noise: Vec<f32> = numbers(5 * dim, 577).iter().map(|v| 0.02 * v).collect();
    let noise = put(gpu, DType::F32, &noise)?;
    // One sample has no label.
    let fine: Vec<u32> = (0..samples as u32)
        .map(|i| if i == 4 { Levels::NONE } else { i * 3 % 5 })
        .collect();
    let parent = |class: &u32| [0, 0, 1, 2, 2].get(*class as usize).copied();
    let coarse: Vec<u32> = fine
        .iter()
        .map(|class| parent(class).unwrap_or(Levels::NONE))
        .collect();
    let labels = gpu.upload(bytemuck::cast_slice(&[fine, coarse].concat()))?;
    let words = gpu.upload(bytemuck::cast_slice(&levels.words()))?;
    let more = put(gpu, DType::F32, &[0.5, -0.25])?;
    let matrix = |buffer, rows| Tensor::matrix(buffer, DType::F32, rows, dim);
    let prototypes = [matrix(&first, 5), matrix(&second, 3)];
    let perturbation = [matrix(&noise, 5), matrix(&noise, 3)];
    for (balance, noisy) in [(Balance::Uncertainty, true), (Balance::default(), false)] {
        let uncertain = balance == Balance::Uncertainty;
        let state = Tensor::vector(&more, DType::F32, 2);
        let config = Hcal::default().with_balance(balance);
        let inputs = HcalInputs {
            features: Tensor::matrix(&features, DType::Bf16, samples, dim),
            prototypes: &prototypes,
            labels: Some(Tensor::matrix(&labels, DType::U32, 2, samples)),
            levels: levels.on_device(Tensor::vector(&words, DType::U32, levels.words_len()))?,
            noise: noisy.then_some(Noise::Given(&perturbation[..])),
            balance: uncertain.then_some(BalanceState::LogVariances(state)),
            grad_loss: None,
            settings: &[],
        };
        let mut outputs = vec![
            Output::apart("grad_features", samples, dim),
            Output::apart("grad_prototypes_1", 5, dim),
            Output::apart("grad_prototypes_2", 3, dim),
        ];
        if uncertain {
            outputs.push(Output::apart("grad_log_variances", 1, 2));
        }
        check(gpu, &format!("{config:?}"), &outputs, &|gpu, to| {
            let outputs = HcalOutputs {
                grad_features: Some(to[0]),
                grad_prototypes: Some(&to[1..3]),
                grad_log_variances: to.get(3).copied(),
                ..HcalOutputs::default()
            };
            config.prepare(gpu.context(), &inputs, &outputs)
        })?;
        // One level's is added, the other's replaces what is there.
        let buffer = gpu.zeros(4 * 3 * dim as u64)?;
        let replaced = Tensor::matrix(&buffer, DType::F32, 3, dim);
        let mixed = [Output::apart("grad_prototypes_1", 5, dim)];
        check(gpu, &format!("{config:?}, mixed"), &mixed, &|gpu, to| {
            let outputs = HcalOutputs {
                grad_prototypes: Some(&[to[0], replaced.into()]),
                ..HcalOutputs::default()
            };
            config.prepare(gpu.context(), &inputs, &outputs)
        })?;
    }
    Ok(())
}

fn mcm(gpu: &Gpu) -> Result<(), Failed> {
    let (rows, cols) = (6, 31);
    let edges: Vec<[u32; 2]> = (1..cols as u32).map(|i| [i, (i - 1) / 3]).collect();
    let hierarchy = Hierarchy::from_edges(cols, &edges)?;
    let words = gpu.upload(bytemuck::cast_slice(&hierarchy.words()))?;
    for (dtype, to, weighted) in [
        (DType::F32, DType::F32, false),
        (DType::F16, DType::F16, true),
        (DType::Bf16, DType::Bf16, false),
        (DType::F16, DType::F32, true),
    ] {
        let batch = Batch::new(gpu, rows, cols, dtype)?;
        let weights = put(gpu, DType::F32, &vec![0.5; cols])?;
        let inputs = McmInputs {
            targets: Some(Targets::Dense(batch.matrix(&batch.hard, DType::U8))),
            mask: weighted.then(|| batch.matrix(&batch.mask, DType::U8)),
            class_weight: weighted.then(|| Tensor::vector(&weights, DType::F32, cols)),
            ..McmInputs::new(
                batch.matrix(&batch.logits, dtype),
                hierarchy.on_device(Tensor::vector(&words, DType::U32, hierarchy.words_len()))?,
            )
        };
        let outputs = [Output {
            dtype: to,
            ..Output::joined("grad_logits", rows, cols)
        }];
        check(gpu, &format!("{dtype} to {to}"), &outputs, &|gpu, to| {
            let outputs = McmOutputs {
                grad_logits: Some(to[0]),
                ..McmOutputs::default()
            };
            Mcm::default().prepare(gpu.context(), &inputs, &outputs)
        })?;
    }
    Ok(())
}

fn balances(gpu: &Gpu) -> Result<(), Failed> {
    let count = 70;
    let losses: Vec<f32> = numbers(count, 7919).iter().map(|v| v.abs()).collect();
    let losses = put(gpu, DType::F32, &losses)?;
    let state = put(gpu, DType::F32, &numbers(count, 271))?;
    let all = |buffer| Tensor::vector(buffer, DType::F32, count);
    for config in [Balance::Uncertainty, Balance::default()] {
        let uncertain = config == Balance::Uncertainty;
        let inputs = BalanceInputs {
            losses: all(&losses),
            state: uncertain.then_some(BalanceState::LogVariances(all(&state))),
            grad_loss: None,
            settings: &[],
        };
        let mut outputs = vec![Output::apart("grad_losses", 1, count)];
        if uncertain {
            outputs.push(Output::apart("grad_log_variances", 1, count));
        }
        check(gpu, &format!("{config:?}"), &outputs, &|gpu, to| {
            let outputs = BalanceOutputs {
                grad_losses: Some(to[0]),
                grad_log_variances: to.get(1).copied(),
                ..BalanceOutputs::default()
            };
            config.prepare(gpu.context(), &inputs, &outputs)
        })?;
    }
    Ok(())
}

/// Tensors beyond one binding.
fn windows(gpu: &Gpu) -> Result<(), Failed> {
    let gpu = narrow(gpu, 64 << 10)?;
    let (rows, cols) = (700, 60);
    let batch = Batch::new(&gpu, rows, cols, DType::F32)?;
    let inputs = RowInputs {
        threshold: Some(Threshold::Label(batch.more(cols))),
        ..batch.inputs(false, true)
    };
    let outputs = [Output::apart("grad_threshold", 1, cols)];
    check(&gpu, "thresholds", &outputs, &|gpu, to| {
        let outputs = RowOutputs {
            grad_threshold: Some(to[0]),
            ..RowOutputs::default()
        };
        Zlpr::hard().prepare(gpu.context(), &inputs, &outputs)
    })?;
    let inputs = batch.inputs(true, false);
    let outputs = [Output::joined("grad_targets", rows, cols)];
    check(&gpu, "targets", &outputs, &|gpu, to| {
        let outputs = RowOutputs {
            grad_logits: batch.spare(),
            grad_targets: Some(to[0]),
            ..RowOutputs::default()
        };
        Bce::default().prepare(gpu.context(), &inputs, &outputs)
    })?;
    // Prototypes of a level, whose gradient is made in scratch.
    let (samples, classes) = (3, rows);
    let levels = Levels::new(&[classes], &[])?;
    let labels = gpu.upload(bytemuck::cast_slice(&[1_u32, 650, 30]))?;
    let words = gpu.upload(bytemuck::cast_slice(&levels.words()))?;
    let inputs = HcalInputs {
        features: Tensor::matrix(&batch.soft, DType::F32, samples, cols),
        prototypes: &[batch.matrix(&batch.logits, DType::F32)],
        labels: Some(Tensor::matrix(&labels, DType::U32, 1, samples)),
        levels: levels.on_device(Tensor::vector(&words, DType::U32, levels.words_len()))?,
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    let outputs = [
        Output::apart("grad_prototypes_1", classes, cols),
        Output::apart("grad_features", samples, cols),
    ];
    check(&gpu, "prototypes", &outputs, &|gpu, to| {
        let outputs = HcalOutputs {
            grad_prototypes: Some(&to[..1]),
            grad_features: Some(to[1]),
            ..HcalOutputs::default()
        };
        Hcal::default().prepare(gpu.context(), &inputs, &outputs)
    })
}
