//! Classifies glosses of WordNet at three levels (216, 58 and 8 classes), with and without the parts of HCAL, and with
//! the max constraint module of C-HMCNN.
//!
//!     cargo run --release --example hierarchy
//!
//! The encoder is a vector for each word, in plain Rust on the CPU; losses and gradients come from this crate's kernels
//! on the best GPU or software driver there is, or from its CPU reference where there is none. All runs start from the
//! same words' vectors and see the same batches in the same order.
//!
//! What the rows of the table are: `levels apart` contrasts the samples themselves with the prototypes at every level;
//! `means` and `tree` are HCAL's aggregation, over a class's samples and over its child classes; `balance` weighs the
//! levels' losses by softmax(l / 0.5), without it they are equal. `BCE` and `MCM` have a logit for each of the 282
//! classes, and binary cross-entropy without and with the constraint.
//!
//! Accuracy is that of the most probable class of each level. A violation by these is a class whose parent is not the
//! one predicted at the next level. BCE and MCM also predict sets, all classes above one half, and are counted by these
//! too: a violation is a class in the set without its parent. MCM has none, whatever it learns.

mod data;
#[path = "../glosses/model.rs"]
mod model;

use data::{Glosses, Set};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Rng, Weights, encode, learn};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgloss::host::{Dense, Engine, HcalBatch, HcalResult, McmRows, Rows, Values, Wanted};
use wgloss::losses::hcal::Aggregation;
use wgloss::reference::{BalanceInputs, balance};
use wgloss::{Balance, Bce, Hcal, Hierarchy, Levels, Mcm, Noise, Targets};

const SEED: u64 = 1;
const EPOCHS: usize = 12;
const BATCH: usize = 128;
const DIM: usize = 64;
const RATE: f32 = 0.05;
/// So large that the softmax of the losses through it is even.
const EVEN: f32 = 1e9;

/// What is trained.
#[derive(Clone, Copy)]
enum Model {
    /// Prototypes at every level.
    Contrast {
        aggregation: Option<Aggregation>,
        gamma: f32,
    },
    /// Logits of all classes.
    Logits { constraint: bool },
}

const MODELS: [(&str, Model); 8] = [
    ("levels apart", contrast(None, EVEN)),
    ("levels apart, balance", contrast(None, 0.5)),
    ("HCAL means", contrast(Some(Aggregation::SampleMean), EVEN)),
    (
        "HCAL means, balance",
        contrast(Some(Aggregation::SampleMean), 0.5),
    ),
    ("HCAL tree", contrast(Some(Aggregation::Tree), EVEN)),
    ("HCAL tree, balance", contrast(Some(Aggregation::Tree), 0.5)),
    ("BCE", Model::Logits { constraint: false }),
    ("MCM", Model::Logits { constraint: true }),
];

const fn contrast(aggregation: Option<Aggregation>, gamma: f32) -> Model {
    Model::Contrast { aggregation, gamma }
}

