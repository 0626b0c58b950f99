//! Predicts what the nouns and verbs of WordNet are kinds of, from their glosses: 20,484 labels, of which a gloss has eight.
//!
//!     cargo run --release --example extreme
//!
//! The encoder is a vector for each word, in plain Rust on the CPU. The last layer is this crate's: logits live in tiles,
//! each step updates the weights in the sweep that makes their gradient, and the five most likely labels come from the
//! same tiles; on the best GPU or software driver there is, or on the CPU reference (slowly) where there is none. Both
//! losses start from the same numbers and see the same batches in the same order.
//!
//! P@k is the share of the first k labels that are right. One label in three has a single gloss to learn from, one in fifteen
//! none, and seven have more than 10,000: PSP@k weighs a right label by how rare it is. `most frequent` predicts the same
//! labels for all.

#[path = "../glosses/ancestors.rs"]
mod ancestors;
#[path = "../glosses/model.rs"]
mod model;
#[path = "../glosses/words.rs"]
mod words;

use ancestors::{Glosses, lists, read};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Rng, Weights, encode, learn};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgloss::host::{Engine, LinearRows, Values, Wanted};
use wgloss::reference::{ChosenInputs, ChosenValues, chosen_metrics, propensities};
use wgloss::{AnyLoss, Bce, Linear, Targets, Update, Zlpr};

const SEED: u64 = 1;
const EPOCHS: usize = 4;
const BATCH: usize = 256;
const DIM: usize = 64;
const RATE: f32 = 0.05;
/// Labels that are predicted.
const TOP: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glosses = read(&root.join("examples/data/ancestors.tsv"))?;
    let engine = Engine::auto();
    println!("device   {} {}", engine.adapter(), engine.driver());
    if let Some(notice) = engine.notice() {
        eprintln!("{notice}");
    }
    println!(
        "data     WordNet: {} glosses to train, {} to test, {} words, {} labels",
        glosses.train.len(),
        glosses.test.len(),
        glosses.bags.vocabulary,
        glosses.counts.len()
    );
    let steps = glosses.train.len().div_ceil(BATCH);
    let bar = ProgressBar::new((2 * EPOCHS * steps) as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} steps")?,
    );
    let mut order: Vec<u32> = (0..glosses.counts.len() as u32).collect();
    order.sort_by_key(|label| std::cmp::Reverse(glosses.counts[*label as usize]));
    let same = order[..TOP].repeat(glosses.test.len());
    let mut all = vec![("most frequent", scores(&glosses, &same)?, None)];
    for (name, loss) in [
        ("BCE", AnyLoss::from(Bce::default())),
        ("ZLPR", Zlpr::hard().into()),
    ] {
        bar.set_message(name);
        let began = Instant::now();
        let chosen = trained(&engine, &glosses, loss, &bar)?;
        let seconds = began.elapsed().as_secs_f64();
        all.push((name, scores(&glosses, &chosen)?, Some(seconds)));
    }
    bar.finish_and_clear();
    println!(
        "\n{:<16}{:>7}{:>7}{:>7}{:>8}{:>7}{:>7}{:>9}",
        "%", "P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5", "seconds"
    );
    for (name, values, seconds) in all {
        print!("{name:<16}");
        for shares in [values.precision, values.propensity_precision] {
            for k in [0, 2, 4] {
                print!("{:>7.1}", 100.0 * shares[k]);
            }
            print!(" ");
        }
        println!(
            "{:>8}",
            seconds.map_or(String::new(), |s| format!("{s:.0}"))
        );
    }
    Ok(())
}

/// Trains from the start, and gives the labels that are most likely for each test gloss.
fn trained(
    engine: &Engine,
    glosses: &Glosses,
    loss: AnyLoss,
    bar: &ProgressBar,
) -> Result<Vec<u32>, wgloss::Error> {
    let cols = glosses.counts.len();
    let mut rng = Rng(SEED);
    let mut table = Weights::random(&mut rng, glosses.bags.vocabulary * DIM, 0.5, RATE);
    let mut weights = vec![0.0; cols * DIM];
    let mut state = vec![0.0; cols];
    // At first a label is as likely as it is frequent.
    let odds = |count: &u32| ((*count as f32 + 0.5) / glosses.train.len() as f32).ln();
    let mut bias = Weights::new(glosses.counts.iter().map(odds).collect(), RATE);
    let layer = Linear::new(loss).with_update(Update::adagrad(RATE), SEED);
    for _ in 0..EPOCHS {
        for order in rng.shuffled(glosses.train.len()).chunks(BATCH) {
            let samples: Vec<usize> = order.iter().map(|i| glosses.train[*i]).collect();
            let hidden = encode(&table, DIM, &glosses.bags.of, &samples);
            let (offsets, indices) = lists(glosses, &samples, 0..cols as u32);
            let rows = LinearRows {
                bias: Some(&bias.values),
                state: Some(&state),
                targets: Some(Targets::Sparse {
                    offsets: &offsets,
                    indices: &indices,
                }),
                ..LinearRows::new(
                    (samples.len(), cols, DIM),
                    Values::F32(&hidden),
                    Values::F32(&weights),
                )
            };
            let result = engine.linear(&layer, &rows, Wanted::Gradients, 0)?;
            learn(
                &mut table,
                DIM,
                &glosses.bags.of,
                &samples,
                &result.grad_hidden,
            );
            bias.step(0, result.grad_bias.into_iter());
            (weights, state) = (result.weights, result.state);
            bar.inc(1);
        }
    }
    let mut chosen = Vec::new();
    for samples in glosses.test.chunks(BATCH) {
        let hidden = encode(&table, DIM, &glosses.bags.of, samples);
        let rows = LinearRows {
            bias: Some(&bias.values),
            ..LinearRows::new(
                (samples.len(), cols, DIM),
                Values::F32(&hidden),
                Values::F32(&weights),
            )
        };
        let layer = Linear::new(loss);
        chosen.extend(engine.linear(&layer, &rows, Wanted::Loss, TOP)?.top_labels);
    }
    Ok(chosen)
}

/// How good labels are that were chosen for the test glosses.
fn scores(glosses: &Glosses, chosen: &[u32]) -> Result<ChosenValues, wgloss::Error> {
    let cols = glosses.counts.len();
    let (offsets, indices) = lists(glosses, &glosses.test, 0..cols as u32);
    chosen_metrics(&ChosenInputs {
        rows: glosses.test.len(),
        cols,
        count: TOP,
        chosen,
        offsets: &offsets,
        indices: &indices,
        propensity: Some(&propensities(
            &glosses.counts,
            glosses.train.len(),
            0.55,
            1.5,
        )),
    })
}
