//! Trains HCAL's prototypes, and vectors of words, with burn's optimiser: glosses of WordNet at three levels (216, 58 and 8
//! classes).
//!
//!     cargo run --release --example prototypes
//!
//! A gloss is the weighted sum of its words' vectors. Accuracy is that of the nearest prototype of each level; a violation is a
//! prediction whose parent is not the prediction at the next level.

#[path = "../../examples/hierarchy/data.rs"]
mod data;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_all::nn::{Linear, LinearConfig};
use burn_all::optim::{AdamConfig, GradientsParams};
use clap::Parser;
use data::Set;
use std::error::Error;
use std::path::Path;
use wgloss::Levels;
use wgloss_burn::{HcalLoss, HcalLossConfig};

const DIM: usize = 64;

/// Trains HCAL's prototypes on WordNet's glosses.
#[derive(Parser)]
struct Arguments {
    /// Passes over the training set.
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Glosses in a batch.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Adam's learning rate.
    #[arg(long, default_value_t = 5e-3)]
    rate: f64,
    /// Run on the CPU.
    #[arg(long)]
    cpu: bool,
}

/// A vector for each word, and a prototype for each class.
#[derive(Module, Debug)]
struct Network {
    words: Linear,
    hcal: HcalLoss,
}

/// Bags of words, `[B, vocabulary]`, and labels, `[levels, B]`.
fn batch(
    set: &Set,
    samples: &[usize],
    vocabulary: usize,
    levels: &Levels,
    device: &Device,
) -> (Tensor<2>, Tensor<2, Int>) {
    let mut bags = vec![0.0_f32; samples.len() * vocabulary];
    for (row, sample) in samples.iter().enumerate() {
        for (word, weight) in &set.words[*sample] {
            bags[row * vocabulary + word] = *weight;
        }
    }
    let labels: Vec<i32> = set
        .labels(samples, levels)
        .into_iter()
        .map(u32::cast_signed)
        .collect();
    let bags =
        Tensor::<1>::from_floats(bags.as_slice(), device).reshape([samples.len(), vocabulary]);
    let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), device)
        .reshape([levels.len(), samples.len()]);
    (bags, labels)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glosses = data::wordnet(&root.join("../examples/data/wordnet.tsv"))?;
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
    println!("HCAL by {way} on {device:?}");
    device.seed(1);
    let training = device.clone().autodiff();

    let levels = &glosses.levels;
    let parents: Vec<Vec<u32>> = (0..levels.len() - 1)
        .map(|k| levels.parents(k).to_vec())
        .collect();
    let mut network = Network {
        words: LinearConfig::new(glosses.vocabulary, DIM)
            .with_bias(false)
            .init(&training),
        hcal: HcalLossConfig::new(levels.classes().to_vec(), parents, DIM).init(&training),
    };
    let mut optimiser = AdamConfig::new().init();
    let mut order: Vec<usize> = (0..glosses.train.class.len()).collect();
    let mut state = 1_u64;
    for epoch in 1..=arguments.epochs {
        for i in (1..order.len()).rev() {
            // Fisher and Yates, with Knuth's generator.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(i, ((state >> 33) % (i as u64 + 1)) as usize);
        }
        let mut sum: Option<Tensor<1>> = None;
        for samples in order.chunks(arguments.batch) {
            let (bags, labels) = batch(
                &glosses.train,
                samples,
                glosses.vocabulary,
                levels,
                &training,
            );
            let loss = network.hcal.forward(network.words.forward(bags), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimiser.step(arguments.rate, network, gradients);
            let loss = loss.detach().inner();
            sum = Some(match sum {
                Some(sum) => sum + loss,
                None => loss,
            });
        }
        let batches = order.len().div_ceil(arguments.batch) as f64;
        let mean = sum.map_or(0.0, |sum| f64::from(sum.into_scalar::<f32>()) / batches);
        println!("epoch {epoch} of {}: loss {mean:.4}", arguments.epochs);
    }

    let network = network.valid();
    let test = &glosses.test;
    let (mut right, mut broken) = (vec![0; levels.len()], 0);
    let all: Vec<usize> = (0..test.class.len()).collect();
    for samples in all.chunks(256) {
        let (bags, labels) = batch(test, samples, glosses.vocabulary, levels, &device);
        let found = network
            .hcal
            .predict(network.words.forward(bags))
            .into_data();
        let (found, labels): (Vec<i64>, Vec<i64>) =
            (found.iter().collect(), labels.into_data().iter().collect());
        let at = |k: usize, i: usize| found[k * samples.len() + i];
        for i in 0..samples.len() {
            for (k, right) in right.iter_mut().enumerate() {
                *right += usize::from(at(k, i) == labels[k * samples.len() + i]);
            }
            let breaks = |k: usize| i64::from(levels.parents(k)[at(k, i) as usize]) != at(k + 1, i);
            broken += usize::from((0..levels.len() - 1).any(breaks));
        }
    }
    println!("\non {} glosses that were not trained on:", all.len());
    let percent = |count: usize| 100.0 * count as f64 / all.len() as f64;
    for (k, right) in right.into_iter().enumerate() {
        println!(
            "  accuracy at level {}, {:>3} classes {:>7.1} %",
            k + 1,
            levels.classes()[k],
            percent(right)
        );
    }
    println!(
        "  samples with a violation         {:>7.1} %",
        percent(broken)
    );
    Ok(())
}