/// What a run came to on the test set.
#[derive(Default)]
struct Scores {
    accuracy: Vec<f64>,
    /// Samples and links with a violation, by the most probable classes.
    by_sample: f64,
    by_link: f64,
    /// Samples with a violation, by sets.
    by_set: Option<f64>,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glosses = data::wordnet(&root.join("examples/data/wordnet.tsv"))?;
    let engine = Engine::auto();
    println!("device   {} {}", engine.adapter(), engine.driver());
    if let Some(notice) = engine.notice() {
        eprintln!("{notice}");
    }
    println!(
        "data     WordNet: {} glosses to train, {} to test, {} words, {:?} classes",
        glosses.train.class.len(),
        glosses.test.class.len(),
        glosses.vocabulary,
        glosses.levels.classes()
    );
    let bar = ProgressBar::new((MODELS.len() * EPOCHS) as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} epochs")?,
    );
    let mut all = Vec::new();
    for (name, model) in MODELS {
        bar.set_message(name);
        let began = Instant::now();
        let mut scores = match model {
            Model::Contrast { aggregation, gamma } => {
                contrasted(&engine, &glosses, aggregation, gamma, &bar)?
            }
            Model::Logits { constraint } => with_logits(&engine, &glosses, constraint, &bar)?,
        };
        scores.seconds = began.elapsed().as_secs_f64();
        all.push((name, scores));
    }
    bar.finish_and_clear();
    println!(
        "\n{:<24}{:>8}{:>8}{:>8}{:>13}{:>11}{:>11}{:>9}",
        "accuracy %, HVR %",
        "level 1",
        "level 2",
        "level 3",
        "HVR, samples",
        "HVR, links",
        "HVR, sets",
        "seconds"
    );
    for (name, scores) in all {
        print!("{name:<24}");
        for accuracy in &scores.accuracy {
            print!("{:>8.1}", 100.0 * accuracy);
        }
        print!(
            "{:>13.1}{:>11.1}",
            100.0 * scores.by_sample,
            100.0 * scores.by_link
        );
        match scores.by_set {
            Some(share) => print!("{:>11.1}", 100.0 * share),
            None => print!("{:>11}", ""),
        }
        println!("{:>9.0}", scores.seconds);
    }
    Ok(())
}

/// The batches of an epoch, or of the test set in order.
fn batches(order: Vec<usize>) -> Vec<Vec<usize>> {
    order.chunks(BATCH).map(<[_]>::to_vec).collect()
}

fn contrasted(
    engine: &Engine,
    glosses: &Glosses,
    aggregation: Option<Aggregation>,
    gamma: f32,
    bar: &ProgressBar,
) -> Result<Scores, Box<dyn Error>> {
    let levels = &glosses.levels;
    let mut rng = Rng(SEED);
    let mut table = Weights::random(&mut rng, glosses.vocabulary * DIM, 0.5, RATE);
    let mut prototypes: Vec<Weights> = levels
        .classes()
        .iter()
        .map(|classes| Weights::random(&mut rng, classes * DIM, 1.0, RATE))
        .collect();
    let config = Hcal {
        aggregation: aggregation.unwrap_or_default(),
        balance: Balance::Adaptive {
            gamma,
            attach: false,
        },
        ..Hcal::default()
    };
    let run =
        |table: &Weights, prototypes: &[Weights], set: &Set, samples: &[usize], noise, wanted| {
            let features = encode(table, DIM, &set.words, samples);
            let labels = set.labels(samples, levels);
            let values: Vec<Values<'_>> =
                prototypes.iter().map(|p| Values::F32(&p.values)).collect();
            let batch = HcalBatch {
                samples: samples.len(),
                dim: DIM,
                features: Values::F32(&features),
                prototypes: &values,
                labels: &labels,
                noise,
                balance: Default::default(),
                grad_loss: None,
            };
            match aggregation {
                Some(_) => engine.hcal(&config, levels, &batch, wanted),
                None if wanted == Wanted::Loss => engine.hcal(&config, levels, &batch, wanted),
                None => apart(engine, &config, levels, &batch),
            }
        };
    let mut step = 0;
    for _ in 0..EPOCHS {
        for samples in batches(rng.shuffled(glosses.train.class.len())) {
            step += 1;
            let noise = Some(Noise::Seeded(step));
            let result = run(
                &table,
                &prototypes,
                &glosses.train,
                &samples,
                noise,
                Wanted::Gradients,
            )?;
            learn(
                &mut table,
                DIM,
                &glosses.train.words,
                &samples,
                &result.grad_features,
            );
            for (prototypes, gradient) in prototypes.iter_mut().zip(&result.grad_prototypes) {
                prototypes.step(0, gradient.iter().copied());
            }
        }
        bar.inc(1);
    }

    let test = &glosses.test;
    let mut hits = vec![0; levels.len()];
    let mut violations = vec![0; levels.len() + 1];
    for samples in batches((0..test.class.len()).collect()) {
        let result = run(&table, &prototypes, test, &samples, None, Wanted::Loss)?;
        let labels = test.labels(&samples, levels);
        for (k, predictions) in result.predictions.iter().enumerate() {
            let right = &labels[k * samples.len()..];
            hits[k] += predictions
                .iter()
                .zip(right)
                .filter(|(p, y)| p == y)
                .count();
        }
        for (sum, count) in violations.iter_mut().zip(&result.violations) {
            *sum += *count as usize;
        }
    }
    Ok(scores(&hits, &violations))
}

