//! Settings that lie on the device.

use crate::Test;
use libtest_mimic::Failed;
use wgloss::host::Gpu;
use wgloss::losses::contrastive::Weighting;
use wgloss::losses::wdl::{PairWeights, Phi};
use wgloss::{
    AnyLoss, Asl, Balance, Bce, Contrastive, ContrastiveInputs, ContrastiveOutputs, DType,
    Denominator, Dice, Focal, Gradient, Hcal, HcalInputs, HcalOutputs, Hill, Keys, Levels, Noise,
    Prepared, Reduction, RowInputs, RowOutputs, Rowwise, Seed, Setting, Splc, Targets, Tensor, Wdl,
    Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[
    ("settings/a_buffer_gives_what_the_struct_would", rows),
    ("settings/a_prepared_call_reads_them_anew", anew),
    ("settings/temperatures", temperatures),
    ("settings/of_hcal_and_its_balance", hierarchy),
];

/// Rows and labels: short rows, and rows that are split.
const SHAPES: [(usize, usize); 2] = [(7, 50), (2, 33_003)];

/// A loss, the same with other settings than those that buffers are to give, and what these give.
type Row = (AnyLoss, AnyLoss, Vec<(&'static str, f32)>);

fn losses() -> Vec<Row> {
    let wdl = Wdl {
        phi: Phi::Huber { delta: 0.25 },
        epsilon: 0.125,
        lambda_presence: 0.5,
        lambda_ratio: 3.0,
        lambda_difference: 2.0,
        ..Wdl::pairs(PairWeights::RankOne)
    };
    let plain_wdl = Wdl {
        phi: Phi::Huber { delta: 1.0 },
        ..Wdl::pairs(PairWeights::RankOne)
    };
    let focal = Focal {
        gamma: 1.5,
        alpha: Some(0.75),
        smoothing: 0.25,
        ..Focal::default()
    };
    let asl = Asl {
        gamma_pos: 0.5,
        gamma_neg: 3.0,
        margin: 0.125,
        smoothing: 0.25,
        ..Asl::default()
    };
    let focals = vec![("gamma", 1.5), ("alpha", 0.75), ("smoothing", 0.25)];
    let asls = vec![
        ("gamma_pos", 0.5),
        ("gamma_neg", 3.0),
        ("margin", 0.125),
        ("smoothing", 0.25),
    ];
    // Powers of two, whose inverses are exact.
    vec![
        (
            Zlpr::two_way(2.0, 0.5).into(),
            Zlpr::two_way(4.0, 1.0).into(),
            vec![("t_pos", 2.0), ("t_neg", 0.5)],
        ),
        (
            Zlpr::soft().with_smoothing(0.25).into(),
            Zlpr::soft().into(),
            vec![("smoothing", 0.25)],
        ),
        (
            Bce {
                pos_weight: 3.0,
                smoothing: 0.125,
                ..Bce::default()
            }
            .into(),
            Bce::default().into(),
            vec![("pos_weight", 3.0), ("smoothing", 0.125)],
        ),
        (focal.into(), Focal::default().into(), focals.clone()),
        (
            focal.with_detached_focus().into(),
            Focal::default().with_detached_focus().into(),
            focals,
        ),
        (asl.into(), Asl::default().into(), asls.clone()),
        (
            asl.with_detached_focus().into(),
            Asl::default().with_detached_focus().into(),
            asls,
        ),
        (
            Hill {
                lambda: 2.0,
                margin: 0.5,
                gamma: 1.0,
                smoothing: 0.25,
                ..Hill::default()
            }
            .into(),
            Hill::default().into(),
            vec![
                ("lambda", 2.0),
                ("margin", 0.5),
                ("gamma", 1.0),
                ("smoothing", 0.25),
            ],
        ),
        (
            Splc {
                margin: 0.5,
                gamma: 1.0,
                smoothing: 0.25,
                ..Splc::default()
            }
            .into(),
            Splc::default().into(),
            vec![("margin", 0.5), ("gamma", 1.0), ("smoothing", 0.25)],
        ),
        (
            Dice {
                smooth: 4.0,
                ..Dice::default()
            }
            .into(),
            Dice::default().into(),
            vec![("smooth", 4.0)],
        ),
        (
            wdl.into(),
            plain_wdl.into(),
            vec![
                ("epsilon", 0.125),
                ("lambda_presence", 0.5),
                ("lambda_ratio", 3.0),
                ("lambda_difference", 2.0),
                ("huber_delta", 0.25),
            ],
        ),
    ]
}

/// Numbers of a problem on the device, and where the results go.
struct Problem {
    shape: (usize, usize),
    logits: wgpu::Buffer,
    targets: wgpu::Buffer,
    values: wgpu::Buffer,
    loss: wgpu::Buffer,
    grad: wgpu::Buffer,
}

impl Problem {
    fn new(gpu: &Gpu, shape: (usize, usize)) -> Result<Problem, Failed> {
        let n = shape.0 * shape.1;
        let logits: Vec<f32> = (0..n)
            .map(|i| ((i * 7919) % 1000) as f32 / 100.0 - 5.0)
            .collect();
        let targets: Vec<u8> = (0..n).map(|i| u8::from((i * 31) % 7 < 2)).collect();
        Ok(Problem {
            shape,
            logits: gpu.upload(bytemuck::cast_slice(&logits))?,
            targets: gpu.upload(&targets)?,
            values: gpu.zeros(64)?,
            loss: gpu.zeros(4)?,
            grad: gpu.zeros(4 * n as u64)?,
        })
    }

    /// Loss and gradient of a call whose settings lie behind one another in `values`.
    fn prepare(
        &self,
        gpu: &Gpu,
        loss: &AnyLoss,
        names: &[&'static str],
    ) -> Result<Prepared, Failed> {
        let (rows, cols) = self.shape;
        let settings: Vec<Setting<'_>> = names
            .iter()
            .enumerate()
            .map(|(i, name)| Setting {
                name,
                value: Tensor::vector(&self.values, DType::F32, 1).with_offset(i as u64 + 1),
            })
            .collect();
        let inputs = RowInputs {
            settings: &settings,
            ..RowInputs::new(
                Tensor::matrix(&self.logits, DType::F32, rows, cols),
                Targets::Dense(Tensor::matrix(&self.targets, DType::U8, rows, cols)),
            )
        };
        let outputs = RowOutputs {
            loss: Some(Tensor::vector(&self.loss, DType::F32, 1)),
            grad_logits: Some(Gradient::To(Tensor::matrix(
                &self.grad,
                DType::F32,
                rows,
                cols,
            ))),
            ..RowOutputs::default()
        };
        Ok(loss.prepare(gpu.context(), &inputs, &outputs)?)
    }

    fn set(&self, gpu: &Gpu, values: &[f32]) {
        gpu.queue()
            .write_buffer(&self.values, 4, bytemuck::cast_slice(values));
    }

    fn results(&self, gpu: &Gpu) -> Result<Vec<u8>, Failed> {
        let mut bytes = gpu.download(&self.loss, 4)?;
        bytes.extend(gpu.download(&self.grad, 4 * (self.shape.0 * self.shape.1) as u64)?);
        gpu.queue().write_buffer(&self.grad, 0, &[0xff; 64]);
        Ok(bytes)
    }
}

fn rows(gpu: &Gpu) -> Result<(), Failed> {
    for shape in SHAPES {
        for (wanted, other, settings) in losses() {
            // WDL's Huber differences cost the square of the labels.
            let (rows, cols) = shape;
            let cols = if wanted.takes().theta.is_some() {
                cols.min(300)
            } else {
                cols
            };
            let problem = Problem::new(gpu, (rows, cols))?;
            gpu.run(&[&problem.prepare(gpu, &wanted, &[])?])?;
            let expected = problem.results(gpu)?;
            let (names, values): (Vec<_>, Vec<_>) = settings.into_iter().unzip();
            problem.set(gpu, &values);
            gpu.run(&[&problem.prepare(gpu, &other, &names)?])?;
            if problem.results(gpu)? != expected {
                return Err(
                    format!("{wanted:?} at {shape:?}: {names:?} from a buffer differ").into(),
                );
            }
        }
    }
    Ok(())
}

/// One prepared call, run with one value and then with another, beside a call that has the value in its struct.
fn anew(gpu: &Gpu) -> Result<(), Failed> {
    let problem = Problem::new(gpu, (70, 14))?;
    let loss = |margin| {
        AnyLoss::from(
            Asl {
                margin,
                ..Asl::default()
            }
            .with_reduction(Reduction::Sum),
        )
    };
    let call = problem.prepare(gpu, &loss(0.9), &["margin"])?;
    let mut before = Vec::new();
    for margin in [0.25, 0.0, 0.25] {
        gpu.run(&[&problem.prepare(gpu, &loss(margin), &[])?])?;
        let expected = problem.results(gpu)?;
        problem.set(gpu, &[margin]);
        gpu.run(&[&call])?;
        if problem.results(gpu)? != expected || before == expected {
            return Err(format!("a margin of {margin} from a buffer differs").into());
        }
        before = expected;
    }
    Ok(())
}

/// A contrastive loss whose temperature lies on the device, and is where the gradient to it is learnt from.
fn temperatures(gpu: &Gpu) -> Result<(), Failed> {
    let (n, m, dims, classes) = (150, 70, 9, 12);
    let numbers = |count: usize, salt: usize| -> Vec<f32> {
        let one = |i: usize| ((i * 7919 + salt) % 1000) as f32 / 250.0 - 2.0;
        (0..count).map(one).collect()
    };
    let sets = |rows: usize, salt: usize| -> Vec<u8> {
        (0..rows * classes)
            .map(|i| u8::from((i * 31 + salt) % 7 < 2))
            .collect()
    };
    let embeddings = gpu.upload(bytemuck::cast_slice(&numbers(n * dims, 1)))?;
    let keys = gpu.upload(bytemuck::cast_slice(&numbers(m * dims, 2)))?;
    let (labels, key_labels) = (gpu.upload(&sets(n, 3))?, gpu.upload(&sets(m, 4))?);
    let values = gpu.upload(bytemuck::cast_slice(&[9.0_f32, 0.25, -0.75, 0.125]))?;
    let results = [1, n, n * dims, m * dims, 1, 1];
    for (config, others) in [
        (Contrastive::sim_dis(), true),
        (Contrastive::sup_con_any(), false),
        (
            Contrastive::new(Weighting::Jaccard { threshold: 0.125 }, 0.07),
            false,
        ),
        (Contrastive::mul_sup_con(), true),
        (
            Contrastive::sup_con_any()
                .with_denominator(Denominator::Sigmoid)
                .with_bias(-0.75),
            true,
        ),
    ] {
        let sigmoid = config.denominator == Denominator::Sigmoid;
        let threshold = matches!(config.weighting, Weighting::Jaccard { .. });
        let run = |config: Contrastive, settings: &[Setting<'_>]| -> Result<Vec<f32>, Failed> {
            let sets =
                |buffer, rows| Targets::Dense(Tensor::matrix(buffer, DType::U8, rows, classes));
            let inputs = ContrastiveInputs {
                keys: others.then(|| Keys {
                    embeddings: Tensor::matrix(&keys, DType::F32, m, dims),
                    labels: sets(&key_labels, m),
                }),
                settings,
                ..ContrastiveInputs::new(
                    Tensor::matrix(&embeddings, DType::F32, n, dims),
                    classes,
                    sets(&labels, n),
                )
            };
            let buffers: Vec<wgpu::Buffer> = results
                .iter()
                .map(|len| gpu.zeros(4 * *len as u64))
                .collect::<Result<_, _>>()?;
            let outputs = ContrastiveOutputs {
                loss: Some(Tensor::vector(&buffers[0], DType::F32, 1)),
                loss_rows: Some(Tensor::vector(&buffers[1], DType::F32, n)),
                grad_embeddings: Some(Tensor::matrix(&buffers[2], DType::F32, n, dims).into()),
                grad_keys: others.then(|| Tensor::matrix(&buffers[3], DType::F32, m, dims).into()),
                grad_temperature: Some(Tensor::vector(&buffers[4], DType::F32, 1).into()),
                grad_bias: sigmoid.then(|| Tensor::vector(&buffers[5], DType::F32, 1).into()),
                count: None,
            };
            gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
            let mut all = Vec::new();
            for (buffer, len) in buffers.iter().zip(results) {
                let bytes = gpu.download(buffer, 4 * len as u64)?;
                all.extend_from_slice(bytemuck::cast_slice(&bytes));
            }
            Ok(all)
        };
        let wanted = run(config.with_temperature(0.25), &[])?;
        let at = |name, place| Setting {
            name,
            value: Tensor::vector(&values, DType::F32, 1).with_offset(place),
        };
        let other = match threshold {
            true => Contrastive::jaccard(),
            false => config.with_bias(if sigmoid { 3.0 } else { 0.0 }),
        };
        let mut settings = vec![at("temperature", 1)];
        settings.extend(threshold.then(|| at("threshold", 3)));
        settings.extend(sigmoid.then(|| at("bias", 2)));
        let found = run(other.with_temperature(0.5), &settings)?;
        let learnt = wanted[wanted.len() - 2..].iter();
        let slopes = learnt.filter(|slope| **slope != 0.0).count();
        if found != wanted || slopes != 1 + usize::from(sigmoid) {
            return Err(format!("{config:?}: a temperature from a buffer differs").into());
        }
    }
    Ok(())
}

/// HCAL with temperature, perturbation and the balance's gamma from a buffer.
fn hierarchy(gpu: &Gpu) -> Result<(), Failed> {
    let levels = Levels::new(&[3, 2], &[&[0, 0, 1]])?;
    let (samples, dim) = (20, 5);
    let numbers = |count: usize, salt: usize| -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + salt) % 1000) as f32 / 250.0 - 2.0)
            .collect()
    };
    let put = |values: &[f32]| gpu.upload(bytemuck::cast_slice(values));
    let features = put(&numbers(samples * dim, 1))?;
    let prototypes = [put(&numbers(3 * dim, 2))?, put(&numbers(2 * dim, 3))?];
    let fine: Vec<u32> = (0..samples as u32).map(|i| i * 7 % 3).collect();
    let labels: Vec<u32> = fine
        .iter()
        .copied()
        .chain(fine.iter().map(|c| c / 2))
        .collect();
    let labels = gpu.upload(bytemuck::cast_slice(&labels))?;
    let words = gpu.upload(bytemuck::cast_slice(&levels.words()))?;
    let seed = gpu.upload(bytemuck::cast_slice(&[5_u32, 0]))?;
    let values = put(&[0.25, 0.0625, 2.0])?;
    let run = |config: Hcal, settings: &[Setting<'_>]| -> Result<Vec<f32>, Failed> {
        let places = [
            Tensor::matrix(&prototypes[0], DType::F32, 3, dim),
            Tensor::matrix(&prototypes[1], DType::F32, 2, dim),
        ];
        let inputs = HcalInputs {
            features: Tensor::matrix(&features, DType::F32, samples, dim),
            prototypes: &places,
            labels: Some(Tensor::matrix(&labels, DType::U32, 2, samples)),
            levels: levels.on_device(Tensor::vector(&words, DType::U32, levels.words_len()))?,
            noise: Some(Noise::Seeded(Seed::fixed(Tensor::vector(
                &seed,
                DType::U32,
                2,
            )))),
            balance: None,
            grad_loss: None,
            settings,
        };
        let (loss, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (samples * dim) as u64)?);
        let weights = gpu.zeros(8)?;
        let outputs = HcalOutputs {
            loss: Some(Tensor::vector(&loss, DType::F32, 1)),
            weights: Some(Tensor::vector(&weights, DType::F32, 2)),
            grad_features: Some(Tensor::matrix(&grad, DType::F32, samples, dim).into()),
            ..HcalOutputs::default()
        };
        gpu.run(&[&config.prepare(gpu.context(), &inputs, &outputs)?])?;
        let mut bytes = gpu.download(&loss, 4)?;
        bytes.extend(gpu.download(&weights, 8)?);
        bytes.extend(gpu.download(&grad, 4 * (samples * dim) as u64)?);
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    };
    let wanted = Hcal {
        temperature: 0.25,
        epsilon: 0.0625,
        balance: Balance::Adaptive {
            gamma: 2.0,
            attach: false,
        },
        ..Hcal::default()
    };
    let names = ["temperature", "epsilon", "gamma"];
    let settings: Vec<Setting<'_>> = (0..3)
        .map(|i| Setting {
            name: names[i],
            value: Tensor::vector(&values, DType::F32, 1).with_offset(i as u64),
        })
        .collect();
    let expected = run(wanted, &[])?;
    if run(Hcal::default(), &settings)? != expected || run(Hcal::default(), &[])? == expected {
        return Err("settings of HCAL from a buffer differ".into());
    }
    Ok(())
}
