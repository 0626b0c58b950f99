//! Trains a small network on Yeast (2,417 genes, 14 classes) with a loss of this crate, on the GPU, in burn's learner and with
//! its display; the table of metrics comes last.
//!
//!     cargo run --release --example train -- --loss zlpr
//!
//! Without a GPU or a software driver for one it runs on the CPU, by the losses' tensor operations.

#[path = "../../../examples/quickstart/data.rs"]
mod data;
mod plain;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, activation::relu};
use burn_all::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn_all::data::dataset::InMemDataset;
use burn_all::nn::{Linear, LinearConfig};
use burn_all::optim::AdamConfig;
use burn_all::train::metric::{HammingScore, LossMetric};
use burn_all::train::{
    InferenceStep, Learner, MultiLabelClassificationOutput, SupervisedTraining, TrainOutput,
    TrainStep,
};
use clap::{Parser, ValueEnum};
use data::Set;
use plain::Plain;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use wgloss::losses::wdl::{Form, PairWeights};
use wgloss::{Metrics, reference};
use wgloss_burn::{
    AslLossConfig, BceLossConfig, DiceLossConfig, FocalLossConfig, HillLossConfig, LsepLossConfig,
    RowLoss, TwoWayLossConfig, WdlLossConfig, ZlprLossConfig,
};

const HIDDEN: usize = 64;

/// Trains a small network on Yeast.
#[derive(Parser)]
struct Arguments {
    /// The loss.
    #[arg(long, value_enum, default_value_t = Name::Zlpr)]
    loss: Name,
    /// Passes over the training set.
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Genes in a batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Adam's learning rate.
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Run on the CPU.
    #[arg(long)]
    cpu: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    Zlpr,
    Tlpr,
    Lsep,
    TwoWay,
    Bce,
    Focal,
    Asl,
    Hill,
    Dice,
    Wdl,
}

impl Name {
    fn init(self, labels: usize, device: &Device) -> RowLoss {
        match self {
            Name::Zlpr => ZlprLossConfig::new().init(device),
            Name::Tlpr => ZlprLossConfig::new()
                .with_threshold(Some(labels))
                .init(device),
            Name::Lsep => LsepLossConfig::new().init(device),
            Name::TwoWay => TwoWayLossConfig::new().init(device),
            Name::Bce => BceLossConfig::new().init(device),
            Name::Focal => FocalLossConfig::new().init(device),
            Name::Asl => AslLossConfig::new().init(device),
            Name::Hill => HillLossConfig::new().init(device),
            Name::Dice => DiceLossConfig::new().init(device),
            Name::Wdl => WdlLossConfig::new()
                .with_form(Form::Pairs {
                    weights: PairWeights::RankOne,
                })
                .with_learn_weights(Some(labels))
                .with_ascent(true)
                .init(device),
        }
    }
}

/// Two layers, and the loss with whatever it learns.
#[derive(Module, Debug)]
struct Network {
    first: Linear,
    second: Linear,
    loss: RowLoss,
}

impl Network {
    fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.first.forward(x)))
    }

    fn forward(&self, batch: Batch) -> MultiLabelClassificationOutput {
        let logits = self.logits(batch.x);
        let loss = self.loss.forward(logits.clone(), batch.y.clone());
        MultiLabelClassificationOutput::new(loss, logits, batch.y)
    }
}

impl TrainStep for Network {
    type Input = Batch;
    type Output = MultiLabelClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<Self::Output> {
        let item = self.forward(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Network {
    type Input = Batch;
    type Output = MultiLabelClassificationOutput;

    fn step(&self, batch: Batch) -> Self::Output {
        self.forward(batch)
    }
}

/// Genes with their features and classes.
#[derive(Clone, Debug)]
struct Batch {
    x: Tensor<2>,
    y: Tensor<2, Int>,
}

type Gene = (Vec<f32>, Vec<u8>);

struct Genes;

impl Batcher<Gene, Batch> for Genes {
    fn batch(&self, genes: Vec<Gene>, device: &Device) -> Batch {
        let rows = genes.len();
        let (x, y): (Vec<Vec<f32>>, Vec<Vec<u8>>) = genes.into_iter().unzip();
        let (x, y) = (x.concat(), y.concat());
        let y: Vec<i32> = y.into_iter().map(i32::from).collect();
        let (features, classes) = (x.len() / rows, y.len() / rows);
        Batch {
            x: Tensor::<1>::from_floats(x.as_slice(), device).reshape([rows, features]),
            y: Tensor::<1, Int>::from_ints(y.as_slice(), device).reshape([rows, classes]),
        }
    }
}

fn genes(set: &Set) -> Vec<Gene> {
    let x = set.x.chunks(set.features).map(<[_]>::to_vec);
    x.zip(set.y.chunks(set.classes).map(<[_]>::to_vec))
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (train, test) = data::yeast(&root.join("../examples/data/yeast.safetensors"))?;
    let device = match arguments.cpu {
        true => Device::flex(),
        false => wgloss_burn::init(Device::wgpu_options()).unwrap_or_else(|error| {
            eprintln!("no GPU, so the CPU it is: {error}");
            Device::flex()
        }),
    };
    let way = if wgloss_burn::is_shared(&device) {
        "kernels"
    } else {
        "tensor operations"
    };
    println!("loss {:?} by {way} on {device:?}", arguments.loss);
    let training = device.clone().autodiff();

    let loader = |set: &Set, device: &Device| {
        DataLoaderBuilder::new(Genes)
            .batch_size(arguments.batch)
            .shuffle(1)
            .set_device(device.clone())
            .build(InMemDataset::new(genes(set)))
    };
    let network = Network {
        first: LinearConfig::new(train.features, HIDDEN).init(&training),
        second: LinearConfig::new(HIDDEN, train.classes).init(&training),
        loss: arguments.loss.init(train.classes, &training),
    };
    let logs = root.join("target/train");
    let learner = Learner::new(network, AdamConfig::new().init(), arguments.rate);
    let training =
        SupervisedTraining::new(&logs, loader(&train, &training), loader(&test, &device))
            .metric_train_numeric(LossMetric::new())
            .metric_valid_numeric(LossMetric::new())
            .metric_valid_numeric(HammingScore::new())
            .num_epochs(arguments.epochs);
    // burn's own display is for terminals; without one it says a line for every batch.
    let training = match std::io::stdout().is_terminal() {
        true => training,
        false => training.renderer(Box::new(Plain::default())),
    };
    let result = training.launch(learner);
    if let Some(error) = result.error {
        return Err(error.to_string().into());
    }

    let model = result.model;
    drop(result.renderer);
    let batch = Genes.batch(genes(&test), &device);
    let mut logits = model.logits(batch.x);
    if let Some(threshold) = &model.loss.threshold {
        logits = logits - threshold.val().unsqueeze::<2>();
    }
    let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
    let targets: Vec<bool> = test.y.iter().map(|y| *y != 0).collect();
    let scores = reference::metrics(
        &Metrics::default(),
        &reference::MetricsInputs {
            rows: test.rows,
            cols: test.classes,
            logits: &logits,
            targets: &targets,
            ..reference::MetricsInputs::default()
        },
    )?;
    println!(
        "\non the {} genes that were not trained on, labels with a logit above 0:",
        test.rows
    );
    for (name, value) in scores.all() {
        println!("  {name:<36}{value:>8.4}");
    }
    Ok(())
}