/// Each level on its own, the samples themselves against its prototypes.
fn apart(
    engine: &Engine,
    config: &Hcal,
    levels: &Levels,
    batch: &HcalBatch<'_>,
) -> Result<HcalResult, wgloss::Error> {
    let mut all = HcalResult::default();
    let mut features = Vec::new();
    for (k, classes) in levels.classes().iter().enumerate() {
        let one = HcalBatch {
            prototypes: &batch.prototypes[k..=k],
            labels: &batch.labels[k * batch.samples..][..batch.samples],
            ..*batch
        };
        let result = engine.hcal(
            config,
            &Levels::new(&[*classes], &[])?,
            &one,
            Wanted::Gradients,
        )?;
        all.losses.extend(result.losses);
        all.grad_prototypes.extend(result.grad_prototypes);
        features.push(result.grad_features);
    }
    let losses: Vec<f64> = all.losses.iter().map(|l| f64::from(*l)).collect();
    let inputs = BalanceInputs {
        losses: &losses,
        ..BalanceInputs::default()
    };
    let weights = balance(&config.balance, &inputs)?.weights;
    all.grad_features = vec![0.0; batch.samples * batch.dim];
    for (k, weight) in weights.iter().map(|w| *w as f32).enumerate() {
        for (sum, g) in all.grad_features.iter_mut().zip(&features[k]) {
            *sum += weight * g;
        }
        for g in &mut all.grad_prototypes[k] {
            *g *= weight;
        }
    }
    Ok(all)
}

fn with_logits(
    engine: &Engine,
    glosses: &Glosses,
    constraint: bool,
    bar: &ProgressBar,
) -> Result<Scores, Box<dyn Error>> {
    let levels = &glosses.levels;
    let hierarchy = Hierarchy::from_levels(levels)?;
    let all = hierarchy.nodes();
    let mut rng = Rng(SEED);
    let mut table = Weights::random(&mut rng, glosses.vocabulary * DIM, 0.5, RATE);
    let mut layer = Weights::random(&mut rng, all * DIM, 0.3, RATE);
    let mut bias = Weights::random(&mut rng, all, 0.0, RATE);
    bias.values.fill(-4.0);
    let logits_of = |features: &[f32], layer: &Weights, bias: &Weights| -> Vec<f32> {
        let row = |f: &[f32]| -> Vec<f32> {
            let of = layer.values.chunks(DIM).zip(&bias.values);
            of.map(|(w, b)| b + f.iter().zip(w).map(|(f, w)| f * w).sum::<f32>())
                .collect()
        };
        features.chunks(DIM).flat_map(row).collect()
    };
    let flags = |set: &Set, samples: &[usize]| -> Vec<u8> {
        let mut flags = vec![0; samples.len() * all];
        for (row, i) in flags.chunks_mut(all).zip(samples) {
            for node in hierarchy.ancestors(set.class[*i] as usize) {
                row[*node as usize] = 1;
            }
        }
        flags
    };
    let sums = Bce::default();
    for _ in 0..EPOCHS {
        for samples in batches(rng.shuffled(glosses.train.class.len())) {
            let features = encode(&table, DIM, &glosses.train.words, &samples);
            let logits = logits_of(&features, &layer, &bias);
            let targets = flags(&glosses.train, &samples);
            let gradient = if constraint {
                let labels = Targets::Dense(Dense::Flags(&targets));
                let rows = McmRows::new(samples.len(), Values::F32(&logits), labels);
                let sums = Mcm {
                    row_mean: false,
                    ..Mcm::default()
                };
                engine
                    .mcm(&sums, &hierarchy, &rows, Wanted::Gradients)?
                    .grad_logits
            } else {
                let labels = Targets::Dense(Dense::Flags(&targets));
                let rows = Rows::new(samples.len(), all, Values::F32(&logits), labels);
                engine.rows(&sums, &rows, Wanted::Gradients)?.grad_logits
            };
            let mut to_features = vec![0.0; features.len()];
            let mut to_layer = vec![0.0; layer.values.len()];
            let mut to_bias = vec![0.0; all];
            for (i, slopes) in gradient.chunks(all).enumerate() {
                for (c, g) in slopes.iter().enumerate() {
                    to_bias[c] += g;
                    for d in 0..DIM {
                        to_features[i * DIM + d] += g * layer.values[c * DIM + d];
                        to_layer[c * DIM + d] += g * features[i * DIM + d];
                    }
                }
            }
            learn(
                &mut table,
                DIM,
                &glosses.train.words,
                &samples,
                &to_features,
            );
            layer.step(0, to_layer.into_iter());
            bias.step(0, to_bias.into_iter());
        }
        bar.inc(1);
    }

    let test = &glosses.test;
    let mut hits = vec![0; levels.len()];
    let mut violations = vec![0; levels.len() + 1];
    let mut broken_sets = 0;
    for samples in batches((0..test.class.len()).collect()) {
        let features = encode(&table, DIM, &test.words, &samples);
        let logits = logits_of(&features, &layer, &bias);
        let targets = flags(test, &samples);
        let labels = Targets::Dense(Dense::Flags(&targets));
        let rows = McmRows::new(samples.len(), Values::F32(&logits), labels);
        let constrained = engine
            .mcm(&Mcm::default(), &hierarchy, &rows, Wanted::Gradients)?
            .probabilities;
        let plain: Vec<f32> = logits.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
        let probabilities = if constraint { constrained } else { plain };
        let labels = test.labels(&samples, levels);
        for (i, p) in probabilities.chunks(all).enumerate() {
            let chosen = |node: usize| p[node] > 0.5;
            let orphan = |node: usize| {
                let parents = hierarchy.parents(node);
                chosen(node) && parents.iter().any(|parent| !chosen(*parent as usize))
            };
            broken_sets += usize::from((0..all).any(orphan));
            let mut first = 0;
            let mut best = Vec::new();
            for (k, classes) in levels.classes().iter().enumerate() {
                let of = &p[first..first + classes];
                let most = (0..*classes).fold(0, |most, c| if of[c] > of[most] { c } else { most });
                hits[k] += usize::from(labels[k * samples.len() + i] == most as u32);
                best.push(most);
                first += classes;
            }
            let links = (0..levels.len() - 1)
                .filter(|k| levels.parents(*k)[best[*k]] as usize != best[k + 1]);
            let links: Vec<usize> = links.collect();
            violations[0] += 1;
            violations[1] += usize::from(!links.is_empty());
            for k in links {
                violations[2 + k] += 1;
            }
        }
    }
    Ok(Scores {
        by_set: Some(broken_sets as f64 / test.class.len() as f64),
        ..scores(&hits, &violations)
    })
}

/// Shares, of counts as [`wgloss::HcalOutputs::violations`] has them.
fn scores(hits: &[usize], violations: &[usize]) -> Scores {
    let samples = violations[0].max(1) as f64;
    let links: usize = violations[2..].iter().sum();
    Scores {
        accuracy: hits.iter().map(|n| *n as f64 / samples).collect(),
        by_sample: violations[1] as f64 / samples,
        by_link: links as f64 / samples / (violations.len() - 2).max(1) as f64,
        ..Scores::default()
    }
}
